"""How hospitals with different models are laid out: a block for each group, within the memory there is."""

import json

import jax
import optax
import pytest
from federations import hospitals, same
from fitting import names_a_block_that_fits

import jaxfed
from jaxfed.algorithms import FedAvg
from jaxfed.algorithms.mixed import ByGroup
from jaxfed.core.errors import InvalidInput
from jaxfed.models import logistic, mlp
from jaxfed.training.loop import laid_out

MANY = 32
GROUPS = ["small", "large"] * (MANY // 2)


def simulation(**changes):
    given = {
        "models": {"small": logistic(), "large": mlp(1000, 1000)},
        "groups": GROUPS,
        "algorithm": ByGroup(FedAvg()),
        "client_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.1),
        "splits": ("test",),
        "batch_size": 32,
        "devices": 1,
    }
    return jaxfed.Simulation(hospitals((40,) * MANY, test=8), **{**given, **changes})


def narrow(**changes):
    """Two models of a kind, quick to compile."""
    return simulation(models={"small": mlp(8), "large": mlp(64)}, **changes)


def test_every_group_has_a_block_of_its_own():
    plan = simulation().plan(3)
    assert plan.blocks["small"] > 1
    assert plan.blocks["large"] == 1  # large products, one hospital after another
    assert plan.block == plan.blocks["small"]
    assert (plan.how, plan.form, plan.form_how) == ("judged", "fast", "judged")
    assert plan.slots == MANY
    assert plan.rows == pytest.approx(40 * MANY * (3 * 4 + 4), rel=0.05)
    assert plan.own > 4e6  # a model of a thousand by a thousand
    assert f"block     {plan.block} of 'small' side by side (judged)" in str(plan)
    assert simulation(block=2, form="native").plan(3).blocks == {"small": 2, "large": 2}
    assert simulation(block=2, form="native").plan(3).form_how == "given"


def test_work_is_balanced_over_all_groups():
    plan = simulation(devices=2).plan(3)
    assert plan.devices == 2
    assert plan.balance > 0.99


def test_all_of_a_group_side_by_side_elsewhere(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert narrow().plan(1).blocks == {"small": MANY // 2, "large": MANY // 2}


def test_blocks_change_nothing_but_roundings():
    one = narrow(block=1).run(3, progress=False)
    found = narrow().run(3, progress=False)
    assert found.provenance["blocks"] == list(narrow().plan(3).blocks.values()) != [1, 1]
    same(found.variables, one.variables, rtol=1e-4)


def test_a_checkpoint_has_the_blocks():
    trainer = narrow().trainer
    assert laid_out(trainer, trainer.layout()) is trainer
    other = {"form": "fast", "devices": 2, "blocks": [2, 1], "evaluation_blocks": [2, 1]}
    again = laid_out(trainer, json.loads(json.dumps(other)))
    assert again.layout() == other
    assert [plan.block for plan in again.placed.plans] == [2, 1]


def test_a_block_that_would_fit_is_named(monkeypatch):
    names_a_block_that_fits(narrow, monkeypatch)


def test_what_does_not_fit_at_all(monkeypatch):
    monkeypatch.setenv("JAXFED_MEMORY", "2e5")
    with pytest.raises(InvalidInput, match=r"a round needs .* there are 200 kB; no block would fit"):
        simulation().run(1, progress=False)
    monkeypatch.setenv("JAXFED_MEMORY", "1e4")
    with pytest.raises(InvalidInput, match=r"hospitals: their rows need 20.5 kB on each device"):
        simulation().run(1, progress=False)
