"""Whatever is wrong with a sweep is said before anything is compiled, all of it at once."""

import numpy as np
import pytest
from federations import hospitals

from jaxfed import FedAvg, InvalidInput, Poisson, Simulation, algorithms
from jaxfed.core.engine import runs as slots
from jaxfed.models import logistic, mlp

MU, RATE = "algorithm.mu", "client_optimizer.learning_rate"


@pytest.fixture(scope="module")
def sim():
    return Simulation(
        hospitals(test=6),
        model=logistic(),
        algorithm=algorithms.FedProx(),
        participation=Poisson(0.5),
        batch_size=None,
        splits=("test",),
        devices=1,
    )


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("the program was called")

    monkeypatch.setattr(slots, "advance", refuse)


CASES = {
    "nothing": ({}, {}, "nothing to sweep"),
    "no values": ({MU: []}, {}, "no values"),
    "one value": ({"seed": 5}, {}, "give a list"),
    "unknown field": ({"algorithm.m": [1.0]}, {}, "did you mean algorithm.mu"),
    "part of a path": ({"learning_rate": [1.0]}, {}, "did you mean client_optimizer.learning_rate"),
    "unknown root": ({"algoritm.mu": [1.0]}, {}, "did you mean algorithm.mu"),
    "not of a run": ({"devices": [1, 2]}, {}, "no field 'devices'"),
    "a word": ({MU: ["a"]}, {}, "mu='a': give a number"),
    "a flag": ({MU: [True]}, {}, "mu=True: give a number"),
    "out of range": ({MU: [0.1, -1.0]}, {}, "mu=-1.0: give a number >= 0"),
    "not finite": ({RATE: [np.nan]}, {}, "learning_rate=nan"),
    "a rate": ({"participation.rate": [0.5, 2.0]}, {}, "probability"),
    "half an epoch": ({"epochs": [1.5]}, {}, "whole number"),
    "both": ({"epochs": [1], "steps": [2]}, {}, "give one of them"),
    "a penalty": ({"l2": ["a"]}, {}, "l2='a'"),
    "a batch": ({"batch_size": [0]}, {}, "batch_size=0"),
    "a seed": ({"seed": [0.5]}, {}, "seed=0.5: give a whole number"),
    "a model": ({"model": [3]}, {}, "no flax model"),
    "an algorithm": ({"algorithm": [3]}, {}, "algorithm=3"),
    "twice": ({MU: [1, 1.0]}, {}, "value 1 is the same as value 0"),
    "the same twice": ({MU: [1.0, 1.0], "seed": [2, 2]}, {"mode": "zip"}, "configuration 1 is the same"),
    "zip": ({MU: [1.0, 2.0], "seed": [1]}, {"mode": "zip"}, "unequal lengths"),
    "lacks the field": ({"algorithm": [FedAvg()], MU: [1.0]}, {}, "FedAvg has no 'mu'"),
    "no hospitals": ({"hospitals": {"a": 3}}, {}, "give a Dataset"),
    "no function": ({"data.n": [3]}, {}, "pass data=f"),
    "no argument": ({"seed": [3]}, {"data": hospitals}, "no field begins with 'data.'"),
    "a failing function": ({"data.n": [3]}, {"data": lambda m: m}, "TypeError"),
    "a mode": ({MU: [1.0]}, {"mode": "all"}, "'grid', 'zip' or 'random'"),
    "no samples": ({MU: (0.0, 1.0)}, {"mode": "random"}, "samples=None"),
    "samples of a grid": ({MU: [0.0]}, {"samples": 3}, "leave it out"),
    "ends": ({MU: (1.0, 0.0)}, {"mode": "random", "samples": 2}, "low < high"),
    "log of zero": ({MU: (0.0, 1.0, "log")}, {"mode": "random", "samples": 2}, "low > 0"),
    "together": ({MU: [1.0]}, {"together": 0}, "together=0"),
    "results": (
        {"seed": range(1000), RATE: np.geomspace(0.1, 1, 1000)},
        {"memory": 10**9},
        r"1,000,000 .* GB",
    ),
    "a run": ({"model": [mlp(64)]}, {"memory": 5000}, r"one run needs 5.\d* kB and its hospitals 1.\d* kB"),
}


@pytest.mark.parametrize("case", CASES)
def test_misuse(sim, case):
    fields, how, message = CASES[case]
    with pytest.raises(InvalidInput, match=message):
        sim.sweep(fields, 2, **how)


def test_all_problems_at_once(sim):
    with pytest.raises(InvalidInput) as error:
        sim.sweep({MU: [-1.0, 1.0], "participation.rate": [3.0, 0.5], "batch_size": [None, -2]}, 2)
    assert all(word in str(error.value) for word in ("mu=-1.0", "rate=3.0", "batch_size=-2"))
    with pytest.raises(InvalidInput) as error:
        sim.sweep({"algorithm.m": [1.0], "epoch": [2]}, 2)
    assert all(word in str(error.value) for word in ("algorithm.mu", "epochs"))


def test_models_and_groups_are_the_same_in_a_sweep():
    """A clear word, and no half sweep."""
    data = hospitals(test=6)
    groups = {name: "ab"[c % 2] for c, name in enumerate(data.hospitals)}
    mixed = Simulation(
        data, models={"a": logistic(), "b": logistic()}, groups=groups, model=None,
        algorithm=algorithms.mixed.ByGroup(FedAvg()), splits=("test",),
    )  # fmt: skip
    for field in ("models", "groups", "models.a"):
        with pytest.raises(InvalidInput, match=f"no field '{field}'"):
            mixed.sweep({field: [groups]}, 2)
    with pytest.raises(InvalidInput, match="algorithm=FedAvg: it needs one model for all hospitals"):
        mixed.sweep({"algorithm": [FedAvg(), algorithms.FedProx()]}, 2)
