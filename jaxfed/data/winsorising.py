"""Extreme values moved to a quantile: what lies outside of the 1st to the 99th percentile is set to these."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.data.preparation import Step, apply_step, leaf_name
from jaxfed.data.quantiles import federated_quantiles, hospital_quantiles
from jaxfed.data.scaling import among, numbers_of

WAYS = ("federated", "local")


def winsorise(
    dataset: Dataset,
    limits: tuple[float, float] = (0.01, 0.99),
    how: str = "federated",
    *,
    min_rows: int | None = None,
    columns: Sequence[str] | None = None,
) -> Dataset:
    """Set values below and above two quantiles of the training rows to these quantiles.

    A value that is mistyped or in another unit then moves a mean, and a gradient, no further than a rare one
    does. Dixon 1960 (doi 10.1214/aoms/1177705900). Missing values stay missing.

    Args:
        dataset: any; float arrays and a single matrix of whole numbers are winsorised.
        limits: the two quantiles.
        how: ``"federated"``: of all hospitals' training rows, from histograms
            (:func:`~jaxfed.data.quantiles.quantiles`); ``"local"``: of each hospital's own.
        min_rows: hospitals with fewer training rows take no part (default 1) or, ``"local"``, use the
            federated quantiles (default 10), as does a hospital for a feature it never measured.
        columns: of a matrix with names, the features to winsorise; None for all.

    Raises:
        InvalidInput: limits that are no two quantiles, an unknown ``how`` or column, or no hospital with
            enough rows.
    """
    problems = Problems("winsorise")
    problems.check(how in WAYS, f"how={how!r}: {did_you_mean(how, WAYS)}")
    q = check_limits("limits", limits, problems)
    least = min_rows if min_rows is not None else (10 if how == "local" else 1)
    problems.check(least >= 1, f"min_rows={min_rows!r}: give a positive number")
    chosen = numbers_of(dataset, columns, problems)
    problems.raise_if_any()
    enough = dataset.counts[:, TRAIN] >= least
    numbers: dict[str, tuple[np.ndarray, ...]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(dataset.x):
        if leaf.dtype.kind != "f" and not (isinstance(dataset.x, np.ndarray) and leaf.ndim == 2):
            continue
        part = leaf if chosen is None else leaf[:, chosen]
        bounds = federated_quantiles(dataset, part, q, least if how == "federated" else 1)[:, None]
        if how == "local":
            own = hospital_quantiles(dataset, part, q)
            bounds = np.where(enough[:, None] & np.isfinite(own), own, bounds)
        if chosen is not None:
            bounds = among(bounds, chosen, leaf.shape[-1], np.nan)
        low, high = bounds
        numbers[leaf_name(path)] = np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)
    names = tuple(f"{100 * part:g}% quantile" for part in q)
    step = Step("clip", numbers, dataset.hospitals if how == "local" else (), how=names)
    return apply_step(dataset, step).replace(steps=(*dataset.steps, step))


def check_limits(argument: str, limits: object, problems: Problems) -> np.ndarray:
    """The two quantiles as numbers; records what is wrong with them."""
    try:
        q = np.asarray(limits, float)
    except (TypeError, ValueError):
        q = np.zeros(0)
    fine = q.shape == (2,) and bool(0 <= q[0] < q[1] <= 1)
    problems.check(fine, f"{argument}={limits!r}: give two quantiles, as (0.01, 0.99)")
    return q
