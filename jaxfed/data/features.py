"""Every hospital's features as one array (or pytree of arrays) of the same shape and type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.data.convert import NO_ARRAYS, to_array, to_matrix
from jaxfed.data.notices import Notices
from jaxfed.data.precision import narrow


def gather_features(
    given: Mapping[str, Any],
    features: Sequence[str] | None,
    missing: bool,
    lacking: bool,
    problems: Problems,
    notices: Notices,
) -> tuple[Any, np.ndarray, tuple[str, ...]]:
    """Features of all hospitals, one after another.

    Args:
        given: ``{hospital: x}``, each an array, a list, a table or a pytree of arrays.
        features: names of the columns, or None.
        missing: whether NaN and infinite values may stay (they will be imputed).
        lacking: whether a table may lack columns that others have; they are NaN there.
        problems: receives what cannot be used.
        notices: receives what deserves a second look.

    Returns:
        ``x`` (pytree of ``[N, ...]``; None if it cannot be built), rows of each hospital ``[C]``,
        and the names of the columns of a single matrix.
    """
    size = np.zeros(len(given), np.int64)
    columns = _columns(given, features, lacking)
    leaves: dict[str, dict[str, np.ndarray]] = {}
    trees: dict[str, Any] = {}
    before = problems.count
    for c, (name, x) in enumerate(given.items()):
        flat, tree = _flatten(x)
        rows = set()
        for path, raw in flat.items():
            array = _leaf(raw, columns, features is None, lacking, path, problems.hospital(name))
            if array is not None and len(array):
                leaves.setdefault(path, {})[name] = array
            rows.update([] if array is None else [len(array)])
        problems.hospital(name).check(
            len(rows) <= 1, f"the arrays of x have {sorted(rows)} rows; give all of them the same number"
        )
        size[c] = max(rows, default=0)
        if size[c]:
            trees[name] = tree
    if problems.count == before:
        _check_structure(trees, problems)
    if problems.count == before:
        for path, arrays in leaves.items():
            _check_shapes(path, arrays, problems)
        _check_names(columns, leaves, problems)
    if problems.count > before or not leaves:
        return None, size, ()
    joined = []
    for path, arrays in leaves.items():
        whole = np.concatenate(list(arrays.values()))
        label = _labels(path, tuple(columns), whole.ndim)
        whole = whole.astype(np.float32) if whole.dtype == bool else whole
        whole = narrow(whole, label, problems, notices)
        if not missing:
            _check_finite(whole, label, {name: len(a) for name, a in arrays.items()}, problems)
        joined.append(whole)
    return jax.tree.unflatten(next(iter(trees.values())), joined), size, tuple(columns)


def _leaf(
    raw: Any, columns: list[str], exact: bool, lacking: bool, whose: str, problems: Problems
) -> np.ndarray | None:
    if isinstance(raw, pd.DataFrame) and len(raw):
        return to_matrix(raw, columns, exact, lacking, whose, problems)
    array = to_array(raw, whose, problems)
    if array is None:
        return None
    if array.ndim == 0 or (array.ndim == 1 and whose == "x" and len(array)):
        problems.add(f"{whose} has shape {array.shape}; give [rows, features], as x[:, None]")
        return None
    return array


def _flatten(x: Any) -> tuple[dict[str, Any], Any]:
    """``{path: leaf}`` and the structure; lists and tables are arrays, not trees."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(
        x, is_leaf=lambda node: node is None or isinstance(node, (list, *NO_ARRAYS)) or _flat_tuple(node)
    )
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    named = {f"x/{path}" if path else "x": leaf for path, (_, leaf) in zip(paths, leaves, strict=True)}
    return named, treedef


def _flat_tuple(node: Any) -> bool:
    return isinstance(node, tuple) and not any(hasattr(v, "shape") for v in jax.tree.leaves(node))


def _columns(given: Mapping[str, Any], features: Sequence[str] | None, lacking: bool) -> list[str]:
    """The columns that are named, or those of the first table; of all tables where some may lack some."""
    if features is not None:
        return [str(name) for name in features]
    tables = [[str(name) for name in x.columns] for x in given.values() if isinstance(x, pd.DataFrame)]
    if lacking:
        return list(dict.fromkeys(name for names in tables for name in names))
    return tables[0] if tables else []


def _check_structure(trees: Mapping[str, Any], problems: Problems) -> None:
    if len(set(trees.values())) > 1:
        usual = Counter(trees.values()).most_common(1)[0][0]
        other = [name for name, tree in trees.items() if tree != usual]
        problems.add(
            f"hospital {listed(other)}: x is built as {trees[other[0]]}, elsewhere {usual}; "
            "give all hospitals the same arrays"
        )


def _check_names(
    columns: list[str], leaves: Mapping[str, Mapping[str, np.ndarray]], problems: Problems
) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    problems.check(not twice, f"features named twice: {listed(twice)}; name each column once")
    if columns and leaves and (list(leaves) != ["x"] or _shape(leaves["x"]) != (len(columns),)):
        got = ", ".join(f"{path} [n, {str(_shape(a))[1:-1]}]" for path, a in leaves.items())
        problems.add(f"features names {len(columns)} columns, but x is {got}; name each column once")


def _check_shapes(path: str, arrays: Mapping[str, np.ndarray], problems: Problems) -> None:
    usual = _shape(arrays)
    for name, array in arrays.items():
        if len(array) and array.shape[1:] != usual:
            problems.hospital(name).add(
                f"{path} has {_words(array.shape[1:])}, most hospitals have "
                f"{_words(usual)}; give all hospitals the same features, or tables (their columns "
                "have names) with impute='flag'"
            )


def _shape(arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """The usual shape of one row."""
    return Counter(a.shape[1:] for a in arrays.values()).most_common(1)[0][0]


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} features" if len(shape) == 1 else f"rows of shape {shape}"


def _check_finite(
    whole: np.ndarray, label: Callable[[int], str], size: Mapping[str, int], problems: Problems
) -> None:
    if whole.dtype.kind != "f" or np.isfinite(whole).all():
        return
    # An image has too many pixels to name: its bad values are counted together.
    flat = whole if whole.ndim == 2 else whole.reshape(len(whole), 1, -1)
    start = 0
    for name, n in size.items():
        own = flat[start : start + n]
        start += n
        for what, bad in [("missing (NaN)", np.isnan(own)), ("infinite", np.isinf(own))]:
            counts = bad.sum(axis=0) if whole.ndim == 2 else bad.sum(axis=(0, 2))
            for j in np.flatnonzero(counts):
                problems.hospital(name).add(
                    f"{label(int(j))} has {counts[j]} {what} values; "
                    "pass impute='median' (or 'mean', 'zero', 'flag'), or drop them",
                    kind=f"{label(int(j))} {what}",
                )


def _labels(path: str, names: tuple[str, ...], ndim: int) -> Callable[[int], str]:
    def label(j: int) -> str:
        if ndim != 2:
            return path
        if names:
            return f"feature {names[j]!r}"
        return f"feature {j}" if path == "x" else f"{path} feature {j}"

    return label
