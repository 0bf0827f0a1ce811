"""Which algorithms patient-level privacy covers: those that read a hospital's rows in private steps alone.

An algorithm is traced, on shapes, with rows that cannot be read and a training that notes how often it is
called. So algorithms of users are judged as those of jaxfed are, and nothing is compiled. As in the engine,
schedules and numbers of single hospitals are resolved before; the round and the hospital are traced too, so
that a verdict holds for all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from jaxfed.core.algorithm import Algorithm
from jaxfed.core.hyperparameters import at_hospital, at_round
from jaxfed.core.local import LocalTraining, Trained
from jaxfed.core.nn.jaxprs import bodies_of
from jaxfed.core.problem import Problem
from jaxfed.core.types import PyTree, Shard, Variables
from jaxfed.privacy.training import PrivateTraining

NAME = "private_training"
OUTSIDE = "reads a hospital's rows outside of its private steps, where no noise is added"
LOOPS = {"scan", "while", "cond"}
COUNTED = ("epochs", "steps", "rate")  # the numbers of a training on which its cost depends
NUMBER = jax.ShapeDtypeStruct((), jnp.int32)


class Uncovered(Exception):
    """Why an algorithm is not covered."""


class _Unreadable:
    """Rows that cannot be read."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Uncovered(OUTSIDE)

    def __getitem__(self, index: Any) -> NoReturn:
        raise Uncovered(OUTSIDE)


def trainings_of(
    algorithm: Algorithm, local: PrivateTraining, variables: Variables
) -> tuple[PrivateTraining, ...]:
    """The trainings that a hospital does in a round, with their epochs or steps.

    Args:
        algorithm: as the engine gets it, after ``for_model``.
        local: the hospitals' training; what it has for each hospital, the results have too.
        variables: shapes of the model's variables.

    Raises:
        Uncovered: the reason, to follow the algorithm's name.
    """
    if variables.stats:
        raise Uncovered("trains batch statistics, which mix rows; give a model with group norm instead")
    if algorithm.adapts:
        raise Uncovered("adapts the model to a hospital's rows at each evaluation, which is not accounted")
    if not algorithm.trains:
        raise Uncovered("takes no local steps; FedAvg with steps=1 and rate=1.0 is the same with them")
    calls: list[PrivateTraining] = []
    counted: list[PrivateTraining] = []
    keys: list[Array] = []

    class Watched(PrivateTraining):
        def train(self, variables: Variables, shard: Shard, key: Array, correct: Any = None) -> Trained:
            for method in ("gradient", "full_gradient"):
                if getattr(type(self.problem), method) is not getattr(Problem, method):
                    raise Uncovered("has a gradient that is not the sum of its rows' gradients")
            if correct is not None:
                correct(variables.params, variables.params, _second)
            if any(key is other for other in keys):
                raise Uncovered("trains twice with the same random key, so that its noise is used twice")
            keys.append(key)
            calls.append(self)

            def private_training(variables: Variables) -> Variables:
                return variables

            new = jax.jit(private_training)(variables)
            return Trained(new, self.total_steps(shard.size), jnp.zeros((), jnp.result_type(float)))

        def gradient(self, shard: Shard, key: Array, t: Array) -> NoReturn:
            raise Uncovered("takes steps of its own, whose gradients are not private")

    def act(server: PyTree, client: PyTree, key: Array, size: Array, round: Array, hospital: Array) -> PyTree:
        rows: Any = _Unreadable()
        shard = Shard(rows, rows, jnp.zeros_like(size), size, None, hospital)
        its, numbers = _resolved((algorithm, local), round, hospital)
        watched = Watched(**{field.name: getattr(numbers, field.name) for field in dataclasses.fields(local)})
        if its.asks:
            its.ask(watched, server, client, shard, key)
        result = its.client_update(watched, server, client, shard, key)
        counted.extend(_counted(call, numbers, local) for call in calls)
        return result

    server, client, key = _begun(algorithm, variables)
    traced = jax.make_jaxpr(act)(server, client, key, NUMBER, NUMBER, NUMBER)
    found = [*_calls(traced.jaxpr)]
    model = [leaf.shape for leaf in jax.tree.leaves(variables)]
    results: list[list[Any]] = [[v.aval for v in eqn.outvars] for eqn in found]
    alone = all([aval.shape for aval in avals] == model for avals in results)
    if len(found) != len(calls) or not alone:
        raise Uncovered("trains inside of a loop, so that its steps cannot be counted")
    if not calls:
        raise Uncovered("does not train in the hospitals")
    return tuple(counted)


def _resolved(tree: PyTree, round: Array, hospital: Array) -> PyTree:
    """``tree`` with the numbers of a round and a hospital, both of which may be traced."""
    arrays = jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, at_round(tree, round)
    )
    return at_hospital(arrays, hospital)


def _counted(call: PrivateTraining, numbers: PrivateTraining, local: PrivateTraining) -> PrivateTraining:
    """``local`` with the batch size, epochs, steps and rate of a call; ``numbers`` is what the caller got."""
    own = {name: getattr(call, name) for name in COUNTED if getattr(call, name) is not getattr(numbers, name)}
    for name, number in own.items():
        if isinstance(number, jax.core.Tracer):
            raise Uncovered(
                f"makes {name} of numbers that differ between rounds or hospitals; give it one number"
            )
    return dataclasses.replace(local, batch_size=call.batch_size, **own)


def _begun(algorithm: Algorithm, variables: Variables) -> tuple[PyTree, PyTree, Array]:
    """Shapes of the states of the server and of a hospital, and of a key."""

    def begin(variables: Variables, round: Array, hospital: Array) -> tuple[PyTree, PyTree, Array]:
        key = jax.random.key(0)
        return *_resolved(algorithm, round, hospital).init(variables, key, 2), key

    return jax.eval_shape(begin, variables, NUMBER, NUMBER)


def _second(params: PyTree) -> NoReturn:
    raise Uncovered("takes a second gradient of the rows of a step, which would cost privacy again")


def _calls(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """The trainings in a traced program that run once."""
    for eqn in jaxpr.eqns:
        if eqn.params.get("name") == NAME:
            yield eqn
        elif eqn.primitive.name not in LOOPS:
            for body in bodies_of(eqn):
                yield from _calls(body)


def uncovered_upload(
    algorithm: Algorithm, local: LocalTraining, variables: Variables, x: PyTree, y: Any
) -> str:
    """Why hospital-level privacy does not cover an algorithm, to follow its name; empty if it does.

    ``x`` and ``y`` are rows ``[N, ...]``; only shapes matter.
    """
    if variables.stats:
        return "trains batch statistics, which are averaged without a bound; give a model with group norm"
    if algorithm.asks:
        return "exchanges twice in a round, which would cost privacy twice; give FedAvg or Scaffold"
    if algorithm.why_untransformed:
        return f"cannot have its uploads clipped: {algorithm.why_untransformed}; give FedAvg or Scaffold"
    server, client, key = _begun(algorithm, variables)
    rows, labels = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype)), (x, y)
    )

    def sent(
        server: PyTree, client: PyTree, key: Array, rows: PyTree, labels: Array, round: Array, hospital: Array
    ) -> PyTree:
        its, numbers = _resolved((algorithm, local), round, hospital)
        zero = jnp.zeros((), jnp.int32)
        shard = Shard(rows, labels, zero, zero, None, hospital)
        return its.client_update(numbers, server, client, shard, key)[0]

    upload = jax.eval_shape(sent, server, client, key, rows, labels, NUMBER, NUMBER)
    if jax.tree.leaves((upload.aux, upload.each)):
        return "uploads numbers besides its update, which get no noise; give FedAvg or Scaffold"
    if not jax.tree.leaves(upload.update):
        return "uploads nothing; leave privacy out"
    return ""
