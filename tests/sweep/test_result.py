"""What a sweep says: its table, its best settings, its files; on sweeps made by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray
from sweeps import HOSPITALS, ROWS, made

from jaxfed.core import optional as extras
from jaxfed.core.errors import InvalidInput
from jaxfed.core.tasks import BINARY
from jaxfed.records.history import History
from jaxfed.sweep import Sweep

NAN = float("nan")
STEP, MU = "client_optimizer.learning_rate", "algorithm.mu"


def bowl(settings, round):
    """Best at step 0.1 and mu 0.01, better in later rounds, and each seed is 0.01 worse."""
    step, mu = np.log10(settings.get(STEP, 0.1)) + 1, settings.get(MU, 0.01)
    return 1 - 0.05 * round + 0.1 * step**2 + abs(mu - 0.01) + 0.01 * settings.get("seed", 0)


FIELDS = {STEP: [0.01, 0.1, 1.0], MU: [0.0, 0.01], "seed": [0, 1]}


def test_one_row_per_configuration_round_and_split():
    sweep = made(FIELDS, bowl)
    frame = sweep.to_frame()
    assert len(frame) == 12 * 3 * 2
    assert [*frame.columns[:6]] == ["configuration", STEP, MU, "seed", "round", "split"]
    row = frame[(frame[STEP] == 1.0) & (frame[MU] == 0.0) & (frame["seed"] == 1) & (frame["round"] == 5)]
    expected = bowl({STEP: 1.0, MU: 0.0, "seed": 1}, 5)
    validation, test = row.iloc[0], row.iloc[1]
    assert (validation["split"], test["split"]) == ("validation", "test")
    assert validation["log_loss_pooled"] == pytest.approx(expected)
    assert test["log_loss_pooled"] == pytest.approx(expected + 0.1)
    assert validation["log_loss"] == pytest.approx(expected + 0.05)
    assert validation["log_loss_worst"] == pytest.approx(expected + 0.1)
    assert validation["log_loss_weighted"] == pytest.approx(expected + (20 * 0.05 + 5 * 0.1) / 35)
    assert validation["auroc_worst"] == pytest.approx(0.9 - expected)
    assert validation["auroc_undefined"] == 1


def test_the_table_is_that_of_single_runs():
    """The same arrays as a run's history."""
    sweep = made({STEP: [0.1, 0.3]}, bowl)
    data = sweep.data.isel({STEP: 1})
    names = ("auroc", "log_loss")
    single = {name: data[name].transpose("round", "hospital", "split").to_numpy() for name in names}
    pooled = {name: data[f"{name}_pooled"].to_numpy() for name in names}
    rows, nothing = np.vstack([0 * ROWS[0], ROWS]).T, np.zeros((4, 2))
    history = History(
        hospitals=HOSPITALS,
        task="binary",
        scoring=BINARY.scoring,
        splits=("validation", "test"),
        rows=rows,
        rate=nothing,
        evaluated=data["round"].to_numpy(),
        single=single,
        pooled=pooled,
        training={},
        refused=nothing,
    )
    expected = history.rounds_frame()
    frame = sweep.to_frame()
    frame = frame[frame[STEP] == 0.3].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame[[*expected.columns]], expected)


def test_the_order_of_axes_does_not_matter():
    sweep = made(FIELDS, bowl)
    turned = sweep.data.copy()
    turned["auroc"] = turned["auroc"].transpose("hospital", "seed", "split", MU, STEP, "round")
    turned["rounds_done"] = turned["rounds_done"].transpose("seed", STEP, MU)
    other = Sweep(turned, sweep.config, sweep.provenance)
    pd.testing.assert_frame_equal(other.to_frame(), sweep.to_frame())


def test_rows_may_differ_between_configurations():
    """The data set itself is swept."""
    sweep = made({"hospitals.s_a": [0.0, 1.0]}, bowl)
    double = xarray.DataArray([1, 2], dims="hospitals.s_a") * sweep.data["rows"]
    double[1, 0, 0] = 0  # in the second data set the first hospital has no validation rows
    frame = Sweep(sweep.data.assign(rows=double), {}, {}).to_frame()
    assert frame["auroc_undefined"].tolist() == 6 * [1] + 3 * [2, 1]


@pytest.mark.parametrize("zipped", [False, True])
def test_the_best_is_chosen_on_validation_and_reported_on_test(zipped):
    fields = {STEP: [0.01, 0.1, 1.0], MU: [0.0, 0.01, 0.1]}
    best = made(fields, bowl, zipped=zipped).best()
    assert best.settings == {STEP: 0.1, MU: 0.01}
    assert [type(value) for value in best.settings.values()] == [float, float]
    assert (best.round, best.metric, best.by) == (10, "log_loss_pooled", "validation")
    assert best.validation == pytest.approx(0.5)
    assert best.test == pytest.approx(0.6)
    assert best.value("auroc") == pytest.approx(0.35)


def test_test_rows_have_no_say():
    sweep = made({STEP: [0.01, 0.1]}, bowl)
    loss = sweep.data["log_loss_pooled"].copy()
    loss.loc[{STEP: 0.01, "split": "test"}] = -9
    best = Sweep(sweep.data.assign(log_loss_pooled=loss), {}, {}).best()
    assert best.settings == {STEP: 0.1}
    with pytest.raises(InvalidInput, match="chosen on test rows look better"):
        sweep.best(by="test")


@pytest.mark.parametrize(
    "metric", ["auroc", "auroc_worst", "auroc_pooled", "log_loss", "log_loss_worst_decile"]
)
def test_the_metric_says_which_way_is_better(metric):
    assert made(FIELDS, bowl).best(metric).settings == {STEP: 0.1, MU: 0.01}


def test_seeds_are_averaged():
    """With one seed 0.01 would win, on average 0.1 does."""
    losses = {0.01: (0.1, 0.9), 0.1: (0.3, 0.4)}
    sweep = made({STEP: [*losses], "seed": [0, 1]}, lambda s, r: losses[s[STEP]][s["seed"]])
    best = sweep.best()
    assert best.settings == {STEP: 0.1}
    assert (best.seeds, best.dead) == (2, 0)
    assert best.validation == pytest.approx(0.35)
    assert len(best.rows) == 4


def test_settings_with_dead_seeds_are_not_silently_better():
    """The bowl's best step loses one of its seeds; what is left of it has the lowest loss of all."""
    sweep = made(FIELDS, bowl, died=lambda s: 7.0 if s[STEP] == 0.1 and s["seed"] == 1 else NAN)
    best = sweep.best()
    assert best.settings == {STEP: 0.01, MU: 0.01}
    assert (best.seeds, best.dead) == (2, 0)
    table = sweep.ranking()
    assert table[STEP].tolist() == [0.01, 1.0, 0.01, 1.0, 0.1, 0.1]
    assert table["dead"].tolist() == [0, 0, 0, 0, 1, 1]
    assert table["seeds"].tolist() == [2, 2, 2, 2, 1, 1]
    assert sweep.best(at="best").settings == {STEP: 0.01, MU: 0.01}
    early = sweep.data.sel(round=[0, 5])  # before the death
    assert Sweep(early, {}, {}).best().settings == {STEP: 0.1, MU: 0.01}


def test_nothing_is_said_of_the_dead():
    """What a frozen configuration measures after its death looks like a result and is none."""
    sweep = made({STEP: [0.1, 1.0]}, lambda s, r: s[STEP], died=lambda s: 5.0 if s[STEP] == 0.1 else NAN)
    assert sweep.best().settings == {STEP: 1.0}
    frame = sweep.to_frame()
    dead = frame[frame[STEP] == 0.1]
    assert dead["log_loss"].notna().tolist() == [True, True, False, False, False, False]
    assert dead["auroc_undefined"].tolist() == [1, 1, 4, 4, 4, 4]
    assert dead["diverged"].tolist() == 6 * [5.0]
    assert sweep.dead == 1
    assert "1 diverged" in repr(sweep)


def test_metrics_that_are_not_finite_count_as_dead():
    sweep = made({STEP: [0.1, 1.0]}, lambda s, r: np.inf if s[STEP] > 0.5 else 0.7)
    assert sweep.best().settings == {STEP: 0.1}
    assert sweep.best("auroc").settings == {STEP: 0.1}


def test_all_dead():
    sweep = made({STEP: [0.1, 1.0]}, bowl, died=lambda s: 3.0 + s[STEP])
    with pytest.raises(InvalidInput, match=r"the first diverged in round 3\.1"):
        sweep.best()
    assert sweep.best(at="best").round == 0
    assert "best" not in repr(sweep).lower()


def test_the_best_round():
    """0.1 overfits after round 5, and is best of all there."""
    losses = {0.01: (1.0, 0.8, 0.6), 0.1: (1.0, 0.5, 0.9)}
    sweep = made({STEP: [*losses]}, lambda s, r: losses[s[STEP]][r // 5])
    assert (sweep.best().settings, sweep.best().round) == ({STEP: 0.01}, 10)
    assert (sweep.best(at="best").settings, sweep.best(at="best").round) == ({STEP: 0.1}, 5)
    assert sweep.ranking(at="best")["round"].tolist() == [5, 10]


def test_the_first_of_equals():
    assert made({STEP: [0.3, 0.1, 0.2]}, lambda s, r: 0.5).best().settings == {STEP: 0.3}


def test_the_ranking():
    sweep = made(FIELDS, bowl)
    table = sweep.ranking()
    assert len(table) == 6
    assert {*table.columns} == {
        STEP, MU, "round", "validation log_loss_pooled", "validation sd", "test log_loss_pooled", "test sd",
        "seeds", "dead",
    }  # fmt: skip
    first, best = table.iloc[0], sweep.best()
    assert {name: first[name] for name in best.settings} == best.settings
    assert first["validation log_loss_pooled"] == pytest.approx(best.validation)
    assert first["test log_loss_pooled"] == pytest.approx(best.test)
    assert first["test sd"] == pytest.approx(0.01 / np.sqrt(2))
    assert table["validation log_loss_pooled"].is_monotonic_increasing


def test_only_seeds():
    best = made({"seed": range(5)}, bowl).best()
    assert (best.settings, best.seeds) == ({}, 5)
    assert best.validation == pytest.approx(0.52)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metric": "auorc"}, "did you mean 'auroc'"),
        ({"metric": "auroc_sd"}, "auroc"),
        ({"metric": "log_loss_undefined"}, "log_loss"),
        ({"by": "train"}, "evaluated on validation, test"),
    ],
)
def test_what_cannot_be_chosen_by(arguments, said):
    with pytest.raises(InvalidInput, match=said):
        made(FIELDS, bowl).best(**arguments)


def test_without_validation_rows():
    sweep = made({STEP: [0.1]}, bowl, splits=("train",))
    assert sweep.best(by="train").settings == {STEP: 0.1}
    with pytest.raises(InvalidInput, match="splits="):
        sweep.best()
    assert repr(sweep)


def test_in_words():
    sweep = made(FIELDS, bowl, died=lambda s: 5.0 if s[STEP] == 1.0 else NAN)
    text = repr(sweep)
    for part in (f"12 configurations of {STEP} (3) x {MU} (2) x seed (2)", "10 rounds", "4 hospitals"):
        assert part in text
    for part in ("4 diverged", f"{STEP}=0.1, {MU}=0.01", "test 0.605", "2 seeds", "3.0 s"):
        assert part in text
    page = sweep._repr_html_()
    for part in (STEP, "0.01, 0.1, 1.0", "0.605", "4 diverged"):
        assert part in page


FILES = {
    "grid": made(FIELDS, bowl, died=lambda s: 5.0 if s[STEP] == 1.0 else NAN),
    "strings": made({"model": ["mlp(64)", "größer"], "seed": [3, 2**31 - 1]}, bowl),
    "zip": made({"seed": [3, 1, 2], MU: [0.5, 0.1, 0.1], "b": [True, False, True]}, bowl, zipped=True),
}


@pytest.mark.parametrize("name", FILES)
def test_saved_and_loaded(name, tmp_path):
    sweep = FILES[name]
    for path in (tmp_path / "folder", tmp_path / "new" / "sweep.nc"):
        assert sweep.save(path) == path
        loaded = Sweep.load(path)
        xarray.testing.assert_identical(loaded.data, sweep.data)
        assert [*loaded.fields] == [*sweep.fields]
        assert {n: v.dtype for n, v in loaded.data.variables.items() if v.dtype.kind != "U"} == {
            n: v.dtype for n, v in sweep.data.variables.items() if v.dtype.kind != "U"
        }
        assert (loaded.config, loaded.provenance) == (sweep.config, sweep.provenance)
        pd.testing.assert_frame_equal(loaded.to_frame(), sweep.to_frame())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sweep.nc"]
    table = pd.read_csv(tmp_path / "folder" / "rounds.csv")
    assert len(table) == len(sweep.to_frame())
    assert (tmp_path / "folder" / "sweep.png").stat().st_size > 0


def test_files_that_are_no_sweep(tmp_path):
    path = made({STEP: [0.1]}, bowl).save(tmp_path / "sweep.nc")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Sweep.load(tmp_path / "nowhere")
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no" + whole):
        path.write_bytes(damaged)
        with pytest.raises(InvalidInput, match="not a whole netCDF file"):
            Sweep.load(path)
    xarray.Dataset({"a": 1}).to_netcdf(path, engine="scipy")
    with pytest.raises(InvalidInput, match="format None"):
        Sweep.load(path)
    xarray.Dataset(attrs={"jaxfed_sweep_format": 2}).to_netcdf(path, engine="scipy")
    with pytest.raises(InvalidInput, match="use the jaxfed that wrote it"):
        Sweep.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = made({STEP: [0.1]}, bowl).save(tmp_path / "sweep.nc")
    before = path.read_bytes()
    bad = Sweep(made({STEP: [0.1]}, bowl).data, {"not plain": {1, 2}}, {})
    with pytest.raises(TypeError):
        bad.save(path)
    too_long = made({"seed": [2**40]}, bowl)
    with pytest.raises(ValueError, match="int"):
        too_long.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.nc"]


def test_data_that_are_no_sweep():
    data = made({STEP: [0.1]}, bowl).data
    with pytest.raises(InvalidInput, match="lacks diverged, rows"):
        Sweep(data.drop_vars(["diverged", "rows"]), {}, {})


def test_an_extra_that_is_not_there():
    with pytest.raises(
        ImportError, match=r"sweeping needs xarrai; install it with: pip install 'jaxfed\[sweep\]'"
    ):
        extras.needs("xarrai.core", "sweep", "sweeping")


def test_attributes_are_json(tmp_path):
    stored = xarray.load_dataset(FILES["zip"].save(tmp_path / "sweep.nc"), engine="scipy")
    assert json.loads(stored.attrs["config"]) == FILES["zip"].config


@pytest.mark.parametrize(
    ("values", "edge"),
    [
        ([0.01, 0.1, 1.0], None),
        ([0.1, 1.0, 3.0], "smallest"),
        ([0.001, 0.01, 0.1], "largest"),
        ([0.01, 0.1], None),  # two values have no middle
    ],
)
def test_a_best_value_at_the_edge_of_the_grid_is_said(values, edge):
    """The bowl is lowest at 0.1; mu is best at 0.01, in the middle."""
    best = made({STEP: values, MU: [0.0, 0.01, 0.1]}, bowl).best()
    assert best.edges == ({STEP: edge} if edge else {})
    assert (f"{STEP} is the {edge} that was tried: try beyond it" in repr(best)) is (edge is not None)


def test_zero_is_no_edge():
    best = made({MU: [0.0, 0.01, 0.1]}, lambda settings, _: settings[MU]).best()
    assert best.settings == {MU: 0.0}
    assert best.edges == {}


def test_a_seed_with_an_infinite_loss_is_left_out_of_the_best_value():
    losses = {(0.1, 0): 0.3, (0.1, 1): np.inf}
    sweep = made({STEP: [0.1], "seed": [0, 1]}, lambda s, r: losses[s[STEP], s["seed"]] if r else 0.7)
    best = sweep.best()
    assert (best.seeds, best.dead) == (1, 1)
    assert best.validation == pytest.approx(0.3)
