"""Trees of jax arrays as named NumPy arrays for a checkpoint, and back into a tree of the same structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxfed.storage.checkpoint import CheckpointError


def flatten(tree: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Copies of the leaves on the host, by path, each beginning with ``name``; random keys as bits, with
    their
    implementation.
    """
    leaves, keys = {}, {}
    for path, leaf in _paths(tree, name).items():
        if _is_key(leaf):
            keys[path] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        leaves[path] = leaf
    # copies: on a CPU what device_get gives is the memory of the device, which may be donated
    return {path: np.array(value) for path, value in jax.device_get(leaves).items()}, keys


def restore(like: Any, arrays: Mapping[str, np.ndarray], keys: Mapping[str, str], name: str) -> Any:
    """What :func:`flatten` took apart, with the structure, types and places of ``like``.

    Raises:
        CheckpointError: other leaves, shapes, dtypes (nothing is cast) or implementation of random keys.
    """
    leaves = _paths(like, name)
    stored = {path for path in arrays if path.startswith(name)}
    if stored != set(leaves):
        missing, more = sorted(set(leaves) - stored), sorted(stored - set(leaves))
        raise CheckpointError(
            "shape or dtype",
            f"the checkpoint lacks {missing[:3]}; it has {more[:3]}, unknown here",
        )
    found = [_placed(leaf, arrays[path], keys.get(path), path) for path, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), found)


def _placed(like: Any, value: np.ndarray, implementation: str | None, path: str) -> Any:
    if _is_key(like):
        here = str(jax.random.key_impl(like))
        if implementation != here:
            raise CheckpointError(
                "keys",
                f"{path}: random keys of {implementation or 'no implementation'} there, of {here} here; "
                "set jax_default_prng_impl as it was",
            )
        bits = _placed(jax.random.key_data(like), value, None, path)
        return jax.device_put(jax.random.wrap_key_data(bits, impl=here), like.sharding)
    there, here = (f"{one.dtype}{list(one.shape)}" for one in (value, like))
    if there != here:
        raise CheckpointError("shape or dtype", f"{path}: {there} there, {here} here")
    if like.weak_type:  # a new array would be strongly typed, and promote to other types
        return like.at[...].set(value)
    return jax.device_put(value, like.sharding)


def _paths(tree: Any, name: str) -> dict[str, Any]:
    return {
        name + jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
