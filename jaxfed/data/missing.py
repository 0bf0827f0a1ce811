"""Missing values replaced by one number per feature, fitted on all hospitals' training rows."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.data.moments import combine, hospital_moments
from jaxfed.data.preparation import Step, leaf_name

METHODS = ("mean", "median", "zero", "flag")


def impute(dataset: Dataset, how: str = "median") -> Dataset:
    """Replace NaN and infinite values of every float array of ``x``.

    Args:
        dataset: with missing values in ``x``.
        how: ``"mean"`` of the training rows of all hospitals, computed from counts and sums that
            each hospital would share; ``"median"`` of the pooled training rows (hospitals would
            have to find it by secure bisection; here it is exact); ``"zero"``, the mean of
            standardised data; ``"flag"``, the mean, and beside the features a column that is 1 where
            a value was missing and else 0, for each feature of which some hospital lacks some. Pixels
            of an image share one value per channel.

    With ``"flag"`` a hospital that does not measure a feature at all takes part. Its patients count as
    average ones (0 once standardised, federated), and its flag is the same for all of them: the first
    layer of the model learns what to add for hospitals without that feature. This assumes that the
    other features mean the same there; where they do not, leave the first layer in the hospital,
    ``FedPer(head="hidden_0")``. Standardise ``"federated"``, not ``"local"``: within a hospital such a
    flag is constant, and would be centred away.

    Raises:
        InvalidInput: an unknown ``how``, a feature with no value in any training row, or flags of
            something else than one matrix.
    """
    problems = Problems("impute")
    problems.check(how in METHODS, f"how={how!r}: {did_you_mean(how, METHODS)}")
    matrix = isinstance(dataset.x, np.ndarray) and dataset.x.ndim == 2
    problems.check(how != "flag" or matrix, "how='flag': x is not one matrix [N, d]; give how='mean'")
    problems.raise_if_any()

    numbers: dict[str, tuple[np.ndarray, ...]] = {}

    def fill(path: Any, leaf: np.ndarray) -> np.ndarray:
        if leaf.dtype.kind != "f":
            return leaf
        name = leaf_name(path)
        flat = leaf.reshape(len(leaf), -1, leaf.shape[-1] if leaf.ndim > 1 else 1)
        bad = ~np.isfinite(flat)
        value = _values(dataset, leaf, how)
        numbers[name] = (value,)
        if not bad.any():
            return leaf
        for j in np.flatnonzero(np.isnan(value) & bad.any((0, 1))):
            label = dataset.features[j] if dataset.features else f"{name} {j}".strip()
            problems.add(
                f"feature {label!r} has no value in any hospital's training rows; drop it, or use how='zero'"
            )
        return np.where(bad, value, flat).astype(leaf.dtype).reshape(leaf.shape)

    x = jax.tree_util.tree_map_with_path(fill, dataset.x)
    problems.raise_if_any()
    if how != "flag":
        return dataset.replace(x=x, steps=(*dataset.steps, Step("impute", numbers)))
    return _flagged(dataset, x, numbers)


def _flagged(dataset: Dataset, x: np.ndarray, numbers: dict[str, tuple[np.ndarray, ...]]) -> Dataset:
    bad = ~np.isfinite(dataset.x)
    some = np.flatnonzero(bad.any(0))
    names = dataset.features and (*dataset.features, *(f"{dataset.features[j]} missing" for j in some))
    step = Step("impute", numbers, flagged=tuple(some.tolist()))
    wide = np.concatenate([x, bad[:, some]], axis=1, dtype=x.dtype)
    return dataset.replace(x=wide, features=names, steps=(*dataset.steps, step))


def _values(dataset: Dataset, leaf: np.ndarray, how: str) -> np.ndarray:
    """``[d]`` replacements; NaN where no training row has a value."""
    width = leaf.shape[-1] if leaf.ndim > 1 else 1
    if how == "zero":
        return np.zeros(width)
    if how in ("mean", "flag"):
        pooled = combine(hospital_moments(dataset, leaf))
        return np.where(pooled.n > 0, pooled.mean, np.nan)
    train = leaf[dataset.split == TRAIN].reshape(-1, width)
    finite = np.isfinite(train)
    return np.array(
        [np.median(train[finite[:, j], j]) if finite[:, j].any() else np.nan for j in range(width)],
        dtype=np.float64,
    )
