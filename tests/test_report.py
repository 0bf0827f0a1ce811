"""Tables, figures and pages made of runs and of algorithms."""

import numpy as np
import optax
import pytest
from algorithms_page import COMPUTE, GROUPS, PAGE, page
from federations import hospitals
from matplotlib.figure import Figure

import jaxfed
from jaxfed import algorithms
from jaxfed.algorithms import mixed
from jaxfed.cli import methods as bench
from jaxfed.core.dataset import Dataset
from jaxfed.figures.methods import convergence_panels
from jaxfed.figures.runs import comparison_figure
from jaxfed.models import logistic, mlp
from jaxfed.pages.axes import subplots
from jaxfed.spec.costs import costs_of_groups


def test_the_page_of_algorithms_is_up_to_date():
    assert PAGE.read_text() == page(), "run python docs/algorithms_page.py"
    assert set(COMPUTE) <= set(algorithms.__all__) | set(mixed.__all__)
    assert {name.split("(")[0] for name in GROUPS} == set(mixed.__all__)


@pytest.mark.parametrize(
    ("algorithm", "up", "down", "kept"),
    [
        (algorithms.FedAvg(), 1, 1, 0),
        (algorithms.FedAvg(server_optimizer=jaxfed.optimizer(optax.adam, learning_rate=0.1)), 1, 1, 0),
        (algorithms.Scaffold(), 2, 2, 1),
        (algorithms.Ditto(), 1, 1, 1),
        (algorithms.IFCA(clusters=3), 3, 3, 0),
        (algorithms.LocalOnly(), 0, 0, 1),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_costs_in_models(algorithm, up, down, kept):
    data = hospitals((6, 5))
    sim = jaxfed.Simulation(data, jaxfed.models.mlp(32), algorithm)
    found = costs_of_groups(sim.recipe, data.x, data.y)[0]
    assert found.model == 4 * sum(n * m for n, m in ((data.x.shape[1] + 1, 32), (33, 1)))
    small = 3 * 4  # a few numbers beside models
    assert abs(found.upload - up * found.model) <= small
    assert abs(found.download - down * found.model) <= small
    assert abs(found.state - kept * found.model) <= small


PUBLIC = np.zeros((50, 3), np.float32)
SMALL, LARGE = 4 * (3 + 1), 4 * (4 * 3 + 3 + 1)  # bytes of models of three features


@pytest.mark.parametrize(
    ("algorithm", "up", "down", "kept"),
    [
        (mixed.FedMD(PUBLIC), (200, 200), (212, 212), (SMALL, LARGE)),
        (mixed.FedMD(PUBLIC, rows=10), (40, 40), (52, 52), (SMALL, LARGE)),
        (mixed.DSFL(PUBLIC), (200, 200), (212, 212), (SMALL, LARGE)),
        (mixed.FedDF(PUBLIC), (SMALL, LARGE), (SMALL, LARGE), (0, 0)),
        (mixed.FedProto(), (32, 32), (32, 32), (SMALL, LARGE)),
        (mixed.FML(mlp(1)), (24, 24), (24, 24), (SMALL, LARGE)),
        (mixed.ByGroup(algorithms.LocalOnly()), (0, 0), (0, 0), (SMALL, LARGE)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)
def test_bytes_of_hospitals_with_different_models(algorithm, up, down, kept):
    models, data = {"small": logistic(), "large": mlp(3)}, hospitals((6, 5, 3), test=1)
    sim = jaxfed.Simulation(data, models=models, groups=["large", "small", "large"], algorithm=algorithm,
                            splits=("test",))  # fmt: skip
    table = sim.costs()
    assert table["model"].tolist() == [LARGE, SMALL, LARGE]
    for column, (small, large) in (("upload", up), ("download", down), ("state", kept)):
        assert table[column].tolist() == [large, small, large]


def test_compare():
    sim = jaxfed.Simulation(hospitals((30, 20, 25), test=12), jaxfed.models.logistic(), splits=("test",))
    runs = {"one": sim.run(3, progress=False), "two": sim.run(3, seed=1, progress=False)}
    table = jaxfed.compare(runs, against="one")
    assert table.index.tolist() == ["one", "two"]
    own, other = (runs[name].hospitals()["auroc"] for name in ("two", "one"))
    assert table.loc["two", "better_off"] == np.mean(own > other)
    assert np.isnan(table.loc["one", "better_off"])
    assert table.loc["two", "auroc"] == pytest.approx(own.mean())
    assert table["round"].tolist() == [3, 3]
    assert isinstance(comparison_figure({name: run.history for name, run in runs.items()}), Figure)


def test_the_best_round_is_chosen_on_validation_rows():
    sim = jaxfed.Simulation(
        jaxfed.data.synthetic_ehr(6, sizes="equal", n_med=60, seed=1),
        jaxfed.models.mlp(32),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=1.0),
        epochs=20,
        batch_size=4,
    )
    run = sim.run(6, progress=False)
    losses = run.history.pooled["log_loss"]
    best, last = (jaxfed.compare({"run": run}, at=at).loc["run"] for at in ("best", "last"))
    assert best["round"] == losses[:, 0].argmin() < last["round"] == 6
    frame = run.hospitals("test", "best")
    np.testing.assert_array_equal(frame["log_loss"], run.history.single["log_loss"][int(best["round"]), :, 1])


def test_the_convergence_benchmark_at_small_size(monkeypatch):
    def few(size: int, seed: int = 0) -> dict[str, Dataset]:
        return {"iid": jaxfed.data.synthetic_ehr(size, preset="iid", sizes="equal", n_med=50, seed=seed)}

    monkeypatch.setattr(bench, "hospitals_of", few)
    curves, summary = bench.run(["FedAvg", "FedProx"], hospitals=3, rounds=4, seeds=2)
    assert summary["method"].tolist() == ["FedAvg", "FedProx"]
    assert len(curves) == 2 * 2 * 3
    ends = curves[(curves["method"] == "FedAvg") & (curves["round"] == 4)]
    assert summary.loc[0, "log loss"] == pytest.approx(ends["log loss"].mean())
    reached = summary.loc[0, "rounds to FedAvg's end"]
    assert summary.loc[0, "MB to FedAvg's end"] == pytest.approx(
        reached * summary.loc[0, "bytes per round"] / 1e6
    )
    assert isinstance(convergence_panels(curves), Figure)


def test_a_notebook_shows_a_figure_without_pyplot():
    figure, _ = subplots(1)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_compare_pairs_hospitals_by_name():
    """The same hospitals in another order change no gain."""
    data = hospitals((9, 8, 7, 6, 12, 10), test=9)
    how = {"model": jaxfed.models.logistic(), "devices": 1}
    ours = jaxfed.Simulation(data, **how).run(3, progress=False)
    here, there = (
        jaxfed.Simulation(each, algorithm=jaxfed.LocalOnly(), **how).run(3, progress=False)
        for each in (data, data.select(data.hospitals[::-1]))
    )
    a, b = (run.hospitals(at="best")["auroc"] for run in (ours, here))
    by_name = float((a > b.loc[a.index]).mean())
    gains = [
        jaxfed.compare({"a": ours, "b": other}, against="b")["better_off"]["a"] for other in (here, there)
    ]
    assert gains == [by_name, by_name]


def test_hospitals_without_the_metric_are_neither_better_nor_worse_off():
    """One class in a hospital's test rows: no AUROC in either run."""
    data = hospitals(test=6)
    y = np.where((data.owner == 0) & (data.split == 2), 1, data.y)
    sim = jaxfed.Simulation(
        data.replace(y=y), model=jaxfed.models.logistic(), batch_size=None, splits=("test",)
    )
    runs = {"a": sim.run(0, seed=0, progress=False), "b": sim.run(0, seed=1, progress=False)}
    shares = []
    for name, other in (("a", "b"), ("b", "a")):
        ours, theirs = (runs[run].hospitals()["auroc"].to_numpy() for run in (name, other))
        assert np.isnan(ours[0])
        shares.append(jaxfed.compare(runs, against=other)["better_off"][name])
        assert shares[-1] == np.mean(ours[1:] > theirs[1:])
    assert sum(shares) > 0
