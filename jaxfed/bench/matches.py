"""The program of a tournament: one attack in one trial against every rule, again and again.

The numbers of a rule for all f are stacked, so that one branch serves every f; chains that differ in what is
static have a branch each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.aggregation import Chain
from jaxfed.core.products import multiply
from jaxfed.core.uploads import Uploads

ROUNDED = 1e-10  # squared distances below this share of the squared mean may come from rounding alone

Attack = Callable[..., Array]  # (updates [n, N], malicious [n] bool, key) -> [n, N]


def program_of(
    attacks: list[Attack], chains: list[list[Chain]], possible: list[list[bool]], draws: int
) -> Callable[..., tuple[Array, Array]]:
    """A function of updates, who is malicious ``[trials, F, n]`` and a key, to be compiled.

    Args:
        attacks: of (updates, malicious, key), and of ``aggregate`` where they have such a parameter.
        chains: for every rule the chains for the F numbers of malicious hospitals.
        possible: for every rule which of these it can work with.
        draws: trials of each round.

    Returns:
        Errors and whether the rule survived, ``[trials, F, attacks, rules]`` each.
    """
    informed = ["aggregate" in inspect.signature(attack).parameters for attack in attacks]

    def program(x: Array, malicious: Array, key: Array) -> tuple[Array, Array]:
        trials, counts, _ = malicious.shape

        def match(place: Array) -> tuple[Array, Array]:
            """One attack in one trial with one f, against every rule."""
            trial, at, which = (
                place // (counts * len(attacks)),
                place // len(attacks) % counts,
                place % len(attacks),
            )
            updates, bad = x[trial // draws], malicious[trial, at]
            attack_key, rule_key = jax.random.split(jax.random.fold_in(key, place // len(attacks)))

            def sent(aggregate: Any, some: list[bool]) -> Array:
                """What the server gets if the attack is one of ``some``; else the honest updates."""

                def branch(attack: Attack, told: bool) -> Callable[[], Array]:
                    extra = {"aggregate": aggregate} if told else {}
                    return lambda: attack(updates, bad, attack_key, **extra)

                branches = [
                    branch(attack, told) if ready else lambda: updates
                    for attack, told, ready in zip(attacks, informed, some, strict=True)
                ]
                return jnp.where(bad[:, None], jax.lax.switch(which, branches), updates)

            plain = sent(None, [not told for told in informed])
            results = []
            for made, fine in zip(chains, possible, strict=True):
                answer = jnp.full(updates.shape[1], jnp.nan, updates.dtype)
                if any(fine):
                    able = made[fine.index(True)]  # no branch of an impossible rule is traced
                    roads = [road if ok else able for road, ok in zip(made, fine, strict=True)]
                    aggregate = _aggregate(roads, at, rule_key)

                    def against(aggregate: Any = aggregate) -> Array:
                        if not any(informed):
                            return aggregate(plain)
                        needs = jnp.asarray(informed)[which]
                        return aggregate(
                            jax.lax.cond(needs, lambda: sent(aggregate, informed), lambda: plain)
                        )

                    answer = jax.lax.cond(jnp.asarray(fine)[at], against, lambda lost=answer: lost)
                results.append(_judged(answer, updates, ~bad))
            return tuple(jnp.stack(column) for column in zip(*results, strict=True))  # type: ignore[return-value]

        errors, survived = jax.lax.map(match, jnp.arange(trials * counts * len(attacks)))
        shape = (trials, counts, len(attacks), len(chains))
        return errors.reshape(shape), survived.reshape(shape)

    return program


def _aggregate(made: list[Chain], at: Array, key: Array) -> Callable[[Array], Array]:
    """The chain for the f with number ``at``, as a function of updates; those not finite are absent."""
    structures: list[Any] = [jax.tree.structure(road) for road in made]
    kinds = list(dict.fromkeys(structures))
    groups = [[i for i, structure in enumerate(structures) if structure == kind] for kind in kinds]
    group_of = [kinds.index(structure) for structure in structures]
    place_in = [groups[group].index(i) for i, group in enumerate(group_of)]

    def branch(group: list[int]) -> Callable[[Uploads], Array]:
        def reduce(uploads: Uploads) -> Array:
            numbers = jax.tree.map(
                lambda *leaves: jnp.stack([*map(jnp.asarray, leaves)]), *(made[i] for i in group)
            )
            road = jax.tree.map(lambda leaf: leaf[jnp.asarray(place_in)[at]], numbers)
            for i, mixer in enumerate(road.mixers):
                uploads = mixer.apply(uploads, jax.random.fold_in(key, i))
            state = road.rule.init(jnp.zeros(uploads.size))
            return road.rule.reduce(uploads, state, jax.random.fold_in(key, len(road.mixers)))[0].update

        return reduce

    def aggregate(updates: Array) -> Array:
        finite = jnp.isfinite(updates).all(1)
        matrix = jnp.where(finite[:, None], updates, 0)

        def of(group: list[int]) -> Callable[[], Array]:
            return lambda: branch(group)(Uploads(matrix, matrix[:, :0], finite.astype(matrix.dtype)))

        return jax.lax.switch(jnp.asarray(group_of)[at], [of(group) for group in groups])

    return aggregate


def _judged(answer: Array, updates: Array, honest: Array) -> tuple[Array, Array]:
    """The error of an answer, and whether the rule survived; distances that rounding makes count as none."""
    share = honest / honest.sum()
    mean = multiply(share, updates)
    squares = jnp.where(honest, jnp.square(updates - mean).sum(1), 0)
    off = jnp.square(answer - mean).sum()
    rounding = ROUNDED * jnp.square(mean).sum()
    variance = jnp.maximum(multiply(share, squares), rounding)
    return jnp.where(off == 0, 0, off / variance), off <= squares.max() * (1 + 1e-5) + rounding
