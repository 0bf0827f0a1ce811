"""Runs that stop early: by divergence, by successive halving, by Ctrl-C."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import optax
import pytest
from federations import hospitals, with_validation

from jaxfed import Halving, InvalidInput, Simulation, algorithms, optimizer
from jaxfed.models import logistic
from jaxfed.sweep.executor import ProgramRunner
from jaxfed.sweep.rungs import Driver

RATE = "client_optimizer.learning_rate"


@pytest.fixture(scope="module")
def sim():
    found = with_validation(hospitals((11, 14, 7, 8, 9), test=6))
    return Simulation(
        found,
        model=logistic(),
        algorithm=algorithms.FedProx(mu=0.0),
        client_optimizer=optimizer(optax.sgd, learning_rate=0.1),
        epochs=3,
        batch_size=None,
        devices=2,
    )


def quiet(sim, fields, rounds, **how):
    return sim.sweep(fields, rounds, progress=False, **how).data


def test_the_dead_are_frozen_and_the_others_do_not_notice(sim):
    """A pull of 1e30 overflows in the third local step; all uploads of the first round are refused."""
    strengths = [0.0, 1e35, 1.0, 1e30, 2.0]
    found = quiet(sim, {"algorithm.mu": strengths, "seed": [0, 1]}, 6, eval_every=2)
    without = quiet(sim, {"algorithm.mu": [0.0, 1.0, 2.0], "seed": [0, 1]}, 6, eval_every=2)
    living = found.sel({"algorithm.mu": [0.0, 1.0, 2.0]})
    assert living.identical(without)
    dead = found.sel({"algorithm.mu": [1e35, 1e30]})
    assert (dead["diverged"] > 0).all()
    assert (dead["rounds_done"] == dead["diverged"]).all()
    assert np.isnan(living["diverged"]).all()
    for name in ("log_loss", "log_loss_pooled", "auroc_pooled"):
        after = dead["round"] >= dead["diverged"]
        assert np.isnan(dead[name].where(after, drop=True)).all()
        assert np.isfinite(dead[name].where(~after, 0.0)).all()


def test_death_by_the_servers_new_state(sim):
    """Uploads are finite, and the server's step along them is not."""
    far = optimizer(optax.sgd, learning_rate=100.0)
    big = sim.replace(algorithm=algorithms.FedAvg(), client_optimizer=far)
    found = quiet(big, {"algorithm.server_optimizer.learning_rate": [1.0, 3e38]}, 3)
    single = big.replace(**{"algorithm.server_optimizer.learning_rate": 3e38}).run(3, progress=False)
    assert single.history.refused[0]
    assert not single.history.training["rejected"][0].any()
    np.testing.assert_array_equal(found["diverged"], [np.nan, 1])


@pytest.mark.filterwarnings("ignore:features .* are far from 1")
def test_one_refused_hospital_kills_nobody(sim):
    """The whole run goes on, as a single run does."""
    data = sim.hospitals
    spoiled = data.replace(x=np.where((data.owner == 2)[:, None] & (data.split == 0)[:, None], 1e30, data.x))
    one = sim.replace(
        hospitals=spoiled,
        algorithm=algorithms.FedAvg(),
        client_optimizer=optimizer(optax.sgd, learning_rate=1e10),
    )
    run = one.run(3, progress=False)
    found = quiet(one, {"seed": [0]}, 3)
    if run.history.training["rejected"].all(1).any():
        pytest.fail("the case is too strong")
    assert run.history.training["rejected"].any()
    assert np.isnan(found["diverged"]).all()


def halved(found, sim, rungs, eta, arms):
    """Who goes on, from a sweep in which nobody stopped."""
    loss = found["log_loss_pooled"].sel(split="validation").mean("seed")
    racing, done = list(range(arms)), np.zeros(arms, int)
    for rung in rungs:
        done[racing] = rung
        order = loss.sel(round=rung).values[racing].argsort()
        racing = [racing[i] for i in order[: max(1, int(len(racing) / eta))]]
    return done


def test_halving_keeps_the_best_and_changes_nothing_else(sim):
    fields = {RATE: np.geomspace(1e-3, 1, 9), "seed": [0, 1]}
    full = quiet(sim, fields, 9, eval_every=3)
    found = quiet(sim, fields, 9, eval_every=3, halving=Halving(rounds=3, eta=3))
    expected = halved(full, sim, [3, 9], 3, 9)
    assert sorted(expected) == [3] * 6 + [9] * 3
    assert found["rounds_done"].values.tolist() == [[n, n] for n in expected]
    for name in ("log_loss", "auroc_pooled"):
        ran = found["round"] <= found["rounds_done"]
        assert np.array_equal(found[name].where(ran, drop=False), full[name].where(ran), equal_nan=True)
        assert np.isnan(found[name].where(~ran, drop=True).values).all()


def test_losers_cost_nothing_after_their_rung(sim, monkeypatch):
    """Rounds that the program is asked for are those that somebody needs."""
    asked, commands = [], ProgramRunner.commands

    def watched(self, fresh):
        found = commands(self, fresh)
        asked.append(int(found[0].rounds.sum()))
        return found

    monkeypatch.setattr(ProgramRunner, "commands", watched)
    found = quiet(sim, {RATE: np.geomspace(1e-3, 1, 8)}, 8, eval_every=4, halving=Halving(rounds=2, eta=2))
    assert sorted(found["rounds_done"].values.tolist()) == [2, 2, 2, 2, 4, 4, 8, 8]
    assert sum(asked) == int(found["rounds_done"].sum()) == 32
    assert found["round"].values.tolist() == [0, 2, 4, 8]


def test_the_dead_lose_and_other_hospitals_are_no_rivals(sim):
    few = sim.hospitals.select(sim.hospitals.hospitals[:3])
    fields = {"hospitals": {"all": sim.hospitals, "few": few}, "algorithm.mu": [1e35, 0.0]}
    found = quiet(sim, fields, 4, halving=Halving(rounds=2, eta=2))
    assert found["rounds_done"].sel({"algorithm.mu": 0.0}).values.tolist() == [4, 4]
    assert (found["rounds_done"].sel({"algorithm.mu": 1e35}) <= 2).all()


@pytest.mark.parametrize(
    ("halving", "word"),
    [
        (3, "jaxfed.Halving"),
        (Halving(9), "from 1 to 8"),
        (Halving(0), "from 1 to 8"),
        (Halving(1, eta=1.0), "above 1"),
        (Halving(1, metric="auc"), "auroc"),
    ],
)
def test_misuse(sim, halving, word):
    with pytest.raises(InvalidInput, match=word):
        quiet(sim, {"seed": [0, 1]}, 9, halving=halving)


def test_halving_needs_validation_rows(sim):
    with pytest.raises(InvalidInput, match="validation rows"):
        quiet(sim.replace(splits=("test",)), {"seed": [0, 1]}, 9, halving=Halving(1))


def test_ctrl_c_returns_what_is_done(sim, monkeypatch):
    calls, call = [], ProgramRunner.call

    def interrupted(self):
        call(self)
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    whole = quiet(sim, {"seed": range(6)}, 4)
    monkeypatch.setattr(ProgramRunner, "call", interrupted)
    found = quiet(sim, {"seed": range(6)}, 4)
    assert len(calls) == 3
    assert 0 < int(found["rounds_done"].sum()) < 24
    ran = (found["round"] <= found["rounds_done"]) & np.isfinite(found["log_loss_pooled"])
    assert ran.any()
    assert (found["log_loss_pooled"].where(ran) == whole["log_loss_pooled"].where(ran)).where(ran, True).all()


def test_runs_that_are_over_count_as_done_for_the_progress_bar():
    """Four runs of 6 rounds: one goes on, one is done, one diverged, one was eliminated."""
    record = SimpleNamespace(diverged=np.array([0, 0, 2, 0]), done=np.array([4, 6, 2, 3]))
    now = SimpleNamespace(record=record, active=np.array([True, True, True, False]))
    driver = Driver(None, [], [], [3, 6])
    assert driver.settled(now) == 4 + 6 + 6 + 6
    record.done[0] = -1  # not started
    assert driver.settled(now) == 18
