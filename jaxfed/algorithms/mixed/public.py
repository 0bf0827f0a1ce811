"""Public rows without labels, on which hospitals with different models compare what they predict."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.dataset import Dataset
from jaxfed.core.local import LocalTraining
from jaxfed.core.permutation import permute
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Shard, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class Public:
    """Rows that everybody may see.

    Attributes:
        x: features, a tree of arrays ``[M, ...]`` like those of the hospitals.
    """

    x: PyTree

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.x)[0])

    def __repr__(self) -> str:
        arrays = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(self.x)]
        digest = hashlib.blake2b(b"".join(array.tobytes() for array in arrays), digest_size=4).hexdigest()
        return f"Public({len(self)} rows, {digest})"

    def sample(self, key: Array, rows: int | None) -> PyTree:
        """``rows`` of the rows, drawn without replacement; all of them, in their order, for None."""
        if rows is None:
            return self.x
        index = permute(key, jnp.arange(rows), len(self))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], self.x)


def as_public(given: Any) -> Any:
    """What a user gave as public rows: those of a data set, or of arrays; anything else stays as it is."""
    if isinstance(given, Dataset):
        return Public(given.x)
    leaves = jax.tree.leaves(given)
    arrays = leaves and all(isinstance(leaf, (np.ndarray, jax.Array)) and leaf.ndim for leaf in leaves)
    return Public(given) if arrays and not isinstance(given, Public) else given


def missing(name: str, public: Any, rows: int | None, x: PyTree) -> list[str]:
    """What is wrong with the public rows of algorithm ``name``, for hospitals with rows like ``x``."""
    if not isinstance(public, Public):
        return [
            f"public={public!r}: {name} compares predictions on public rows; give a Dataset or an array of "
            "features, for example public=jaxfed.data.unlabelled(hospitals, rows=500)"
        ]
    here, there = (jax.tree.map(lambda leaf: tuple(leaf.shape[1:]), rows) for rows in (public.x, x))
    if here != there:
        return [
            f"public: its rows have shape {here}, those of the hospitals {there}; give rows of the same kind"
        ]
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(public.x) if leaf.dtype.kind == "f")
    found = (
        [] if finite else ["public: it has missing or infinite values; impute them or leave those rows out"]
    )
    whole = rows is None or (isinstance(rows, (int, np.integer)) and not isinstance(rows, bool))
    if not whole or (rows is not None and not 1 <= rows <= len(public)):
        found.append(f"rows={rows!r}: give a whole number from 1 to {len(public)}, the public rows, or None")
    return found


def predictions(local: LocalTraining, variables: Variables, x: PyTree, chunk: int = 1024) -> Array:
    """Outputs ``[M, ...]`` of a model on rows ``[M, ...]``, some at a time."""
    total = len(jax.tree.leaves(x)[0])
    size = min(chunk, total)

    def part(c: Array, outputs: Array) -> Array:
        first = jnp.minimum(c * size, total - size)  # the last part overlaps the one before
        rows = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), x)
        said = local.problem.predict(variables, rows)
        return jax.lax.dynamic_update_slice_in_dim(outputs, said, first, 0)

    one = jax.eval_shape(lambda: local.problem.predict(variables, x))
    return jax.lax.fori_loop(0, -(-total // size), part, jnp.zeros(one.shape, one.dtype))


def learn(
    local: LocalTraining, variables: Variables, x: PyTree, targets: Array, key: Array, shard: Shard | None
) -> Variables:
    """Train on rows ``x [M, ...]`` towards ``targets [M, ...]``, as ``local`` says.

    ``shard`` is that of the hospital which does it, or None for the server.
    """
    rows = jnp.asarray(len(targets), jnp.int32)
    block = None if shard is None else shard.block
    public = Shard(jax.tree.map(jnp.asarray, x), targets, jnp.zeros_like(rows), rows, block)
    return local.train(variables, public, key).variables
