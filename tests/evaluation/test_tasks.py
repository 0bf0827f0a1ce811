"""Tasks as objects: a user's own, users' metrics, and nobody who asks a task for its name."""

import ast
import json
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import hospitals

import jaxfed
from jaxfed.core.metrics.metric import SUFFIXES, Scoring
from jaxfed.core.metrics.segments import named_means
from jaxfed.core.tasks import BINARY, MULTICLASS, REGRESSION, TASKS
from jaxfed.data import from_arrays
from jaxfed.records.columns import across_hospitals
from jaxfed.records.ranking import KINDS
from jaxfed.results.run import Run

HERE = Path(jaxfed.__file__).parent
RATE = "client_optimizer.learning_rate"


def poisson_losses(outputs, y, mask):
    eta = outputs.reshape(len(outputs))
    return jnp.exp(eta) - y * eta


def poisson_measures(outputs, losses, y, segment, segments):
    error = jnp.abs(jnp.exp(outputs.reshape(len(outputs))) - y)
    return named_means(segment, segments, poisson_loss=losses, error=error)


def whole(y):
    fine = (y >= 0).all() and (y == np.round(y)).all()
    return None if fine else "y has numbers that are no counts; give counts"


COUNTS = jaxfed.Task(
    name="counts",
    losses=poisson_losses,
    loss="poisson_loss",
    measures=poisson_measures,
    first="error",
    labels=(("error", "error of the count"),),
    check=whole,
)


def f2(outputs, y, mask):
    said = (outputs.reshape(len(outputs)) > 0) * mask
    right = (said * y).sum()
    return 5 * right / jnp.maximum(4 * (y * mask).sum() + said.sum(), 1e-9)


def missed(outputs, y, mask):
    """The share of rows that are positive and missed: less is better."""
    return ((outputs.reshape(len(outputs)) <= 0) * y * mask).sum() / mask.sum()


METRICS = {"f2": f2, "missed": jaxfed.Metric(missed, higher_is_better=False, label="missed share")}


def counted(sizes=(40, 30, 20)):
    rng = np.random.default_rng(0)
    pairs = {}
    for c, n in enumerate(sizes):
        x = rng.normal(size=(n, 2)).astype(np.float32)
        pairs[f"hospital {c}"] = x, rng.poisson(np.exp(0.5 * x[:, 0] + 0.2))
    return from_arrays(pairs, task=COUNTS, split=(0.5, 0.25, 0.25))


def sim_of(data, **more):
    settings = {"model": nn.Dense(data.outputs), "batch_size": 8, "splits": ("validation", "test")}
    return jaxfed.Simulation(data, **{**settings, **more})


def binary(sizes=(40, 30, 20), **more):
    rng = np.random.default_rng(1)
    pairs = {
        f"hospital {c}": (
            (x := rng.normal(size=(n, 2)).astype(np.float32)),
            ((x[:, 0] + rng.normal(size=n) > 0).astype(int)),
        )
        for c, n in enumerate(sizes)
    }
    return sim_of(from_arrays(pairs, split=(0.5, 0.25, 0.25)), metrics=METRICS, **more)


def oracle(sim, variables, split):
    """NumPy's numbers: ``name: ([C], pooled)``."""
    data = sim.hospitals
    kernel, bias = (np.asarray(variables.params[name]) for name in ("kernel", "bias"))
    said = (np.asarray(data.x) @ kernel + bias)[:, 0] > 0
    found = {"f2": [], "missed": []}
    for inside in [*(data.owner == c for c in range(len(data))), np.ones(len(data.y), bool)]:
        s, y = (values[inside & (data.split == split)] for values in (said, data.y > 0))
        hit, wrong, lost = (s & y).sum(), (s & ~y).sum(), (~s & y).sum()
        found["f2"].append(5 * hit / max(5 * hit + 4 * lost + wrong, 1e-9) if len(y) else np.nan)
        found["missed"].append(lost / len(y) if len(y) else np.nan)
    return found


def test_a_task_is_its_name_and_hashable():
    assert BINARY == "binary"
    assert BINARY != "regression"
    assert hospitals(task="regression").task == "regression"
    assert hospitals().task is BINARY
    assert str(MULTICLASS) == f"{MULTICLASS}" == "multiclass"
    assert len({*TASKS.values(), BINARY}) == 5
    other = jaxfed.Task(name="binary", losses=poisson_losses, loss="poisson_loss")
    assert other != BINARY  # of the same name, but another task
    assert other == jaxfed.Task(name="binary", losses=poisson_losses, loss="poisson_loss")
    names = r"'binary', 'multiclass', 'regression', 'survival', 'survival-efron', or a jaxfed\.Task"
    with pytest.raises(jaxfed.InvalidInput, match=names):
        hospitals().replace(task="binray")


def test_a_users_task_end_to_end(tmp_path):
    sim = sim_of(counted(), client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.05))
    run = sim.run(2, progress=False)
    frame = run.to_frame()
    assert {"poisson_loss", "error", "error_worst", "poisson_loss_pooled"} <= {*frame}
    data = sim.hospitals
    eta = np.asarray(data.x) @ np.asarray(run.variables.params["kernel"]) + np.asarray(
        run.variables.params["bias"]
    )
    losses, test = np.exp(eta[:, 0]) - data.y * eta[:, 0], data.split == 2
    expected = [losses[test & (data.owner == c)].mean() for c in range(3)]
    np.testing.assert_allclose(run.hospitals()["poisson_loss"], expected, rtol=1e-4)
    assert run.history.pooled["poisson_loss"][-1, 1] == pytest.approx(losses[test].mean(), rel=1e-4)
    pooled = run.history.pooled["poisson_loss"]
    assert pooled[-1, 0] < pooled[0, 0]  # it learns
    assert frame["error_worst"].iloc[-1] == run.hospitals()["error"].max()
    assert "prevalence" not in run.hospitals()
    assert "error" in repr(run)
    assert "poisson_loss" in run._repr_html_()
    again = Run.load(run.save(tmp_path))
    assert again.history.task == "counts"
    assert again.history.scoring == COUNTS.scoring
    assert "error of the count" in again.plot().axes[0].get_ylabel()


def test_a_users_task_in_a_sweep(tmp_path):
    found = sim_of(counted()).sweep({RATE: [0.01, 0.05]}, 2, progress=False)
    assert (found.loss, found.primary) == ("poisson_loss_pooled", "error")
    assert found.best().metric == "poisson_loss_pooled"
    assert type(found).load(found.save(tmp_path)).scoring == COUNTS.scoring


def test_a_users_task_may_have_no_more_than_losses():
    task = jaxfed.Task(name="bare", losses=REGRESSION.losses, loss="half")
    run = sim_of(hospitals((9, 9), test=3, task="regression").replace(task=task), splits=("test",)).run(
        1, progress=False
    )
    assert [*run.history.single] == ["half"]


def test_a_users_task_checks_labels():
    with pytest.raises(
        jaxfed.InvalidInput, match="hospital 'a': y has numbers that are no counts; give counts"
    ):
        from_arrays({"a": (np.zeros((4, 1)), np.arange(4) / 3)}, task=COUNTS)


def test_a_loss_sees_which_rows_are_real():
    """A loss that divides by how many real rows there are is not that of padding."""

    def losses(outputs, y, mask):
        count = len(y) if mask is None else mask.sum()
        return REGRESSION.losses(outputs, y, mask) * count

    task = jaxfed.Task(name="masked", losses=losses, loss="weighted")
    data = hospitals((5,), test=2, task="regression").replace(task=task)
    few, many = (sim_of(data, splits=("test",), batch_size=size).run(1, progress=False) for size in (5, 64))
    first = few.history.training["loss"][0, 0]
    assert many.history.training["loss"][0, 0] == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("personal", [False, True])
def test_a_users_metric_is_that_of_numpy(personal):
    sim = binary() if not personal else binary(algorithm=jaxfed.LocalOnly())
    run = sim.run(2, progress=False)
    if personal:
        return np.testing.assert_array_less(0, run.hospitals()["f2"])
    for s, split in enumerate((1, 2)):
        for name, values in oracle(sim, run.variables, split).items():
            np.testing.assert_allclose(run.history.single[name][-1, :, s], values[:-1], rtol=1e-5)
            assert run.history.pooled[name][-1, s] == pytest.approx(values[-1], rel=1e-5)
    frame, test = run.to_frame(), run.hospitals()
    last = frame.iloc[-1]
    assert last["f2_worst"] == pytest.approx(test["f2"].min())
    assert last["missed_worst"] == pytest.approx(test["missed"].max())
    assert "missed share" in run.plot("missed").axes[0].get_ylabel()


def test_a_users_metric_has_nan_without_rows_and_sees_nothing_of_others():
    said = jnp.array([[1.0], [jnp.nan], [2.0]])
    found = jaxfed.Metric(lambda outputs, y, mask: outputs.sum()).by_segment(
        said, jnp.ones(3), jnp.array([0, 3, 2]), 3
    )
    np.testing.assert_array_equal(found, [1, np.nan, 2])


def test_a_users_metric_in_a_sweep_is_that_of_single_runs(tmp_path):
    sim = binary()
    found = sim.sweep({RATE: [0.01, 0.5], "seed": [0, 1]}, 2, together=2, progress=False)
    for i, rate in enumerate([0.01, 0.5]):
        run = sim.replace(**{RATE: rate}).run(2, progress=False, seed=1)
        for name in METRICS:
            np.testing.assert_allclose(
                found.data[name].to_numpy()[i, 1], run.history.single[name].transpose(0, 2, 1), rtol=1e-5
            )
            np.testing.assert_allclose(
                found.data[f"{name}_pooled"].to_numpy()[i, 1], run.history.pooled[name], rtol=1e-5
            )
    again = type(found).load(found.save(tmp_path))
    for sweep in (found, again):
        frame = sweep.to_frame()
        last = frame[(frame["round"] == 2) & (frame["split"] == "validation")].groupby(RATE)
        for name, extreme in (("f2", "idxmax"), ("missed", "idxmin")):
            assert sweep.best(name).settings[RATE] == pytest.approx(getattr(last[name].mean(), extreme)())
        assert sweep.best("missed").scoring.label("missed") == "missed share"
        assert "missed share" in repr(sweep.best("missed"))
        assert sweep.plot("missed_worst") is not None


def test_halving_by_a_users_metric():
    sim = binary()
    for name, pick in (("f2", np.argmax), ("missed", np.argmin)):
        found = sim.sweep(
            {RATE: [1e-6, 0.5]}, 3, halving=jaxfed.Halving(1, eta=2, metric=name), progress=False
        )
        scores = found.data[name].sel(split="validation", round=1).mean("hospital").to_numpy()
        assert int(found.data["rounds_done"].to_numpy().argmax()) == pick(scores)


def test_users_metrics_are_saved_with_runs(tmp_path):
    run = binary().run(1, progress=False)
    again = Run.load(run.save(tmp_path))
    np.testing.assert_array_equal(again.history.single["f2"], run.history.single["f2"])
    assert again.history.scoring == run.history.scoring
    assert again.to_frame()["missed_worst"].equals(run.to_frame()["missed_worst"])
    assert (
        Scoring.from_json(json.loads((tmp_path / "run.json").read_text())["scoring"]) == run.history.scoring
    )


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"auroc": f2}, "binary data have a metric 'auroc'; give yours another name"),
        ({"f2_worst": f2}, "'f2_worst' ends in '_worst'"),
        ({"prevalence": f2}, "'my_prevalence'"),
        ({"steps": f2}, "'my_steps'"),
        ({"f 2": f2}, "letters, digits and underscores"),
        ({"f2": 3}, r"give a function \(outputs, y, mask\) -> scalar"),
        ({"f2": lambda outputs, y, mask: outputs}, r"it gives shape \(2, 1\)"),
        ({"f2": lambda outputs, y: 0.0}, "it fails: TypeError"),
        ([f2], "give {name: function}"),
    ],
)
def test_names_that_clash_are_refused(metrics, message):
    with pytest.raises(jaxfed.InvalidInput, match=message):
        sim_of(hospitals((9, 9), test=3), metrics=metrics, splits=("test",))


def test_a_task_that_lacks_its_metrics_is_refused():
    task = jaxfed.Task(name="odd", losses=poisson_losses, loss="nothing", measures=poisson_measures)
    with pytest.raises(jaxfed.InvalidInput, match="measures give error, poisson_loss and not nothing"):
        sim_of(hospitals((9, 9), test=3, task="regression").replace(task=task), splits=("test",))


def test_suffixes_are_those_of_the_tables():
    columns = across_hospitals("auroc", np.zeros(2), np.ones(2), BINARY.scoring)
    assert {*SUFFIXES} == {name.removeprefix("auroc") for name in columns} - {""} | {"_pooled"}
    assert {*KINDS} - {""} <= {*SUFFIXES}


def test_nobody_asks_a_task_for_its_name():
    """Strings that are names of tasks are compared, looked up or listed in the tasks' own files only."""
    for path in sorted(HERE.rglob("*.py")):
        if path.parent == HERE / "core" / "tasks":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            parts = []
            if isinstance(node, ast.Compare):
                parts = [node.left, *node.comparators]
            elif isinstance(node, ast.Dict):
                parts = [key for key in node.keys if key is not None]
            elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") != "Literal":
                parts = [node.slice]
            elif isinstance(node, ast.MatchValue):
                parts = [node.value]
            texts = {n.value for part in parts for n in ast.walk(part) if isinstance(n, ast.Constant)}
            clash = texts & {*TASKS, *(task.loss for task in TASKS.values())}
            assert not clash or path.name == "oracle.py", f"{path}:{node.lineno}: {clash}"
