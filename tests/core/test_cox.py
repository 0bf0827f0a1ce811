"""Cox's loss and the C-index of many hospitals at once, against sums and counts pair by pair."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.util import Surv
from survival_oracles import draw, naive_cindex, naive_cox

from jaxfed.core.metrics.concordance import cindex_by_segment
from jaxfed.core.metrics.cox import cox_losses
from jaxfed.core.tasks import SURVIVAL, SURVIVAL_EFRON

N, SEGMENTS = 120, 4
TASKS = {"breslow": SURVIVAL, "efron": SURVIVAL_EFRON}


@partial(jax.jit, static_argnums=(4, 5))
def losses_and_slopes(eta, time, event, segment, segments, ties):
    def total(eta):
        losses = cox_losses(eta, time, event, segment, segments, ties)
        return losses.sum(), losses

    return jax.value_and_grad(total, has_aux=True)(eta)


concordance = jax.jit(cindex_by_segment, static_argnums=4)


@pytest.fixture
def rows():
    """Many ties of times and of scores; rows of segment 3 have no event, those of 4 are padding."""
    rng = np.random.default_rng(0)
    segment = rng.integers(0, SEGMENTS + 1, N).astype(np.int32)
    eta = np.round(rng.normal(size=N), 1).astype(np.float32)
    time = rng.integers(1, 8, N).astype(np.float32)
    event = ((rng.random(N) < 0.5) & (segment != 3)).astype(np.float32)
    return eta, time, event, segment


@pytest.mark.parametrize("ties", TASKS)
def test_losses_are_the_partial_likelihood_of_each_segment(rows, ties):
    eta, time, event, segment = rows
    (_, losses), slopes = losses_and_slopes(*rows, SEGMENTS, ties)
    for number in range(SEGMENTS):
        own = segment == number
        part = eta[own].astype(float), time[own], event[own]
        assert losses[own].sum() == pytest.approx(naive_cox(*part, ties), rel=1e-5)
        for i in np.flatnonzero(own)[:3]:
            step = np.where(np.flatnonzero(own) == i, 1e-5, 0)
            high, low = (naive_cox(part[0] + sign * step, *part[1:], ties) for sign in (1, -1))
            assert slopes[i] == pytest.approx((high - low) / 2e-5, abs=1e-4)
    assert (losses[(event == 0) | (segment == SEGMENTS)] == 0).all()
    assert (slopes[segment >= 3] == 0).all()  # no event, or padding


def test_the_two_forms_agree_without_ties_and_differ_with_them(rows):
    eta, time, event, segment = rows
    results = {}
    for name, times in {"ties": time, "none": time + np.linspace(0, 0.5, N, dtype=np.float32)}.items():
        results[name] = [
            float(losses_and_slopes(eta, times, event, segment, SEGMENTS, ties)[0][0]) for ties in TASKS
        ]
    assert results["none"][0] == pytest.approx(results["none"][1], rel=1e-6)
    assert results["ties"][0] > results["ties"][1] + 1


@pytest.mark.parametrize("ties", TASKS)
def test_the_optimum_is_that_of_scikit_survival(ties):
    x, time, event = draw(80)

    @jax.jit
    def fitted():
        def descend(_, w):
            losses = lambda w: TASKS[ties].losses(x @ w, jnp.stack([time, event], 1), None)  # noqa: E731
            return w - 2.0 * jax.grad(lambda w: losses(w).mean())(w)

        return jax.lax.fori_loop(0, 200, descend, jnp.zeros(3))

    oracle = CoxPHSurvivalAnalysis(ties=ties, tol=1e-12).fit(x, Surv.from_arrays(event > 0, time))
    np.testing.assert_allclose(fitted(), oracle.coef_, atol=1e-4)


@pytest.mark.parametrize("ties", TASKS)
def test_order_and_padding_change_nothing(rows, ties):
    order = np.random.default_rng(1).permutation(N)
    before = losses_and_slopes(*rows, SEGMENTS, ties)
    after = losses_and_slopes(*(leaf[order] for leaf in rows), SEGMENTS, ties)
    np.testing.assert_allclose(after[1], np.asarray(before[1])[order], atol=1e-5)
    assert after[0][0] == pytest.approx(float(before[0][0]), rel=1e-6)
    eta, time, event, segment = (leaf.copy() for leaf in rows)
    padding = segment == SEGMENTS
    eta[padding], time[padding], event[padding] = np.nan, np.nan, 1
    filled = losses_and_slopes(eta, time, event, segment, SEGMENTS, ties)
    np.testing.assert_array_equal(filled[1], before[1])


@pytest.mark.parametrize("ties", TASKS)
def test_scores_may_be_huge(rows, ties):
    """exp(1000) is infinite in float32, and exp(-1000) is 0."""
    eta, time, event, segment = rows
    (total, _), slopes = losses_and_slopes(1000 * eta, time, event, segment, SEGMENTS, ties)
    assert np.isfinite(total)
    assert np.isfinite(slopes).all()
    exact = sum(
        1000 * (eta[(segment == segment[i]) & (time >= time[i])].max() - eta[i])
        for i in np.flatnonzero(event * (segment < SEGMENTS))
    )
    assert total == pytest.approx(exact, rel=1e-3)


def test_a_thousand_events_of_one_time():
    """Efron's sum is log(n!) there, of which differences of nearly equal sums would be left."""
    ones = np.ones(1000, np.float32)
    (total, _), slopes = losses_and_slopes(0 * ones, ones, ones, np.zeros(1000, np.int32), 1, "efron")
    assert total == pytest.approx(np.log(np.arange(1, 1001)).sum(), rel=1e-6)
    assert np.abs(slopes).max() < 1e-4


@pytest.mark.parametrize("ties", TASKS)
def test_a_batch_is_a_segment_of_the_rows_that_count(rows, ties):
    eta, time, event, segment = rows
    mask = (segment == 1).astype(np.float32)
    task, y = TASKS[ties], np.stack([time, event], 1)
    masks = np.stack([mask, 1 - mask, np.ones_like(mask)])
    losses = jax.jit(jax.vmap(lambda mask: task.losses(eta[:, None], jnp.asarray(y), mask)))(masks)
    for own, batch in zip(masks > 0, losses, strict=True):
        assert batch.sum() == pytest.approx(naive_cox(eta[own], time[own], event[own], ties), rel=1e-5)
        assert (batch[~own] == 0).all()


def test_cindex_is_the_count_of_pairs(rows):
    eta, time, event, segment = rows
    index = np.asarray(concordance(*rows, SEGMENTS))
    for number in range(3):
        own = segment == number
        part = eta[own], time[own], event[own]
        assert index[number] == pytest.approx(naive_cindex(*part), rel=1e-6)
        assert index[number] == pytest.approx(
            concordance_index_censored(event[own] > 0, time[own], eta[own])[0], rel=1e-6
        )
    assert np.isnan(index[3])
    order = np.random.default_rng(1).permutation(N)
    shuffled = concordance(*(leaf[order] for leaf in rows), SEGMENTS)
    np.testing.assert_allclose(shuffled, index, rtol=1e-6)


def test_a_broken_score_and_an_empty_segment_have_no_cindex(rows):
    eta, time, event, segment = rows
    eta, segment = eta.copy(), np.where(segment == 2, SEGMENTS, segment)
    eta[np.flatnonzero(segment == 0)[0]] = np.nan
    index = np.asarray(concordance(eta, time, event, segment.astype(np.int32), SEGMENTS))
    assert np.isnan(index).tolist() == [True, False, True, True]


def test_cindex_keeps_its_digits_with_many_pairs():
    rng = np.random.default_rng(0)
    n = 6000
    time = np.arange(n, dtype=np.float32)
    score = (rng.random(n) - time / n).astype(np.float32)
    ones, zero = np.ones(n, np.float32), np.zeros(n, np.int32)
    exact = concordance_index_censored(ones > 0, time, score)[0]
    assert concordance(score, time, ones, zero, 1)[0] == pytest.approx(exact, abs=2e-7)
