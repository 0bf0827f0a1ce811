"""Sweeps made by hand, with numbers that can be checked: nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray

from jaxfed.sweep import Sweep

HOSPITALS = ("north", "east", "south", "empty")
ROWS = np.array([[10, 20, 5, 0], [6, 4, 2, 0]])  # validation, test: the last hospital has none
Loss = Callable[[dict[str, Any], int], float]


def made(
    fields: Mapping[str, Sequence[Any]],
    loss: Loss,
    *,
    zipped: bool = False,
    died: Callable[[dict[str, Any]], float] = lambda _: np.nan,
    rounds: Sequence[int] = (0, 5, 10),
    splits: Sequence[str] = ("validation", "test"),
) -> Sweep:
    """A sweep whose pooled validation log loss is ``loss(settings, round)``; test is 0.1 worse.

    A hospital's log loss is 0.05 times its number beside the pooled one, its AUROC is 1 - log loss.
    """
    names, sizes = [*fields], [len(values) for values in fields.values()]
    grid = [range(sizes[0])] if zipped else [range(size) for size in sizes]
    shape = tuple(len(axis) for axis in grid)
    pooled = np.empty((*shape, len(rounds), len(splits)), np.float32)
    diverged = np.empty(shape)
    for place in np.ndindex(shape):
        at = place * len(names) if zipped else place
        settings = {name: fields[name][i] for name, i in zip(names, at, strict=True)}
        diverged[place] = died(settings)
        for e, done in enumerate(rounds):
            pooled[place][e] = loss(settings, done) + 0.1 * np.arange(len(splits))
    single = pooled[..., None] + np.array([0, 0.05, 0.1, np.nan], np.float32)
    dims = ("config",) if zipped else tuple(names)
    coords = {name: (dims if zipped else name, np.asarray(values)) for name, values in fields.items()}
    data = xarray.Dataset(
        {
            "auroc": ((*dims, "round", "split", "hospital"), 1 - single),
            "log_loss": ((*dims, "round", "split", "hospital"), single),
            "auroc_pooled": ((*dims, "round", "split"), 1 - pooled),
            "log_loss_pooled": ((*dims, "round", "split"), pooled),
            "diverged": (dims, diverged),
            "rounds_done": (dims, np.where(np.isnan(diverged), rounds[-1], diverged).astype(int)),
            "rows": (("split", "hospital"), ROWS[: len(splits)]),
        },
        coords={**coords, "round": np.array(rounds), "split": list(splits), "hospital": list(HOSPITALS)},
    )
    return Sweep(data, {"model": "mlp", "rounds": rounds[-1]}, {"seconds": 3.0})
