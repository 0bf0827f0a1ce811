"""Norms and directions of updates, against those of hospitals that train alone."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from federations import hospitals
from matplotlib.figure import Figure

from jaxfed import FixedCohort, InvalidInput, Simulation, aggregators
from jaxfed.models import logistic
from jaxfed.records.history import History
from jaxfed.results.diagnostics import diagnose

SMALL = {"model": logistic(), "batch_size": None, "splits": ("test",), "devices": 1, "block": 2}


@pytest.fixture(scope="module")
def sim():
    return Simulation(hospitals((11, 4, 7), test=6), **SMALL)


def flat(variables):
    bias, kernel = jax.tree.leaves(variables.params)
    return np.concatenate([kernel.ravel(), bias.ravel()]).astype(float)


def test_columns_are_those_of_the_updates(sim):
    data, step = sim.hospitals, 0.05
    watched = sim.replace(diagnostics=True)
    start = watched.run(0, progress=False).variables
    run = watched.run(1, initial=start, progress=False)
    x, w, updates = np.concatenate([data.x, np.ones((len(data.y), 1))], axis=1), flat(start), []
    for k in range(3):  # full batches of logistic regression: an update is a gradient step
        rows = (data.split == 0) & (data.owner == k)
        updates.append(-step * x[rows].T @ (1 / (1 + np.exp(-x[rows] @ w)) - data.y[rows]) / rows.sum())
    weights, norms = np.array([11, 4, 7]) / 22, np.linalg.norm(updates, axis=1)
    mean = weights @ np.array(updates)
    found = run.diagnostics()
    table = found.table.set_index("hospital")
    np.testing.assert_allclose(table["update_norm"], norms, rtol=1e-4)
    np.testing.assert_allclose(
        table["update_cosine"], updates @ mean / norms / np.linalg.norm(mean), rtol=1e-4
    )
    np.testing.assert_allclose(table["update_share"], weights, rtol=1e-6)
    np.testing.assert_allclose(found.rounds.loc[1, "mean_norm"], np.linalg.norm(mean), rtol=1e-4)
    b_squared = weights @ norms**2 / (mean @ mean) - 1
    assert found.rounds.loc[1, "b_squared"] == pytest.approx(b_squared, rel=1e-3)
    np.testing.assert_allclose(flat(run.variables) - w, mean, atol=1e-6)  # the rule's sum is as without


def test_absent_hospitals_have_none_and_a_run_without_says_how(sim):
    stored = sim.replace(aggregator=aggregators.TrimmedMean(0.4), participation=FixedCohort(2))
    run = stored.replace(diagnostics=True).run(4, progress=False)
    assert "influence" in run.diagnostics().table  # which the rule tells
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
