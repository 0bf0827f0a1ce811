"""Convolutions and pooling in their fast form: the numbers of flax, values and gradients."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import same
from flax import nnx
from jax import lax

from jaxfed.core.nn.linen_model import LinenModel
from jaxfed.core.nn.nnx_model import NnxModel
from jaxfed.core.nn.rewrite import routed

KEY = jax.random.key(0)
NHWC = ("NHWC", "HWIO", "NHWC")


def fast(function, *args):
    return routed(function, *args, form="fast")


def primitives(function, *args):
    return set(_primitives(jax.make_jaxpr(function)(*args).jaxpr))


def _primitives(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for value in eqn.params.values():
            for body in value if isinstance(value, tuple) else (value,):
                body = getattr(body, "jaxpr", body)
                if hasattr(body, "eqns"):
                    yield from _primitives(body)


SLOW = {"conv_general_dilated", "reduce_window_max", "reduce_window_sum"}


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def agree(function, *args, slow=frozenset()):
    """Values and gradients of both forms are the same, and nothing slow is left."""

    def curved(outputs):
        return sum(jnp.sum(jnp.sin(leaf) * jnp.cos(0.3 * jnp.arange(leaf.size)).reshape(leaf.shape))
                   for leaf in jax.tree.leaves(outputs))  # fmt: skip

    places = tuple(range(len(args)))
    plain = jax.jit(jax.value_and_grad(lambda *a: curved(function(*a)), places))(*args)
    ours = jax.jit(jax.value_and_grad(lambda *a: curved(fast(function, *a)), places))(*args)
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        scale = max(1.0, float(jnp.abs(right).max()))
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5 * scale)
    left = primitives(lambda *a: fast(function, *a), *args)
    assert left & SLOW == slow


# shape of x [B, axes, C], window, strides, padding, dilation of input and kernel, groups, output channels
CONVOLUTIONS = {
    "same": ((3, 6, 7, 2), (3, 3), (1, 1), "SAME", (1, 1), (1, 1), 1, 4),
    "valid, even window": ((2, 6, 7, 3), (2, 4), (1, 1), "VALID", (1, 1), (1, 1), 1, 5),
    "strides": ((2, 9, 8, 2), (3, 3), (2, 3), "SAME", (1, 1), (1, 1), 1, 4),
    "stride wider than the window": ((2, 9, 8, 2), (1, 2), (3, 3), "VALID", (1, 1), (1, 1), 1, 4),
    "explicit padding": ((2, 5, 6, 2), (3, 2), (1, 2), ((2, 0), (1, 3)), (1, 1), (1, 1), 1, 3),
    "negative padding": ((2, 7, 6, 2), (3, 2), (1, 1), ((-1, 0), (0, -2)), (1, 1), (1, 1), 1, 3),
    "dilated kernel": ((2, 9, 8, 2), (3, 2), (1, 1), "SAME", (1, 1), (2, 3), 1, 3),
    "dilated input": ((2, 5, 4, 2), (3, 2), (1, 1), ((1, 1), (0, 2)), (2, 3), (1, 1), 1, 3),
    "everything at once": ((2, 7, 6, 4), (3, 2), (2, 1), ((1, 2), (0, 1)), (2, 1), (1, 2), 2, 6),
    "depthwise": ((2, 5, 5, 3), (3, 3), (1, 1), "SAME", (1, 1), (1, 1), 3, 6),
    "1 x 1": ((2, 5, 5, 3), (1, 1), (1, 1), "VALID", (1, 1), (1, 1), 1, 4),
    "batch of one": ((1, 6, 5, 2), (3, 3), (1, 1), "SAME", (1, 1), (1, 1), 1, 4),
    "one pixel": ((2, 1, 1, 2), (3, 3), (1, 1), "SAME", (1, 1), (1, 1), 1, 4),
    "one axis": ((2, 9, 3), (4,), (2,), "SAME", (1,), (1,), 1, 4),
    "three axes": ((2, 4, 5, 3, 2), (2, 3, 2), (1, 2, 1), "SAME", (1, 1, 1), (1, 1, 1), 1, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    shape, window, strides, padding, into, dilation, groups, channels = CONVOLUTIONS[name]
    x, kernel = images(*shape), images(*window, shape[-1] // groups, channels, seed=1)
    letters = "HWD"[: len(window)]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    def convolve(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, strides, padding, into, dilation, numbers, feature_group_count=groups
        )

    agree(convolve, x, kernel)


@pytest.mark.parametrize("numbers", [("NCHW", "OIHW", "NCHW"), ("HWNC", "OHWI", "NHWC")])
def test_other_orders_of_axes(numbers):
    sizes = {"N": 2, "C": 3, "H": 5, "W": 6}, {"H": 3, "W": 2, "I": 3, "O": 4}
    shapes = [[size[letter] for letter in order] for size, order in zip(sizes, numbers, strict=False)]

    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 2), "SAME", dimension_numbers=numbers)

    agree(convolve, images(*shapes[0]), images(*shapes[1], seed=1))


POOLS = {
    "2 x 2": ((2, 6, 8, 3), (2, 2), (2, 2), "VALID"),
    "odd sizes": ((2, 7, 9, 3), (2, 2), (2, 2), "VALID"),
    "odd sizes, same": ((2, 7, 9, 3), (2, 2), (2, 2), "SAME"),
    "overlapping": ((2, 7, 8, 3), (3, 3), (2, 2), "SAME"),
    "no strides": ((2, 5, 6, 3), (3, 2), None, "VALID"),
    "gaps": ((2, 9, 8, 3), (2, 1), (3, 2), "VALID"),
    "explicit padding": ((2, 5, 6, 3), (3, 2), (2, 2), ((1, 2), (0, 1))),
    "one axis": ((2, 9, 3), (3,), (3,), "VALID"),
    "no batch": ((6, 8, 3), (2, 2), (2, 2), "VALID"),
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pooling(name):
    """Also where most numbers of a window are equal: the gradient goes to the first of them."""
    shape, window, strides, padding = POOLS[name]
    x = images(*shape)
    x = x.at[..., :2].set(jnp.round(0.7 * x[..., :2]))
    agree(lambda x: nn.max_pool(x, window, strides, padding), x)


@pytest.mark.parametrize("name", POOLS)
def test_average_pooling(name):
    shape, window, strides, padding = POOLS[name]

    def both(x):
        return [nn.avg_pool(x, window, strides, padding, count_include_pad=c) for c in (False, True)]

    agree(both, images(*shape))


def test_nan_is_seen():
    x = images(1, 4, 4, 1).at[0, 1, 0, 0].set(jnp.nan)
    pooled = fast(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    np.testing.assert_array_equal(jnp.isnan(pooled).ravel(), [True, False, False, False])


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), padding="CIRCULAR")(x))
        x = nn.max_pool(nn.remat(nn.Conv)(6, (3, 2), strides=(1, 2))(x), (2, 2), (2, 2))
        x = nn.GroupNorm(2)(nn.ConvTranspose(4, (2, 2), strides=(2, 2))(x))
        x = nn.avg_pool(jnp.tanh(x), (3, 3), (2, 2), "SAME")
        return nn.Dense(2)(x.reshape(len(x), -1))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.last = nnx.Linear(24, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.norm(self.first(x))), (2, 2), (2, 2))
        return self.last(x.reshape(len(x), -1))


MODELS = {"linen": LinenModel(Net()), "nnx": NnxModel(lambda rngs: NnxNet(rngs))}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    """Outputs in training and evaluation, new statistics and gradients."""
    model, x = MODELS[name], images(3, 6, 5, 2)
    variables = jax.jit(model.init)(KEY, x)
    mask = jnp.array([1.0, 1, 0])

    def loss(form):
        def of(params, x):
            own = dataclasses.replace(model, form=form)
            now = variables._replace(params=params)
            seen = [own.apply(now, x, train=train, key=KEY, mask=mask) for train in (False, True)]
            return sum(jnp.sin(outputs).sum() for outputs, _ in seen), seen

        return of

    expected, found = (
        jax.jit(jax.value_and_grad(loss(form), (0, 1), has_aux=True))(variables.params, x)
        for form in ("native", "fast")
    )
    same(found, expected, rtol=1e-4, atol=1e-5)
    assert primitives(loss("native"), variables.params, x) & SLOW
    assert not primitives(loss("fast"), variables.params, x) & SLOW


def test_in_loops_over_hospitals():
    """Some steps of gradient descent, side by side in vmap: what training does."""
    model = Net()
    x = images(3, 2, 6, 5, 2)
    params = jax.jit(jax.vmap(lambda k: model.init(k, x[0])))(jax.random.split(KEY, 3))

    def train(apply):
        def loss(params, x):
            return jnp.square(apply(params, x) - 1).sum()

        def steps(params, x):
            def step(_, p):
                return jax.tree.map(lambda w, g: w - 0.01 * g, p, jax.grad(loss)(p, x))

            return lax.fori_loop(0, 3, step, params)

        return jax.jit(jax.vmap(steps))(params, x)

    same(train(lambda p, x: fast(model.apply, p, x)), train(model.apply), rtol=1e-4, atol=1e-5)


def test_inside_scan_and_cond():
    x, kernels = images(2, 5, 5, 3), images(4, 3, 3, 3, 3, seed=1)

    def deep(x, kernels):
        def layer(x, kernel):
            def convolve():
                return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)

            return jnp.tanh(lax.cond(x.sum() > 1e6, lambda: 2 * x, convolve)), x.mean()

        return lax.scan(layer, x, kernels)

    agree(deep, x, kernels)


def test_products_with_the_hessian():
    """As Per-FedAvg takes them: forward over reverse."""
    x, kernel = images(2, 4, 4, 2), images(3, 3, 2, 2, seed=1)

    def loss(kernel):
        y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        return jnp.sin(nn.max_pool(y, (2, 2), (2, 2))).sum()

    direction = images(*kernel.shape, seed=2)
    found, expected = (
        jax.jit(lambda k, v, f=f: jax.jvp(jax.grad(f), (k,), (v,))[1])(kernel, direction)
        for f in (lambda k: fast(loss, k), loss)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_left_as_it_is():
    x = images(2, 4, 4, 2)

    def grouped(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=NHWC, batch_group_count=2
        )

    agree(grouped, x, images(3, 3, 2, 2), slow={"conv_general_dilated"})
    whole = jnp.arange(16).reshape(1, 4, 4, 1)
    found = fast(lambda x: nn.pool(x, 0, lax.add, (2, 2), (2, 2), "VALID"), whole)
    np.testing.assert_array_equal(found.ravel(), [10, 18, 42, 50])

    @jax.custom_jvp
    def own(x):
        return nn.avg_pool(x, (2, 2), (2, 2))

    own.defjvp(lambda primals, tangents: (own(*primals), 7 * own(*tangents)))
    found = jax.grad(lambda x: fast(lambda x: nn.avg_pool(own(x), (2, 2), (2, 2)), x).sum())(x)
    np.testing.assert_allclose(found, 7 / 16, rtol=1e-6)


def test_a_model_without_convolutions_is_called_as_it_is():
    calls = []

    def plain(x):
        calls.append(type(x))
        return jnp.tanh(x)

    assert str(jax.make_jaxpr(lambda x: fast(plain, x))(jnp.ones(3))) == str(
        jax.make_jaxpr(plain)(jnp.ones(3))
    )
    assert fast(plain, jnp.zeros(2)).tolist() == [0, 0]
