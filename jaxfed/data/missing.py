"""Missing values replaced by one number per feature, fitted on all hospitals' training rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.data.moments import combine, hospital_moments
from jaxfed.data.preparation import Step, apply_step, leaf_name

METHODS = ("mean", "median", "most_frequent", "zero", "flag")


def impute(dataset: Dataset, how: str = "median") -> Dataset:
    """Replace NaN and infinite values of every float array of ``x``.

    Args:
        dataset: with missing values in ``x``.
        how: ``"mean"`` of the training rows of all hospitals, computed from counts and sums that
            each hospital would share; ``"median"`` of the pooled training rows (hospitals would
            have to find it by secure bisection; here it is exact); ``"most_frequent"`` value of them;
            ``"zero"``, the mean of standardised data; ``"flag"``, the mean, and beside the features a
            column that is 1 where a value was missing and else 0, for each feature of which some
            hospital's training rows lack some. Pixels of an image share one value per channel.

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
    some: tuple[int, ...] = ()
    for path, leaf in jax.tree_util.tree_leaves_with_path(dataset.x):
        if leaf.dtype.kind != "f":
            continue
        name = leaf_name(path)
        missing = ~np.isfinite(leaf.reshape(len(leaf), -1, _width(leaf))).all(1)
        bad = missing.any(0)
        value = _values(dataset, leaf, how)
        numbers[name] = (value,)
        for j in np.flatnonzero(np.isnan(value) & bad):
            label = dataset.features[j] if dataset.features else f"{name} {j}".strip()
            problems.add(
                f"feature {label!r} has no value in any hospital's training rows; drop it, or use how='zero'"
            )
        if how == "flag":
            some = tuple(np.flatnonzero(missing[dataset.split == TRAIN].any(0)).tolist())
    problems.raise_if_any()
    step = Step("impute", numbers, flagged=some, how=("mean" if how == "flag" else how,))
    return apply_step(dataset, step).replace(steps=(*dataset.steps, step))


def impute_columns(
    dataset: Dataset, how: Sequence[str | None], flagged: Sequence[int], local: bool, min_rows: int
) -> Dataset:
    """:func:`impute` of a matrix, with a method for each feature and flags for some.

    Args:
        dataset: of a matrix ``[N, d]`` of floats.
        how: a method for each feature, None to leave it as it is.
        flagged: numbers of the features that get a column of flags.
        local: whether each hospital has values of its own; it has everyone's for a feature of which it has
            none, or if it has fewer than ``min_rows`` training rows.
        min_rows: if not ``local``, hospitals with fewer training rows take no part.

    Raises:
        InvalidInput: a method for a feature that no training row has.
    """
    rows_of = dataset.counts[:, TRAIN]
    takes_part = rows_of >= (1 if local else min_rows)
    values = np.full((len(dataset) if local else 1, len(how)), np.nan)
    for method in {method for method in how if method is not None}:
        same = [j for j, other in enumerate(how) if other == method]
        columns = dataset.x[:, same]
        shared = np.where(takes_part[dataset.owner][:, None], columns, np.nan)
        values[:, same] = _values(dataset, shared, method)
        for c in np.flatnonzero(rows_of >= min_rows) if local else ():
            rows = slice(int(dataset.start[c]), int(dataset.start[c] + dataset.size[c]))
            own = _values(dataset.select([dataset.hospitals[c]]), columns[rows], method)
            values[c, same] = np.where(np.isnan(own), values[c, same], own)
    problems = Problems("impute")
    for j in map(int, np.flatnonzero(np.isnan(values).any(0))):
        problems.check(
            how[j] is None, f"feature {dataset.features[j]!r} has no value in training rows; leave it out"
        )
    problems.raise_if_any()
    step = Step(
        "impute",
        {"": (values if local else values[0],)},
        dataset.hospitals if local else (),
        tuple(flagged),
        tuple(method or "" for method in how),
    )
    return apply_step(dataset, step).replace(steps=(*dataset.steps, step))


def _values(dataset: Dataset, leaf: np.ndarray, how: str) -> np.ndarray:
    """``[d]`` replacements; NaN where no training row has a value."""
    width = _width(leaf)
    if how == "zero":
        return np.zeros(width)
    if how in ("mean", "flag"):
        pooled = combine(hospital_moments(dataset, leaf))
        return np.where(pooled.n > 0, pooled.mean, np.nan)
    middle = _mode if how == "most_frequent" else np.median
    train = leaf[dataset.split == TRAIN].reshape(-1, width)
    finite = np.isfinite(train)
    return np.array(
        [middle(train[finite[:, j], j]) if finite[:, j].any() else np.nan for j in range(width)],
        dtype=np.float64,
    )


def _width(leaf: np.ndarray) -> int:
    return leaf.shape[-1] if leaf.ndim > 1 else 1


def _mode(values: np.ndarray) -> float:
    """The most frequent value; of equally frequent ones the smallest."""
    different, count = np.unique(values, return_counts=True)
    return float(different[count.argmax()])
