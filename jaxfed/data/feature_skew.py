"""Feature skew: the same patients, measured differently by every hospital.

    x <- mean + exp(scale G_hj) (x - mean) + sd_j (shift O_hj + noise_h e_ij),   G, O, e ~ N(0, 1)

with mean and sd those of the feature over all training rows, and ``noise_h = noise (h + 1) / C``, so that the
last of C hospitals has the most (the noise-based feature imbalance of Li, Diao, Chen, He 2022, arXiv
2102.02079, there with a variance that grows so).
"""

from __future__ import annotations

import jax
import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, spelled
from jaxfed.data.moments import combine, hospital_moments


@spelled
def feature_skew(
    dataset: Dataset, *, shift: float = 0.0, scale: float = 0.0, noise: float = 0.0, seed: int = 0
) -> Dataset:
    """A copy in which every hospital has its own offset, gain and noise; labels and splits are the same.

    Args:
        dataset: any; arrays of floats in ``x`` are changed. An image has a gain and an offset per channel.
        shift: spread of the hospitals' offsets, in standard deviations of the feature.
        scale: spread of the log of their gains.
        noise: standard deviation of the noise in the last hospital, alike; it falls evenly to the first.
        seed: of the draws, together with the hospital's name.

    Raises:
        InvalidInput: a strength that is negative or no number.

    >>> from jaxfed.data import synthetic_ehr
    >>> data = synthetic_ehr(2, preset="iid", sizes=[200, 200])
    >>> skewed = feature_skew(data, shift=1.0)
    >>> bool((skewed.y == data.y).all())
    True
    """
    problems = Problems("feature_skew")
    for key, value in (("shift", shift), ("scale", scale), ("noise", noise)):
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        fine = number and bool(0 <= value < np.inf)
        problems.check(fine, f"{key}={value!r}: give a finite number, 0 or more")
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed >= 0
    problems.check(whole, f"seed={seed!r}: give a whole number, 0 or more")
    problems.raise_if_any()

    def skew(leaf: np.ndarray) -> np.ndarray:
        if leaf.dtype.kind != "f":
            return leaf
        pooled = combine(hospital_moments(dataset, leaf))
        skewed = np.empty_like(leaf)
        for c, (name, a, n) in enumerate(zip(dataset.hospitals, dataset.start, dataset.size, strict=True)):
            rng = np.random.default_rng([seed, *name.encode()])
            gain, offset = rng.standard_normal((len(pooled.mean), 2)).T
            own = leaf[a : a + n]
            e = rng.standard_normal(own.shape, dtype=np.float32) * (noise * (c + 1) / len(dataset))
            moved = pooled.mean + np.exp(scale * gain) * (own - pooled.mean)
            skewed[a : a + n] = moved + pooled.sd * (shift * offset + e)
        return skewed

    return dataset.replace(x=jax.tree.map(skew, dataset.x))
