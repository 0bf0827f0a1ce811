"""Dense layers in their fast form: the numbers of flax, values and gradients, and no slow product left."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxfed.core.nn.linen_model import LinenModel
from jaxfed.core.nn.nnx_model import NnxModel
from jaxfed.core.nn.rewrite import routed

KEY = jax.random.key(0)


def numbers(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def curved(outputs):
    return jnp.sum(jnp.sin(outputs) * jnp.cos(0.3 * jnp.arange(outputs.size)).reshape(outputs.shape))


def both(function, *args):
    """Values and gradients by all arguments: as the function has them, and in the fast form."""
    places = tuple(range(len(args)))
    return [
        jax.jit(jax.value_and_grad(lambda *a, form=form: curved(routed(function, *a, form=form)), places))(
            *args
        )
        for form in ("native", "fast")
    ]


def agree(function, *args, tolerance=1e-6):
    for expected, found in zip(*map(jax.tree.leaves, both(function, *args)), strict=True):
        assert found.dtype == expected.dtype
        expected = np.asarray(expected, np.float64)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(found, np.float64), expected, tolerance, tolerance * scale)


def slow(function, *args, form="fast"):
    """Products over the first axis of both sides, in the compiled gradient: how many."""
    gradient = jax.grad(lambda *a: curved(routed(function, *a, form=form)), (0, 1))
    program = jax.jit(gradient).lower(*args).compile().as_text()
    return program.count("lhs_contracting_dims={0}, rhs_contracting_dims={0}")


SHAPES = {"rows": (5, 7), "one row": (1, 7), "leading axes": (2, 3, 4, 7), "one input": (5, 1)}


@pytest.mark.parametrize("outputs", [1, 9, 40])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_products(shape, outputs):
    x, kernel = numbers(*shape), numbers(shape[-1], outputs, seed=1)
    agree(jnp.matmul, x, kernel)


def test_the_slow_product_is_gone():
    """But for a layer of few outputs, whose product is cheaper than a transposition."""
    x, wide, narrow = numbers(5, 7), numbers(7, 9, seed=1), numbers(7, 1, seed=1)
    assert slow(jnp.matmul, x, wide, form="native") == 1
    assert slow(jnp.matmul, x, wide) == 0
    assert slow(jnp.matmul, x, narrow) == 1


def test_half_precision():
    x, kernel = (numbers(*shape, dtype=jnp.bfloat16) for shape in ((5, 7), (7, 9)))
    agree(jnp.matmul, x, kernel, tolerance=1e-2)

    def wide(x, kernel):
        return lax.dot_general(x, kernel, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)

    agree(wide, x, kernel, tolerance=1e-2)


OTHERS = {
    "both first": ("bi,bo->io", (5, 7), (5, 9)),
    "both last": ("bi,oi->bo", (5, 7), (9, 7)),
    "batches": ("abi,aio->abo", (2, 5, 7), (2, 7, 9)),
    "wide kernel": ("bi,ihd->bhd", (5, 7), (7, 3, 9)),
    "two axes": ("bij,ijo->bo", (5, 7, 2), (7, 2, 9)),
    "a vector": ("i,io->o", (7,), (7, 9)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_left_as_it_is(name):
    how, left, right = OTHERS[name]
    x, kernel = numbers(*left), numbers(*right, seed=1)

    def einsum(x, kernel):
        return jnp.einsum(how, x, kernel)

    agree(einsum, x, kernel)
    whole = jnp.arange(12).reshape(3, 4)
    found = routed(jnp.matmul, whole, whole.T, form="fast")
    np.testing.assert_array_equal(found, np.asarray(whole) @ np.asarray(whole).T)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(x))
        x = jnp.tanh(nn.DenseGeneral((2, 8))(x)).reshape(*x.shape[:-1], 16)
        return nn.Dense(1)(nn.relu(nn.remat(nn.Dense)(16)(x)))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first, self.last = nnx.Linear(4, 16, rngs=rngs), nnx.Linear(16, 9, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))


MODELS = {"linen": LinenModel(Net()), "nnx": NnxModel(lambda rngs: NnxNet(rngs))}


@pytest.mark.parametrize("name", MODELS)
def test_models_side_by_side(name):
    """Gradients of a model in a vmap over hospitals."""
    model, x = MODELS[name], numbers(3, 6, 4)
    params = jax.jit(jax.vmap(lambda key: model.init(key, x[0]).params))(jax.random.split(KEY, 3))

    def gradients(form):
        def loss(params, x):
            own = dataclasses.replace(model, form=form)
            variables = model.init(KEY, x)._replace(params=params)
            return curved(own.apply(variables, x, train=True, key=None, mask=None)[0])

        return jax.jit(jax.vmap(jax.value_and_grad(loss)))(params, x)

    for found, expected in zip(*map(jax.tree.leaves, (gradients("fast"), gradients("native"))), strict=True):
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6 * max(1, float(jnp.abs(expected).max())))


def test_products_with_the_hessian():
    """As Per-FedAvg takes them: forward over reverse."""
    x, kernel, direction = numbers(5, 7), numbers(7, 9, seed=1), numbers(7, 9, seed=2)

    def product(form):
        def loss(kernel):
            return curved(routed(jnp.matmul, x, kernel, form=form))

        return jax.jit(lambda k, v: jax.jvp(jax.grad(loss), (k,), (v,))[1])(kernel, direction)

    np.testing.assert_allclose(product("fast"), product("native"), 1e-5, 1e-5)
