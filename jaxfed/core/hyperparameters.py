"""Numbers that differ between rounds or hospitals, for any number of an algorithm or an optimiser.

``schedule(f)`` has the value f(round), from round 0; ``per_hospital(values)`` has one value for each
hospital. The engine resolves both before it calls an algorithm, so algorithms need no code for them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.core.pytree import pytree

Number = Any  # a float, a traced scalar, a Schedule or a PerHospital


@pytree
@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number that is a function of the round; make one with :func:`schedule`."""

    function: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})


@pytree
@dataclasses.dataclass(frozen=True, eq=False)
class PerHospital:
    """A number for each hospital; make one with :func:`per_hospital`.

    Attributes:
        values: ``[C]`` in the data set's order.
        names: hospital names of the values, or None for the data set's order.
    """

    values: Any
    names: tuple[str, ...] | None = dataclasses.field(default=None, metadata={"static": True})


def schedule(function: Callable[[Array], Array]) -> Schedule:
    """A number that changes over rounds: any optax schedule, or your own function of the round.

    Args:
        function: from the round (int32, from 0, traced) to a number.

    >>> import optax
    >>> step = schedule(optax.exponential_decay(0.1, transition_steps=1, decay_rate=0.99))
    """
    if not callable(function):
        raise InvalidInput(f"schedule({function!r}): give a function of the round, such as an optax schedule")
    return Schedule(function)


def per_hospital(values: Mapping[str, float] | Sequence[float]) -> PerHospital:
    """A number for each hospital.

    Args:
        values: ``{hospital: number}``, or ``[C]`` numbers in the data set's order.

    Raises:
        InvalidInput: the values are not numbers, or a hospital is given twice.
    """
    names = tuple(map(str, values)) if isinstance(values, Mapping) else None
    twice = sorted({name for name in names or () if (names or ()).count(name) > 1})
    if twice:
        raise InvalidInput(f"per_hospital: two numbers for {twice}; give one for each hospital")
    given = list(values.values()) if isinstance(values, Mapping) else values
    array = np.asarray(list(given) if isinstance(given, Iterator) else given)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise InvalidInput(
            f"per_hospital({given!r}): give a number for each hospital, as {{'north': 0.1, 'south': 0.2}} or "
            "in the data set's order"
        )
    return PerHospital(array, names)


def at_round(tree: Any, round: Array) -> Any:
    """``tree`` with every schedule replaced by its value in this round."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf.function(round)) if isinstance(leaf, Schedule) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Schedule),
    )


def after_rounds(tree: Any, rounds: Array) -> Any:
    """``tree`` with the values of the last of ``rounds`` rounds: evaluation uses the numbers of training."""
    return at_round(tree, jnp.maximum(rounds - 1, 0))


def at_hospital(tree: Any, hospital: Any) -> Any:
    """``tree`` with the values of the hospital with this number; ``...`` gives arrays of all hospitals."""
    return _each(lambda leaf: leaf.values[hospital], tree)


def in_order(tree: Any, hospitals: Sequence[str]) -> Any:
    """``tree`` with every per-hospital number in the order of the data set.

    Raises:
        InvalidInput: the names or the number of values differ from those of the hospitals.
    """

    def order(leaf: PerHospital) -> PerHospital:
        values, names = np.asarray(leaf.values), leaf.names or tuple(hospitals)
        if set(names) != set(hospitals):
            missing, unknown = sorted(set(hospitals) - set(names)), sorted(set(names) - set(hospitals))
            raise InvalidInput(
                f"per_hospital: no value for {missing[:5]}, and no such hospital as {unknown[:5]}; "
                "give one value for each hospital"
            )
        if values.shape != (len(hospitals),):
            raise InvalidInput(
                f"per_hospital: values of shape {values.shape} for {len(hospitals)} hospitals; "
                "give one number for each"
            )
        by_name = dict(zip(names, values, strict=True))
        return PerHospital(np.array([by_name[name] for name in hospitals]))

    return _each(order, tree)


def padded(tree: Any, clients: int) -> Any:
    """``tree`` with every per-hospital number as an array ``[clients]``.

    Entries beyond the number of hospitals are never read.
    """

    def pad(leaf: PerHospital) -> PerHospital:
        values = np.asarray(leaf.values)
        values = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
        return PerHospital(np.pad(values, (0, clients - len(values)), mode="edge"))

    return _each(pad, tree)


def differs(tree: Any) -> bool:
    """Whether some number of ``tree`` is given per hospital."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, PerHospital))
    return any(isinstance(leaf, PerHospital) for leaf in leaves)


def _each(function: Callable[[PerHospital], Any], tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: function(leaf) if isinstance(leaf, PerHospital) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, PerHospital),
    )
