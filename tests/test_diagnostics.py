"""Norms and directions of updates, against those of hospitals that train alone."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from federations import hospitals
from matplotlib.figure import Figure

from jaxfed import FixedCohort, InvalidInput, Simulation, aggregators, per_hospital
from jaxfed.models import logistic
from jaxfed.records.history import History
from jaxfed.results.diagnostics import diagnose

SMALL = {"model": logistic(), "batch_size": None, "splits": ("test",), "devices": 1, "block": 2}


@pytest.fixture(scope="module")
def sim():
    return Simulation(hospitals((11, 4, 7), test=6), **SMALL)


def flat(variables):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(variables.params)]).astype(float)


@pytest.mark.parametrize("aggregator", [aggregators.WeightedMean(), aggregators.UniformMean()])
def test_columns_are_those_of_the_updates(sim, aggregator):
    names, stored = sim.hospitals.hospitals, isinstance(aggregator, aggregators.UniformMean)
    start = sim.run(0, progress=False).variables
    rows = []
    for name in names:  # with full batches a hospital's update is that of a federation of it alone
        marks = per_hospital({other: int(other == name) for other in names})
        alone = sim.replace(included=marks).run(1, initial=start, progress=False)
        rows.append(flat(alone.variables) - flat(start))
    updates, weights = np.array(rows), np.array([11, 4, 7]) / 22
    run = sim.replace(diagnostics=True, aggregator=aggregator).run(1, initial=start, progress=False)
    table = run.diagnostics().table.set_index("hospital")
    mean, norms = weights @ updates, np.linalg.norm(updates, axis=1)
    np.testing.assert_allclose(table["update_norm"], norms, rtol=1e-4)
    cosine = updates @ mean / norms / np.linalg.norm(mean)
    np.testing.assert_allclose(table["update_cosine"], cosine, rtol=1e-4)
    np.testing.assert_allclose(table["update_share"], weights, rtol=1e-6)
    b_squared = weights @ norms**2 / (mean @ mean) - 1
    assert run.diagnostics().rounds.loc[1, "b_squared"] == pytest.approx(b_squared, rel=1e-3)
    step = updates.mean(0) if stored else mean  # the columns do not change what the rule makes of them
    np.testing.assert_allclose(flat(run.variables) - flat(start), step, atol=1e-6)


def test_absent_hospitals_have_none_and_a_run_without_says_how(sim):
    run = sim.replace(diagnostics=True, participation=FixedCohort(2)).run(4, progress=False)
    found = run.diagnostics()
    present = found.table["present"].astype(bool)
    np.testing.assert_array_equal(found.table["update_norm"].notna(), present)
    assert found.rounds["present"].tolist() == [2] * 4
    assert found.rounds["b_squared"].notna().all()
    np.testing.assert_allclose(found.table.groupby("round")["update_share"].sum(), 1, rtol=1e-6)
    assert found.hospitals["present"].sum() == 8
    assert isinstance(found.plot(), Figure)
    assert "4 rounds" in repr(found)
    with pytest.raises(InvalidInput, match=r"sim\.replace\(diagnostics=True\)"):
        diagnose(dataclasses.replace(run.history, training={}))
    with pytest.raises(InvalidInput, match="diagnostics=1: give True or False"):
        sim.replace(diagnostics=1)


def test_many_hospitals_and_rounds_without_uploads():
    data = hospitals((2,) * 30, test=2)
    rng = np.random.default_rng(0)
    norm = rng.uniform(1, 2, (3, 30)).astype(np.float32)
    norm[1] = np.nan
    shape = np.ones((3, 30))
    columns = {"present": shape, "rejected": np.isnan(norm), "update_norm": norm, "update_cosine": norm / 4}
    columns |= {
        "update_share": np.where(np.isnan(norm), np.nan, 1 / 30),
        "mean_norm": np.where(np.isnan(norm), np.nan, 1),
    }
    history = History.empty(data, ("test",), data.hospitals).trained(columns, np.zeros(3, bool))
    found = diagnose(history)
    assert np.isnan(found.rounds.loc[2, "b_squared"])
    assert found.rounds.loc[3, "b_squared"] == pytest.approx((norm[2] ** 2).mean() - 1, rel=1e-5)
    assert found.rounds["rejected"].tolist() == [0, 30, 0]
    assert isinstance(found.plot(), Figure)
    assert isinstance(found.hospitals, pd.DataFrame)
