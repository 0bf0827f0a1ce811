"""The start of a run and one round, as pure functions of stacked hospitals.

    present = participation(keys, round, sizes)
    for every hospital that is present:
        upload, client, metrics = client_update(server, client, rows, key of the hospital)
        upload = transforms(upload)
    update  = posts(rule(mixers(uploads)))
    server  = server_update(server, update)

:mod:`jaxfed.core.engine.exchange` runs the hospitals of a device; devices communicate once per exchange.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import hyperparameters, keys
from jaxfed.core.aggregation import Streamed
from jaxfed.core.engine.client import FIRST, MAIN, sent_shape, upload_shapes
from jaxfed.core.engine.exchange import Exchanged, Group, exchange
from jaxfed.core.engine.recipe import COPIED, STATE, ClientState, Plans, Recipe, RoundInfo
from jaxfed.core.engine.road import start_channel, zeros_like
from jaxfed.core.finite import keep_finite
from jaxfed.core.group_algorithm import GroupAlgorithm, Parts
from jaxfed.core.layout.balance import deal, homes
from jaxfed.core.layout.plan import DEVICES
from jaxfed.core.layout.store import TrainingData
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Cohort, PyTree, State, Variables

Data = tuple[TrainingData, ...]  # of each group of models


@partial(jax.jit, static_argnames=("plans",))
def start(recipe: Recipe, plans: Plans, data: Data, seed: Array) -> State:
    """The state before the first round, with initial variables drawn from ``seed`` (may be traced)."""
    return jax.shard_map(
        lambda recipe, data, seed: start_on_device(recipe, plans, data, seed),
        mesh=plans[0].mesh,
        in_specs=COPIED,
        out_specs=STATE,
        check_vma=False,
    )(recipe, data, seed)


@partial(jax.jit, static_argnames=("plans",))
def start_from(
    recipe: Recipe, plans: Plans, data: Data, variables: tuple[Variables, ...], key: Array
) -> State:
    """The state before the first round, from given variables of each group and the run's key."""
    return jax.shard_map(
        lambda recipe, data, variables, key: _start(recipe, plans, data, variables, key),
        mesh=plans[0].mesh,
        in_specs=COPIED,
        out_specs=STATE,
        check_vma=False,
    )(recipe, data, variables, key)


def start_on_device(recipe: Recipe, plans: Plans, data: Data, seed: Array | int) -> State:
    """As :func:`start`, inside a ``shard_map`` with the axis ``DEVICES``."""
    key = keys.run_key(seed)
    drawn = keys.purpose(key, keys.INIT)
    variables = tuple(
        local.problem.init(drawn, _sample(rows)) for local, rows in zip(recipe.locals, data, strict=True)
    )
    return _start(recipe, plans, data, variables, key)


def _start(recipe: Recipe, plans: Plans, data: Data, variables: tuple[Variables, ...], key: Array) -> State:
    recipe, data = hyperparameters.at_round(recipe, jnp.zeros((), jnp.int32)), recipe.training(data)
    algorithm = recipe.algorithm
    common = algorithm.begin(recipe.locals[0], variables[0], _sample(data[0]), keys.purpose(key, keys.INIT))
    exchanges = (MAIN, FIRST) if algorithm.asks else (MAIN,)
    servers, clients = [], []
    roads: dict[int, list[PyTree]] = {which: [] for which in exchanges}
    shapes: dict[int, Parts] = {}
    for plan, local, rows, initial in zip(plans, recipe.locals, data, variables, strict=True):
        server, client = algorithm.init(local, initial, keys.purpose(key, keys.ALGORITHM), plan.clients)
        sent = Parts(common, server)
        client = _with_transforms(recipe, local, sent, client, rows, exchanges)
        stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.slots, *jnp.shape(leaf))), client)  # noqa: B023
        for which in exchanges:
            shapes[which] = upload_shapes(recipe, local, sent, stacked, rows, which).received
            roads[which].append(start_channel(recipe.chain, shapes[which].group))
        servers.append(server)
        clients.append(stacked)
    aggregator = tuple(
        Parts(start_channel(recipe.chain, shapes[which].common), tuple(roads[which])) for which in exchanges
    )
    sizes = sum((rows.sizes for rows in data[1:]), data[0].sizes)
    server = Parts(common, tuple(servers))
    participation = recipe.participation.init(sizes)
    return State(jnp.zeros((), jnp.int32), key, server, tuple(clients), aggregator, participation)


def _with_transforms(
    recipe: Recipe,
    local: LocalTraining,
    server: Parts,
    client: PyTree,
    rows: TrainingData,
    exchanges: tuple[int, ...],
) -> ClientState:
    """A client's state with those of the transforms, before its first round."""
    transforms = hyperparameters.at_hospital(recipe.chain.transforms, 0)
    client = jax.tree.map(jnp.asarray, client)
    if not transforms:
        return ClientState(client, ((),) * len(exchanges))
    states = []
    for which in exchanges:
        upload = zeros_like(sent_shape(recipe, local, server, client, rows, which))
        states.append(tuple(part.init(upload) for part in transforms))
    return ClientState(client, tuple(states))


def round_on_device(recipe: Recipe, plans: Plans, data: Data, state: State) -> tuple[State, RoundInfo]:
    """One round, inside a ``shard_map`` with the axis ``DEVICES``.

    Devices communicate only to aggregate uploads.
    """
    recipe, data = hyperparameters.at_round(recipe, state.round), recipe.training(data)
    algorithm = recipe.algorithm
    sizes = sum((rows.sizes for rows in data[1:]), data[0].sizes)
    present, participation = presence(recipe, state, sizes, data[0].client_ids)
    places = _dealt(recipe, plans, data, state, present)

    def meet(server: Parts, which: int, clients: tuple[PyTree, ...]) -> tuple[Exchanged, list[Group]]:
        groups = []
        for g, (plan, local, rows) in enumerate(zip(plans, recipe.locals, data, strict=True)):
            sent = Parts(server.common, server.group[g])
            weights = algorithm.weights(sent, rows.sizes)
            if recipe.weights is not None:
                more = hyperparameters.at_hospital(recipe.weights, ...)
                weights = jax.tree.map(lambda w: w * more, weights)  # noqa: B023
            weights = jax.tree.map(lambda w: jnp.where(rows.sizes > 0, w, 0).astype(float_type()), weights)  # noqa: B023
            groups.append(Group(g, plan, rows, local, sent, weights, *places[g]))
        road = state.aggregator[which]
        return exchange(recipe, groups, clients, present, road, state.key, state.round, which), groups

    server, clients, roads = state.server, state.clients, [*state.aggregator]
    if algorithm.asks:
        met, _ = meet(server, FIRST, clients)
        clients, roads[FIRST] = met.clients, met.states
        answers = (
            algorithm.answer(Parts(server.common, part), update.update)
            for part, update in zip(server.group, met.groups, strict=True)
        )
        server = Parts(server.common, tuple(answers))
    met, groups = meet(server, MAIN, clients)
    roads[MAIN] = met.states
    everyone = [group.weights for group in groups]
    served, refused = _serve(recipe, data, state, server, met, everyone, present)
    new = State(state.round + 1, state.key, served, met.clients, tuple(roads), participation)
    return new, RoundInfo(met.metrics, present, met.rejected, refused)


def presence(recipe: Recipe, state: State, sizes: Array, client_ids: Array) -> tuple[Array, PyTree]:
    """``[C]`` bool: whether each hospital takes part, the same on every device, and participation's state.

    A hospital without rows never takes part.
    """
    key = keys.purpose(state.key, keys.COHORT)
    by_client = jax.vmap(partial(keys.client_key, key))(client_ids)
    draw, new = recipe.participation.draw(state.participation, by_client, state.round, sizes)
    return (sizes > 0) & (draw > 0), new


def float_type() -> jnp.dtype:
    """The type of weights and losses."""
    return jnp.result_type(float)


def _dealt(
    recipe: Recipe, plans: Plans, data: Data, state: State, present: Array
) -> list[tuple[Array, Array | None]]:
    """For each group the places that this device trains, and their order; None if they train at home."""
    taking_part = [jnp.append(present, False)[rows.hospital] for rows in data]
    # client state and stored uploads live on the client's home device, so it must train there
    at_home = bool(jax.tree.leaves(state.clients)) or recipe.chain.stores or recipe.diagnose
    device = jax.lax.axis_index(DEVICES)
    if at_home or plans[0].devices_per_run == 1:
        return [
            (at & (homes(plan.places, plan.devices_per_run) == device), None)
            for at, plan in zip(taking_part, plans, strict=True)
        ]
    works = []
    for local, rows in zip(recipe.locals, data, strict=True):
        work = hyperparameters.at_hospital(local, ...).work(rows.sizes)
        work = jnp.broadcast_to(jnp.asarray(work, jnp.int32), rows.sizes.shape)
        works.append(jnp.append(work, 0)[rows.hospital])
    everybody = jnp.stack(
        [(at | (rows.train.size == 0)).all() for at, rows in zip(taking_part, data, strict=True)]
    ).all()

    def home() -> list[Array]:
        return [homes(plan.places, plan.devices_per_run) for plan in plans]

    def balanced() -> list[Array]:
        loads, devices = jnp.zeros(plans[0].devices_per_run, jnp.int32), []
        for at, work, rows in zip(taking_part, works, data, strict=True):
            dealt, loads = deal(at, work, rows.ranking, loads)
            devices.append(dealt)
        return devices

    trains = jax.lax.cond(everybody, home, balanced)
    return [
        (at & (assigned == device), rows.ranking)
        for at, assigned, rows in zip(taking_part, trains, data, strict=True)
    ]


def _serve(
    recipe: Recipe,
    data: Data,
    state: State,
    server: Parts,
    met: Exchanged,
    everyone: list[Parts],
    present: Array,
) -> tuple[Parts, Array]:
    """The server's step: the common form first, then its state for every group.

    ``everyone`` are the weights ``[C]`` of each group's hospitals if they take part.
    """
    algorithm: GroupAlgorithm = recipe.algorithm
    used = present & ~met.rejected
    sizes = sum((rows.sizes for rows in data[1:]), data[0].sizes)
    public = recipe.chain.rule.public_count if isinstance(recipe.chain.rule, Streamed) else None

    def cohort(sizes: Array, weights: Array, everyone: Array, aux: PyTree, each: PyTree) -> Cohort:
        count = (used & (sizes > 0)).sum(dtype=jnp.int32)
        if public is not None:
            hospitals = jnp.maximum((sizes > 0).sum(), 1)
            count, weights = jnp.ceil(public).astype(jnp.int32), everyone * (public / hospitals)
        return Cohort(
            round=state.round,
            present=count,
            hospitals=(sizes > 0).sum(dtype=jnp.int32),
            weights=weights,
            everyone=everyone,
            sizes=sizes,
            aux=aux,
            each=each,
        )

    used_weights, all_weights = (
        sum((w.common for w in parts[1:]), parts[0].common) for parts in (met.weights, everyone)
    )
    everybody = cohort(sizes, used_weights, all_weights, met.common.aux, ())
    common = algorithm.aggregate(server.common, met.common.update, everybody)
    key = keys.at_round(state.key, keys.SERVER, state.round)
    groups, cohorts = [], []
    for g, rows in enumerate(data):
        weights = met.weights[g].group, everyone[g].group
        group_cohort = cohort(rows.sizes, *weights, met.groups[g].aux, met.each[g])
        sent = Parts(common, server.group[g])
        groups.append(algorithm.settle(recipe.locals[g], sent, met.groups[g].update, group_cohort, key))
        cohorts.append(group_cohort)
    if not algorithm.separate:
        return keep_finite(Parts(common, tuple(groups)), state.server, everybody.present)
    pairs = [
        keep_finite(new, old, group_cohort.present)
        for new, old, group_cohort in zip(groups, state.server.group, cohorts, strict=True)
    ]
    return Parts(state.server.common, tuple(new for new, _ in pairs)), jnp.stack([r for _, r in pairs]).any()


def _sample(data: TrainingData) -> PyTree:
    """A row of features, ``[1, ...]``."""
    return jax.tree.map(lambda leaf: leaf[:1], data.train.x)
