"""Algorithms for hospitals with different models: what holds for all of them, and their papers."""

import dataclasses
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import mixed_papers as papers
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, repeated, same
from groups import CATALOGUE, MEME, OF, PUBLIC, GroupLab, models

from jaxfed.algorithms import mixed
from jaxfed.algorithms.mixed import dsfl, feddf
from jaxfed.core.tasks import BINARY, MULTICLASS
from jaxfed.participation import Poisson

ROUNDS = 3
HALF, ALL = Poisson(jnp.float32(0.6)), Poisson(jnp.float32(1.0))  # one program
algorithms = pytest.mark.parametrize("name", CATALOGUE)


@lru_cache
def reference(name):
    """One device, one hospital at a time; about half of the hospitals in a round."""
    lab = GroupLab(CATALOGUE[name], participation=HALF)
    _, found, log = lab.rounds(ROUNDS)
    return found, log


def test_the_catalogue_is_complete():
    assert set(CATALOGUE) == set(mixed.__all__)


@algorithms
@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 3), ("regression", 1)])
def test_a_round_keeps_shapes(name, task, outputs):
    """Traced, not compiled, in blocks; each with the tasks that it does not refuse."""
    lab = GroupLab(CATALOGUE[name], hospitals(task=task), models=models(outputs), participation=HALF, block=2)
    local = dict(zip(lab.models, lab.recipe.locals, strict=True))
    variables = {n: jax.eval_shape(one.problem.init, jax.random.key(0), PUBLIC) for n, one in local.items()}
    refused = lab.algorithm.problems(local, variables, PUBLIC)
    assert bool(refused) == (task == "regression" and name in {"DSFL", "FedProto"})
    if refused:
        return
    state, after, log = two_rounds(lab)
    assert jax.tree.map(layout, after) == jax.tree.map(layout, state)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(log)} == {4}


def two_rounds(lab):
    """Shapes of the state at the start and after two rounds, and of what is seen."""
    one = lab.lab
    state = jax.eval_shape(one.start)
    program = partial(repeated, plans=one.plans, capacity=4)
    after, log = jax.eval_shape(program, one.input, data=one.training_data, state=state, count=2)
    return state, after, log


def layout(leaf):
    return leaf.shape, leaf.dtype


@algorithms
def test_a_round_keeps_64_bits(name, x64):
    state, after, _ = two_rounds(GroupLab(CATALOGUE[name]))
    floats = [leaf for leaf in jax.tree.leaves((state, after)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", ["FML", "FedDF", "FedMD", "FedProto"])
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
    lab = GroupLab(CATALOGUE[name], participation=HALF).lab
    whole, _ = lab.advance(lab.start(), ROUNDS)
    part, _ = lab.advance(lab.start(), 1)
    part, _ = lab.advance(part, ROUNDS - 1)
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
    one, state, absences = lab.lab, lab.start(), 0
    for _ in range(ROUNDS):
        before = jax.tree.map(np.array, state.clients)
        state, log = one.advance(state, 1)
        absent_here = ~np.asarray(log.present)[0]
        for own, old, members, place in zip(state.clients, before, one.members, one.placements, strict=True):
            absent = place.position[absent_here[members]]
            absences += len(absent)
            same(jax.tree.map(lambda leaf: np.asarray(leaf)[absent], own),  # noqa: B023
                 jax.tree.map(lambda leaf: leaf[absent], old))  # noqa: B023  # fmt: skip
    assert absences


@algorithms
def test_one_program_for_all_rounds_seeds_and_numbers(name):
    reference(name)
    compiled = repeated._cache_size()
    other = jax.tree.map(lambda leaf: 0.9 * leaf if isinstance(leaf, float) else leaf, CATALOGUE[name])
    GroupLab(other, participation=Poisson(jnp.float32(0.9))).rounds(2, seed=1)
    assert repeated._cache_size() == compiled


PAPERS = {
    "DSFL": lambda now, rows, lab: papers.dsfl(now, rows, PUBLIC, epochs=2, temperature=0.1),
    "FML": lambda now, rows, lab: papers.fml(
        now,
        rows,
        numbers(lab.start().server.common.params),
        alpha=lab.algorithm.alpha,
        beta=lab.algorithm.beta,
    ),
    "FedDF": lambda now, rows, lab: papers.feddf(now, rows, PUBLIC, groups=[[0, 2], [1, 3, 4]]),
    "FedMD": lambda now, rows, lab: papers.fedmd(now, rows, drawn(lab), epochs=2),
    "FedProto": lambda now, rows, lab: papers.fedproto(
        now, rows, lam=lab.algorithm.lam, weighting=lab.algorithm.weighting
    ),
}
COMMON = {
    "FML": lambda common: common.params,
    "FedDF": lambda common: common[:, 0],
    "FedProto": lambda common: common.mean,
}


def numbers(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def drawn(lab):
    """The public rows of two rounds."""
    common, public = lab.start().server.common, lab.algorithm.public
    return [np.asarray(public.sample(common.key(r), lab.algorithm.rows), np.float64) for r in range(2)]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in PAPERS),
        ("FedProto", {"weighting": "uniform"}),
        ("FedProto", {"lam": 0.0}),
        ("FML", {"alpha": 1.0, "beta": 1.0}),
    ],
)
def test_two_rounds_are_those_of_the_paper(name, changes):
    """Models and common form, against NumPy; with lambda = 0, alpha = 1 and beta = 1 also local training."""
    lab = GroupLab(dataclasses.replace(CATALOGUE[name], **changes), participation=ALL)
    rows = [(np.asarray(x, np.float64), y) for x, y, _ in map(lab.data.rows, lab.data.hospitals)]
    expected, common = PAPERS[name](lab.each(lab.deployed(lab.start())), rows, lab)
    state, found, _ = lab.rounds(2)
    same(lab.each(found), expected, 1e-3, 1e-5)
    seen = COMMON.get(name, lambda common: common.targets[:, 0])(state.server.common)
    same(numbers(seen), common, 1e-3, 1e-5)
    if "weighting" not in changes and changes:
        alone = lab.each(lab.deployed(lab.start()))
        for _ in range(2):
            alone = [papers.learn(model, x, y) for model, (x, y) in zip(alone, rows, strict=True)]
        same(lab.each(found), alone, 1e-3, 1e-5)


@pytest.mark.parametrize("name", ["FedDF", "FML"])
def test_federated_averaging(name):
    """Is FedDF with one architecture and no distillation, and FML's meme without mixing."""
    data = hospitals()
    how = recipe(
        data, model=MEME.clone(outputs=1), participation=HALF, client=GroupLab(None).client, epochs=3
    )
    expected = Lab(how, data).rounds(ROUNDS)[0].variables.params
    if name == "FML":
        lab = GroupLab(mixed.FML(MEME, beta=1.0, weighting="samples"), participation=HALF, batch_size=4)
        found = lab.rounds(ROUNDS)[0].server.common.params
    else:
        lab = GroupLab(mixed.FedDF(PUBLIC, steps=0), of=["all"] * 5, models={"all": MEME.clone(outputs=1)},
                       participation=HALF, batch_size=4)  # fmt: skip
        found = jax.tree.map(lambda leaf: leaf[0], lab.rounds(ROUNDS)[1]["all"])
    same(numbers(found), numbers(expected), 1e-5)


def test_fedmd_draws_other_public_rows_in_every_round():
    lab = GroupLab(CATALOGUE["FedMD"])
    common, public = lab.start().server.common, lab.algorithm.public
    draws = [np.asarray(public.sample(common.key(r), 4)) for r in range(6)]
    assert all(len(np.unique(draw, axis=0)) == 4 for draw in draws)
    assert len({float(draw[0, 0]) for draw in draws}) > 1


def test_fedproto_remembers_classes_that_a_round_does_not_have():
    lab = GroupLab(CATALOGUE["FedProto"])
    state, _ = lab.lab.advance(lab.start(), 1)
    before = jax.tree.map(np.asarray, state.server.common)
    only = lab.data.replace(y=np.zeros_like(lab.data.y))  # hospitals of one class
    after = lab.replace(data=only).lab.advance(state, 1)[0].server.common
    np.testing.assert_array_equal(after.mean[1], before.mean[1])
    assert np.abs(before.mean[1]).max() > 0
    assert (np.asarray(after.mean[0]) != before.mean[0]).any()


def test_one_logit_is_two_classes():
    """Everything that is written for both says the same."""
    z, t = np.float32([[-1.0], [0.5], [2.0]]), np.float32([[0.3], [-0.2], [1.0]])
    two = lambda logit: np.concatenate([np.zeros_like(logit), logit], -1)  # noqa: E731
    p = papers.sigmoid(z)
    both = np.concatenate([1 - p, p], -1)
    np.testing.assert_allclose(dsfl.sharpen(both, 0.1)[:, 1:], dsfl.sharpen(p, 0.1), rtol=1e-4)
    assert (np.abs(np.asarray(dsfl.sharpen(p, 0.1)) - 0.5) > np.abs(p - 0.5)).all()
    np.testing.assert_allclose(
        mixed.DSFL.say(jnp.array(two(z)))[:, 1:], mixed.DSFL.say(jnp.array(z)), rtol=1e-5
    )
    np.testing.assert_allclose(
        mixed.DSFL.distance(jnp.array(two(t)), both), mixed.DSFL.distance(t, p), rtol=1e-5
    )
    np.testing.assert_allclose(MULTICLASS.soft(two(t), two(z)), BINARY.soft(t, z), rtol=1e-5)
    for other in (z, z[:, 0]):
        np.testing.assert_allclose(
            MULTICLASS.divergence(two(t), two(z)), BINARY.divergence(t, other), rtol=1e-4
        )
    q = papers.sigmoid(t)
    by_hand = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))[:, 0]
    np.testing.assert_allclose(BINARY.divergence(t, z), by_hand, rtol=1e-4)


def test_adam_is_annealed_along_a_cosine():
    adam = feddf.annealed_adam(0.1, 4)
    state, sizes = adam.init(jnp.zeros(())), []
    for _ in range(5):
        update, state = adam.update(jnp.ones(()), state)
        sizes.append(float(-update))
    np.testing.assert_allclose(sizes, 0.1 * (1 + np.cos(np.pi * np.arange(5) / 4)) / 2, rtol=1e-4, atol=1e-6)
