"""Simulations of hospitals with different models: what users give, and what they get."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from federations import hospitals

import jaxfed
from jaxfed.algorithms import FedAvg, Mime
from jaxfed.algorithms.mixed import DSFL, FML, ByGroup, FedDF, FedMD, FedProto
from jaxfed.models import logistic, mlp

PUBLIC = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
MODELS = {"clinic": logistic(), "university": mlp(3)}
GROUPS = {f"hospital {c}": "clinic" if c in (0, 2) else "university" for c in range(5)}


class Unlike(FedProto):
    """The common form is the model, which differs between groups."""

    def begin(self, local, variables, x, key):
        return variables


def simulation(**changes):
    given = {
        "models": MODELS,
        "groups": GROUPS,
        "algorithm": FedMD(PUBLIC),
        "splits": ("test",),
        "batch_size": None,
    }
    return jaxfed.Simulation(hospitals(test=2), **{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": {**GROUPS, "hospital 7": "clinic"}}, "no hospital 'hospital 7'; did you mean"),
        ({"groups": dict(list(GROUPS.items())[1:])}, "no group for 'hospital 0'"),
        ({"groups": {**GROUPS, "hospital 0": "clinics"}}, "no model 'clinics' in models; did you mean 'cl"),
        ({"groups": ["clinic"] * 5}, r"models\['university'\]: no hospital has it"),
        ({"groups": ["clinic", "university"]}, "2 for 5 hospitals"),
        ({"groups": None}, "say which hospital has which of clinic, university"),
        ({"groups": "clinic"}, "one group for each hospital"),
        ({"models": {}}, "give {group: model}"),
        ({"models": None}, "say what they train"),
        ({"models": {"clinic": 3, "university": mlp(3)}}, r"models\['clinic'\]: model=3 is no flax model"),
        ({"models": {"clinic": mlp(3).clone(outputs=2), "university": mlp(3)}},
         r"models\['clinic'\]: its output has width 2"),
        ({"algorithm": FedAvg()}, "FedAvg: it needs one model for all hospitals; with models=... give"),
        ({"algorithm": FedMD()}, "FedMD compares predictions on public rows"),
        ({"algorithm": FedMD(PUBLIC[:, :2])}, "its rows have shape"),
        ({"algorithm": FedMD(np.full((2, 3), np.nan))}, "missing or infinite"),
        ({"algorithm": FedMD(PUBLIC, rows=7)}, "from 1 to 6"),
        ({"algorithm": FedMD(PUBLIC, epochs=-1)}, "epochs=-1"),
        ({"algorithm": ByGroup(jaxfed.algorithms.FedProx(mu=-1.0))}, "group 'clinic': mu=-1.0"),
        ({"algorithm": DSFL(PUBLIC, temperature=0.0)}, "temperature=0.0: give a number > 0"),
        ({"algorithm": DSFL()}, "DSFL compares predictions on public rows"),
        ({"algorithm": FedDF()}, "FedDF compares predictions on public rows"),
        ({"algorithm": FedDF(PUBLIC, steps=-1)}, "steps=-1"),
        ({"algorithm": FedProto(), "models": {"clinic": logistic(), "university": mlp(7)}},
         "groups have different numbers of features, 'clinic' 3, 'university' 7"),
        ({"algorithm": FedProto(), "models": {"clinic": nn.Dense(1), "university": mlp(3)}},
         "models 'clinic' have no method"),
        ({"algorithm": FedProto(lam=-1.0)}, "lam=-1.0"),
        ({"algorithm": FML()}, "the meme is missing"),
        ({"algorithm": FML(mlp(2).clone(outputs=3))}, "the meme's output has shape"),
        ({"algorithm": FML(mlp(2), alpha=1.5)}, "alpha=1.5"),
        ({"algorithm": Unlike()}, "groups 'clinic' and 'university' have no common form"),
        ({"evaluate_on": hospitals()}, "evaluate_on"),
        ({"epochs": jaxfed.per_hospital({"hospital 0": 1})}, "no value for"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes, message):
    with pytest.raises(jaxfed.InvalidInput, match=message):
        simulation(**changes)


@pytest.mark.parametrize("algorithm", [DSFL(PUBLIC), FedProto()], ids=lambda value: type(value).__name__)
def test_what_needs_classes_is_refused_in_regression(algorithm):
    with pytest.raises(jaxfed.InvalidInput, match="regression has no"):
        jaxfed.Simulation(hospitals(test=2, task="regression"), models=MODELS, groups=GROUPS,
                          algorithm=algorithm, splits=("test",))  # fmt: skip


def test_what_has_no_meaning_with_several_models_is_refused():
    with pytest.raises(jaxfed.InvalidInput, match="say which one"):
        simulation().pooled()
    with pytest.raises(jaxfed.InvalidInput, match="models of their own"):
        simulation().evaluate(None)
    with pytest.raises(jaxfed.InvalidInput, match="of every group"):
        simulation().run(1, initial={"clinic": jaxfed.Variables({}, {})})


def test_an_algorithm_with_two_exchanges_runs_in_every_group():
    by_group = simulation(algorithm=ByGroup(Mime())).run(2, progress=False)
    assert np.isfinite(by_group.history.pooled["log_loss"]).all()
    assert not by_group.history.training["rejected"].any()


def test_alone_is_every_hospital_with_its_own_model():
    alone = simulation().local_only()
    assert alone.algorithm == ByGroup(jaxfed.LocalOnly())


def test_hospitals_alone_run_side_by_side():
    """Nothing is uploaded, and a block has several hospitals."""
    alone = simulation(block=2, devices=1).local_only()
    assert max(plan.block for plan in alone.trainer.placed.plans) == 2
    assert np.isfinite(alone.run(1, progress=False).history.pooled["log_loss"]).all()


def test_a_run_of_groups(tmp_path):
    sim = simulation()
    run = sim.run(3, progress=False)
    part = sim.run(2, resume=sim.run(1, progress=False), progress=False)
    for a, b in zip(jax.tree.leaves(part.variables), jax.tree.leaves(run.variables), strict=True):
        np.testing.assert_array_equal(a, b)
    folder = tmp_path / "checkpoints"
    sim.run(1, checkpoint=folder, progress=False)
    kept = sim.run(3, checkpoint=folder, progress=False)
    for a, b in zip(jax.tree.leaves(kept.variables), jax.tree.leaves(run.variables), strict=True):
        np.testing.assert_array_equal(a, b)
    assert kept.to_frame().equals(run.to_frame())
    assert run.history.training["present"].shape == (3, 5)
    table = run.hospitals()
    assert list(table.index) == list(sim.hospitals.hospitals)
    head = run.variables.params["clinic"]["head"]
    for i, name in enumerate(["hospital 0", "hospital 2"]):
        x, y, split = sim.hospitals.rows(name)
        said = x[split == 2] @ head["kernel"][i] + head["bias"][i]
        assert table.loc[name, "accuracy"] == pytest.approx(np.mean((said[:, 0] > 0) == y[split == 2]))
    loaded = jaxfed.Run.load(run.save(tmp_path / "run"))
    assert set(loaded.variables.params) == set(MODELS)
    assert loaded.to_frame().equals(run.to_frame())


def test_public_rows_without_labels():
    data = hospitals((5, 5), test=3)
    rows = jaxfed.data.unlabelled(data, 4, split="test")
    held = data.x[data.split == 2]
    assert rows.shape == (4, 3)
    assert all((held == row).all(1).any() for row in rows)
    assert len(jaxfed.data.unlabelled(data, split=None)) == len(data.y)
    with pytest.raises(jaxfed.InvalidInput, match="no validation rows"):
        jaxfed.data.unlabelled(data)
    with pytest.raises(jaxfed.InvalidInput, match="from 1 to 6"):
        jaxfed.data.unlabelled(data, 7, split="test")
    with pytest.raises(jaxfed.InvalidInput, match="did you mean 'test'"):
        jaxfed.data.unlabelled(data, split="tests")
