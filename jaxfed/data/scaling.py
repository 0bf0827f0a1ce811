"""Features to mean 0 and standard deviation 1, fitted on training rows only.

``federated`` uses the pooled training statistics, put together exactly from each hospital's count,
mean and squared deviations (:mod:`jaxfed.data.moments`); ``local`` lets each hospital use its own,
which takes its case mix out of the features together with its measuring devices.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.data.moments import Moments, combine, hospital_moments
from jaxfed.data.notices import Notices
from jaxfed.data.preparation import Step, apply, leaf_name

WAYS = ("federated", "local", "none")


def standardize(dataset: Dataset, how: str = "federated", *, min_rows: int | None = None) -> Dataset:
    """Centre every float array of ``x`` and divide it by its unbiased standard deviation.

    Args:
        dataset: any; a single matrix of whole numbers is treated as floats, arrays of whole
            numbers inside a tree (tokens) are left alone. Images are standardised per channel.
            Missing values are left out of the statistics and stay missing.
        how: ``"federated"``: one mean and deviation for everyone; ``"local"``: each hospital its
            own; ``"none"``: unchanged.
        min_rows: hospitals with fewer training rows tell nobody their statistics: with
            ``"federated"`` they are left out of them (default 1: all count, exactly pooled), with
            ``"local"`` they use the federated ones (default 10), as does a hospital for a feature
            it never measured.

    The numbers are kept with the data: :func:`~jaxfed.data.preparation.transform_like` puts new rows through
    them. A feature that is constant in training rows is centred, not divided, and named in a warning.

    Raises:
        InvalidInput: unknown ``how``, ``min_rows`` below 1, or no hospital with enough rows.
    """
    problems, notices = Problems("standardize"), Notices("standardize")
    problems.check(how in WAYS, f"how={how!r}: {did_you_mean(how, WAYS)}")
    least = min_rows if min_rows is not None else (10 if how == "local" else 1)
    problems.check(least >= 1, f"min_rows={min_rows!r}: give a positive number")
    problems.raise_if_any()
    if how == "none":
        return dataset
    rows = dataset.counts[:, TRAIN]
    shares = rows >= (least if how == "federated" else 1)
    if not shares.any():
        raise InvalidInput(
            f"standardize: no hospital has {least} training rows (most have {rows.max()}); lower min_rows"
        )
    single = isinstance(dataset.x, np.ndarray)
    numbers: dict[str, tuple[np.ndarray, ...]] = {}

    def scale(path: Any, leaf: np.ndarray) -> np.ndarray:
        if leaf.dtype.kind != "f" and not (single and leaf.ndim == 2):
            return leaf
        own = hospital_moments(dataset, leaf)
        pooled = combine(Moments(*(part[shares] for part in own)))
        if how == "federated":
            used = Moments(*(np.broadcast_to(part, own.mean.shape) for part in pooled))
        else:
            enough = (rows >= least)[:, None] & (own.n >= min(least, 2))
            used = Moments(*(np.where(enough, a, b) for a, b in zip(own, pooled, strict=True)))
        tree = jax.tree_util.keystr(path, simple=True, separator="/")
        label = [_label(dataset, tree, j) for j in range(used.mean.shape[-1])]
        divisor = _divisor(dataset, used, how, label, notices)
        place = slice(None) if how == "local" else slice(1)
        numbers[leaf_name(path)] = (np.array(used.mean[place]), divisor[place])
        return apply(dataset, leaf, used.mean, divisor)

    x = jax.tree_util.tree_map_with_path(scale, dataset.x)
    notices.emit()
    step = Step("standardize", numbers, dataset.hospitals if how == "local" else ())
    return dataset.replace(x=x, steps=(*dataset.steps, step))


def _divisor(dataset: Dataset, used: Moments, how: str, label: list[str], notices: Notices) -> np.ndarray:
    """``[C, d]`` standard deviations, 1 where a feature is constant."""
    # Rounding of the mean leaves a constant feature a deviation of a few units in its last place.
    constant = (used.sd <= 1e-13 * np.abs(used.mean)) & (used.n > 0)
    rows = dataset.counts.sum(1) > 0
    for j in np.flatnonzero(constant[rows].any(0)):
        what = f"feature {label[j]!r} is constant in training rows; centred but not divided"
        if how == "federated":
            notices.add(what)
            continue
        for c in np.flatnonzero(constant[:, j] & rows):
            notices.add(what, dataset.hospitals[c])
    return np.where(constant | (used.n == 0), 1.0, used.sd)


def _label(dataset: Dataset, tree: str, j: int) -> str:
    return dataset.features[j] if dataset.features else f"{tree} {j}".strip()
