"""Part 1: how many patients every hospital has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.data.ehr.checks import check_count, check_number
from jaxfed.data.ehr.draws import SIZE, keyed

SIZES = ("lognormal", "zipf", "equal")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The rule for sizes and its numbers; see :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr`."""

    sizes: str | Sequence[int] = "lognormal"
    n_med: float = 470
    s_n: float = 1.2
    n_min: int = 30
    n_max: int = 8000
    zipf: float = 1.0

    def draw(self, hospitals: int, seed: int) -> np.ndarray:
        """``[C]`` rows of each hospital."""
        if not isinstance(self.sizes, str):
            return np.asarray(self.sizes, np.int64)
        if self.sizes == "lognormal":
            noise = np.array([keyed(seed, SIZE, h).standard_normal() for h in range(hospitals)])
            wanted = self.n_med * np.exp(self.s_n * noise)
        elif self.sizes == "zipf":
            wanted = self.n_max / np.arange(1.0, hospitals + 1) ** self.zipf
        else:
            return np.full(hospitals, round(self.n_med), np.int64)
        return np.clip(np.round(wanted), self.n_min, self.n_max).astype(np.int64)

    def check(self, hospitals: Any, problems: Problems) -> None:
        """Record what cannot be used."""
        if isinstance(self.sizes, str):
            problems.check(
                self.sizes in SIZES,
                f"sizes={self.sizes!r}: {did_you_mean(self.sizes, SIZES)}, or give the rows of each hospital",
            )
            check_number("n_med", self.n_med, problems, 1)
            check_number("s_n", self.s_n, problems)
            check_number("zipf", self.zipf, problems)
            check_count("n_min", self.n_min, 0, problems)
            check_count("n_max", self.n_max, 1, problems)
            if not problems.count:
                problems.check(self.n_min <= self.n_max, f"n_min={self.n_min} is above n_max={self.n_max}")
            return
        rows = np.asarray(self.sizes)
        problems.check(
            rows.ndim == 1 and rows.dtype.kind in "iu" and bool((rows >= 0).all()) and bool((rows > 0).any()),
            f"sizes={self.sizes!r}: give whole numbers of rows, at least one of them positive",
        )
        problems.check(
            rows.shape == (hospitals,),
            f"sizes has {rows.size} numbers for {hospitals} hospitals; pass hospitals={rows.size}",
        )
