"""Groups of hospitals with different models: the engine, with every algorithm for them."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import hospitals, recipe, same
from groups import CATALOGUE, OF, SGD, GroupLab, models

from jaxfed.algorithms import FedAvg
from jaxfed.algorithms.mixed import ByGroup, __all__
from jaxfed.core import groups
from jaxfed.core.values import per_hospital
from jaxfed.federated import Federated
from jaxfed.participation import Poisson

ROUNDS = 3
HALF = Poisson(jnp.float32(0.6))
algorithms = pytest.mark.parametrize("name", CATALOGUE)
pytestmark = pytest.mark.usefixtures("quick_compilation")


@lru_cache
def reference(name):
    """One device, one hospital at a time; about half of the hospitals in a round."""
    lab = GroupLab(CATALOGUE[name], participation=HALF)
    _, found, log = lab.rounds(ROUNDS)
    return found, log


def test_the_catalogue_is_complete():
    assert {type(algorithm).__name__ for algorithm in CATALOGUE.values()} == set(__all__)


def test_groups_by_themselves_are_federations_by_themselves():
    """Bit for bit, with mini-batches, absences and numbers that differ between hospitals."""
    data, epochs = hospitals(), [1, 3, 2, 2, 1]
    lab = GroupLab(ByGroup(FedAvg()), participation=HALF, batch_size=4, epochs=per_hospital(epochs))
    _, found, log = lab.rounds(ROUNDS)
    for name, model in models().items():
        mine = [c for c, group in enumerate(OF) if group == name]
        part = data.select([data.hospitals[c] for c in mine])
        how = recipe(part, model=model, participation=HALF, client=SGD, batch_size=4,
                     epochs=per_hospital([epochs[c] for c in mine]))  # fmt: skip
        alone = Federated(how, part, part, ("test",), {}, dict, 1, 1)
        state, entries = alone.advance(alone.start(0, None), ROUNDS, 4)
        seen = alone.logged(entries, ROUNDS)[0]
        same(jax.tree.map(lambda leaf: leaf[0], found[name]), alone.variables(state).params)
        same({key: rows[:, mine] for key, rows in log.items()}, seen)


@algorithms
def test_layout_and_order_change_nothing(name):
    """Two devices, blocks of two, hospitals and groups in another order."""
    data, turned = hospitals(), [3, 0, 4, 2, 1]
    other = GroupLab(
        CATALOGUE[name],
        data.select([data.hospitals[c] for c in turned]),
        [OF[c] for c in turned],
        dict(reversed(models().items())),
        participation=HALF,
        devices=2,
        block=2,
    )
    _, found, log = other.rounds(ROUNDS)
    expected, seen = reference(name)
    for group in OF:
        before = [c for c in range(5) if OF[c] == group]
        after = [before.index(c) for c in turned if OF[c] == group]
        same(found[group], jax.tree.map(lambda leaf: leaf[after], expected[group]), 1e-3, 1e-5)  # noqa: B023
    same(log, {name: rows[:, turned] for name, rows in seen.items()}, 1e-3, 1e-5)


@algorithms
def test_cut_and_continued_is_bitwise_the_same(name):
    lab = GroupLab(CATALOGUE[name], participation=HALF)
    trainer = lab.trainer
    whole, _ = trainer.advance(trainer.start(0, None), ROUNDS, 4)
    part, _ = trainer.advance(trainer.start(0, None), 1, 4)
    part, _ = trainer.advance(part, ROUNDS - 1, 4)
    same(part, whole)


@algorithms
def test_a_hospital_of_nan_is_contained_and_counted(name):
    data = hospitals()
    spoiled = data.replace(x=np.where((data.owner == 2)[:, None], np.nan, data.x))
    everyone = Poisson(jnp.float32(1.0))  # the same program
    lab = GroupLab(CATALOGUE[name], spoiled, participation=everyone)
    state, found, log = lab.rounds(ROUNDS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.server.common, found))
               if np.issubdtype(leaf.dtype, np.floating))  # fmt: skip
    assert log["rejected"].tolist() == [[False, False, True, False, False]] * ROUNDS
    before = lab.deployed(lab.start())
    assert moved(found["large"], before["large"]).all()
    assert moved(found["small"], before["small"])[0]


def moved(after, before):
    """``[C]``: whose model changed."""
    pairs = zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True)
    return np.any([(a != b).reshape(len(a), -1).any(1) for a, b in pairs], axis=0)


@algorithms
def test_nobody_present_leaves_everything(name):
    lab = GroupLab(CATALOGUE[name], participation=Poisson(jnp.float32(0.0)))
    before = jax.tree.map(np.array, lab.start()._replace(key=()))
    state, _, log = lab.rounds(2)
    assert not log["present"].any()
    same((state.server, state.clients), (before.server, before.clients))


@algorithms
def test_who_is_absent_keeps_its_model(name):
    lab = GroupLab(CATALOGUE[name], participation=HALF)
    trainer, state, absences = lab.trainer, lab.start(), 0
    for _ in range(ROUNDS):
        before = jax.tree.map(np.array, state.clients)
        state, log = trainer.advance(state, 1, 4)
        for own, old, present in zip(state.clients, before, log.present, strict=True):
            absent = ~np.asarray(present)[0]
            absences += absent.sum()
            same(jax.tree.map(lambda leaf: np.asarray(leaf)[absent], own),  # noqa: B023
                 jax.tree.map(lambda leaf: leaf[absent], old))  # noqa: B023  # fmt: skip
    assert absences


@algorithms
def test_one_program_for_all_rounds_seeds_and_numbers(name):
    reference(name)
    compiled = groups.advance._cache_size()
    other = jax.tree.map(lambda leaf: 0.9 * leaf if isinstance(leaf, float) else leaf, CATALOGUE[name])
    GroupLab(other, participation=Poisson(jnp.float32(0.9))).rounds(2, seed=1)
    assert groups.advance._cache_size() == compiled
