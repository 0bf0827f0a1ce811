"""The difference of two AUROCs on the same rows, against all pairs and a bootstrap."""

import jax
import numpy as np
import pytest

from jaxfed.evaluation import auroc_difference

difference = jax.jit(auroc_difference, static_argnames=("segments", "level"))
N = 240


@pytest.fixture(scope="module")
def rows():
    """Two scores of 200 rows of one hospital and of 40 of another, with ties in the second."""
    rng = np.random.default_rng(0)
    y = (rng.random(N) < 0.4).astype(np.int32)
    first = (rng.normal(size=N) + y).astype(np.float32)
    second = np.round(0.6 * first + rng.normal(size=N) + 0.3 * y, 1).astype(np.float32)
    return first, second, y, (np.arange(N) >= 200).astype(np.int32)


def naive(first, second, y):
    def wins(score):
        a, b = score[y == 1][:, None], score[y == 0]
        return (a > b) + 0.5 * (a == b)

    gap = wins(first) - wins(second)
    return gap.mean(), np.sqrt(gap.mean(1).var(ddof=1) / len(gap) + gap.mean(0).var(ddof=1) / gap.shape[1])


def test_paired_delong(rows):
    found = np.asarray(difference(*rows, 2))
    for s in range(2):
        value, se = naive(*(x[rows[3] == s].astype(float) for x in rows[:3]))
        np.testing.assert_allclose(found[[0, 4], s], [value, se], atol=2e-6)
        np.testing.assert_allclose(found[1:3, s], [value - 1.959964 * se, value + 1.959964 * se], atol=1e-5)


def test_delongs_error_is_that_of_a_bootstrap(rows):
    first, second, y = (x[:200] for x in rows[:3])
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(400):
        i = rng.integers(0, 200, 200)
        gaps.append(naive(first[i], second[i], y[i])[0])
    se = float(np.asarray(difference(*rows, 2).se)[0])
    assert np.std(gaps) == pytest.approx(se, rel=0.12)  # 400 replicates: 3.5 %


def test_equal_models_and_one_class(rows):
    first, _, y, segment = rows
    same = np.asarray(difference(first, 3 * first, y, segment, 2))  # the order of rows is all that counts
    assert (same[[0, 1, 2, 4]] == 0).all()
    found = np.asarray(difference(first, rows[1], np.where(segment == 1, 1, y), segment, 2))
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 0]).all()
