"""Attacks whose strength is searched against the rule in use, in every round.

    strength = argmax_s ||rule(uploads with point + s direction) - honest mean||

over some strengths and the attack's own, all evaluated at once under vmap. Without it every rule looks good.
ByzFL has the same idea as ``LineMaximize`` (Gonzalez, Guerraoui, Pinot, Rizk, Stephan, Taiani 2025,
arXiv:2505.24802): steps that double and then shrink, against a fixed grid here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.attacks.collusion import Collusion, honest_mean
from jaxfed.core.aggregation import Attack
from jaxfed.core.errors import Problems
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads

STRENGTHS = tuple(float(f"{s:.3g}") for s in np.geomspace(0.1, 100, 20))


@pytree
@dataclasses.dataclass(frozen=True)
class Optimised(Attack):
    """An attack along a line, as strong as harms most: ``Optimised(IPM(malicious))``.

    The attackers know everything, the random draws of later mixers too. A strength for which the aggregate is
    not finite is not taken, because the server would refuse the round.

    Attributes:
        attack: IPM, ALIE, MinMax or MinSum; its own strength is among those that are tried.
        strengths: static; the others.
    """

    attack: Collusion
    strengths: tuple[float, ...] = dataclasses.field(default=STRENGTHS, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("Optimised")
        known: Any = self.attack  # jax replaces parts by plain objects when it examines a tree's structure
        problems.check(
            isinstance(known, Collusion) or type(known) is object,
            f"attack={known!r}: give an attack with a strength, such as Optimised(IPM(malicious))",
        )
        fine = isinstance(self.strengths, tuple) and len(self.strengths) > 0
        fine = fine and bool(np.isfinite(np.asarray(self.strengths, float)).all())
        problems.check(
            fine, f"strengths={self.strengths!r}: give a tuple of numbers, such as (0.1, 1.0, 10.0)"
        )
        problems.raise_if_any()

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The attack with its own strength."""
        return self.attack.apply(uploads, key)

    def against(self, uploads: Uploads, key: Array, aggregate: Callable[[Uploads], Array]) -> Uploads:
        """The attack with the strength that moves the aggregate furthest from the honest mean."""
        attackers, honest = self.attack.sides(uploads)
        point, direction = self.attack.line(uploads, honest)
        mean = honest_mean(uploads, honest)
        own = self.attack.strength(uploads, honest, point, direction)
        strengths = jnp.append(jnp.asarray(self.strengths, point.dtype), own.astype(point.dtype))
        sent = _on_line(uploads, attackers, point, point + direction)

        def harm(strength: Array) -> Array:
            away = uploads.sum_over_devices(jnp.square(aggregate(sent(strength)) - mean).sum())
            return jnp.where(jnp.isfinite(away), away, -1)

        best = strengths[jnp.argmax(jax.vmap(harm)(strengths))]
        return uploads.replace(attackers, point + best * direction)


def _on_line(uploads: Uploads, attackers: Array, start: Array, end: Array) -> Callable[[Array], Uploads]:
    """Uploads by strength s, where attackers send ``start + s (end - start)``.

    They are mixtures of the uploads and both ends, so inner products are computed once for all strengths.
    """
    matrix = jnp.concatenate([uploads.update, start[None], end[None]])
    aux = jnp.pad(uploads.aux, ((0, 2), (0, 0)))
    stored = Uploads(matrix, aux, jnp.append(uploads.weights, jnp.ones(2)), uploads.size, uploads.axis)
    stored.centred_gram()
    identity = jnp.eye(len(uploads), len(matrix), dtype=matrix.dtype)

    def sent(strength: Array) -> Uploads:
        mixture = jnp.zeros(len(matrix), matrix.dtype).at[-2:].set(jnp.stack([1 - strength, strength]))
        mixed = stored.mix(jnp.where(attackers[:, None], mixture, identity), uploads.weights)
        mixed.aux = uploads.aux
        return mixed

    return sent
