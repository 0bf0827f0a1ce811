"""A sampled cohort over devices: everybody once, evenly, and rows that are held once."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, same

from jaxfed.core.layout import plan, store
from jaxfed.core.layout.balance import ONE_BY_ONE, deal, homes, present_first
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree


@pytree
@dataclasses.dataclass(frozen=True)
class OfSizes(Participation):
    """Hospitals of these sizes take part."""

    sizes: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def draw(self, state, keys, round, sizes):
        return jnp.isin(sizes, jnp.asarray(self.sizes)), state

    def problems(self, hospitals):
        return []


def loads(present, work, devices, before=0):
    """Work of each device, by :func:`deal`, which must say the same; each has ``before`` already."""
    ranking = np.argsort(-work, kind="stable").astype(np.int32)
    before = jnp.full(devices, before, jnp.int32) if np.ndim(before) == 0 else jnp.asarray(before, jnp.int32)
    trains, after = deal(jnp.asarray(present), jnp.asarray(work, jnp.int32), ranking, before)
    trains = np.asarray(trains)
    assert ((trains >= 0) & (trains < devices)).all()
    found = np.bincount(trains, weights=work * present, minlength=devices)
    assert after.tolist() == (found + before).tolist()
    return found


def stored(lab):
    """The training rows as the engine holds them."""
    return store.training_data([lab.data], lab.placements, lab.members).train


def pointers(leaf):
    """Where an array lies on each device."""
    return {shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards}


def greedy(work, devices):
    """Largest first, each to the device with the least work so far."""
    found = np.zeros(devices)
    for one in sorted(work, reverse=True):
        found[found.argmin()] += one
    return found


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("spread", [0.0, 1.5, 3.0])
def test_devices_get_equal_work(devices, share, spread):
    rng = np.random.default_rng(0)
    places = 240
    work = np.clip(np.exp(rng.normal(4, spread, places)), 1, 1e6).astype(np.int32)
    work[rng.random(places) < 0.1] = 0  # empty places
    present = (rng.random(places) < share) & (work > 0)
    found = loads(present, work, devices)
    assert found.sum() == work[present].sum()
    small = np.sort(work[present])[::-1][devices * ONE_BY_ONE :].max(initial=0)
    assert found.max() <= greedy(work[present], devices).max() + small


def test_one_giant_does_not_draw_the_others():
    work = np.full(400, 8, np.int32)
    work[0] = 1600
    assert loads(np.ones(400, bool), work, 2).max() == pytest.approx(work.sum() / 2, rel=0.01)


def test_few_are_dealt_largest_first():
    rng = np.random.default_rng(1)
    work = rng.integers(1, 500, 300).astype(np.int32)
    present = np.isin(np.arange(300), rng.choice(300, 10, replace=False))
    assert sorted(loads(present, work, 3)) == sorted(greedy(work[present], 3))


def test_nobody():
    assert loads(np.zeros(6, bool), np.arange(6), 2).tolist() == [0, 0]


def test_homes():
    assert np.asarray(homes(6, 3)).tolist() == [0, 0, 1, 1, 2, 2]


def test_present_first():
    present, order = jnp.array([0, 1, 1, 0, 1], bool), jnp.array([4, 3, 2, 1, 0])
    line, count = present_first(present, order)
    assert (line.tolist(), int(count)) == ([4, 2, 1, 3, 0], 3)


@pytest.mark.parametrize("block", [1, 2])
def test_hospitals_train_away_from_home(block):
    """All who take part are at home on one device of two; numbers and logs are those of one device."""
    data = hospitals((9, 5, 8, 4, 7, 3))
    here = plan.place(data.counts[:, 0], devices=2).position < 3
    cohort = OfSizes(tuple(data.size[here].tolist()))
    how = recipe(data, participation=cohort)
    one, two = (Lab(how, data, devices=n, block=block).rounds(2) for n in (1, 2))
    assert two[2].present.tolist() == [here.tolist()] * 2
    same(two, one, rtol=1e-5)


def test_cores_hold_rows_once():
    data = hospitals((5, 4, 3))
    train = stored(Lab(recipe(data), data, devices=3))
    for leaf in (train.x, train.y):
        assert len(pointers(leaf)) == 1


@pytest.mark.parametrize("devices", [1, 2])
def test_read_only_rows_are_not_copied(devices):
    data = hospitals((64, 32, 48))
    x, y = (
        store.aligned(leaf.shape, np.dtype(kind)) for leaf, kind in ((data.x, np.float32), (data.y, np.int32))
    )
    x[:], y[:] = data.x, data.y
    lab = Lab(recipe(data), data.replace(x=x, y=y), devices=devices)
    copied, moved = lab.rounds(2), stored(lab)
    x.setflags(write=False)
    assert not {x.ctypes.data} & pointers(stored(lab).x)  # y may change
    y.setflags(write=False)
    kept = stored(lab)
    assert (pointers(kept.x), pointers(kept.y)) == ({x.ctypes.data}, {y.ctypes.data})
    assert not pointers(moved.x) & pointers(kept.x)
    same(lab.rounds(2), copied)
