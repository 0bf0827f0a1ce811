"""Features to mean 0 and standard deviation 1, fitted on training rows only.

``federated`` uses the pooled training statistics, put together exactly from each hospital's count,
mean and squared deviations (:mod:`jaxfed.data.moments`); ``local`` lets each hospital use its own,
which takes its case mix out of the features together with its measuring devices.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.data.moments import Moments, combine, hospital_moments
from jaxfed.data.notices import Notices
from jaxfed.data.preparation import Step, apply_step, leaf_name
from jaxfed.data.quantiles import federated_quantiles, hospital_quantiles

WAYS = ("federated", "local", "none")
NORMAL_IQR = 1.3489795003921634  # of the standard normal distribution


def standardize(
    dataset: Dataset,
    how: str = "federated",
    *,
    min_rows: int | None = None,
    robust: bool = False,
    columns: Sequence[str] | None = None,
) -> Dataset:
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
        robust: centre at the median and divide by the interquartile range over 1.349, that of a normal
            distribution with deviation 1: a few extreme values change neither. The federated ones come from
            histograms (:func:`~jaxfed.data.quantiles.quantiles`). A feature that half of the patients have
            the same value of may have an interquartile range of 0: it is divided by its deviation.
        columns: of a matrix with names, the features to standardise; None for all.

    The numbers are kept with the data: :func:`~jaxfed.data.preparation.transform_like` puts new rows through
    them. A feature that is constant in training rows is centred, not divided, and named in a warning.

    Raises:
        InvalidInput: unknown ``how`` or column, ``min_rows`` below 1, or no hospital with enough rows.
    """
    problems, notices = Problems("standardize"), Notices("standardize")
    problems.check(how in WAYS, f"how={how!r}: {did_you_mean(how, WAYS)}")
    least = min_rows if min_rows is not None else (10 if how == "local" else 1)
    problems.check(least >= 1, f"min_rows={min_rows!r}: give a positive number")
    chosen = numbers_of(dataset, columns, problems)
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
    for path, leaf in jax.tree_util.tree_leaves_with_path(dataset.x):
        if leaf.dtype.kind != "f" and not (single and leaf.ndim == 2):
            continue
        part = leaf if chosen is None else leaf[:, chosen]
        own = hospital_moments(dataset, part)
        pooled = combine(Moments(*(moment[shares] for moment in own)))
        if how == "federated":
            used = Moments(*(moment[None] for moment in pooled))
            enough = np.zeros(used.mean.shape, bool)
        else:
            enough = (rows >= least)[:, None] & (own.n >= min(least, 2))
            used = Moments(*(np.where(enough, a, b) for a, b in zip(own, pooled, strict=True)))
        tree = leaf_name(path)
        label = [_label(dataset, tree, j) for j in chosen or range(part.shape[-1] if part.ndim > 1 else 1)]
        centre, divisor = used.mean, _divisor(dataset, used, label, notices)
        if robust:
            centre, divisor = _robust(
                dataset, part, enough, used.n, divisor, least if how == "federated" else 1
            )
        if chosen is not None:
            width = leaf.shape[-1]
            centre, divisor = among(centre, chosen, width, 0.0), among(divisor, chosen, width, 1.0)
        numbers[tree] = (centre, divisor)
    notices.emit()
    names = ("median", "(IQR / 1.349)") if robust else ("mean", "sd")
    step = Step("standardize", numbers, dataset.hospitals if how == "local" else (), how=names)
    return apply_step(dataset, step).replace(steps=(*dataset.steps, step))


def numbers_of(dataset: Dataset, columns: Sequence[str] | None, problems: Problems) -> list[int] | None:
    """The numbers of the named features; None for all."""
    if columns is None:
        return None
    if isinstance(columns, str):
        problems.add(f"columns={columns!r}: give a list, as [{columns!r}]")
        return []
    for name in columns:
        problems.check(
            name in dataset.features, f"columns: no feature {name!r}; {did_you_mean(name, dataset.features)}"
        )
    problems.check(bool(len(columns)), "columns is empty; name at least one feature, or give None for all")
    return [dataset.features.index(name) for name in columns if name in dataset.features]


def among(values: np.ndarray, chosen: list[int], width: int, rest: float) -> np.ndarray:
    """``[..., width]``: ``values [..., k]`` of the ``chosen`` features, and ``rest`` of all others."""
    every = np.full((*values.shape[:-1], width), rest)
    every[..., chosen] = values
    return every


def _robust(
    dataset: Dataset, leaf: np.ndarray, enough: np.ndarray, count: np.ndarray, sd: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """``[C, d]`` medians and divisors: the hospital's own where ``enough``, else everyone's."""
    q = np.array([0.25, 0.5, 0.75])
    everyone = federated_quantiles(dataset, leaf, q, least)[:, None]
    own = hospital_quantiles(dataset, leaf, q) if enough.any() else everyone
    low, middle, high = np.where(enough, own, everyone)
    spread = (high - low) / NORMAL_IQR
    # A histogram gives a constant a range of one interval, hence not exactly 0.
    narrow = ~(spread > 1e-5 * sd)
    return np.where(count > 0, middle, 0.0), np.where(narrow, sd, spread)


def _divisor(dataset: Dataset, used: Moments, label: list[str], notices: Notices) -> np.ndarray:
    """``[1, d]`` or ``[C, d]`` standard deviations, 1 where a feature is constant."""
    # Rounding of the mean leaves a constant feature a deviation of a few units in its last place.
    constant = (used.sd <= 1e-13 * np.abs(used.mean)) & (used.n > 0)
    local = len(constant) == len(dataset) and len(dataset) > 1
    rows = dataset.counts.sum(1) > 0 if local else np.ones(1, bool)
    for j in np.flatnonzero(constant[rows].any(0)):
        what = f"feature {label[j]!r} is constant in training rows; centred but not divided"
        for c in np.flatnonzero(constant[:, j] & rows):
            notices.add(what, dataset.hospitals[c] if local else None)
    return np.where(constant | (used.n == 0), 1.0, used.sd)


def _label(dataset: Dataset, tree: str, j: int) -> str:
    return dataset.features[j] if dataset.features else f"{tree} {j}".strip()
