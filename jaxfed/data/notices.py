"""Warnings about data that can be used but deserve a second look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.errors import listed, warn


class DataWarning(UserWarning):
    """The data can be used, but something about them is unusual; the message says what to check."""


FAR = 30.0  # times 1, the scale for which models are initialised and step sizes are usual
SEEN = 10_000  # rows that are looked at


def warn_scales(dataset: Dataset) -> None:
    """Warn where columns of a matrix, or targets, are so large that steps of usual size diverge."""
    x, step = dataset.x, max(1, len(dataset.y) // SEEN)
    large = []
    if isinstance(x, np.ndarray) and x.ndim == 2:
        size = np.sqrt(np.square(x[::step], dtype=np.float64).mean(axis=0))
        names = dataset.features or [f"feature {j}" for j in range(x.shape[1])]
        large = [f"{names[j]!r} ({size[j]:.3g})" for j in np.argsort(-size)[:4] if size[j] > FAR]
    if large:
        warn(
            f"features {', '.join(large)} are far from 1 (in brackets their root mean square), and steps of "
            "usual size may not train a model; pass the data through jaxfed.data.standardize first",
            DataWarning,
        )
    if dataset.task.survival:
        return  # times are compared, and enter no loss
    target = float(np.sqrt(np.square(dataset.y[::step], dtype=np.float64).mean()))
    if not dataset.task.has_classes and target > FAR:
        warn(
            f"labels are far from 1 (their root mean square is {target:.3g}), and steps of usual size may "
            "diverge; predict a multiple of them, such as y / y.std()",
            DataWarning,
        )


def warn_unmeasured(data: Dataset, splits: Sequence[str]) -> None:
    """Warn where all metrics would be NaN, or the AUROC of every hospital."""
    inside = np.isin(data.split, [SPLITS.index(name) for name in splits])
    which = " or ".join(splits)
    if not inside.any():
        warn(
            f"no hospital has {which} rows, so that nothing is measured; give jaxfed.data.resplit(hospitals, "
            "(0.7, 0.1, 0.2)), or splits=('train',)"
        )
    elif data.task.two_classes or data.task.survival:
        cell = data.owner[inside] * len(SPLITS) + data.split[inside]
        rows = np.bincount(cell, minlength=len(data) * len(SPLITS))
        positive = np.bincount(cell, data.task.strata(data.y)[inside], minlength=len(rows))
        if data.task.survival and not positive.any():
            warn(
                f"no hospital has an event in its {which} rows, so that no C-index is defined; give a split "
                "with more of these rows, or larger hospitals"
            )
        elif data.task.two_classes and not ((positive > 0) & (positive < rows)).any():
            warn(
                f"no hospital has {which} rows of both classes, so that no AUROC is defined; give a "
                "split with more of these rows, or larger hospitals"
            )


class Notices:
    """Collects what deserves a second look, and warns once per kind with the hospitals listed."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, hospital: str | None = None) -> None:
        """Record one notice; notices of one ``kind`` become one warning."""
        self._found.setdefault(kind, []).extend([] if hospital is None else [hospital])

    def emit(self) -> None:
        """Warn, once for each kind."""
        for kind, hospitals in self._found.items():
            whose = f" (hospital {listed(hospitals)})" if hospitals else ""
            warn(f"{self._where}: {kind}{whose}", DataWarning)
