"""Arrays and trees of arrays in npz files, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

Leaves = list[dict[str, Any]]


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays; names may hold slashes."""
    np.savez_compressed(path, **{name.replace("/", "|"): value for name, value in arrays.items()})  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name.replace("|", "/"): stored[name] for name in stored.files}


def save_tree(path: Path, tree: Any) -> Leaves:
    """Write the leaves of a tree of dictionaries; returns their paths, dtypes and shapes for JSON.

    Each leaf has its path as its name, ``params/head/kernel``. npz has no bfloat16 and no float8: such a leaf
    is stored as its bytes.
    """
    leaves, record = {}, []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        value, names = np.asarray(leaf), [k.key for k in keys]
        native = value.dtype.kind in "biufc"
        leaves["/".join(map(str, names))] = value if native else np.frombuffer(value.tobytes(), np.uint8)
        record.append({"path": names, "dtype": value.dtype.name, "shape": list(value.shape)})
    np.savez_compressed(path, **leaves)  # type: ignore[arg-type]
    return record


def load_tree(path: Path, record: Leaves) -> dict[str, Any]:
    """Read what :func:`save_tree` wrote, as nested dictionaries; earlier versions numbered the leaves."""
    tree: dict[str, Any] = {"params": {}, "stats": {}}
    with np.load(path, allow_pickle=False) as stored:
        for i, leaf in enumerate(record):
            name = leaf["dtype"]
            dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
            entry = "/".join(map(str, leaf["path"]))
            content = stored[entry if entry in stored.files else f"leaf{i}"].tobytes()
            value = np.frombuffer(content, dtype).reshape(leaf["shape"])
            branch = tree
            for key in leaf["path"][:-1]:
                branch = branch.setdefault(key, {})
            branch[leaf["path"][-1]] = value
    return tree
