"""Private steps: clipping, sampling and noise, against NumPy; neighbours; layout."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jax_privacy
import numpy as np
import optax
import pytest
from catalogue import CATALOGUE
from federations import Lab, hospitals, recipe, same
from jax_privacy import noise_addition
from roads import FULL, precisions
from scipy import stats

from jaxfed import optimizer
from jaxfed.aggregators import WeightedMean, chain
from jaxfed.core.aggregation import Post
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Variables
from jaxfed.models import MLP
from jaxfed.privacy.draws import normal, uniform
from jaxfed.privacy.gradients import clipped_sum
from jaxfed.privacy.noise import noisy
from jaxfed.privacy.patient import PatientDP
from jaxfed.privacy.sampling import draw
from jaxfed.privacy.training import Streams

COVERED = (
    "ClusteredFL", "FedAdagrad", "FedAdam", "FedAvg", "FedAvgM", "FedCM", "FedDyn", "FedExP", "FedNova",
    "FedPer", "FedProx", "FedRolex", "FedYogi", "HeteroFL", "LocalOnly", "MOON", "MRMTL",
    "Scaffold, option II",
)  # fmt: skip


def private(plain, noise=0.0, **settings):
    """A recipe whose hospitals train privately."""
    (local,) = plain.locals
    settings = {"clip": 1.0, "microbatch": 4, **settings}
    training = PatientDP(noise_multiplier=noise, **settings).training(local, noise)
    return dataclasses.replace(plain, locals=(training,))


class Convolutions(nn.Module):
    """A kernel that is used at many places, one that is used twice, and a bias."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Conv(2, (2,), use_bias=False)(x[..., None])
        x = nn.tanh(x).reshape(len(x), -1)
        layer = nn.Dense(x.shape[-1])
        return nn.Dense(1)(layer(nn.tanh(layer(x))))


@pytest.mark.parametrize("form", ["fast", "native"])
@pytest.mark.parametrize("model", [MLP((9,), outputs=1), Convolutions()], ids=["dense", "convolution"])
def test_the_sum_of_clipped_gradients_is_that_of_single_rows(model, form):
    data = hospitals((9,))
    local = private(recipe(data, model=model)).locals[0]
    problem = local.problem.in_form(form)
    variables = problem.init(jax.random.key(0), data.x[:1].astype(np.float32))
    x, y = jnp.asarray(data.x, jnp.float32), jnp.asarray(data.y)
    x = x.at[4].set(jnp.nan).at[7].set(1e30)

    def gradient(params, row):
        def loss(params):
            outputs = problem.model.apply(
                Variables(params, {}), row[0][None], train=True, key=None, mask=None
            )
            return problem.losses(outputs[0], row[1][None])[0]

        return jax.value_and_grad(loss)(params)

    counts = jnp.arange(9) != 2
    singles = [gradient(variables.params, (x[i], y[i]))[1] for i in range(9)]
    for flat in (True, False):
        sums = jax.jit(clipped_sum, static_argnums=0, static_argnames="flat")(
            gradient, variables.params, (x, y), counts, 0.3, flat=flat
        )
        expected = [np.zeros(leaf.shape) for leaf in jax.tree.leaves(variables.params)]
        for i in (0, 1, 3, 4, 5, 6, 7, 8):
            leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(singles[i])]
            norms = [np.sqrt((leaf**2).sum()) for leaf in leaves]
            whole = np.sqrt(np.sum(np.square(norms)))
            if not whole < 1e19:  # not a number, or its square overflows
                assert i in (4, 7)
                continue
            for total, leaf, norm in zip(expected, leaves, norms, strict=True):
                bound = 0.3 / max(whole, 1e-30) if flat else 0.3 / np.sqrt(len(leaves)) / max(norm, 1e-30)
                total += min(1, bound) * leaf
        same(jax.tree.leaves(sums.gradient), expected, rtol=2e-5, atol=1e-6)


def test_no_product_of_clipped_gradients_is_rounded():
    """Of a leaf that is stored as two arrays, and of one that is stored whole."""

    def gradient(params, row):
        def loss(params):
            return jnp.square(jnp.matmul(row, params["kernel"], precision="highest") + params["bias"]).sum()

        return jax.value_and_grad(loss)(params)

    params, rows = {"kernel": jnp.ones((9, 7)), "bias": jnp.ones(7)}, jnp.ones((5, 2, 9))
    program = jax.make_jaxpr(lambda *given: clipped_sum(gradient, *given, 0.3))(
        params, rows, jnp.ones(5, bool)
    )
    assert precisions(program.jaxpr) == {FULL}


def sample(key, step, rate, size, count=8):
    """The whole sample of a step, drawn ``count`` at a time."""
    last, first, rows = jnp.int32(-1), 0, []
    while last < size - 1:
        drawn = _draw(key, step, rate, jnp.int32(size), last, first, count)
        rows += np.asarray(drawn.rows)[np.asarray(drawn.counts)].tolist()
        last, first = drawn.last, first + count
    return rows


_draw = jax.jit(draw, static_argnames="count")


def test_samples_are_poisson():
    key = jax.random.key(3)
    size, rate, steps = 40, 0.15, 400
    samples = [sample(key, t, rate, size) for t in range(steps)]
    assert all(rows == sorted({*rows}) for rows in samples)
    counts = np.array([len(rows) for rows in samples])
    assert (
        stats.kstest(counts + np.random.default_rng(0).uniform(-0.5, 0.5, steps), _smooth(size, rate)).pvalue
        > 1e-3
    )
    inside = np.zeros((steps, size))
    for t, rows in enumerate(samples):
        inside[t, rows] = 1
    expected = steps * rate
    assert ((inside.sum(0) - expected) ** 2 / (expected * (1 - rate))).sum() < stats.chi2.ppf(0.999, size)
    neighbours = np.corrcoef(inside[:, :-1].ravel(), inside[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(inside.size)
    assert sample(key, 0, 1.0, size) == [*range(size)]
    assert sample(key, 0, 0.0, size) == []


def _smooth(size, rate):
    """The distribution of a binomial number with uniform noise of width 1."""

    def below(x):
        whole = np.floor(x + 0.5)
        part = x + 0.5 - whole
        return stats.binom.cdf(whole - 1, size, rate) + part * stats.binom.pmf(whole, size, rate)

    return below


def test_samples_do_not_depend_on_microbatches_nor_on_rows_that_follow():
    key = jax.random.key(1)
    whole = sample(key, 5, 0.3, 60)
    assert whole == sample(key, 5, 0.3, 60, count=3) == sample(key, 5, 0.3, 60, count=64)
    assert [row for row in whole if row < 59] == sample(key, 5, 0.3, 59)
    assert whole != sample(key, 6, 0.3, 60)


def test_noise_is_normal_and_independent():
    drawn = np.asarray(jax.jit(lambda key: normal(key, 0, 0, (300, 300)))(jax.random.key(0)), np.float64)
    flat = drawn.ravel()
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    assert abs(flat.mean()) < 4 / np.sqrt(flat.size)
    assert abs(flat.std() - 1) < 4 / np.sqrt(2 * flat.size)
    assert np.abs(flat).max() > 3.9
    for lag in (1, 2, 300):
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 4 / np.sqrt(flat.size)
    for other in (normal(jax.random.key(0), 1, 0, (300, 300)), normal(jax.random.key(1), 0, 0, (300, 300))):
        assert abs(np.corrcoef(flat, np.asarray(other).ravel())[0, 1]) < 4 / np.sqrt(flat.size)
        assert abs(np.corrcoef(flat**2, np.asarray(other).ravel() ** 2)[0, 1]) < 4 / np.sqrt(flat.size)
    numbers = np.asarray(uniform(jax.random.key(2), 0, jnp.arange(50_000)))
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3


def test_leaves_steps_and_keys_get_other_noise():
    zeros = {"a": jnp.zeros((40, 5)), "b": jnp.zeros(200), "c": jnp.zeros(200)}
    first = noisy(zeros, 2.0, jax.random.key(0), 0)
    draws = [first["a"].ravel(), first["b"], first["c"]]
    draws += [noisy(zeros, 2.0, jax.random.key(0), 1)["b"], noisy(zeros, 2.0, jax.random.key(1), 0)["b"]]
    table = np.array([np.asarray(values) for values in draws])
    assert np.abs(np.corrcoef(table) - np.eye(5)).max() < 0.3
    assert table.std() == pytest.approx(2.0, rel=0.1)
    same(noisy(zeros, 0.0, jax.random.key(0)), zeros)


def summed(lab, hospital, key):
    """The noiseless sum of a step in a hospital."""
    local = lab.local
    rows = lab.shard(hospital)
    variables = local.problem.init(jax.random.key(0), rows.x[:1])
    _, total = jax.jit(lambda v, key: local.summed(v, rows, Streams.of(key), jnp.int32(0)))(variables, key)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(total)])


def test_one_patient_moves_the_sum_by_at_most_the_clip():
    """The last row of the hospital is left out: the others stay in the sample."""
    data = hospitals((12,))
    without = dataclasses.replace(
        data, x=data.x[:11], y=data.y[:11], size=np.array([11]), split=data.split[:11]
    )
    for clip in (0.05, 0.4):
        labs = [Lab(private(recipe(d), clip=clip, rate=0.999), d) for d in (data, without)]
        moved = np.linalg.norm(np.subtract(*[summed(lab, 0, jax.random.key(7)) for lab in labs]))
        assert 0.5 * min(clip, 0.05) < moved <= clip * (1 + 1e-5)


@pytest.mark.parametrize("name", COVERED)
def test_a_patient_moves_what_leaves_a_hospital_by_a_bounded_amount(name):
    """One step without noise, for every algorithm that is covered: its upload and the state that it keeps.

    The whole sum moves by at most 2 clips where a row is replaced, the model by the rate of this over n.
    """
    case, clip, rows = CATALOGUE[name], 0.02, 8
    data = hospitals((rows,))
    lab = Lab(
        private(
            recipe(data, model=case.model, algorithm=case.algorithm, steps=1, batch_size=None), clip=clip
        ),
        data,
    )
    algorithm, local, shard = lab.algorithm, lab.local, lab.shard()
    variables = local.problem.init(jax.random.key(0), shard.x[:1])
    server, client = algorithm.init(variables, jax.random.key(1), 1)

    @jax.jit
    def act(x):
        hospital = dataclasses.replace(shard, x=x)
        upload, kept, _ = algorithm.client_update(local, server, client, hospital, jax.random.key(2))
        return upload, kept

    results = [act(x) for x in (shard.x, shard.x.at[rows - 1].set(50.0))]
    differences = jax.tree.leaves(jax.tree.map(jnp.subtract, *results))
    moved = float(jnp.sqrt(sum((leaf**2).sum() for leaf in differences)))
    step = 0.2 * 2 * clip / rows
    whole = {"Scaffold, option II": np.sqrt(1 + 2 / 0.2**2) * step, "FedPer": step, "LocalOnly": step}
    bound = whole.get(name, step * np.sqrt(2) if differences and jax.tree.leaves(results[0][1]) else step)
    if name in ("FedDyn", "FedExP", "FedCM", "FedNova"):  # functions of the same model, scaled
        bound = 20 * step
    assert 0 < moved <= bound * (1 + 1e-3)


class Released(NamedTuple):
    """What the server was given in the last round."""

    update: Any


@pytree
@dataclasses.dataclass(frozen=True)
class Keep(Post):
    """Keeps the released update."""

    def init(self, update):
        return Released(jax.tree.map(jnp.zeros_like, update))

    def apply(self, update, state, key):
        return update, Released(update)


# What the release may move by, in units of the step size times 2 clips over n, where it is not the hospital's
# share of the rows.
RELEASED = {
    "FedCM": 0.1 * 8 / 14,  # of which 1 - alpha is the last round's
    "FedDyn": 1 / 2,  # uniform
    "FedPer": (0, 8 / 14),  # the head stays in the hospital
    "FedRolex": 1 / 2,
    "HeteroFL": 1 / 2,
    "Scaffold, option II": np.sqrt(1 + 1 / 0.2**2) / 2,  # also of controls, without the step size
}
NO_MEAN = {"ClusteredFL", "LocalOnly"}  # see the test of uploads


@pytest.mark.parametrize("name", sorted({*COVERED} - NO_MEAN))
def test_a_patient_moves_what_a_whole_round_releases_by_a_bounded_amount(name):
    """The engine's round without noise, of two hospitals; the label of one row of the first one differs.

    Both gradients of the row are clipped and opposite, so the bound is reached.
    """
    case, clip, rows = CATALOGUE[name], 0.02, 8
    released, deployed = [], []
    for label in (0, 1):
        data = hospitals((rows, 6))
        y = data.y.copy()
        y[rows - 1] = label
        data = dataclasses.replace(data, y=y)
        settings = {"model": case.model, "algorithm": case.algorithm, "steps": 1, "batch_size": None}
        plain = recipe(data, **settings, aggregator=chain(WeightedMean(), Keep()))
        lab = Lab(private(plain, clip=clip), data)
        state, _ = lab.advance(lab.start(), 1)
        released.append(jax.tree.leaves(state.aggregator))
        if name in ("FedAvg", "Scaffold, option II"):
            deployed.append(jax.tree.map(lambda leaf: leaf[0], jax.tree.leaves(lab.deployed(state))))

    def moved(trees):
        pairs = zip(*jax.tree.map(np.asarray, trees), strict=True)
        return np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs)) / (0.2 * 2 * clip / rows)

    least, most = np.broadcast_to(RELEASED.get(name, 8 / 14), 2)
    assert (1 - 1e-3) * least < moved(released) <= (1 + 1e-3) * most
    assert not deployed or 0 < moved(deployed) <= 1 + 1e-3


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")
@pytest.mark.parametrize("model", [MLP((9,), outputs=1), Convolutions()], ids=["dense", "convolution"])
def test_the_sum_of_clipped_gradients_is_that_of_jax_privacy(model):
    data = hospitals((9,))
    problem = private(recipe(data, model=model)).locals[0].problem
    variables = problem.init(jax.random.key(0), data.x[:1].astype(np.float32))
    x, y = jnp.asarray(data.x, jnp.float32).at[4].set(jnp.nan), jnp.asarray(data.y)

    def loss(params, x, y):
        outputs, _ = problem.model.apply(Variables(params, {}), x, train=True, key=None, mask=None)
        return problem.losses(outputs, y).sum()

    def gradient(params, row):
        return jax.value_and_grad(loss)(params, *jax.tree.map(lambda leaf: leaf[None], row))

    sums = clipped_sum(gradient, variables.params, (x, y), jnp.ones(9, bool), 0.3)
    theirs = jax_privacy.clipped_grad(loss, batch_argnums=(1, 2), l2_clip_norm=0.3)(variables.params, x, y)
    same(sums.gradient, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")
def test_private_training_is_that_of_jax_privacy():
    """Three steps on all rows without noise; and the noise of a step has the deviation of theirs."""
    data, clip = hospitals((9,)), 0.3
    lab = Lab(private(recipe(data, epochs=3, batch_size=None), clip=clip), data)
    problem, shard = lab.local.problem, lab.shard()
    start = problem.init(jax.random.key(0), shard.x[:1])
    trained = jax.jit(lab.local.train)(start, shard, jax.random.key(1)).variables.params

    def loss(params, x, y):
        outputs, _ = problem.model.apply(Variables(params, {}), x, train=True, key=None, mask=None)
        return problem.losses(outputs, y).sum()

    summed = jax_privacy.clipped_grad(loss, batch_argnums=(1, 2), l2_clip_norm=clip, normalize_by=9)
    params = start.params
    for _ in range(3):
        params = jax.tree.map(lambda p, g: p - 0.2 * g, params, summed(params, shard.x[:9], shard.y[:9]))
    same(trained, params, rtol=1e-5, atol=1e-6)
    zeros = jnp.zeros(20_000)
    privatizer = noise_addition.gaussian_privatizer(
        stddev=1.5 * summed.sensitivity(), prng_key=jax.random.key(2)
    )
    theirs, _ = privatizer.update(zeros, privatizer.init(zeros))
    ours = noisy(zeros, 1.5 * clip / 9, jax.random.key(3))
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def exact(sizes):
    """Small whole numbers, so that sums are exact in any order."""
    data = hospitals(sizes, task="regression")
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, data.x.shape).astype(np.float64)
    return dataclasses.replace(data, x=x, y=rng.integers(-2, 3, data.y.shape).astype(np.float64))


class Linear(nn.Module):
    """A linear model from zero."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(x)


@pytest.mark.parametrize("name", ["FedAvg", "Scaffold, option II", "LocalOnly"])
def test_without_noise_and_clipping_and_with_all_rows_it_is_the_plain_algorithm(name):
    """Bit for bit, where the arithmetic is exact."""
    data = exact((4, 4))
    client = optimizer(optax.sgd, learning_rate=0.125)
    plain = recipe(
        data, model=Linear(), algorithm=CATALOGUE[name].algorithm, batch_size=None, epochs=2, client=client
    )
    same(Lab(plain, data).rounds(1)[:2], Lab(private(plain, clip=jnp.inf), data).rounds(1)[:2])


def test_and_for_inexact_numbers_up_to_rounding():
    data = hospitals()
    plain = recipe(data, batch_size=None, epochs=2, l2=0.1)
    left, right = (Lab(r, data).rounds(2)[:2] for r in (plain, private(plain, clip=jnp.inf)))
    same(left, right, rtol=1e-5, atol=1e-6)


def test_layout_and_microbatches_change_nothing():
    data = hospitals()
    base = None
    for microbatch, devices, block in ((4, 1, 1), (3, 2, 2), (32, 4, 2)):
        noisy_recipe = private(recipe(data), 0.7, clip=0.5, microbatch=microbatch)
        server, *_ = Lab(noisy_recipe, data, devices, block).rounds(2)
        leaves = jax.tree.leaves(server.variables)
        base = leaves if base is None else base
        same(leaves, base, rtol=2e-5, atol=2e-6)


def test_the_noise_of_a_step_has_the_stated_deviation_and_the_denominator_is_the_expected_number():
    """Rows whose gradient is zero: what is left is noise over q n, also where nobody is drawn."""
    data = hospitals((10, 20, 5), task="regression")
    data = dataclasses.replace(data, y=np.zeros_like(data.y))
    model = MLP((120,), outputs=1)
    z, clip, q = 1.5, 0.4, 0.05

    def moved(rate, noise):
        plain = recipe(data, model=model, algorithm=CATALOGUE["LocalOnly"].algorithm, steps=1)
        lab = Lab(private(plain, noise, clip=clip, rate=rate), data)
        before = lab.start()
        start = jax.tree.map(jnp.zeros_like, lab.clients(before))
        state = lab.with_states(before, (), start)
        after, _ = lab.advance(state, 1)
        clients = lab.clients(after)
        return [np.concatenate([np.ravel(x[c]) for x in jax.tree.leaves(clients)]) for c in range(3)]

    drawn = moved(q, z)
    for n, values in zip((10, 20, 5), drawn, strict=True):
        assert values.std() == pytest.approx(0.2 * z * clip / (q * n), rel=0.15)
        assert stats.kstest(values / values.std(), "norm").pvalue > 1e-3
    correlations = np.corrcoef(np.array(drawn))
    assert np.abs(correlations - np.eye(3)).max() < 0.25
    same(moved(q, 0.0), [np.zeros_like(values) for values in drawn])


def test_a_row_that_is_not_finite_counts_as_zero():
    data = hospitals((6, 6))
    x = data.x.copy()
    x[2] = np.nan
    broken = dataclasses.replace(data, x=x)
    lab = Lab(private(recipe(broken, batch_size=None)), broken)
    total = summed(lab, 0, jax.random.key(0))
    assert np.isfinite(total).all()
    rows = [i for i in range(6) if i != 2]
    left = dataclasses.replace(
        data, x=data.x[[*rows, *range(6, 12)]], y=data.y[[*rows, *range(6, 12)]],
        size=np.array([5, 6]), split=data.split[:11],
    )  # fmt: skip
    expected = summed(Lab(private(recipe(left, batch_size=None)), left), 0, jax.random.key(0))
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6)
