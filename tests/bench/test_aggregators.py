"""The benchmark of aggregators at tiny size: its runs are plain runs, its tables are what they say."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from jaxfed import InvalidInput, Simulation, attacks, bench, cli
from jaxfed.aggregators import Median, chain
from jaxfed.bench import benchmark as running
from jaxfed.bench import catalogue, tables
from jaxfed.bench.cells import cells_of, settings_of
from jaxfed.bench.dissimilarity import Dissimilarity, dissimilarity
from jaxfed.core import keys
from jaxfed.data import synthetic_ehr
from jaxfed.sweep.executor import ProgramRunner
from jaxfed.transforms import Momentum

TINY = {
    "rules": ("mean", "median", "centred clipping"),
    "before": ("none", "bucketing"),
    "attacks": ("none", "sign flip", "ALIE", "label flip"),
    "settings": ("iid", "strong"),
    "hospitals": 5,
    "rounds": 2,
    "eval_every": 2,
    "seeds": 1,
}


@pytest.fixture(scope="module", autouse=True)
def small_hospitals():
    """A few rows each; the tables of the catalogue are put back."""
    before = dict(catalogue.SETTINGS)
    for name in TINY["settings"]:
        catalogue.SETTINGS[name] = lambda n, name=name: synthetic_ehr(
            n, preset=name, n_med=60, s_n=0.2, prevalence=0.4
        )
    yield
    catalogue.SETTINGS.update(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def result(folder):
    return bench.aggregators(**TINY, checkpoint=folder / "checkpoint", progress=False)


def test_every_cell_of_the_grid_is_there(result):
    counts = result.rounds[result.rounds["round"] == 2].groupby(["rule", "before"]).size()
    each = len(TINY["attacks"]) * len(TINY["settings"])
    assert counts.to_dict() == {
        ("mean", "none"): each,
        ("median", "none"): each,
        ("median", "bucketing"): each,
        ("centred clipping", "none"): 4 * each,
        ("centred clipping", "bucketing"): 4 * each,
    }
    assert len(result.final) == 5 * each
    assert result.final["setting"].unique().tolist() == ["iid", "strong"]


def test_a_run_is_the_run_of_a_plain_chain(result):
    """By a simulation that knows nothing of switches; scores are of honest hospitals only."""
    grid = bench.grid_of(**TINY)
    setting = settings_of(grid)[1]
    spec = running.spec_of(cells_of(grid, settings_of(grid)), grid)
    fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    parts = chain(catalogue.ATTACKS["ALIE"](setting.hospitals, setting.malicious), Median())
    sim = Simulation(**(fields | {"hospitals": setting.hospitals, "aggregator": parts}))
    table = sim.run(2, eval_every=2, progress=False).hospitals("test", "last")
    honest = table[setting.honest]["auroc"]
    cell = {"setting": "strong", "rule": "median", "before": "none", "attack": "ALIE", "round": 2}
    (row,) = result.rounds.set_index([*cell]).loc[[tuple(cell.values())]].to_dict("records")
    np.testing.assert_allclose(row["score"], honest.mean(), atol=1e-5)
    np.testing.assert_allclose(row["worst"], honest.min(), atol=1e-5)


def test_momentum_in_the_hospitals_comes_before_the_attack():
    """A run with momentum is that of the plain chain, and attackers flip their running means."""
    few = {"rules": ("mean", "median"), "before": ("none",), "attacks": ("none", "sign flip")}
    result = bench.aggregators(**{**TINY, **few, "settings": ("iid",), "momentum": 0.5}, progress=False)
    grid = result.grid
    (setting,) = settings_of(grid)
    spec = running.spec_of(cells_of(grid, [setting]), grid)
    fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    flip = catalogue.ATTACKS["sign flip"](setting.hospitals, setting.malicious)
    sim = Simulation(**(fields | {"aggregator": chain(Momentum(0.5), flip, Median())}))
    table = sim.run(2, eval_every=2, progress=False).hospitals("test", "last")
    cell = {"rule": "median", "attack": "sign flip", "round": 2}
    (row,) = result.rounds.set_index([*cell]).loc[[tuple(cell.values())]].to_dict("records")
    np.testing.assert_allclose(row["score"], table[setting.honest]["auroc"].mean(), atol=1e-5)


def test_an_attack_on_the_data_changes_the_hospitals_and_no_upload():
    grid = bench.grid_of(**TINY)
    settings = {setting.name: setting for setting in settings_of(grid)}
    cells = cells_of(grid, [*settings.values()])
    for row, hospitals, road in zip(cells.frame.itertuples(), cells.hospitals, cells.chains, strict=True):
        setting = settings[row.setting]
        numbers = (road.transforms[0].number, road.mixers[0].number)
        assert numbers == {"sign flip": (1, 0), "ALIE": (0, 1)}.get(row.attack, (0, 0))
        expected = setting.hospitals.y
        if row.attack == "label flip":
            expected = attacks.label_flip(setting.hospitals, setting.malicious).y
        assert np.array_equal(hospitals.y, expected)
        assert (row.attack == "label flip") == (not np.array_equal(hospitals.y, setting.hospitals.y))


def test_a_benchmark_that_was_cut_goes_on(result, folder, monkeypatch):
    """All is done, so nothing is trained; another grid does not go on in the same folder."""
    calls = []
    call = ProgramRunner.call
    monkeypatch.setattr(ProgramRunner, "call", lambda self: (calls.append(1), call(self)))
    again = bench.aggregators(**TINY, checkpoint=folder / "checkpoint", progress=False)
    assert not calls
    pd.testing.assert_frame_equal(again.rounds, result.rounds)


def test_an_interrupted_benchmark_says_how_to_go_on(monkeypatch):
    calls, call = [], ProgramRunner.call

    def interrupted(self):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        call(self)

    monkeypatch.setattr(ProgramRunner, "call", interrupted)
    with pytest.raises(KeyboardInterrupt, match="of 88 runs are done; give checkpoint=folder"):
        bench.aggregators(**TINY, progress=False)


def test_files(result, folder):
    result.save(folder / "out")
    for name in ("heatmap", "curves", "cost"):
        for kind in ("png", "svg"):
            assert (folder / "out" / f"{name}.{kind}").stat().st_size > 1000
    page = (folder / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64") == 3
    assert "http" not in page  # nothing is loaded
    assert all(sentence.split(":")[0] in page for sentence in result.summary)
    record = json.loads((folder / "out" / "aggregators.json").read_text())
    assert record["grid"]["rules"] == [*TINY["rules"]]
    assert len(record["final"]) == len(result.final)
    assert len(pd.read_csv(folder / "out" / "worst.csv")) == len(result.worst_cases)
    assert "Benchmark(" in repr(result)
    assert "<li>" in result._repr_html_()


def curve(rule, attack, score, validation, numbers="", seed=0):
    """Two evaluations of a run on the setting "s"."""
    return [
        {
            "setting": "s", "rule": rule, "before": "none", "numbers": numbers, "attack": attack,
            "seed": seed, "round": done,
            "score": value, "worst": value - 0.1, "validation": validation, "diverged": False,
        }
        for done, value in ((0, 0.5), (4, score))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def handmade():
    rows = [
        *curve("mean", "none", 0.80, 0.3), *curve("mean", "bad", 0.40, 9.0),
        *curve("clip", "none", 0.79, 0.3, "1"), *curve("clip", "bad", 0.60, 0.5, "1"),
        *curve("clip", "none", 0.70, 0.35, "2"), *curve("clip", "bad", 0.69, 0.4, "2"),
        *curve("median", "none", 0.78, 0.3), *curve("median", "bad", 0.78, 0.3),
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_numbers_are_chosen_against_the_worst_attack_on_validation_rows(handmade):
    chosen = tables.chosen(handmade)
    assert set(chosen[chosen["rule"] == "clip"]["numbers"]) == {"2"}  # 0.4 at worst, and "1" has 0.5
    final = tables.final(chosen, 0.03).set_index(["defence", "attack"])
    assert final.loc[("mean", "bad"), "lost"] == pytest.approx(0.4)
    assert final.loc[("median", "bad"), "rounds to target"] == 4
    assert np.isnan(final.loc[("clip", "none"), "rounds to target"])


def test_worst_cases_and_what_is_said_of_them(handmade):
    worst = tables.worst_cases(tables.final(tables.chosen(handmade), 0.03), 0.03)
    assert worst["defence"].tolist() == ["median", "clip", "mean"]
    assert worst["holds"].tolist() == [True, False, False]
    assert worst["worst attack"].tolist()[1:] == ["bad", "bad"]
    np.testing.assert_allclose(worst["costs"], [0.02, 0.1, 0.0], atol=1e-9)
    (text,) = tables.summary(worst, {"s": Dissimilarity(2.0, 0.1)}, bench.Grid(), 0.03)
    assert "the mean reaches 0.800 without attackers and 0.400 under bad" in text
    assert "Take median: its worst case is 0.780 (" in text
    assert "1 of 3 stays within 0.03 of the mean without attackers under every attack: median." in text
    assert "B^2 is 2.00: no rule has a guarantee from a share of attackers of 25% on" in text


def test_the_bound_of_the_paper():
    assert Dissimilarity(0.0, 1.0).share == 0.5
    assert Dissimilarity(2.0, 1.0).share == 0.25


def test_hospitals_with_the_same_rows_do_not_differ():
    data = synthetic_ehr(1, n_med=50, s_n=0)
    twice = data.replace(
        x=np.tile(data.x, (2, 1)), y=np.tile(data.y, 2), split=np.tile(data.split, 2),
        size=np.repeat(data.size, 2), hospitals=("a", "b"), truth={},
    )  # fmt: skip
    size = dissimilarity(Simulation(twice), np.ones(2, bool))
    np.testing.assert_allclose((size.b_squared, size.g_squared), 0, atol=1e-9)


def test_measured_heterogeneity_bounds_every_visited_model():
    """Logistic regression in NumPy, along the same path; malicious hospitals have no say."""
    data = synthetic_ehr(4, n_med=80, preset="extreme")
    honest = np.array([True, True, False, True])
    spec = Simulation(data, model=bench.benchmark.logistic())
    found = dissimilarity(spec, honest)
    key = keys.purpose(keys.run_key(0), keys.INIT)
    start = spec.local_trainings["all"].problem.init(key, data.x[:1]).params
    w, b = np.asarray(start["head"]["kernel"], float)[:, 0], float(start["head"]["bias"][0])
    norms, spreads = [], []
    for _ in range(60):
        gradients = []
        for c in np.flatnonzero(honest):
            rows = (data.owner == c) & (data.split == 0)
            x, y = data.x[rows].astype(float), data.y[rows]
            error = 1 / (1 + np.exp(-(x @ w + b))) - y
            gradients.append(np.append(x.T @ error, error.sum()) / rows.sum())
        mean = np.mean(gradients, 0)
        norms.append(mean @ mean)
        spreads.append(np.square(np.array(gradients) - mean).sum(1).mean())
        w, b = w - 0.5 * mean[:-1], b - 0.5 * mean[-1]
    slope = max(np.polyfit(norms, spreads, 1)[0], 0)
    np.testing.assert_allclose(found.b_squared, slope, rtol=2e-3, atol=1e-4)
    assert (np.array(spreads) <= (found.g_squared + found.b_squared * np.array(norms)) * 1.001).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": ("mean", "medain")}, "rules: no 'medain'; did you mean 'median'"),
        ({"attacks": ("none", "ALI")}, "attacks: no 'ALI'; did you mean 'ALIE'"),
        ({"settings": "iid"}, "settings='iid': give some of"),
        ({"rules": ("median",)}, "rules need 'mean' and attacks need 'none'"),
        ({"malicious": 0.6}, "malicious=0.6 of 20 hospitals: give a share below 0.5"),
        ({"rounds": 0}, "rounds=0: give a whole number >= 1"),
        ({"rulez": ()}, "no argument 'rulez'; did you mean 'rules'"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InvalidInput, match=message):
        bench.aggregators(**changes)


def test_a_defence_that_cannot_work_is_left_out_with_the_reason():
    grid = bench.grid_of(rules=("mean", "multi-Krum"), before=("bucketing", "none"), hospitals=5, seeds=1)
    _, impossible = bench.benchmark.defences_of(grid, settings_of(grid)[0])
    assert "needs at least 5 uploads, and there are 3" in impossible["bucketing + multi-Krum"]


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr("jaxfed.use_cpu_devices", lambda: None)
    return lambda *arguments: _typed(monkeypatch, *arguments)


def _typed(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["jaxfed", "bench", "aggregators", *arguments])
    cli.main()


def test_the_command(command, tmp_path, capsys):
    few = ["--rules", "mean", "median", "--before", "none", "--attacks", "none", "mimic", "--settings", "iid"]
    small = ["--hospitals", "5", "--rounds", "1", "--eval-every", "1", "--seeds", "1", "--out", str(tmp_path)]
    command(*few, *small)
    printed = capsys.readouterr().out
    assert "report.html" in printed
    assert "Measured B^2" in printed
    assert (tmp_path / "report.html").exists()
    with pytest.raises(SystemExit, match="holds other results"):
        command(*few, *small, "--malicious", "0.3")
    with pytest.raises(SystemExit, match="jaxfed: bench: rules: no 'kurm'; choose from"):
        command(*small, "--rules", "mean", "kurm")
