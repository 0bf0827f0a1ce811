"""Models of both flavours: modes, random streams, batch statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same
from flax import nnx

from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.nn.linen_model import LinenModel
from jaxfed.core.nn.nnx_model import NnxModel
from jaxfed.core.optimizer import optimizer
from jaxfed.models import MLP, cnn, mlp

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)


def apply(model, variables, x, train=True, key=KEY, mask=None):
    return model.apply(variables, x, train=train, key=key, mask=mask)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.8)(nn.Dense(4)(x))
        return nn.Dense(1)(jnp.tanh(x))


class NnxNormed(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, rngs=rngs)
        self.last = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.norm(self.first(x))))


class NnxDropped(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))


class SharedNorm(nnx.Module):
    """One batch norm, used twice."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.last = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.norm(jnp.tanh(self.norm(x))))


class CalledByName(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x=x))


NORMED = {
    "linen": LinenModel(Normed()),
    "linen, x by name": LinenModel(CalledByName()),
    "nnx": NnxModel(lambda rngs: NnxNormed(rngs)),
    "nnx, twice": NnxModel(lambda rngs: SharedNorm(rngs)),
}


@pytest.mark.parametrize("name", NORMED)
def test_rows_that_pad_a_batch_change_no_batch_statistics(name):
    model = NORMED[name]
    variables = model.init(KEY, X)
    outputs, stats = apply(model, variables, X[:4])  # the batch without padding, and without a mask
    for padding in (0.0, 1e6):
        padded = X.at[4:].set(padding)
        mask = jnp.array([1.0, 1, 1, 1, 0, 0])
        found, found_stats = apply(model, variables, padded, mask=mask)
        np.testing.assert_allclose(found[:4], outputs, rtol=1e-5, atol=1e-6)
        same(found_stats, stats, rtol=1e-5)
    assert not np.allclose(jax.tree.leaves(stats)[0], jax.tree.leaves(variables.stats)[0])


def test_batch_statistics_by_hand():
    for name, where in (("linen", ("batch_stats", "BatchNorm_0")), ("nnx", ("norm",))):
        model = NORMED[name]
        variables = model.init(KEY, X)
        stats = apply(model, variables, X[:4])[1]
        for step in where:
            stats = stats[step]
        first = variables.params["Dense_0" if name == "linen" else "first"]
        inner = np.asarray(X[:4] @ first["kernel"] + first["bias"], np.float64)
        np.testing.assert_allclose(stats["mean"], 0.2 * inner.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stats["var"], 0.8 + 0.2 * inner.var(0), rtol=1e-4)


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_batch_statistics_are_averaged_over_hospitals(name):
    """One step in each of two hospitals, the second with a short batch; weights 4 and 3."""
    data = hospitals((4, 3))
    model = NORMED[name]
    module = Normed() if name == "linen" else model.make
    lab = Lab(recipe(data, model=module, batch_size=4), data, block=2)
    start = jax.tree.map(np.asarray, lab.start().server.group[0].variables)
    server, _, log = lab.rounds(1)
    parts = []
    for hospital in data.hospitals:
        x = jnp.asarray(data.rows(hospital)[0], jnp.float32)
        parts.append(apply(model, jax.tree.map(jnp.asarray, start), x)[1])
    expected = jax.tree.map(lambda a, b: (4 * a + 3 * b) / 7, *parts)
    same(server.variables.stats, expected, rtol=1e-4, atol=1e-5)
    assert not log.rejected.any()


def test_evaluation_uses_the_running_statistics():
    for model in NORMED.values():
        variables = model.init(KEY, X)
        alone = apply(model, variables, X[:1], train=False)[0]
        together, stats = apply(model, variables, X, train=False)
        np.testing.assert_allclose(together[:1], alone, rtol=1e-6)
        same(stats, variables.stats)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, training: bool = False):
        return nn.Dropout(0.5, deterministic=not training)(nn.Dense(8)(x))


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic: bool = True):
        return nn.Dropout(0.5, deterministic=deterministic)(nn.Dense(8)(x))


DROPPED = {
    "train": LinenModel(mlp(16, dropout=0.5)),
    "training": LinenModel(Training()),
    "deterministic": LinenModel(Deterministic()),
    "nnx": NnxModel(lambda rngs: NnxDropped(rngs)),
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropout(name):
    model = DROPPED[name]
    variables = model.init(KEY, X)
    one, again, other = (apply(model, variables, X, key=jax.random.key(k))[0] for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    said = [apply(model, variables, X, train=False, key=None)[0] for _ in range(2)]
    np.testing.assert_array_equal(*said)


@pytest.mark.parametrize("model", [mlp(16, dropout=0.5), lambda rngs: NnxDropped(rngs)])
def test_dropout_and_batch_norm_are_trained(model):
    data = hospitals((60, 50))
    how = recipe(data, model=model, client=optimizer(optax.adam, learning_rate=0.01), epochs=3)
    _, _, log = Lab(how, data).rounds(4)
    loss = log.clients["loss"].mean(1)
    assert not log.rejected.any()
    assert loss[-1] < loss[0]


def test_an_nnx_model_is_its_linen_twin():
    class Twin(nnx.Module):
        def __init__(self, rngs):
            self.hidden_0 = nnx.Linear(3, 4, rngs=rngs)
            self.head = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.head(jnp.tanh(self.hidden_0(x)))

    data = hospitals((7, 5))
    linen = Lab(recipe(data, batch_size=None), data)
    twin = Lab(recipe(data, model=lambda rngs: Twin(rngs), batch_size=None), data)
    initial = linen.start().server.group[0].variables
    same(twin.rounds(2, initial=initial)[0], linen.rounds(2, initial=initial)[0], rtol=1e-5)
    assert not np.array_equal(
        twin.start(0).server.group[0].variables.params["head"]["kernel"],
        twin.start(1).server.group[0].variables.params["head"]["kernel"],
    )


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_learned(task):
    data = hospitals((60, 50), task=task)
    how = recipe(data, model=MLP((), outputs=data.outputs), batch_size=None, epochs=20)
    _, _, log = Lab(how, data).rounds(4)
    loss = log.clients["loss"].mean(1)
    assert loss[-1] < 0.8 * loss[0]


def test_features_in_a_dictionary():
    class TwoInputs(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1)(x["table"]) + nn.Embed(4, 1)(x["ward"])

    plain = hospitals((7, 5))
    ward = np.arange(12) % 4
    data = plain.replace(x={"table": plain.x, "ward": ward.astype(np.int32)})
    how = recipe(data, model=TwoInputs(), batch_size=None)
    one, two = (Lab(how, data, devices=n).rounds(2)[0] for n in (1, 2))
    same(one, two, rtol=1e-5)


def test_images():
    rng = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = rng.normal(size=(24, 8, 8, 1)).astype(np.float32) + y[:, None, None, None]
    data = hospitals((14, 10), task="multiclass").replace(x=x, y=y.astype(np.int32))
    how = recipe(data, model=cnn(4, dense=8).clone(outputs=3), batch_size=8, epochs=4)
    _, _, log = Lab(how, data).rounds(3)
    loss = log.clients["loss"].mean(1)
    assert loss[-1] < loss[0]


@pytest.mark.parametrize("client", [optax.sgd, optax.adam])
def test_half_precision(client):
    """Parameters stay in bfloat16, whatever the optimiser keeps."""
    numbers = {"momentum": 0.9} if client is optax.sgd else {}
    data = hospitals((7, 5))
    model = nn.Dense(1, param_dtype=jnp.bfloat16)
    how = recipe(data, model=model, client=optimizer(client, learning_rate=0.1, **numbers), l2=0.1)
    server, _, log = Lab(how, data).rounds(2)
    assert server.variables.params["kernel"].dtype == jnp.bfloat16
    assert not log.rejected.any()


def test_models_that_are_none():
    with pytest.raises(TypeError, match="lambda rngs: Net"):
        as_model(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="no flax model"):
        as_model(3)
