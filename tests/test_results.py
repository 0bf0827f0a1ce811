import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import hospitals, same
from flax import nnx
from matplotlib.figure import Figure

import jaxfed
from jaxfed import Run, Simulation
from jaxfed.storage.npz import load_arrays, load_tree, save_arrays, save_tree


def run_of(data=None, **changes):
    how = {"model": jaxfed.models.logistic(), "batch_size": None, "splits": ("test",), "devices": 1}
    sim = Simulation(data or hospitals(test=6), **{**how, **changes})
    return sim.run(2, progress=False)


@pytest.fixture(scope="module")
def run():
    return run_of()


@pytest.mark.parametrize("personal", [False, True])
def test_saved_and_loaded(run, personal, tmp_path):
    run = run_of(algorithm=jaxfed.LocalOnly()) if personal else run
    found = Run.load(run.save(tmp_path / "a" / "run"))
    assert jax.tree.structure(found.variables) == jax.tree.structure(run.variables)
    same(found.variables, run.variables)
    for name in ("rows", "rate", "evaluated", "refused", "single", "pooled", "training"):
        old, new = getattr(run.history, name), getattr(found.history, name)
        assert jax.tree.map(lambda leaf: leaf.dtype, old) == jax.tree.map(lambda leaf: leaf.dtype, new)
        jax.tree.map(np.testing.assert_array_equal, old, new)
    assert found.history.hospitals == run.history.hospitals
    assert found.history.splits == run.history.splits
    assert found.config == run.config
    assert found.provenance == run.provenance
    assert found.personal is personal
    assert found.to_frame().equals(run.to_frame())
    assert repr(found) == repr(run)
    assert found.state is None
    assert found.save(tmp_path / "again").exists()


def test_what_is_written(run, tmp_path):
    folder = run.save(tmp_path / "run")
    assert sorted(path.name for path in folder.iterdir()) == [
        "convergence.png",
        "history.npz",
        "hospitals.png",
        "hospitals_test.csv",
        "parameters.npz",
        "parameters_last.npz",
        "rounds.csv",
        "run.json",
    ]
    for name in ("history.npz", "parameters.npz"):
        with np.load(folder / name, allow_pickle=False) as stored:
            assert all(stored[key].dtype != object for key in stored.files)
    assert (folder / "rounds.csv").read_text().count("\n") == 1 + len(run.to_frame())
    config = json.loads((folder / "run.json").read_text())["config"]
    assert config["rounds"] == 2
    assert config["batch_size"] is None


def test_other_splits_can_be_saved(tmp_path):
    data = hospitals(test=6)
    run = run_of(data.replace(split=np.minimum(data.split, 1)), splits=("validation",))
    assert (run.save(tmp_path / "run") / "hospitals_validation.csv").exists()
    assert isinstance(run.plot(), Figure)


def test_trees_of_any_type_and_depth(tmp_path):
    """bfloat16, integers as keys (nnx lists), scalars, empty arrays, nested and empty dictionaries."""
    tree = {
        "params": {
            "layers": {0: {"w": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)}, 10: {"w": jnp.ones(())}},
            "a/b": jnp.zeros((0, 3), jnp.int8),
            "half": jnp.float16([1.5, jnp.nan]),
        },
        "stats": {"batch": {"mean": np.float64([1 / 3])}},
    }
    record = json.loads(json.dumps(save_tree(tmp_path / "tree.npz", tree)))
    found = load_tree(tmp_path / "tree.npz", record)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        assert new.dtype == np.asarray(old).dtype
        assert new.shape == np.shape(old)
        assert new.tobytes() == np.asarray(old).tobytes()


def test_named_arrays(tmp_path):
    arrays = {"a/b": np.array([True, False]), "c": np.array([1.5, np.nan])}
    save_arrays(tmp_path / "x.npz", arrays)
    found = load_arrays(tmp_path / "x.npz")
    assert list(found) == list(arrays)
    jax.tree.map(np.testing.assert_array_equal, found, arrays)


def test_models_in_half_precision_and_of_nnx(tmp_path):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(3, 2, rngs=rngs), nnx.Linear(2, 1, rngs=rngs)])

        def __call__(self, x):
            return self.layers[1](nnx.relu(self.layers[0](x)))

    half = nn.Dense(1, param_dtype=jnp.bfloat16)
    for model, dtype in ((half, jnp.bfloat16), (lambda rngs: Net(rngs), jnp.float32)):
        run = run_of(model=model)
        found = Run.load(run.save(tmp_path / "run"))
        assert {leaf.dtype for leaf in jax.tree.leaves(found.variables)} == {jnp.dtype(dtype)}
        assert jax.tree.structure(found.variables) == jax.tree.structure(run.variables)
        same(found.variables, run.variables)


def test_folders_that_cannot_be_read(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run in .*nothing.*run\.json"):
        Run.load(tmp_path / "nothing")
    folder = run.save(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(ValueError, match=r"format 99.*newer"):
        Run.load(folder)


def test_in_words(run):
    last = run.summary()
    assert last["round"] == 2
    text = repr(run)
    assert text.startswith("Run(FedAvg: 5 hospitals, positive class 1, round 2, the last: test auroc mean ")
    assert f"{last['auroc']:.3f}" in text
    assert f"worst {last['auroc_worst']:.3f}" in text
    page = run._repr_html_()
    assert "<b>FedAvg</b>, 5 hospitals, test" in page
    assert "<table" in page
    assert f"{last['auroc_pooled']:.3f}" in page
    assert "log_loss" in page


def test_plots(run):
    for metric in (None, "log_loss"):
        figure = run.plot(metric)
        assert isinstance(figure, Figure)
        assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="no metric 'auc'; there are"):
        run.plot("auc")


def test_a_metric_that_no_hospital_has_can_be_drawn():
    """One class everywhere: AUROC is undefined in every round."""
    data = hospitals(test=6)
    with pytest.warns(UserWarning, match="no hospital has test rows of both classes"):
        run = run_of(data.replace(y=np.ones_like(data.y)))
    assert np.isnan(run.summary()["auroc"])
    assert isinstance(run.plot(), Figure)


def test_a_resumed_run_must_have_a_state(run, tmp_path):
    found = Run.load(run.save(tmp_path / "run"))
    sim = Simulation(hospitals(test=6), model=jaxfed.models.logistic(), batch_size=None, splits=("test",))
    with pytest.raises(jaxfed.InvalidInput, match="no state"):
        sim.run(1, resume=found, progress=False)
