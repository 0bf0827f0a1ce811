"""What was done to the features of a dataset, with its numbers, so that new rows can be treated alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, listed


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """Imputing or standardising, as it was done.

    Attributes:
        kind: which.
        numbers: by path of the array in ``x``: values ``[d]`` for missing ones, or mean and divisor
            ``[C, d]``.
        hospitals: ``C`` names, of standardising; empty where all hospitals have the same numbers.
        flagged: of imputing, numbers of the features that got a column of flags.
    """

    kind: Literal["impute", "standardize"]
    numbers: Mapping[str, tuple[np.ndarray, ...]]
    hospitals: tuple[str, ...] = ()
    flagged: tuple[int, ...] = ()


def transform_like(dataset: Dataset, like: Dataset) -> Dataset:
    """New rows, imputed and standardised with the numbers of the data that were trained on.

    >>> from jaxfed.data import from_arrays, standardize
    >>> import numpy as np
    >>> raw = {"a": (np.arange(8.0)[:, None], [0, 1] * 4)}
    >>> train = standardize(from_arrays(raw))
    >>> new = transform_like(from_arrays({"b": ([[3.0], [3.0]], [0, 1])}, split=None), train)
    >>> bool(np.isclose(new.x[0, 0], train.x[3, 0]))
    True

    Args:
        dataset: rows as they are measured, of any hospitals; missing values may be NaN only in features that
            were imputed (build it with ``jaxfed.Dataset`` or before its own imputing).
        like: what :func:`~jaxfed.data.missing.impute` and :func:`~jaxfed.data.scaling.standardize` gave.

    Raises:
        InvalidInput: rows that are prepared already, other features, or a hospital without numbers of its own
            where each hospital was standardised by itself.
    """
    return prepare_like("transform_like", dataset, like.features, like.steps)


def prepare_like(
    caller: str, dataset: Dataset, features: tuple[str, ...], steps: tuple[Step, ...]
) -> Dataset:
    """:func:`transform_like` with the features and the steps of the other data, for errors of ``caller``."""
    problems = Problems(caller)
    problems.check(
        not dataset.steps, "the new rows are imputed or standardised already; give them as measured"
    )
    names = measured(features, steps)
    problems.check(
        dataset.features == names,
        f"the new rows have the features {listed(dataset.features)}, the others {listed(names)}; give "
        "the same",
    )
    for step in steps:
        unknown = [name for name in dataset.hospitals if step.hospitals and name not in step.hospitals]
        problems.check(
            not unknown,
            f"hospital {listed(unknown)}: each hospital was standardised by itself, and this was not "
            "there; standardise 'federated'",
        )
    problems.raise_if_any()
    for step in steps:
        dataset = _imputed(dataset, step) if step.kind == "impute" else _scaled(dataset, step)
    return dataset.replace(steps=steps)


def measured(features: tuple[str, ...], steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The features without the columns of flags that imputing has put behind them."""
    return features[: len(features) - sum(len(step.flagged) for step in steps)]


def _imputed(dataset: Dataset, step: Step) -> Dataset:
    def fill(path: Any, leaf: np.ndarray) -> np.ndarray:
        values = step.numbers.get(leaf_name(path))
        if values is None:
            return leaf
        flat = leaf.reshape(len(leaf), -1, len(values[0]))
        return np.where(np.isfinite(flat), flat, values[0]).astype(leaf.dtype).reshape(leaf.shape)

    x = jax.tree_util.tree_map_with_path(fill, dataset.x)
    if not step.flagged:
        return dataset.replace(x=x)
    bad = ~np.isfinite(dataset.x[:, step.flagged])
    names = dataset.features and (
        *dataset.features,
        *(f"{dataset.features[j]} missing" for j in step.flagged),
    )
    return dataset.replace(x=np.concatenate([x, bad], axis=1, dtype=x.dtype), features=names)


def _scaled(dataset: Dataset, step: Step) -> Dataset:
    place = [step.hospitals.index(name) if step.hospitals else 0 for name in dataset.hospitals]

    def scale(path: Any, leaf: np.ndarray) -> np.ndarray:
        numbers = step.numbers.get(leaf_name(path))
        return leaf if numbers is None else apply(dataset, leaf, *(part[place] for part in numbers))

    return dataset.replace(x=jax.tree_util.tree_map_with_path(scale, dataset.x))


def apply(dataset: Dataset, leaf: np.ndarray, mean: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """An array less ``mean [C, d]`` and divided by ``divisor [C, d]``, hospital by hospital."""
    kind = leaf.dtype if leaf.dtype.kind == "f" else np.float32
    done = np.empty(leaf.shape, kind)
    flat, out = (a.reshape(len(leaf), -1, mean.shape[-1]) for a in (leaf, done))
    for c, (a, n) in enumerate(zip(dataset.start, dataset.size, strict=True)):
        # In float64, so that a large mean cancels before the digits are cut.
        out[a : a + n] = (flat[a : a + n].astype(np.float64) - mean[c]) / divisor[c]
    return done


def leaf_name(path: Any) -> str:
    """The place of an array in ``x``, as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
