"""Parts of the road that choose among several by a traced number, and so share a compiled program.

A sweep compiles a program for each structure of a chain. The benchmark compares dozens of chains; with these
parts all of its runs are one program, whose runs differ in numbers only.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.aggregation import Attack, Mixer, Rule, Sender, Streamed, Transform
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class OneTransform(Transform):
    """The transform with a number; number 0 changes nothing.

    Attributes:
        choices: transforms without a state, from number 1.
        number: may be traced.
    """

    choices: tuple[Transform, ...]
    number: Number = 0

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """What the chosen transform sends."""

        def chosen(part: Transform) -> Callable[[PyTree], PyTree]:
            return lambda update: part.apply(Upload(update), (), sender)[0].update

        branches = [lambda update: update, *map(chosen, self.choices)]
        return upload._replace(update=jax.lax.switch(self.number, branches, upload.update)), state


@pytree
@dataclasses.dataclass(frozen=True)
class OneAttack(Attack):
    """The attack with a number; number 0 changes nothing.

    Attributes:
        choices: attacks, from number 1.
        number: may be traced.
    """

    choices: tuple[Attack, ...]
    number: Number = 0

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The chosen attack, against the mean."""
        return self.against(uploads, key, lambda sent: sent.mean(sent.weights).update)

    def against(self, uploads: Uploads, key: Array, aggregate: Callable[[Uploads], Array]) -> Uploads:
        """The chosen attack."""
        uploads.centred_gram()  # computed here, and not inside of a branch, from which it could not be reused

        def chosen(part: Attack) -> Callable[[], tuple[Array, Array, Array]]:
            def send() -> tuple[Array, Array, Array]:
                sent = part.against(uploads, key, aggregate)
                return sent.update, sent.aux, sent.weights

            return send

        branches = [lambda: (uploads.update, uploads.aux, uploads.weights), *map(chosen, self.choices)]
        update, aux, weights = jax.lax.switch(self.number, branches)
        return Uploads(update, aux, weights, uploads.size, uploads.axis)


@pytree
@dataclasses.dataclass(frozen=True)
class OneRule(Rule):
    """The pre-aggregator with a number, then the rule with a number.

    Attributes:
        mixers: pre-aggregators, from number 1; number 0 is none.
        rules: from number 0. Of streamed ones only a mean can be among them.
        mixer, rule: may be traced.
    """

    mixers: tuple[Mixer, ...]
    rules: tuple[Rule | Streamed, ...]
    mixer: Number = 0
    rule: Number = 0

    def init(self, update: Array) -> tuple[PyTree, ...]:
        """The states of all rules."""
        return tuple(rule.init(update) if isinstance(rule, Rule) else () for rule in self.rules)

    def reduce(
        self, uploads: Uploads, state: tuple[PyTree, ...], key: Array
    ) -> tuple[Aggregate, tuple[PyTree, ...], Metrics]:
        """The aggregate of the chosen rule; without metrics, which differ between rules."""
        uploads.centred_gram()  # computed here, and not inside of a branch, from which it could not be reused
        mixed = self._mixed(uploads, key)

        def chosen(i: int, rule: Rule | Streamed) -> Callable[[], tuple[Aggregate, tuple[PyTree, ...]]]:
            def reduce() -> tuple[Aggregate, tuple[PyTree, ...]]:
                if isinstance(rule, Streamed):
                    return mixed.mean(mixed.weights), state
                aggregate, new, _ = rule.reduce(mixed, state[i], key)
                return aggregate, (*state[:i], new, *state[i + 1 :])

            return reduce

        branches = [chosen(i, rule) for i, rule in enumerate(self.rules)]
        aggregate, new = jax.lax.switch(self.rule, branches)
        return aggregate, new, {}

    def _mixed(self, uploads: Uploads, key: Array) -> Uploads:
        """As many uploads, mixed by the chosen mixer; rows that it leaves out are absent."""
        clients = len(uploads)
        plain = jnp.eye(clients, dtype=uploads.update.dtype) if uploads.mixture is None else uploads.mixture

        def chosen(part: Mixer) -> Callable[[], tuple[Array, Array]]:
            def mix() -> tuple[Array, Array]:
                mixed: Any = part.apply(uploads, key)
                missing = clients - len(mixed)
                rows = jnp.pad(mixed.mixture, ((0, missing), (0, 0))).astype(plain.dtype)
                return rows, jnp.pad(mixed.weights, (0, missing)).astype(uploads.weights.dtype)

            return mix

        branches = [lambda: (plain, uploads.weights), *map(chosen, self.mixers)]
        mixed = copy.copy(uploads)
        mixed.mixture, mixed.weights = jax.lax.switch(self.mixer, branches)
        return mixed
