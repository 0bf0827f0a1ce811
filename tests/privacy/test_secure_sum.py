"""Secure sums: exact arithmetic, whatever the masks, the layout and who is lost; and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, same
from roads import aggregate

import jaxfed
from jaxfed.aggregators import NNM, Krum, WeightedMean, chain
from jaxfed.algorithms import AFL, FedSGD, Scaffold
from jaxfed.core.errors import InvalidInput
from jaxfed.core.hyperparameters import per_hospital
from jaxfed.core.uploads import Uploads
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson
from jaxfed.privacy import SecureSum, masks
from jaxfed.transforms import Clip

SIZES = (11, 4, 7, 1, 9, 6, 5, 8)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 37)).astype(np.float32)
AUX = RNG.uniform(0, 50, size=(8, 2)).astype(np.float32)
WEIGHTS = np.array(SIZES, np.float32)


def fixed_point(x, weights, bound, bits, ring=32):
    """The mean in Python's whole numbers, which have no end, modulo 2^ring."""
    limit = 2 ** (bits - 1) - 1
    digits = np.round(np.clip(np.asarray(x, np.float32) / np.float32(bound), -1, 1) * np.float32(limit))
    total = [sum(int(w) * int(q) for w, q in zip(weights, column, strict=True)) for column in digits.T]
    total = [(t + 2 ** (ring - 1)) % 2**ring - 2 ** (ring - 1) for t in total]
    return np.array(total) * (bound / limit) / max(sum(int(w) for w in weights), 1)


def run(rule, x=X, weights=WEIGHTS, aux=AUX, devices=1, seed=0):
    return aggregate(x, rule, weights=weights, aux=aux, devices=devices, seed=seed, state=np.zeros(0))


@pytest.mark.parametrize(("bound", "bits"), [(4.0, 16), (1.0, 8), (4.0, 2), (0.5, 24)])
def test_the_mean_of_whole_numbers(bound, bits):
    weights = np.ones(8) if bits == 24 else WEIGHTS
    got = run(SecureSum(bound, bits), weights=weights)
    np.testing.assert_allclose(got.update, fixed_point(X, weights, bound, bits), rtol=3e-7, atol=1e-7 * bound)
    np.testing.assert_allclose(got.aux, fixed_point(AUX, weights, 100.0, bits), rtol=3e-7)
    assert np.array_equal(got.metrics["outside"], (np.abs(X) > bound).sum(1))
    assert not got.metrics["lost"].any()


def test_it_is_the_mean_up_to_half_a_step():
    got, bound, bits = run(SecureSum(8.0, 20)), 8.0, 20
    mean = np.average(np.asarray(X, np.float64), axis=0, weights=WEIGHTS)
    assert np.abs(got.update - mean).max() <= 0.51 * bound / (2 ** (bits - 1) - 1)


@pytest.mark.parametrize("neighbours", [None, 2])
def test_masks_change_no_bit(neighbours):
    """Also with absent hospitals, a share that is lost, few neighbours, and more devices."""
    weights = np.where(np.arange(8) == 2, 0, WEIGHTS)
    for seed, lost in enumerate((0.0, 0.4, 0.4)):
        plain = SecureSum(4.0, 16, lost=lost, rounding="stochastic", neighbours=neighbours)
        want = run(plain, weights=weights, seed=seed)
        got = run(dataclasses.replace(plain, masked=True), weights=weights, seed=seed)
        same(got._replace(state=()), want._replace(state=()))
        assert not want.metrics["lost"][2]
        assert want.metrics["lost"].any() == (lost > 0)
    if neighbours:
        got = run(dataclasses.replace(plain, masked=True), weights=weights, seed=2, devices=4)
        same(got._replace(state=()), want._replace(state=()))


def test_lost_hospitals_have_no_part_in_the_sum():
    seen = []
    for seed in range(6):
        got = run(SecureSum(4.0, 16, lost=jnp.float32(0.5)), seed=seed)
        there = ~got.metrics["lost"]
        seen.append(there)
        if there.sum() < 2:
            assert np.isnan(got.update).all()
            continue
        np.testing.assert_allclose(
            got.update, fixed_point(X[there], WEIGHTS[there], 4.0, 16), rtol=3e-7, atol=4e-7
        )
    assert 0.2 < np.mean(seen) < 0.8
    assert len({tuple(row) for row in seen}) > 3


def test_below_the_threshold_there_is_no_answer():
    for there in (3, 4, 8):
        weights = np.where(np.arange(8) < there, WEIGHTS, 0)
        got = run(SecureSum(4.0, 16, threshold=jnp.int32(4)), weights=weights)
        assert np.isfinite(got.update).all() == (there >= 4)


def test_numbers_beyond_the_bound_are_counted_or_refused():
    x = X.copy()
    x[1, 5], x[1, 6], x[4, 0] = 9, -9, 4.5
    aux = AUX.copy()
    aux[6, 1] = 101
    clipped, refused = (run(SecureSum(4.0, 16, outside=how), x, aux=aux) for how in ("clip", "refuse"))
    for got in (clipped, refused):
        assert got.metrics["outside"].tolist() == [0, 2, 0, 0, 1, 0, 1, 0]
    np.testing.assert_allclose(clipped.update, fixed_point(x, WEIGHTS, 4.0, 16), rtol=3e-7, atol=4e-7)
    left = np.array([0, 2, 3, 5, 7])
    np.testing.assert_allclose(
        refused.update, fixed_point(x[left], WEIGHTS[left], 4.0, 16), rtol=3e-7, atol=4e-7
    )


def test_a_sum_that_leaves_the_ring_is_refused_and_not_wrapped():
    """What is known only inside of a run: a weight that grows, or that is no whole number."""
    for weight, fine in ((2.0**15, True), (2.0**17, False), (2.5, False)):
        got = run(SecureSum(4.0, 16), weights=np.where(np.arange(8) == 0, weight, 1))
        assert np.isfinite(got.update).all() == fine


def test_stochastic_rounding_has_the_mean_of_the_number():
    rule, x = SecureSum(1.0, 4, rounding="stochastic"), np.linspace(-1, 1, 37, dtype=np.float32)
    draws = np.array([run(rule, np.tile(x, (8, 1)), np.ones(8), seed=seed).update for seed in range(60)])
    step = 1 / 7
    assert np.abs(draws.mean(0) - x).max() < 5 * 0.5 * step / np.sqrt(8 * 60)
    assert draws.std(0).max() > 0.1 * step
    nearest = run(dataclasses.replace(rule, rounding="nearest"), np.tile(x, (8, 1)), np.ones(8)).update
    assert np.abs(nearest - x).max() > 0.4 * step


def test_a_single_message_says_nothing_and_the_sum_everything():
    """Masked numbers are uniform in the ring, whatever was sent; neighbours are as many as asked for."""
    summands = jnp.asarray(RNG.integers(0, 9, size=(6, 4000)), jnp.uint32)
    agreed, key = jnp.array([1, 1, 0, 1, 1, 1], bool), jax.random.key(3)
    for neighbours in (None, 2):
        linked = masks.links(agreed, neighbours, key)
        assert np.array_equal(linked, linked.T)
        assert not linked[2].any()
        assert set(np.asarray(linked.sum(1))[np.asarray(agreed)]) == {4 if neighbours is None else 2}

        def draw(key):
            return jax.random.bits(key, (4000,), jnp.uint32)

        sent = jax.jit(lambda linked: masks.masked(summands, linked, key, draw))(linked)
        total_of = jax.jit(lambda there: masks.unmasked_sum(sent, linked, there, key, draw))  # noqa: B023
        high = np.asarray(sent[0] >> 28)
        counts = np.bincount(high, minlength=16)
        assert ((counts - 250) ** 2 / 250).sum() < 45  # chi^2 with 15 degrees of freedom: 1e-4
        total = total_of(agreed)
        assert np.array_equal(total, np.asarray(summands)[np.asarray(agreed)].sum(0))
        without = agreed & (jnp.arange(6) != 4)
        total = total_of(without)
        assert np.array_equal(total, np.asarray(summands)[np.asarray(without)].sum(0))


def lab(rule, devices=1, block=1):
    data, there = hospitals(SIZES), Poisson(jnp.float32(0.7))
    how = {"model": MLP((), outputs=1), "algorithm": Scaffold(), "participation": there}
    return Lab(recipe(data, aggregator=rule, **how), data, devices, block)


def ended(one, rounds=3):
    server, clients, seen = one.rounds(rounds)
    return server.variables, clients, seen


def test_it_works_as_the_mean_on_the_road():
    """With absent hospitals and uploads of several parts; masks change no bit, layouts only what is sent."""
    mean, alone = ended(lab(WeightedMean())), lab(SecureSum(4.0, 18))
    got = ended(alone)
    same(got[:2], mean[:2], rtol=1e-3, atol=1e-3)
    spread = ended(alone.replace(devices=2, block=2))
    same(spread[:2], got[:2], rtol=1e-4, atol=1e-5)
    same(ended(lab(SecureSum(4.0, 18, masked=True), devices=2, block=2)), spread)


def test_a_refused_round_leaves_the_model_as_it_is():
    """Fewer uploads than the threshold: nothing moves; the observer sees that it was refused."""
    one = lab(SecureSum(4.0, 18, threshold=9))
    server, _, seen = one.rounds(1)
    same(server, one.rounds(0)[0])
    assert seen.refused[0]
    assert seen.present[0].any()


def simulation(**how):
    how = {
        "hospitals": hospitals(SIZES, test=1),
        "model": MLP((), outputs=1),
        "splits": ("test",),
        "devices": 1,
        **how,
    }
    return jaxfed.Simulation(**how)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"aggregator": SecureSum(bits=24), "hospitals": hospitals((300, 400, 500), test=1)},
         "values of 24 bits times weights that add up to 1,200 \\(10.2 bits, 3 hospitals\\) overflow a ring "
         "of 32 bits; give bits=20, or ring=64"),
        ({"aggregator": SecureSum(bits=30)}, "bits=30: numbers have 24 bits here; give bits=24, or call"),
        ({"aggregator": SecureSum(ring=64)}, "ring=64: whole numbers have 32 bits here"),
        ({"aggregator": SecureSum(threshold=9)}, "threshold=9 is never reached by 8 hospitals; give at"),
        ({"aggregator": SecureSum(), "participation": FixedCohort(1)}, "a sum of one upload hides nothing"),
        ({"aggregator": SecureSum(), "weights": per_hospital([0.5] * 8)}, "weight 5.5, and the ring has"),
        ({"aggregator": chain(NNM(1), SecureSum())}, "NNM needs single uploads, and with SecureSum"),
        ({"aggregator": SecureSum(), "algorithm": AFL()}, "AFL sends numbers that the server needs of each"),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_is_compiled(how, says):
    with pytest.raises(InvalidInput, match=says):
        simulation(**how)


def test_parts_and_arguments_that_cannot_be():
    with pytest.raises(InvalidInput, match="with SecureSum the server sees no single upload that another"):
        chain(Krum(1), SecureSum())
    with pytest.raises(
        InvalidInput, match=r"5 problems(.|\n)*bound=-1(.|\n)*bits=1: (.|\n)*ring=16: give 32"
    ):
        SecureSum(-1, 1, ring=16, outside="drop", neighbours=3)
    with pytest.raises(InvalidInput, match="threshold=1: give a whole number >= 2"):
        SecureSum(threshold=1)


def test_sums_of_64_bits(x64):
    rule = SecureSum(4.0, 40, ring=64)
    assert rule.problems(8) == []
    assert rule.weight_problems(np.full(10, 2**20)) == []
    assert "overflow a ring of 64 bits; give bits=2" in rule.weight_problems(np.full(2, 2**60))[0]
    got = jax.jit(lambda x, key: rule.reduce(Uploads(x, jnp.zeros((8, 0)), jnp.ones(8)), (), key)[0].update)(
        jnp.asarray(X, jnp.float64), jax.random.key(0)
    )
    mean = np.asarray(X, np.float64).clip(-4, 4).mean(0)
    assert got.dtype == np.float64
    assert np.abs(got - mean).max() < 4 / (2**39 - 1)


def test_bytes_of_the_protocol():
    sim = simulation(aggregator=chain(Clip(1.0), SecureSum()))
    numbers = 4  # 3 weights and a bias
    assert (sim.costs()["upload"] == (numbers + 1) * 4).all()
    table = SecureSum().messages(1000, 9)
    assert table.loc["masked sum", "sent"] == 4004
    assert table.loc["shares", "sent"] == 2 * 48 * 8
    assert table.loc["all", "sent"] == 64 + 768 + 4004 + 432
    few = SecureSum(neighbours=2).messages(1000, 9)
    assert few.loc["all", "sent"] < table.loc["all", "sent"]
    assert few.loc["masked sum", "sent"] == 4004


def test_numbers_are_swept_in_one_program():
    data = hospitals(SIZES, test=6)
    sim = simulation(hospitals=data, aggregator=SecureSum(1.0, 16), algorithm=FedSGD(), client_optimizer=None)
    sweep = sim.sweep({"aggregator.lost": [0.0, 0.3], "aggregator.bound": [1.0, 2.0]}, 2, progress=False)
    assert sweep.provenance["programs"] == 1


def test_whole_weights_of_rows_stay_whole():
    """The sum of a hospital's weights is its rows times their mean, which is rounded."""
    data, sums = hospitals((11, 13, 19)), (15, 14, 27)
    whole = {
        name: np.r_[total - rows + 1, np.ones(rows - 1)]
        for name, total, rows in zip(data.hospitals, sums, data.size, strict=True)
    }
    assert 11 * (15 / 11) != 15
    assert np.float32(13) * np.float32(14 / 13) != 14
    sim = jaxfed.Simulation(
        jaxfed.data.weigh_rows(data, whole),
        model=MLP((2,)),
        devices=1,
        aggregator=SecureSum(4.0, 12, threshold=2),
        splits=("train",),
    )
    run = sim.run(2, progress=False)
    assert not run.history.refused.any()
    odd = {name: weights + 0.5 for name, weights in whole.items()}
    with pytest.raises(InvalidInput, match="the ring has whole numbers; give whole weights"):
        sim.replace(hospitals=jaxfed.data.weigh_rows(data, odd))
