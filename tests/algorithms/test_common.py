"""What holds for every algorithm, whatever it does."""

import dataclasses
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue import CATALOGUE, Normalised, exported
from federations import Lab, hospitals, recipe, repeated, same

from jaxfed.core.dataset import TRAIN
from jaxfed.core.engine import runs, slots
from jaxfed.core.engine.rounds import start
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.layout.store import evaluation_data
from jaxfed.core.optimizer import optimizer
from jaxfed.participation import Cyclic, FixedCohort, Poisson

ROUNDS = 3
SGD = optimizer(optax.sgd, learning_rate=0.1)
# of the scope of the module, so that all tests of an algorithm follow each other and share its programs
algorithms = pytest.mark.parametrize("name", CATALOGUE, scope="module")


def with_empty():
    """The hospitals and one more, without rows."""
    data = hospitals()
    return data.replace(size=np.append(data.size, 0), hospitals=(*data.hospitals, "empty"))


def lab(name, data=None, rate=1.0, devices=1, block=1, batch_size=None):
    """Three local steps; everyone (rate 1), about half of the hospitals or nobody (0), in one program.

    Full batches unless told otherwise: their programs compile in a fraction of the time.
    """
    case, data = CATALOGUE[name], data or hospitals()
    how = recipe(data, algorithm=case.algorithm, model=case.model, participation=Poisson(jnp.float32(rate)),
                 client=SGD, epochs=3, batch_size=batch_size)  # fmt: skip
    return Lab(how, data, devices, block)


def final(one, rounds=ROUNDS, seed=0):
    """Models and log after some rounds, hospital by hospital."""
    state, log = one.advance(one.start(seed), rounds)
    return one.deployed(state), jax.tree.map(lambda leaf: np.asarray(leaf)[:rounds], log.clients)


@lru_cache
def reference(name, rate):
    """One device, one hospital at a time."""
    return final(lab(name, rate=rate))


def same_log(found, expected):
    """Numbers that the observer sees, to float tolerance."""
    same(found, expected, rtol=1e-3, atol=1e-5)


def test_the_catalogue_is_complete():
    assert {type(case.algorithm) for case in CATALOGUE.values()} == exported()


def round_with(name, participation, block, statistics):
    """A round of mini-batches; full batches, everyone and Poisson are what runs below."""
    case, data = CATALOGUE[name], hospitals()
    model = Normalised() if statistics and case.statistics else case.model
    how = recipe(data, algorithm=case.algorithm, model=model, participation=participation, client=SGD)
    return Lab(how, data, block=block)


@algorithms
def test_a_round_keeps_shapes_and_dtypes(name):
    """Traced, not compiled: a fixed cohort in blocks, with batch statistics where that is possible."""
    keeps(round_with(name, FixedCohort(2), 3, statistics=True))


@pytest.mark.parametrize("name", ["FedAvg", "Scaffold, option II", "Mime", "ClusteredFL", "PerFedAvg"])
def test_a_cyclic_round_keeps_shapes_and_dtypes(name):
    keeps(round_with(name, Cyclic(), 1, statistics=False))


def shapes_at_start(one):
    return jax.eval_shape(partial(start, plans=one.plans), one.input, data=one.training_data, seed=0)


def keeps(one):
    before = shapes_at_start(one)
    advance = partial(repeated, plans=one.plans, capacity=2)
    after, log = jax.eval_shape(advance, one.input, data=one.training_data, state=before, count=2)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    assert set(log.clients) >= {"loss"}


@algorithms
def test_a_round_keeps_64_bits(name, x64):
    one = lab(name)
    keeps(one)
    state = shapes_at_start(one)
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert all(leaf.dtype == np.float64 for leaf in floats)


@algorithms
def test_one_program_for_all_rounds_seeds_and_numbers(name):
    reference(name, 1.0)
    reference(name, 0.5)
    compiled = repeated._cache_size()
    one = lab(name)
    other = jax.tree.map(lambda leaf: 0.9 * leaf if isinstance(leaf, float) else leaf, one.recipe)
    changed = final(one.replace(recipe=other), seed=1)[0]
    assert repeated._cache_size() == compiled
    kernel = jax.tree.leaves(changed.params)[-1]
    assert not np.allclose(kernel, jax.tree.leaves(reference(name, 1.0)[0].params)[-1])


@algorithms
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_blocks_devices_and_a_hospital_without_rows(name, rate):
    found, seen = final(lab(name, with_empty(), rate, devices=2, block=2))
    expected, log = reference(name, rate)
    same(jax.tree.map(lambda leaf: leaf[:-1], found), expected, rtol=1e-3, atol=1e-5)
    same_log(jax.tree.map(lambda leaf: leaf[:, :-1], seen), log)


@pytest.mark.parametrize(
    ("name", "devices", "block"),
    [("ClusteredFL", 4, 1), ("FedRep", 1, 5), ("PerFedAvg", 1, 5), ("APFL, adaptive", 2, 2)],
)
def test_blocks_and_devices_with_mini_batches(name, devices, block):
    expected, log = final(lab(name, rate=0.5, batch_size=4))
    found, seen = final(lab(name, rate=0.5, batch_size=4, devices=devices, block=block))
    same(found, expected, rtol=1e-3, atol=1e-5)
    same_log(seen, log)


@algorithms
def test_order_of_hospitals(name):
    data, turned = hospitals(), [3, 0, 4, 2, 1]
    found, _ = final(lab(name, data.select([data.hospitals[c] for c in turned]), rate=0.5))
    expected = jax.tree.map(lambda leaf: leaf[turned], reference(name, 0.5)[0])
    same(found, expected, rtol=1e-3, atol=1e-5)


@algorithms
def test_a_hospital_without_rows_has_the_place_of_one_that_is_absent(name):
    """Bit for bit."""
    data = hospitals()
    labs = [lab(name, d, rate=0.5, devices=2, block=2) for d in (data, with_empty())]
    plans = [one.plans[0] for one in labs]
    assert plans[0] == dataclasses.replace(plans[1], clients=len(data))
    without, with_one = (final(one)[0] for one in labs)
    same(jax.tree.map(lambda leaf: leaf[:-1], with_one), without)


@algorithms
def test_cut_and_continued_is_bitwise_the_same(name):
    one = lab(name, rate=0.5)
    whole, _ = one.advance(one.start(), ROUNDS)
    part, _ = one.advance(one.start(), 1)
    part, _ = one.advance(part, ROUNDS - 1)
    same(part, whole)


def spread(outputs, losses, y, segment, segments):
    """A metric that compiles quickly."""
    return {"spread": jnp.broadcast_to(jnp.nanmax(losses) - jnp.nanmin(losses), (segments,))}


@algorithms
def test_an_entry_of_a_sweep_is_bitwise_the_single_run(name):
    """In a slot, and after another run in the same one."""
    one = lab(name)
    (placement,), members = one.placements, one.members
    held = evaluation_data([one.data], [placement], members, (TRAIN,))
    rows = slots.Data(one.training_data, (held,))
    command = runs.SlotCommand(
        np.array([True]), np.array([False]), np.full((1, 1), ROUNDS), np.ones((1, 1), bool)
    )
    slot = slots.empty(slots.RunInput(one.input, 0, 0), rows, plans=one.plans, together=1)
    for rate, seed in [(1.0, 0), (0.5, 1)]:
        single = lab(name, rate=rate)
        whole, _ = single.advance(single.start(seed), ROUNDS)
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], slots.RunInput(single.input, seed, 0))
        slot, results = runs.advance(
            given, slot, command, rows, plans=one.plans, evaluation_plans=one.plans, together=1,
            measure=spread, splits=1, log=0,
        )  # fmt: skip
        same(jax.tree.map(lambda leaf: leaf[0], slot.state), whole)
        assert slot.diverged.tolist() == [0]
        assert np.isfinite(runs.on_host(results).pooled["spread"]).all()


@algorithms
def test_who_is_absent_keeps_its_state(name):
    one = lab(name, with_empty(), rate=0.5, devices=2, block=2)
    state, absences = one.start(), 0
    for _ in range(ROUNDS):
        before = one.clients(state)
        state, log = one.advance(state, 1)
        absent = ~np.asarray(log.present)[0]
        absences += absent[:-1].sum()
        same(*(jax.tree.map(lambda leaf: leaf[absent], c) for c in (one.clients(state), before)))  # noqa: B023
    assert 0 < absences < 5 * ROUNDS


@algorithms
def test_nobody_present_leaves_everything(name):
    one = lab(name, rate=0.0)
    before = jax.tree.map(np.array, one.start()._replace(key=()))
    state, log = one.advance(one.start(), 2)
    assert not np.asarray(log.present).any()
    same((state.server, state.clients), (before.server, before.clients))


@algorithms
def test_a_hospital_of_nan_is_contained(name):
    data = hospitals()
    spoiled = data.replace(x=np.where((data.owner == 2)[:, None], np.nan, data.x))
    one = lab(name, spoiled)
    own = jax.tree.map(lambda leaf: leaf[2], one.clients(one.start()))
    state, log = one.advance(one.start(), 2)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.server))
    others = jax.tree.map(lambda leaf: np.delete(leaf, 2, 0), one.deployed(state))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(others))
    same(jax.tree.map(lambda leaf: leaf[2], one.clients(state)), own)
    rejected = np.asarray(log.rejected)[:2]
    assert rejected.tolist() == [[False, False, True, False, False]] * 2
    assert not np.asarray(log.refused)[:2].any()
    before = jax.tree.leaves(one.deployed(one.start()))
    assert any((np.delete(a, 2, 0) != b).any() for a, b in zip(before, jax.tree.leaves(others), strict=True))


def numbers(algorithm):
    """Fields of an algorithm that are plain numbers and may change from round to round."""
    return [
        field.name
        for field in dataclasses.fields(algorithm)
        if not field.metadata.get("static") and isinstance(getattr(algorithm, field.name), float)
    ]


@algorithms
def test_every_number_takes_a_schedule_and_values_per_hospital_where_it_may_differ(name):
    """What cannot is refused with a reason. Everything is traced: numbers inside are tracers."""
    case, data = CATALOGUE[name], hospitals()
    for make in (
        lambda value: Schedule(lambda r: value + 0 * r),
        lambda value: PerHospital(np.full(5, value)),
    ):
        algorithm = case.algorithm
        for field in numbers(algorithm):
            changed = dataclasses.replace(algorithm, **{field: make(getattr(algorithm, field))})
            one = lab(name)
            shapes = jax.eval_shape(one.local.problem.init, jax.random.key(0), data.x[:1])
            refused = changed.for_model(one.local, data.x).problems(one.local, shapes)
            assert all("give" in reason and field in reason for reason in refused)
            algorithm = algorithm if refused else changed
        keeps(Lab(recipe(data, algorithm=algorithm, model=case.model, client=SGD, batch_size=None), data))


def test_settings_are_numbers_and_sizes():
    """Leaves are numbers, and what is static can be hashed: or nothing could be swept or compiled once."""
    for case in CATALOGUE.values():
        leaves, structure = jax.tree.flatten(case.algorithm)
        assert all(isinstance(leaf, (int, float)) and not isinstance(leaf, bool) for leaf in leaves)
        hash(structure)
        assert dataclasses.is_dataclass(case.algorithm)
