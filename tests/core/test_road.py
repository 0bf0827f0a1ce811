"""The road of uploads inside the engine: layouts change nothing, states survive, draws have their keys."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same

from jaxfed.aggregators import (
    NNM,
    Bucketing,
    CentredClipping,
    Krum,
    Median,
    TrimmedMean,
    WeightedMean,
    chain,
)
from jaxfed.algorithms import FedAvg, FedAvgM, FedDyn, Mime, Scaffold
from jaxfed.core import keys
from jaxfed.core.aggregation import Mixer, Post, Rule, Transform
from jaxfed.core.engine.client import FIRST, MAIN
from jaxfed.core.hyperparameters import per_hospital, schedule
from jaxfed.core.optimizer import optimizer
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.models import MLP
from jaxfed.participation import Poisson
from jaxfed.transforms import Clip, Momentum, Noise, TopK

SIZES = (11, 4, 7, 1, 9, 6, 5, 8)
C, ROUNDS, BROKEN = len(SIZES), 3, 4
LAYOUTS = [(2, 2), (4, 8)]  # devices and block, at most all of a device; the reference has 1 and 1
ROADS = {
    "Clip": chain(Clip(0.01), WeightedMean()),
    "Krum": Krum(1),
    "Median": Median(),
    "CentredClipping": CentredClipping(0.01, steps=2),
    "NNM": chain(NNM(1), TrimmedMean(0.2)),
    "Bucketing": chain(Bucketing(2), Median()),
    "Bucketing and mean": chain(Bucketing(2), WeightedMean()),
    "TopK": chain(TopK(0.5), WeightedMean()),
    "Momentum": chain(Momentum(0.8), Median()),
    "Noise": chain(WeightedMean(), Noise(0.1, 1.0, 8.0)),
}


def spoiled(data, hospital=BROKEN):
    """The rows of a hospital are not numbers."""
    return data.replace(x=np.where(data.owner[:, None] == hospital, np.nan, data.x))


def lab(road, data=None, devices=1, block=1, rate=0.7, **how):
    data = data or hospitals(SIZES)
    how = {
        "model": MLP((), outputs=1),
        "batch_size": None,
        "participation": Poisson(jnp.float32(rate)),
        **how,
    }
    return Lab(recipe(data, aggregator=road, **how), data, devices, block)


def everything(one, rounds=ROUNDS, seed=0):
    """A state, with what clients keep in the data set's order, and what is seen ``[R, C]``."""
    state, info = one.advance(one.start(seed), rounds)
    return in_order(one, state), jax.tree.map(lambda leaf: np.asarray(leaf)[:rounds], info)


def in_order(one, state):
    clients = [p.by_hospital(c) for p, c in zip(one.placements, state.clients, strict=True)]
    return state._replace(clients=tuple(clients))


def params(state):
    return jax.tree.map(np.asarray, state.server.group[0].variables.params)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("name", ROADS)
def test_layouts_change_nothing(name):
    """With absent hospitals, and one whose upload is refused."""
    data = spoiled(hospitals(SIZES))
    state, info = everything(lab(ROADS[name], data))
    assert 0 < info.present.sum() < info.present.size
    assert info.present[:, BROKEN].any()
    assert np.array_equal(info.rejected, info.present & (np.arange(C) == BROKEN))
    assert np.isfinite(flat(params(state))).all()
    assert not np.allclose(flat(params(state)), flat(params(lab(ROADS[name], data).start())))
    for devices, block in LAYOUTS:
        other, seen = everything(lab(ROADS[name], data, devices, block))
        same(other, state, rtol=1e-4, atol=1e-6)
        same(seen, info, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["Clip", "Krum", "Median", "Momentum", "TopK", "CentredClipping", "NNM"])
def test_a_refused_hospital_has_no_voice(name):
    """As if it had no rows: robust rules do not even count it."""
    data = hospitals(SIZES)
    without = data.replace(
        size=np.where(np.arange(C) == BROKEN, 0, data.size),
        x=data.x[data.owner != BROKEN],
        y=data.y[data.owner != BROKEN],
        split=data.split[data.owner != BROKEN],
    )
    refused, _ = everything(lab(ROADS[name], spoiled(data)))
    absent, _ = everything(lab(ROADS[name], without))
    same(refused.server, absent.server, rtol=1e-5)
    same(refused.aggregator, absent.aggregator, rtol=1e-5)


def test_what_a_rule_keeps_survives_rounds_and_a_cut():
    """Centred clipping keeps the last aggregate, which with a server step of 1 is the last step."""
    one = lab(ROADS["CentredClipping"])
    whole, info = everything(one, 4)
    part, first = one.advance(one.start(), 1)
    state = part
    rest, second = one.advance(part, 3)
    same(in_order(one, rest), whole)
    same(jax.tree.map(lambda a, b: np.concatenate([a[:1], b[:3]]), first, second), info)
    for _ in range(2):
        (kept,) = state.aggregator
        before = flat(params(state))
        forgotten = state._replace(aggregator=jax.tree.map(jnp.zeros_like, state.aggregator))
        assert np.any(kept.group[0].rule)
        assert not np.allclose(
            flat(params(one.advance(forgotten, 1)[0])), flat(params(one.advance(state, 1)[0]))
        )
        state, _ = one.advance(state, 1)
        step = flat(params(state)) - before
        np.testing.assert_allclose(state.aggregator[MAIN].group[0].rule, step, rtol=1e-4, atol=1e-6)


def test_error_feedback_is_kept_in_the_hospitals():
    """What TopK did not send is sent later; absent and refused hospitals owe what they owed."""
    one = lab(ROADS["TopK"], rate=1.0)
    first, _ = one.advance(one.start(), 1)
    (owed,) = in_order(one, first).clients[0].transforms[MAIN]
    assert owed.shape == (C, 4)
    assert ((owed != 0).sum(1) == 2).all()
    broken = one.replace(data=spoiled(one.data))
    after, info = broken.advance(first, 1)
    (then,) = in_order(one, after).clients[0].transforms[MAIN]
    assert np.flatnonzero(info.rejected[0]).tolist() == [BROKEN]
    assert np.flatnonzero((then == owed).all(1)).tolist() == [BROKEN]
    half = lab(ROADS["TopK"], rate=0.5)
    after, info = half.advance(first, 1)
    (then,) = in_order(one, after).clients[0].transforms[MAIN]
    assert 0 < info.present[0].sum() < C
    assert np.array_equal((then != owed).any(1), info.present[0])


def test_what_is_sent_and_owed_is_the_update():
    """Of the only hospital that takes part, whose step the server takes."""
    data = hospitals((6,))
    plain, sparse = (everything(lab(road, data, rate=1.0), 1)[0] for road in (WeightedMean(), ROADS["TopK"]))
    start = flat(params(lab(WeightedMean(), data).start()))
    (owed,) = sparse.clients[0].transforms[MAIN]
    found = flat(params(sparse)) - start + owed[0]
    np.testing.assert_allclose(found, flat(params(plain)) - start, rtol=1e-5, atol=1e-6)


def test_momentum_in_hospitals_is_momentum_on_the_server_where_the_rule_is_linear():
    """And everybody takes part in every round (El Mhamdi, Guerraoui, Rouault 2021)."""
    road = chain(Momentum(0.8), WeightedMean())
    local, _ = everything(lab(road, rate=1.0), 5)
    server, _ = everything(lab(WeightedMean(), rate=1.0, algorithm=FedAvgM(0.8, learning_rate=1 - 0.8)), 5)
    np.testing.assert_allclose(flat(params(local)), flat(params(server)), rtol=1e-4, atol=1e-6)
    plain, _ = everything(lab(WeightedMean(), rate=1.0), 5)
    assert not np.allclose(flat(params(local)), flat(params(plain)), rtol=1e-2)


@pytree
@dataclasses.dataclass(frozen=True)
class Drawing(Transform):
    """Keeps what its key, its round and its number are; changes nothing."""

    number: Any = 0.0

    def init(self, upload):
        return {
            "draw": jnp.zeros(()),
            "round": jnp.zeros((), jnp.int32),
            "number": jnp.zeros(()),
            "weight": jnp.zeros(()),
        }

    def apply(self, upload, state, sender):
        number = jnp.asarray(self.number, jnp.float32)
        return upload, {
            "draw": jax.random.uniform(sender.key),
            "round": sender.round,
            "number": number,
            "weight": sender.weight,
        }


@pytree
@dataclasses.dataclass(frozen=True)
class DrawingPost(Post):
    """Keeps what its key draws."""

    def init(self, update):
        return jnp.zeros(())

    def apply(self, update, state, key):
        return update, jax.random.uniform(key)


@pytree
@dataclasses.dataclass(frozen=True)
class DrawingRule(Rule):
    """The plain mean; keeps what its key and its number are."""

    number: Any = 0.0

    def init(self, update):
        return jnp.zeros(()), jnp.zeros(jnp.shape(self.number))

    def reduce(self, uploads, state, key):
        weights = uploads.present / jnp.maximum(uploads.present.sum(), 1)
        return uploads.mean(weights), (jax.random.uniform(key), jnp.asarray(self.number, jnp.float32)), {}


@pytree
@dataclasses.dataclass(frozen=True)
class Scaled(Mixer):
    """Every upload times its hospital's number."""

    factor: Any

    def apply(self, uploads, key):
        return uploads.mix(jnp.diag(jnp.broadcast_to(self.factor, len(uploads))), uploads.weights)


@pytree
@dataclasses.dataclass(frozen=True)
class ScaledAtHome(Transform):
    """The upload times its hospital's number."""

    factor: Any

    def apply(self, upload, state, sender):
        return upload._replace(update=jax.tree.map(lambda leaf: self.factor * leaf, upload.update)), state


def draws(road, seed=0, rounds=1, data=None, devices=1, block=1, **how):
    """What the transforms of a road drew, ``[C, position]``, and what posts did."""
    state, _ = everything(lab(road, data, devices, block, 1.0, **how), rounds, seed)
    transforms = state.clients[0].transforms[MAIN]
    (kept,) = state.aggregator[:1]
    return np.stack([part["draw"] for part in transforms], 1), kept.group[0]


TWICE = chain(Drawing(), Drawing(), WeightedMean(), DrawingPost(), DrawingPost())


def test_draws_differ_between_seeds_rounds_clients_and_positions():
    found, posts = [], []
    for seed, rounds in ((0, 1), (1, 1), (0, 2)):
        drawn, kept = draws(TWICE, seed, rounds)
        found.append(drawn)
        posts += [float(draw) for draw in kept.posts]
    assert len(np.unique(np.stack(found))) == 3 * C * 2
    assert len(set(posts)) == 6


def test_draws_are_those_of_the_documented_keys():
    data = hospitals(SIZES)
    found, kept = draws(TWICE, seed=5, rounds=3)
    stream = jax.random.fold_in(keys.at_round(keys.run_key(5), keys.TRANSFORM, 2), MAIN)
    for c, words in enumerate(keys.client_ids(data.hospitals)):
        for position in range(2):
            key = jax.random.fold_in(keys.client_key(stream, words), position)
            assert found[c, position] == jax.random.uniform(key)
    server = jax.random.fold_in(jax.random.fold_in(keys.at_round(keys.run_key(5), keys.ROAD, 2), MAIN), 1)
    for i, draw in enumerate(kept.posts):
        assert draw == jax.random.uniform(jax.random.fold_in(server, 3 + i))


@pytest.mark.parametrize(("devices", "block"), LAYOUTS)
def test_draws_do_not_depend_on_the_layout(devices, block):
    expected, kept = draws(TWICE, rounds=2)
    found, other = draws(TWICE, rounds=2, devices=devices, block=block)
    np.testing.assert_array_equal(found, expected)
    same(other.posts, kept.posts)


def test_draws_follow_the_hospital():
    data, turned = hospitals(SIZES), [3, 0, 4, 2, 1, 7, 6, 5]
    expected, _ = draws(TWICE)
    found, _ = draws(TWICE, data=data.select([data.hospitals[c] for c in turned]))
    np.testing.assert_array_equal(found, expected[turned])


def test_a_rule_draws_by_its_position():
    rules = [chain(DrawingRule(), DrawingPost()), chain(Drawing(), DrawingRule(), DrawingPost())]
    drawn = [everything(lab(road), 1)[0].aggregator[MAIN].group[0] for road in rules]
    assert drawn[0].posts[0] == drawn[1].rule[0]  # position 1 in both chains
    assert len({float(d) for kept in drawn for d in (kept.rule[0], kept.posts[0])}) == 3


def test_the_exchanges_of_a_round_have_draws_and_states_of_their_own():
    one = lab(chain(Drawing(), WeightedMean(), DrawingPost()), rate=1.0, algorithm=Mime())
    state, _ = everything(one, 1)
    main, first = (state.clients[0].transforms[which][0]["draw"] for which in (MAIN, FIRST))
    assert len(np.unique([main, first])) == 2 * C
    posts = [state.aggregator[which].group[0].posts[0] for which in (MAIN, FIRST)]
    assert posts[0] != posts[1]


@pytest.mark.parametrize(("devices", "block"), [(1, 1), *LAYOUTS])
def test_numbers_of_a_part_may_differ_between_hospitals(devices, block):
    numbers = np.arange(C, dtype=np.float32) + 1
    one = lab(
        chain(Drawing(per_hospital(numbers)), DrawingRule(per_hospital(numbers))), None, devices, block, 1.0
    )
    state, _ = everything(one, 2)
    np.testing.assert_array_equal(state.clients[0].transforms[MAIN][0]["number"], numbers)
    np.testing.assert_array_equal(state.aggregator[MAIN].group[0].rule[1], numbers)


def test_a_transform_knows_the_weight_and_the_round():
    numbers = np.linspace(1, 2, C)
    one = lab(chain(Drawing(), WeightedMean()), rate=1.0, weights=per_hospital(numbers))
    (kept,) = everything(one, 3)[0].clients[0].transforms[MAIN]
    np.testing.assert_allclose(kept["weight"], numbers * SIZES, rtol=1e-6)
    assert (kept["round"] == 2).all()


@pytest.mark.parametrize(("devices", "block"), [(1, 1), (2, 2)])
def test_a_mixer_and_a_transform_have_the_same_numbers(devices, block):
    factors = per_hospital(np.linspace(0.5, 2, C))
    mixed, at_home = (
        everything(lab(chain(part, WeightedMean()), None, devices, block))[0]
        for part in (Scaled(factors), ScaledAtHome(factors))
    )
    plain, _ = everything(lab(WeightedMean()))
    same(mixed.server, at_home.server, rtol=1e-5)
    assert not np.allclose(flat(params(mixed)), flat(params(plain)))


def test_a_bound_for_each_hospital():
    """Where all are equal they are the bound; a bound of next to nothing silences its hospital."""
    equal, plain = (everything(lab(chain(Clip(b))))[0] for b in (per_hospital([0.01] * C), 0.01))
    same(equal.server, plain.server, rtol=1e-6)
    silent = np.where(np.arange(C) == 2, 1.0, 1e-12)
    found = flat(params(everything(lab(chain(Clip(per_hospital(silent))), rate=1.0), 1)[0]))
    alone = flat(
        params(everything(lab(chain(ScaledAtHome(per_hospital(silent)), Clip(1.0)), rate=1.0), 1)[0])
    )
    start = flat(params(lab(WeightedMean()).start()))
    assert np.abs(found - start).max() > 1e-4
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_scheduled_numbers_of_parts():
    """A schedule is the number of the round, for transforms, rules and posts."""

    def road(bound, tau, multiplier):
        return chain(Clip(bound), CentredClipping(tau), Noise(multiplier, 1.0, 8.0))

    numbers = {"bound": [0.01, 0.02], "tau": [0.002, 0.01], "multiplier": [0.1, 0.5]}
    later = (schedule(lambda r, v=values: jnp.asarray(v)[r]) for values in numbers.values())
    found, _ = everything(lab(road(*later)), 2)
    state = lab(WeightedMean()).start()
    for r in range(2):
        one = lab(road(*(jnp.float32(values[r]) for values in numbers.values())))
        state, _ = one.advance(one.start() if r == 0 else state, 1)
    same(in_order(one, state), found, rtol=1e-6)


@pytree
@dataclasses.dataclass(frozen=True)
class Markov(Participation):
    """A hospital that is there stays with probability ``stay``; one that is not comes back as often."""

    stay: float

    def init(self, sizes):
        return jnp.ones(sizes.shape, bool)

    def draw(self, state, keys, round, sizes):
        drawn = jax.vmap(jax.random.uniform)(jax.vmap(lambda key: jax.random.fold_in(key, round))(keys))
        here = jnp.where(drawn < self.stay, state, ~state)
        return here, here

    def problems(self, hospitals):
        return []


def test_participation_may_have_a_state():
    data = hospitals((11, 4, 0, 7, 1, 9, 6, 5))
    one = lab(WeightedMean(), data, participation=Markov(0.6))
    whole, info = everything(one, 4, seed=3)
    here, key = np.ones(C, bool), keys.purpose(keys.run_key(3), keys.COHORT)
    for r in range(4):
        own = [keys.client_key(key, words) for words in keys.client_ids(data.hospitals)]
        drawn = np.array([jax.random.uniform(jax.random.fold_in(k, r)) for k in own])
        here = np.where(drawn < 0.6, here, ~here)
        assert np.array_equal(info.present[r], here & (data.size > 0))
    np.testing.assert_array_equal(whole.participation, here)
    part, _ = one.advance(one.start(3), 2)
    same(in_order(one, one.advance(part, 2)[0]), whole)
    for devices, block in LAYOUTS:
        other, seen = everything(one.replace(devices=devices, block=block), 4, seed=3)
        assert np.array_equal(seen.present, info.present)
        same(other, whole, rtol=1e-5)


@pytest.mark.parametrize("algorithm", [FedAvg(), Scaffold(), FedDyn()], ids=lambda a: type(a).__name__)
def test_equal_weights_are_no_weights(algorithm):
    """Only their ratios count, also where a server compares who took part with all hospitals."""
    client = optimizer(optax.sgd, learning_rate=0.1)
    found = [
        everything(lab(WeightedMean(), algorithm=algorithm, client=client, epochs=2, weights=weights), 3)[0]
        for weights in (per_hospital([3.0] * C), None)
    ]
    same(*found, rtol=1e-5)
