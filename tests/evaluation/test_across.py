"""Metrics over hospitals, the cluster bootstrap, and sources of variance."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import t

from jaxfed.evaluation import Estimate, Metric, across, bootstrap, random_effects, variance_components
from jaxfed.evaluation.bootstrap import OfMetrics, percentile_interval
from jaxfed.evaluation.intervals import difference, student_quantile

NAMES = ("a", "b", "c", "d", "e")
VALUE = np.array([0.7, 0.9, np.nan, 0.2, 0.8])
ROWS = np.array([10, 20, 30, 2, 40])
COUNTED = np.array([True, True, False, False, True])


def estimate(value=VALUE):
    centre = np.log(value / (1 - value))
    return Estimate(value, value - 0.1, value + 0.05, centre, np.full(5, 0.3))


def test_columns_of_a_metric():
    found = across(estimate(), ROWS, COUNTED, NAMES, higher=True, scale="logit")
    assert (found["hospitals"], found["left_out"], found["undefined"]) == (3, 1, 1)
    known = np.array([0.7, 0.9, 0.2, 0.8])
    half = t.ppf(0.975, 3) * known.std(ddof=1) / 2
    numbers = [found[name] for name in ("macro", "macro_low", "macro_high", "macro_counted")]
    np.testing.assert_allclose(numbers, [0.65, max(0.65 - half, 0), min(0.65 + half, 1), 0.8], rtol=1e-6)
    assert found["weighted"] == pytest.approx((7 + 18 + 0.4 + 32) / 72)
    assert (found["worst"], found["worst_hospital"]) == (0.7, "a")
    assert (found["lowest"], found["highest"]) == (0.7, 0.9)
    assert found["sd"] == pytest.approx(0.1)
    assert found["worst_decile"] == pytest.approx(0.72)
    centre = np.where(COUNTED, estimate().centre, np.nan)
    pooled = random_effects(jnp.asarray(centre), jnp.full(5, 0.3))
    expected = 1 / (1 + np.exp(-float(pooled.mean)))
    assert found["mean"] == pytest.approx(expected, abs=1e-5)
    assert found["mean_low"] < expected < found["mean_high"]
    assert found["pooled"] == 3
    without = estimate()._replace(se=np.array([0.0, 0.3, 0.3, 0.3, 0.3]))
    assert across(without, ROWS, COUNTED, NAMES, higher=True)["pooled"] == 2


def test_the_bad_end():
    less = across(estimate(), ROWS, COUNTED, NAMES, higher=False)
    assert (less["worst"], less["worst_hospital"]) == (0.9, "b")
    assert less["worst_decile"] == pytest.approx(0.88)
    near = across(estimate(), ROWS, COUNTED, NAMES, higher=False, ideal=0.85)
    assert (near["worst"], near["worst_hospital"]) == (0.7, "a")


def test_order_of_hospitals_and_nobody_who_counts():
    order = np.array([3, 0, 4, 2, 1])
    moved = Estimate(*(x[order] for x in estimate()))
    found = across(moved, ROWS[order], COUNTED[order], np.array(NAMES)[order], higher=True, scale="logit")
    same = across(estimate(), ROWS, COUNTED, NAMES, higher=True, scale="logit")
    for name, value in same.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    nobody = across(estimate(), ROWS, np.zeros(5, bool), NAMES, higher=True)
    assert (nobody["hospitals"], nobody["left_out"], nobody["worst_hospital"]) == (0, 4, "")
    assert np.isnan([nobody[name] for name in ("worst", "mean", "sd", "tau")]).all()
    assert nobody["macro"] == pytest.approx(0.65)


def mean(outputs, y, segment, segments):
    inside = (segment[:, None] == jnp.arange(segments)).astype(jnp.float32)
    rows = inside.sum(0)
    return {"mean": jnp.where(rows > 0, outputs @ inside / jnp.maximum(rows, 1), jnp.nan)}


def test_cluster_bootstrap_of_a_mean_has_the_variance_of_its_two_stages():
    """Hospitals of one size: Var = (between + within / n) / C, with the bootstrap's own divisors."""
    rng = np.random.default_rng(0)
    C, n = 12, 8
    outputs = (rng.normal(0, 1, C)[:, None] + rng.normal(0, 1, (C, n))).astype(np.float32)
    owner = np.repeat(np.arange(C), n)
    order = rng.permutation(C * n)
    x, h = outputs.reshape(-1)[order], owner[order]
    point, drawn = bootstrap(mean, x, np.zeros(C * n), h, C, replicates=2000)
    np.testing.assert_allclose(point["mean"], outputs.mean(1), rtol=1e-5, atol=1e-6)
    assert point["mean_pooled"] == pytest.approx(outputs.mean(), abs=1e-6)
    assert drawn["mean"].shape == (2000, C)
    assert (drawn["rows"] == n).all()
    means, within = outputs.mean(1), outputs.var(1)
    expected = (means.var() + within.mean() / n) / C
    assert drawn["mean"].mean(1).var() == pytest.approx(expected, rel=0.1)  # 2000 draws: 3 %
    np.testing.assert_allclose(drawn["mean"].mean(1), drawn["mean_pooled"], rtol=1e-3, atol=1e-5)


def test_bootstrap_with_hospitals_of_other_sizes():
    """Every place has the rows of one hospital, and nothing else."""
    size = np.array([1, 5, 0, 30])
    owner = np.repeat(np.arange(4), size)
    within = np.concatenate([np.arange(n) for n in size])
    outputs = (owner + within / 100).astype(np.float32)
    point, drawn = bootstrap(mean, outputs, np.zeros(36), owner, 4, replicates=50)
    place = np.where(drawn["rows"] > 0, drawn["mean"] + 1e-5, 2).astype(int)
    np.testing.assert_array_equal(size[place], drawn["rows"])
    of_largest = drawn["mean"][place == 3] - 3
    assert of_largest.mean() == pytest.approx(0.145, abs=0.02)  # all of its rows; 40 draws: 0.0025
    low, high = percentile_interval(drawn["mean"], 0.95)
    assert (low < high).all()
    np.testing.assert_allclose(point["mean"], [0, 1.02, np.nan, 3.145], rtol=1e-6)


def test_users_metrics_see_their_hospital_alone():
    def share(outputs, y, mask):
        return (outputs * mask).sum() / mask.sum()

    segment = jnp.asarray([0, 0, 0, 1, 1, 3])
    found = OfMetrics({"share": Metric(share)}, 3)(jnp.arange(6.0), jnp.zeros(6), segment, 4)["share"]
    np.testing.assert_allclose(found, [1, 3.5, np.nan, 5])


def test_sources_of_variance_are_found_again():
    rng = np.random.default_rng(0)
    S, C = 40, 60
    hospitals, seeds, both, patients = 0.5, 0.3, 0.2, 0.4
    y = (
        rng.normal(0, hospitals, C)
        + rng.normal(0, patients, C)
        + rng.normal(0, seeds, (S, 1))
        + rng.normal(0, both, (S, C))
    )
    found = variance_components(y, np.full(C, patients**2))
    expected = {"hospitals": hospitals, "patients": patients, "seeds": seeds, "hospitals x seeds": both}
    for name, sd in expected.items():
        assert np.sqrt(found[name]) == pytest.approx(sd, rel=0.3), name
    single = variance_components(y[:1], np.full(C, patients**2))
    assert np.isnan([single["seeds"], single["hospitals x seeds"]]).all()
    assert single["hospitals"] > 0
    assert np.isnan([*variance_components(y[:, :1], np.ones(1)).values()]).all()


def test_difference_of_two_proportions_is_newcombes():
    """Method 10 of Newcombe 1998, his example (a): 56/70 - 48/80 = .20 (.0524 to .3339)."""
    from jaxfed.evaluation.intervals import proportion

    def gap(a, b, m, n):
        return difference(proportion(a, m, 0.95), proportion(b, n, 0.95))

    value, low, high = jax.jit(gap)(56.0, 48.0, 70.0, 80.0)
    np.testing.assert_allclose([value, low, high], [0.2, 0.0524, 0.3339], atol=5e-5)


def test_students_quantile():
    degrees = np.array([0, 1, 2, 30, 400, 401, 100_000])
    found = jax.jit(partial(student_quantile, 0.9))(degrees)
    np.testing.assert_allclose(found, t.ppf(0.95, degrees), rtol=1e-6)  # NaN for 0
