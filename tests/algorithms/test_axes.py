"""Hidden widths found in models, and slices of them: a slice is the model of smaller width."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import Normalised
from flax import nnx

from jaxfed.algorithms.submodel.slices import decode, held_units
from jaxfed.algorithms.submodel.widths import OUTPUT, WHOLE, find_axes
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.problem import Problem
from jaxfed.models import CNN, MLP, logistic

ROWS, IMAGES = np.zeros((2, 5), np.float32), np.zeros((2, 8, 8, 1), np.float32)


class Residual(nn.Module):
    """Two widths: one is joined by the sum. Sigmoid is not 0 at 0."""

    body: int = 4
    inner: int = 6

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.body)(x)
        x = x + nn.Dense(self.body)(nn.sigmoid(nn.Dense(self.inner)(nn.sigmoid(x))))
        return nn.Dense(2)(nn.Dropout(0.1, deterministic=True)(x))


class Groups(nn.Module):
    """Group normalisation is over whole groups; the last convolution is by channel."""

    groups: int = 4

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2 * self.groups, (3, 3))(x)
        x = nn.silu(nn.GroupNorm(self.groups)(x))
        x = nn.Conv(2 * self.groups, (3, 3), feature_group_count=2 * self.groups)(x)
        return nn.Dense(2)(nn.max_pool(x, (2, 2), (2, 2)).mean((1, 2)))


class Embedding(nn.Module):
    """A table of numbers beside one of categories, whose embedding is joined to them."""

    width: int = 6

    @nn.compact
    def __call__(self, x):
        both = jnp.concatenate([nn.Embed(7, 3)(x["kind"]), x["number"]], axis=-1)
        return nn.Dense(1)(nn.relu(nn.Dense(self.width)(both)))


class Nnx(nnx.Module):
    def __init__(self, rngs, width=4):
        self.body, self.norm = nnx.Linear(5, width, rngs=rngs), nnx.BatchNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.norm(self.body(x))))


class LayerNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.LayerNorm()(nn.Dense(4)(x)))


class Sorted(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(jnp.cumsum(nn.Dense(4)(x), axis=-1))


class Attention(nn.Module):
    """Scores are sums of products of activations; a bias between makes them other than zero outside."""

    @nn.compact
    def __call__(self, x):
        q, k = (nn.sigmoid(nn.Dense(4, name=name)(x[..., None])) for name in "qk")
        return nn.Dense(1)(jax.nn.softmax(jnp.einsum("bid,bjd->bij", q, k)).mean(1))


KINDS = {"kind": np.zeros(2, np.int32), "number": np.zeros((2, 2), np.float32)}
# model, the same at half its widths, rows, widths
MODELS = {
    "dense": (MLP((4, 6), 3), MLP((2, 3), 3), ROWS, {4, 6}),
    "convolutions": (CNN((4, 8), 6, 3), CNN((2, 4), 3, 3), IMAGES, {4, 8, 6}),
    "residual": (Residual(), Residual(2, 3), ROWS, {4, 6}),
    "groups": (Groups(), Groups(2), IMAGES, {4}),
    "embedding": (Embedding(), Embedding(3), KINDS, {6}),
    "nnx": (Nnx, lambda rngs: Nnx(rngs, 2), ROWS, {4}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_slice_is_the_narrow_model(name):
    """Same outputs, once the narrow model is given the units that the slice holds."""
    wide, narrow, rows, widths = MODELS[name]
    problem, small = (Problem(None, as_model(m), "binary") for m in (wide, narrow))
    axes = find_axes(problem, rows)
    assert (set(axes.widths), axes.problems) == (widths, ())
    rng = np.random.default_rng(0)
    x = jax.tree.map(lambda leaf: rng.integers(0, 7, (5, *leaf.shape[1:])).astype(leaf.dtype), rows)
    variables = problem.init(jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.5, 1, leaf.shape).astype(leaf.dtype), variables)
    mask = axes.mask(variables, held_units(axes, 0.5))
    like = small.init(jax.random.key(0), x)
    own = jax.tree.map(lambda leaf, m, s: leaf[np.asarray(m) > 0].reshape(s.shape), variables, mask, like)
    expected = small.predict(own, x)
    np.testing.assert_allclose(problem.predict(decode(variables, mask), x), expected, rtol=2e-5)
    assert not np.allclose(problem.predict(variables, x), expected)


def test_batch_statistics_have_a_width():
    axes = find_axes(Problem(None, as_model(Normalised()), "binary"), ROWS)
    assert axes.widths == (3,)
    assert ((3, 0),) in axes.arrays[-1]


def test_inputs_and_outputs_are_whole():
    axes = find_axes(Problem(None, as_model(MLP((4,), outputs=3)), "multiclass"), ROWS)
    bias, kernel, inner_bias, inner = axes.arrays
    assert (bias, kernel) == ((((3, OUTPUT),),), (((4, 0),), ((3, OUTPUT),)))
    assert (inner_bias, inner) == ((((4, 0),),), (((5, WHOLE),), ((4, 0),)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (logistic(), "no hidden width"),
        (LayerNorm(), "width 4 of Dense_0/kernel cannot be sliced: something is computed over all of it"),
        (Sorted(), "cannot be sliced: 'cumsum' works on it"),
        (Attention(), "activations are multiplied with activations"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_models_without_slices(model, reason):
    (problem,) = find_axes(Problem(None, as_model(model), "binary"), ROWS).problems
    assert reason in problem


@pytest.mark.parametrize(("rate", "units"), [(0.1, 1), (0.7, 7), (0.05, 1), (0.55, 6), (1.0, 10)])
def test_units_of_a_rate(rate, units, x64):
    axes = find_axes(Problem(None, as_model(MLP((10,), outputs=1)), "binary"), ROWS)
    for number in (rate, np.float32(rate)):
        (held,) = held_units(axes, jnp.asarray(number))
        assert held.tolist() == [True] * units + [False] * (10 - units)
    (rolled,) = held_units(axes, rate, 8)
    assert np.flatnonzero(rolled).tolist() == sorted((8 + i) % 10 for i in range(units))
