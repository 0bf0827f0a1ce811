"""Trees of jax arrays as named NumPy arrays for a checkpoint, and back into a tree of the same structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxfed.storage.checkpoint import CheckpointError


def flatten(tree: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Copies of the leaves on the host, by paths that begin with ``name``, and implementations of keys.

    Random keys are stored as bits, with the implementation under the same path in the second result.
    """
    leaves, keys = {}, {}
    for path, leaf in _paths(tree, name).items():
        if _is_key(leaf):
            keys[path] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        leaves[path] = leaf
    # copied, because on a CPU device_get returns the memory of the device, which may be donated
    return {path: np.array(value) for path, value in jax.device_get(leaves).items()}, keys


def restore(like: Any, arrays: Mapping[str, np.ndarray], keys: Mapping[str, str], name: str) -> Any:
    """The tree that :func:`flatten` stored, with the structure, dtypes and shardings of ``like``.

    Raises:
        CheckpointError: leaves, shapes, dtypes (nothing is cast) or the implementation of random keys differ.
    """
    leaves = _paths(like, name)
    stored = {path for path in arrays if path.startswith(name)}
    if stored != set(leaves):
        missing, more = sorted(set(leaves) - stored), sorted(stored - set(leaves))
        raise CheckpointError(
            "shape or dtype",
            f"the checkpoint lacks {missing[:3]}; it has {more[:3]}, unknown here",
        )
    restored = [_placed(leaf, arrays[path], keys.get(path), path) for path, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def _placed(like: Any, value: np.ndarray, implementation: str | None, path: str) -> Any:
    if _is_key(like):
        current = str(jax.random.key_impl(like))
        if implementation != current:
            raise CheckpointError(
                "keys",
                f"{path}: random keys of {implementation or 'no implementation'} there, of {current} here; "
                "set jax_default_prng_impl as it was",
            )
        bits = _placed(jax.random.key_data(like), value, None, path)
        return jax.device_put(jax.random.wrap_key_data(bits, impl=current), like.sharding)
    stored, current = (f"{array.dtype}{list(array.shape)}" for array in (value, like))
    if stored != current:
        raise CheckpointError("shape or dtype", f"{path}: {stored} there, {current} here")
    if like.weak_type:  # a new array would be strongly typed and promote differently
        return like.at[...].set(value)
    return jax.device_put(value, like.sharding)


def _paths(tree: Any, name: str) -> dict[str, Any]:
    return {
        name + jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
