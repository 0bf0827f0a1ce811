"""Median and trimmed mean: NumPy's numbers, whoever is absent, in every layout of the hospitals."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same

from jaxfed import InvalidInput, Simulation
from jaxfed.aggregators import Median, TrimmedMean, WeightedMean
from jaxfed.aggregators import order_statistics as selection
from jaxfed.algorithms import FedAvg, FedSGD
from jaxfed.core.optimizer import optimizer
from jaxfed.models import MLP, logistic
from jaxfed.participation import FixedCohort


@pytest.fixture(params=["network", "bisection"])
def method(request, monkeypatch):
    """Few hospitals are sorted by a network, many by bisection; either has to do for any number."""
    monkeypatch.setattr(selection, "FEW", 10**9 if request.param == "network" else 0)


def compiled(function, *arguments):
    """The function's answer, compiled anew."""
    return jax.jit(lambda *given: function(*given))(*arguments)


def median(x, present):
    return compiled(selection.median, x, present)


def trimmed_mean(x, present, trim):
    return compiled(selection.trimmed_mean, x, present, trim)


def columns(rows, seed=0):
    """Columns of every kind: equal numbers, ties, large and small ones, infinite ones, signs of zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 70)).astype(np.float32)
    x[:, 1] = 0.25
    x[:, 2:12] = np.round(x[:, 2:12])
    x[:, 12:22] *= 10.0 ** rng.integers(-30, 30, size=(rows, 10))
    x[:, 22] = np.where(np.arange(rows) % 2, 3e38, -3e38)
    x[:, 23] = np.where(np.arange(rows) % 2, 0.0, -0.0)
    x[:, 24:30] = np.nextafter(np.float32(1), np.float32(2)) * (1 + (x[:, 24:30] > 0) * 1e-7)
    return x


def numpy_trimmed_mean(x, trim):
    out = int(np.floor(trim * len(x) + 1e-9))
    return np.sort(x.astype(np.float64), axis=0)[out : len(x) - out].mean(axis=0)


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 33])
@pytest.mark.parametrize("cached", [2**17, 40 * 32])  # all columns at once, or 32 at a time
def test_medians_are_numpy_s(monkeypatch, rows, cached):
    monkeypatch.setattr(selection, "_CACHED", cached)
    monkeypatch.setattr(selection, "_CACHED_BY_NETWORK", cached)
    x = columns(rows)
    with np.errstate(over="ignore"):
        expected = np.median(x, axis=0)
    found = median(x, np.ones(rows, bool))
    np.testing.assert_array_equal(found, expected)
    # those present are a traced number of rows anywhere
    present = np.random.default_rng(1).random(rows) < 0.6
    present[0] = True
    found = median(x, present)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, np.median(x[present], axis=0))


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("rows", [1, 2, 10, 17, 33])
@pytest.mark.parametrize("trim", [0.0, 0.1, 0.3, 0.49])
def test_trimmed_means_are_numpy_s(rows, trim):
    x = columns(rows)[:, [*range(12), *range(23, 70)]]
    present = np.random.default_rng(1).random(rows) < 0.7
    present[0] = True
    for rows_present in (np.ones(rows, bool), present):
        found = trimmed_mean(x, rows_present, trim)
        expected = numpy_trimmed_mean(x[rows_present], trim)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_whole_shares_are_whole_rows():
    """0.29 of 100 is 29, though 0.29 is a little less in float32."""
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    found = trimmed_mean(x, np.ones(100, bool), 0.29)
    np.testing.assert_allclose(found, numpy_trimmed_mean(x, 0.29), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("method")
def test_64_bits(x64):
    x = np.random.default_rng(0).normal(size=(6, 4)) * 1e-200
    np.testing.assert_array_equal(median(x, np.ones(6, bool)), np.median(x, axis=0))
    np.testing.assert_array_equal(median(x, np.arange(6) < 5), np.median(x[:5], axis=0))


@pytest.mark.usefixtures("method")
def test_nobody():
    x, nobody = columns(4), np.zeros(4, bool)
    assert not np.any(median(x, nobody))
    assert not np.any(trimmed_mean(x, nobody, 0.1))


@pytest.mark.usefixtures("method")
def test_numbers_of_a_minority_are_outvoted():
    x = columns(9)[:, 30:]
    present = np.ones(9, bool)
    for sent in (1e30, -1e30):
        attacked = x.copy()
        attacked[:4] = sent
        found = median(attacked, present)
        assert (found >= x[4:].min(0)).all()
        assert (found <= x[4:].max(0)).all()
        attacked = x.copy()
        attacked[:2] = sent
        found = trimmed_mean(attacked, present, 0.25)
        assert (found >= x[2:].min(0) - 1e-6).all()
        assert (found <= x[2:].max(0) + 1e-6).all()


def local_models(data, initial):
    """``[C, ...]``: each hospital's logistic regression after a full step of length 1, by hand."""
    start, found = jax.tree.map(np.asarray, initial), []
    kernel, bias = start.params["head"]["kernel"], start.params["head"]["bias"]
    for name in data.hospitals:
        x, y, _ = data.rows(name)
        with np.errstate(all="ignore"):
            error = (1 / (1 + np.exp(-(x @ kernel + bias))) - y[:, None]) / len(y)
            found.append({"kernel": kernel - x.T @ error, "bias": bias - error.sum(0)})
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *found)
    return start._replace(params={"head": stacked})


def federation(data, aggregator=None, participation=None, algorithm=None):
    return recipe(
        data,
        model=MLP((), outputs=1),
        algorithm=algorithm,
        aggregator=aggregator or WeightedMean(),
        batch_size=None,
        participation=participation,
        client=optimizer(optax.sgd, learning_rate=1.0),
    )


@pytest.mark.parametrize(("devices", "block"), [(1, 1), (2, 1), (2, 2)])
def test_rounds(devices, block):
    """The aggregate of what hospitals upload, whatever their sizes; 4 parameters over 2 devices and 3."""
    data = hospitals((11, 4, 7, 2, 9))
    lab = Lab(federation(data, Median()), data, devices, block)
    initial = lab.start().server.group[0].variables
    models = local_models(data, initial)
    found, _, log = lab.rounds(1, initial=initial)
    same(found.variables, jax.tree.map(lambda leaf: np.median(leaf, axis=0), models), rtol=1e-5)
    assert not log.rejected.any()
    trimmed = lab.replace(recipe=federation(data, TrimmedMean(0.2))).rounds(1, initial=initial)[0]
    expected = jax.tree.map(lambda leaf: numpy_trimmed_mean(leaf, 0.2), models)
    same(trimmed.variables, expected, rtol=1e-5)


def test_absent_and_rejected_hospitals_have_no_voice():
    data = hospitals((6, 6, 6, 6, 6))
    x = np.array(data.x)
    x[:6, 0] = np.inf  # the first hospital's upload is not finite
    broken = data.replace(x=x)
    lab = Lab(federation(broken, Median(), FixedCohort(4)), broken, devices=2)
    initial = jax.tree.map(jnp.ones_like, lab.start().server.group[0].variables)
    found, _, log = lab.rounds(1, seed=1, initial=initial)
    used = np.flatnonzero(log.present[0] & ~log.rejected[0])
    models = local_models(data, initial)
    same(found.variables, jax.tree.map(lambda leaf: np.median(leaf[used], axis=0), models), rtol=1e-5)
    assert log.present.sum() == 4
    assert len(used) == 3


def test_without_trimming_it_is_the_plain_mean():
    data = hospitals((11, 4, 7))
    plain = FedAvg(weighting="uniform")
    mean = Lab(federation(data, WeightedMean(), algorithm=plain), data)
    trimmed = Lab(federation(data, TrimmedMean(0.0), algorithm=FedAvg()), data)
    same(trimmed.rounds(2)[0], mean.rounds(2)[0], rtol=1e-5)


def test_in_a_simulation():
    data = hospitals((11, 9, 7), test=3)
    sim = Simulation(
        data, logistic(), FedSGD(), client_optimizer=None, aggregator=TrimmedMean(0.4), splits=("test",)
    )
    run = sim.run(2, progress=False)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.variables))


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("rows", [1, 2, 9, 33])
def test_the_least_numbers_of_every_column(rows):
    """Those in the first rows where numbers are equal, as a stable sort has it."""
    x = columns(rows)
    order = np.argsort(np.argsort(x, axis=0, kind="stable"), axis=0, kind="stable")
    for count in {1, rows // 2 + 1, rows}:
        np.testing.assert_array_equal(compiled(selection.least, x, count), order < count)


def test_many_hospitals_are_bisected_and_few_sorted():
    """And both give the same numbers where one takes over from the other."""
    x = columns(selection.FEW + 1)
    for rows in (selection.FEW, selection.FEW + 1):
        text = str(jax.make_jaxpr(selection.median)(x[:rows], np.ones(rows, bool)))
        assert ("bitcast_convert_type" in text) == (rows > selection.FEW)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(median(x[:rows], np.ones(rows, bool)), np.median(x[:rows], axis=0))


def test_no_columns():
    for rule in (selection.median, lambda x, present: selection.trimmed_mean(x, present, 0.1)):
        assert jax.jit(rule)(np.zeros((3, 0), np.float32), np.ones(3, bool)).shape == (0,)


@pytest.mark.parametrize("trim", [-0.1, 0.5, np.float32(0.7)])
def test_shares_that_leave_nothing(trim):
    with pytest.raises(InvalidInput, match=re.escape(f"trim={trim!r}")):
        TrimmedMean(trim)
