"""Where hospitals lie, and how long a run is at a time, changes nothing."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, repeated, same

from jaxfed.algorithms import FedAvg
from jaxfed.core import tree
from jaxfed.core.engine import rounds as engine
from jaxfed.core.layout.plan import place
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Upload
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson

ROUNDS = 3


@pytree
@dataclasses.dataclass(frozen=True)
class Remembering(FedAvg):
    """FedAvg whose hospitals keep their last model, a count of their rounds and a random number."""

    personal: ClassVar[bool] = False

    def init(self, variables, key, clients):
        client = {"last": variables, "rounds": jnp.zeros((), jnp.int32), "draw": jnp.zeros(())}
        return super().init(variables, key, clients)[0], client

    def client_update(self, local, server, client, shard, key):
        trained = local.train(server.variables, shard, key)
        draw = jax.random.uniform(key)
        client = {"last": trained.variables, "rounds": client["rounds"] + 1, "draw": draw}
        return Upload(tree.subtract(trained.variables, server.variables)), client, trained.metrics


def lab(data=None, participation=None, **layout):
    data = data or hospitals()
    how = recipe(data, algorithm=Remembering(), participation=participation or Poisson(0.5))
    return Lab(how, data, **layout)


def some(first, rate):
    """Every hospital present (rate 1) or about half of them, in one program."""
    how = dataclasses.replace(first.recipe, participation=Poisson(jnp.float32(rate)))
    return first.replace(recipe=how).rounds(ROUNDS)


@pytest.fixture(scope="module")
def reference():
    """One device, one hospital at a time."""
    return {rate: some(lab(), rate) for rate in (0.5, 1.0)}


def test_the_reference_has_rounds_of_many_kinds(reference):
    _, clients, log = reference[0.5]
    assert len(set(log.present.sum(1).tolist())) > 1
    assert 0 < log.present.sum() < log.present.size
    assert np.array_equal(clients["rounds"], log.present.sum(0))
    assert reference[1.0][2].present.all()
    assert len(set(reference[1.0][1]["draw"].tolist())) == 5


@pytest.mark.parametrize(("devices", "block"), [(1, 2), (1, 5), (2, 3), (4, 1)])
def test_blocks_and_devices(reference, devices, block):
    for rate, expected in reference.items():
        same(some(lab(devices=devices, block=block), rate), expected, rtol=1e-5)


def test_blocks_of_a_fixed_cohort():
    one, two = (lab(participation=FixedCohort(3), devices=n, block=n).rounds(ROUNDS) for n in (1, 2))
    assert (one[2].present.sum(1) == 3).all()
    same(one, two, rtol=1e-5)


def test_order_of_hospitals(reference):
    data = hospitals()
    turned = [3, 0, 4, 2, 1]
    for rate, (server, clients, log) in reference.items():
        found = some(lab(data.select([data.hospitals[c] for c in turned])), rate)
        expected = jax.tree.map(lambda leaf: leaf[turned], clients)
        same(found[:2], (server, expected), rtol=1e-5)
        assert np.array_equal(found[2].present, log.present[:, turned])


def test_an_empty_hospital(reference):
    """One that has no training rows changes nothing, and never takes part."""
    data = hospitals()
    more = data.replace(
        size=np.insert(data.size, 2, 0),
        hospitals=(*data.hospitals[:2], "empty", *data.hospitals[2:]),
    )
    for rate, (server, clients, _) in reference.items():
        found = some(lab(more), rate)
        assert not found[2].present[:, 2].any()
        assert found[1]["rounds"][2] == 0
        same(found[0], server)  # bit for bit
        same(jax.tree.map(lambda leaf: np.delete(leaf, 2, 0), found[1]), clients)


@pytest.mark.parametrize("n", [1, 2])
def test_a_hospital_of_nan_is_refused_and_leaves_the_others_alone(n):
    data = hospitals()
    bad = data.owner == 2
    spoiled = data.replace(x=np.where(bad[:, None], np.nan, data.x))
    without = data.replace(
        size=np.where(np.arange(5) == 2, 0, data.size),
        x=data.x[~bad],
        y=data.y[~bad],
        split=data.split[~bad],
    )
    server, clients, log = some(lab(spoiled, devices=n, block=n), 1.0)
    expected = some(lab(without, devices=n, block=n), 1.0)
    same(server, expected[0], rtol=1e-5)
    assert log.rejected.tolist() == [[False, False, True, False, False]] * ROUNDS
    assert log.present.all()
    assert not log.refused.any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((server, clients)))
    assert clients["rounds"].tolist() == [3, 3, 0, 3, 3]  # the refused one keeps its old state


@pytest.mark.parametrize("n", [1, 2])
def test_rows_that_pad_the_store(reference, n):
    """Rows behind the last hospital's may hold anything, on one device or two."""
    one = lab(devices=n, block=n)
    how = dataclasses.replace(one.recipe, participation=Poisson(jnp.float32(0.5)))

    def padded(leaf):
        rows = np.asarray(leaf)
        more = np.full((5, *leaf.shape[1:]), np.nan if rows.dtype.kind == "f" else 1, rows.dtype)
        return jax.device_put(np.concatenate([rows, more]), leaf.sharding)

    (short,) = one.training_data
    train = dataclasses.replace(short.train, x=padded(short.train.x), y=padded(short.train.y))
    start = one.replace(recipe=how).start()
    longer = dataclasses.replace(short, train=train)
    state, _ = repeated(how, one.plans, (longer,), start, ROUNDS, capacity=4)
    same(state.server.group[0], reference[0.5][0], rtol=None if n == 1 else 1e-5)


def test_cut_and_continued_is_bitwise_the_same():
    one = lab()
    whole, log = one.advance(one.start(), 4)
    part, first = one.advance(one.start(), 1)
    part, second = one.advance(part, 3)
    same(part, whole)
    same(jax.tree.map(lambda a, b: np.concatenate([a[:1], b[:3]]), first, second), log)


def test_without_jit():
    """Every operation by itself, as Python runs it, gives the compiled round's result."""
    data = hospitals((3, 2))
    how = recipe(data, batch_size=None, model=MLP((), outputs=1), participation=FixedCohort(1))
    one = Lab(how, data)
    server, _, log = one.rounds(1, capacity=1)
    with jax.disable_jit():
        found, _, seen = one.rounds(1, capacity=1)
    same((found, seen), (server, log), rtol=1e-5)


def test_seeds_under_vmap_and_in_a_loop():
    one = lab()

    def final(seed):
        state = engine.start(one.recipe, one.plans, one.training_data, seed)
        return repeated(one.recipe, one.plans, one.training_data, state, ROUNDS, capacity=ROUNDS)

    together = jax.jit(jax.vmap(final))(jnp.arange(3))
    for seed in range(3):
        same(jax.tree.map(lambda leaf: leaf[seed], together), final(seed), rtol=1e-5)  # noqa: B023
    kernels = together[0].server.group[0].variables.params["head"]["kernel"]
    assert len(np.unique(kernels[:, 0, 0])) == 3


def test_devices_share_the_work():
    work = np.array([100, 0, 50, 50, 1, 99])
    placement = place(work, devices=2, block=1)
    loads = np.zeros(2)
    np.add.at(loads, placement.position // placement.plan.slots, work)
    assert loads.tolist() == [150, 150]
    assert len(set(placement.position.tolist())) == 6


def test_many_empty_hospitals_are_spread_over_devices():
    """Slots without rows cost memory: they must not all lie on one device."""
    placement = place(np.array([5, 4] + [0] * 100), devices=2, block=1)
    assert placement.plan.slots <= 52


def test_more_devices_than_hospitals():
    assert len(place(np.array([3, 0, 2])).plan.devices) == 2
