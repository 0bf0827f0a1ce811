"""Metrics of segments against scikit-learn and naive counts."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxfed.evaluation import BINARY, MULTICLASS, REGRESSION, auroc_by_segment

auroc = jax.jit(auroc_by_segment, static_argnames="segments")


def pairs(score, y):
    """P(positive above negative) + P(equal) / 2, by counting all pairs."""
    positive, negative = score[y == 1][:, None], score[y == 0][None]
    return ((positive > negative) + 0.5 * (positive == negative)).mean()


@pytest.fixture
def rows():
    """Five segments of scores with many ties, in mixed order; segment 3 is empty, 4 has one class."""
    rng = np.random.default_rng(0)
    segment = rng.choice([0, 1, 2, 4, -1, 5, 99], 300, p=[0.3, 0.2, 0.02, 0.2, 0.1, 0.1, 0.08])
    score = np.round(rng.normal(size=300), 1).astype(np.float32)
    y = (rng.random(300) < 0.4).astype(np.int32)
    y[segment == 4] = 1
    y[np.flatnonzero(segment == 2)[:2]] = [0, 1]
    return score, y, segment.astype(np.int32)


def test_auroc_of_segments(rows):
    score, y, segment = rows
    found = np.asarray(auroc(score, y, segment, 5))
    for s in (0, 1, 2):
        own = segment == s
        assert found[s] == pytest.approx(pairs(score[own], y[own]), abs=1e-6)
        assert found[s] == pytest.approx(sk.roc_auc_score(y[own], score[own]), abs=1e-6)
    assert np.isnan(found[3:]).all()  # without rows, and with one class


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_auroc_with_broken_scores(rows, value):
    """NaN spoils its own segment, and rows outside the segments spoil nothing."""
    score, y, segment = rows
    clean = np.asarray(auroc(score, y, segment, 5))
    outside = np.where((segment < 0) | (segment > 4), value, score)
    np.testing.assert_array_equal(auroc(outside, y, segment, 5), clean)
    first = score.copy()
    first[np.flatnonzero(segment == 0)[:2]] = value
    found = np.asarray(auroc(first, y, segment, 5))
    np.testing.assert_array_equal(found[1:], clean[1:])
    own = segment == 0
    expected = np.nan if np.isnan(value) else pairs(first[own], y[own])
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_auroc_at_its_ends():
    score, y = np.array([1.0, 2, 3, 4], np.float32), np.array([0, 0, 1, 1])
    assert auroc(score, y, np.zeros(4, np.int32), 1).tolist() == [1.0]
    assert auroc(-score, y, np.zeros(4, np.int32), 1).tolist() == [0.0]
    assert auroc(0 * score, y, np.zeros(4, np.int32), 1).tolist() == [0.5]
    zeros = np.array([0.0, -0.0], np.float32)  # equal, so a tie
    assert auroc(zeros, np.array([0, 1]), np.zeros(2, np.int32), 1).tolist() == [0.5]
    assert np.isnan(auroc(score[:1], y[:1], np.zeros(1, np.int32), 1)).all()


@pytest.mark.parametrize("digits", [2, 7])
def test_auroc_of_many_rows_in_32_bits(digits):
    """Errors stay below 1e-6, with and without ties."""
    rng = np.random.default_rng(1)
    n = 100_000
    y = (rng.random(n) < 0.3).astype(np.int32)
    score = np.round(rng.normal(size=n) + 0.8 * y, digits).astype(np.float32)
    found = float(auroc(score, y, np.zeros(n, np.int32), 1)[0])
    assert found == pytest.approx(sk.roc_auc_score(y, score.astype(np.float64)), abs=1e-6)


def test_auroc_under_vmap(rows):
    score, y, segment = rows
    scores = np.stack([score, -score, 0 * score])
    together = jax.vmap(lambda s: auroc(s, y, segment, 5))(scores)
    for one, expected in zip(together, scores, strict=True):
        np.testing.assert_allclose(one, auroc(expected, y, segment, 5), rtol=1e-6)


def test_binary_metrics(rows):
    score, y, segment = rows
    logit = score + 0.03  # nobody at one half
    losses = np.logaddexp(0, logit) - y * logit
    outside = (segment < 0) | (segment > 4)
    logit[outside], losses[outside] = np.nan, np.nan  # rows that are left out may hold anything
    found = jax.jit(BINARY.measures, static_argnums=4)(logit[:, None], losses, y, segment, 5)
    assert set(found) == {"auroc", "log_loss", "brier", "accuracy"}
    for s in (0, 1, 2, 4):
        own = segment == s
        p = 1 / (1 + np.exp(-logit[own].astype(np.float64)))
        assert found["log_loss"][s] == pytest.approx(sk.log_loss(y[own], p, labels=[0, 1]), abs=1e-6)
        assert found["brier"][s] == pytest.approx(np.mean((p - y[own]) ** 2), abs=1e-6)
        assert found["accuracy"][s] == pytest.approx(sk.accuracy_score(y[own], p > 0.5), abs=1e-6)
    assert all(np.isnan(values[3]) for values in found.values())


def test_a_model_that_says_nan_is_not_called_right_or_wrong(rows):
    score, y, segment = rows
    logit = np.where(segment == 1, np.nan, score)
    found = BINARY.measures(logit[:, None], logit, y, segment, 5)
    assert np.isnan([values[1] for values in found.values()]).all()
    assert np.isfinite([values[0] for values in found.values()]).all()


def test_multiclass_metrics():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(60, 4)).astype(np.float32)
    y, segment = rng.integers(0, 4, 60), np.repeat([0, 1, 2], 20).astype(np.int32)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    losses = -np.log(p[np.arange(60), y])
    logits[segment == 2] = np.nan
    found = MULTICLASS.measures(logits, losses.astype(np.float32), y, segment, 2)
    for s in (0, 1):
        own = segment == s
        loss = sk.log_loss(y[own], p[own], labels=range(4))
        assert found["log_loss"][s] == pytest.approx(loss, abs=1e-6)
        brier = np.square(p[own] - np.eye(4)[y[own]]).sum(1).mean()
        assert found["brier"][s] == pytest.approx(brier, abs=1e-6)
        right = sk.accuracy_score(y[own], p[own].argmax(1))
        assert found["accuracy"][s] == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_regression_metrics(outputs):
    rng = np.random.default_rng(3)
    y = 50 + rng.normal(size=(90, outputs)).astype(np.float32)
    said = y + 0.5 * rng.normal(size=y.shape).astype(np.float32)
    segment = np.repeat([0, 1, 2, 7], [40, 40, 1, 9]).astype(np.int32)
    said[segment == 7] = np.nan
    shaped = y[:, 0] if outputs == 1 else y
    found = REGRESSION.measures(said, np.zeros(90), shaped, segment, 4)
    for s in (0, 1):
        a, b = y[segment == s].astype(np.float64), said[segment == s].astype(np.float64)
        assert found["mse"][s] == pytest.approx(sk.mean_squared_error(a, b), rel=1e-5)
        assert found["mae"][s] == pytest.approx(sk.mean_absolute_error(a, b), rel=1e-5)
        r2 = sk.r2_score(a, b, multioutput="variance_weighted")
        assert found["r2"][s] == pytest.approx(r2, abs=1e-5)
    assert np.isnan(found["r2"][2])  # one row has no variance
    assert np.isfinite(found["mse"][2])
    assert all(np.isnan(values[3]) for values in found.values())


def test_means_of_half_precision_outputs_are_counted_in_full():
    """bfloat16 counts no further than 256."""
    logit = jnp.where(jnp.arange(3000) % 3 == 0, 1.0, -1.0).astype(jnp.bfloat16)[:, None]
    y, segment = jnp.ones(3000, jnp.int32), jnp.zeros(3000, jnp.int32)
    found = BINARY.measures(logit, jnp.ones(3000, jnp.bfloat16), y, segment, 1)
    assert found["accuracy"][0] == pytest.approx(1 / 3, abs=1e-3)
    assert found["log_loss"][0] == pytest.approx(1, abs=1e-3)


def test_means_of_many_rows_in_32_bits():
    rng = np.random.default_rng(4)
    n = 200_000
    logit = rng.normal(size=(n, 1)).astype(np.float32)
    y = (rng.random(n) < 0.3).astype(np.int32)
    losses = np.logaddexp(0, logit[:, 0]) - y * logit[:, 0]
    found = BINARY.measures(logit, losses, y, np.zeros(n, np.int32), 1)
    assert found["log_loss"][0] == pytest.approx(losses.mean(dtype=np.float64), rel=3e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = 1 / (1 + np.exp(-logit[:, 0].astype(np.float64)))
    assert found["brier"][0] == pytest.approx(np.square(p - y).mean(), rel=3e-6)
