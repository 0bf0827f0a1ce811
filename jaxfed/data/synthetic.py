"""Synthetic hospitals with electronic-health-record-like sizes, case mix and risk.

The sizes and the spread of rates follow the published tables of eICU-CRD (Pollard et al. 2018,
doi 10.1038/sdata.2018.178): 208 hospitals, 966 stays on average, 9 % mortality, from about 4 to
16 % between hospitals. The features are standard-normal scores, not physical units; the model is in
:mod:`jaxfed.data.population`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.tasks import BINARY
from jaxfed.data.population import PRESETS, SIZE, Population, Risk, keyed, sigmoid
from jaxfed.data.splits import Split, split_hospitals

SIZES = ("lognormal", "zipf", "equal")


def synthetic_ehr(
    hospitals: int = 200,
    *,
    preset: str = "icu-mortality",
    features: int = 20,
    seed: int = 0,
    sizes: str | Sequence[int] = "lognormal",
    split: Split = (0.7, 0.1, 0.2),
    signal: float | None = None,
    s_a: float | None = None,
    s_b: float | None = None,
    s_x: float | None = None,
    s_sc: float | None = None,
    rho: float | None = None,
    prevalence: float | None = None,
    interactions: int | None = None,
    interaction_signal: float | None = None,
    types: int | None = None,
    n_med: float = 470,
    s_n: float = 1.2,
    n_min: int = 30,
    n_max: int = 8000,
    zipf: float = 1.0,
    name: str | None = None,
) -> Dataset:
    """Draw hospitals ``h0000, h0001, ...`` with binary labels and their true risks.

    Hospital h depends on (seed, h) and the numbers below, never on how many hospitals there are.

    Args:
        hospitals: how many.
        preset: ``"iid"``, ``"mild"``, ``"icu-mortality"``, ``"strong"`` or ``"extreme"``; sets
            ``signal``, ``s_a``, ``s_b``, ``s_x``, ``s_sc``. Any of them given here wins over it.
        features: d, the width of x.
        seed: of everything.
        sizes: ``"lognormal"``: ``clip(round(n_med exp(s_n N(0,1))), n_min, n_max)``; ``"zipf"``:
            ``clip(round(n_max / (h+1)^zipf), n_min, n_max)``; ``"equal"``: ``n_med`` each; or the
            rows of each hospital (0 is allowed).
        split: as in :func:`~jaxfed.data.splits.resplit`; stratified by label inside each hospital.
        signal: standard deviation of ``z^T b``: how well risk can be told from the features.
        s_a: spread of the hospitals' log-odds (rates differ between hospitals).
        s_b: spread of the hospitals' slopes (concept shift).
        s_x: spread of the hospitals' feature means (covariate shift).
        s_sc: spread of the log of the hospitals' feature scales.
        rho: correlation of neighbouring features; ``rho^|j-k|`` in general.
        prevalence: of the population. A small federation's own rate varies around it.
        interactions: how many products of two features enter the risk.
        interaction_signal: standard deviation of their sum.
        types: hospital types that share slopes; ``truth["type"]`` is then each row's type.
        n_med: median size.
        s_n: spread of the log of sizes.
        n_min: smallest size.
        n_max: largest size.
        zipf: exponent of ``sizes="zipf"``.
        name: what the data are called; by default the preset.

    Returns:
        Dataset with ``x [N, d]`` float32, ``y [N]`` int32 and ``truth``: ``p`` and ``eta``
        ``[N]`` float64.

    Raises:
        InvalidInput: everything that cannot be used, in one list.

    >>> data = synthetic_ehr(3, sizes=[100, 50, 30])
    >>> data.x.shape, data.hospitals
    ((180, 20), ('h0000', 'h0001', 'h0002'))
    """
    problems = Problems("synthetic_ehr")
    if preset not in PRESETS:
        problems.add(f"preset={preset!r}: {did_you_mean(preset, list(PRESETS))}")
    given: dict[str, Any] = {
        "signal": signal, "s_a": s_a, "s_b": s_b, "s_x": s_x, "s_sc": s_sc, "rho": rho,
        "prevalence": prevalence, "interactions": interactions,
        "interaction_signal": interaction_signal, "types": types, "features": features,
    }  # fmt: skip
    population = dataclasses.replace(
        PRESETS.get(preset, PRESETS["icu-mortality"]),
        **{key: value for key, value in given.items() if value is not None},
    )
    _check_population(population, problems)
    _check_count("hospitals", hospitals, 1, problems)
    _check_count("seed", seed, 0, problems)
    _check_sizes(sizes, hospitals, n_med, s_n, n_min, n_max, zipf, problems)
    problems.raise_if_any()

    size = _sizes(sizes, hospitals, seed, n_med, s_n, n_min, n_max, zipf)
    N, start = int(size.sum()), np.concatenate([[0], np.cumsum(size)])
    x, y = np.empty((N, features), np.float32), np.empty(N, np.int32)
    p, eta, kind = np.empty(N), np.empty(N), np.empty(N, np.int32)
    risk = Risk(population, seed)
    for h in range(hospitals):
        own, hospital = slice(start[h], start[h + 1]), risk.hospital(h)
        x[own], eta[own] = risk.patients(h, int(size[h]), hospital)
        p[own] = sigmoid(eta[own])
        y[own], kind[own] = risk.labels(h, p[own]), hospital.type
    names = tuple(f"h{h:04d}" for h in range(hospitals))
    labels = {names[h]: y[start[h] : start[h + 1]] for h in range(hospitals)}
    parts = split_hospitals(labels, split, seed, True, problems)
    problems.raise_if_any()
    return Dataset(
        x=x,
        y=y,
        size=size,
        split=parts,
        hospitals=names,
        task=BINARY,
        classes=("alive", "died"),
        features=tuple(f"x{j:02d}" for j in range(features)),
        truth={"p": p, "eta": eta} | ({"type": kind} if population.types else {}),
        name=name or preset,
    )


def _sizes(
    sizes: str | Sequence[int], hospitals: int, seed: int,
    n_med: float, s_n: float, n_min: int, n_max: int, zipf: float,
) -> np.ndarray:  # fmt: skip
    if not isinstance(sizes, str):
        return np.asarray(sizes, np.int64)
    if sizes == "lognormal":
        noise = np.array([keyed(seed, SIZE, h).standard_normal() for h in range(hospitals)])
        wanted = n_med * np.exp(s_n * noise)
    elif sizes == "zipf":
        wanted = n_max / np.arange(1.0, hospitals + 1) ** zipf
    else:
        return np.full(hospitals, round(n_med), np.int64)
    return np.clip(np.round(wanted), n_min, n_max).astype(np.int64)


def _check_population(population: Population, problems: Problems) -> None:
    for key in ("signal", "s_a", "s_b", "s_x", "s_sc", "interaction_signal"):
        _check_number(key, getattr(population, key), 0, np.inf, problems)
    _check_count("features", population.features, 1, problems)
    _check_count("types", population.types, 0, problems)
    _check_count("interactions", population.interactions, 0, problems)
    rho, prevalence, d = population.rho, population.prevalence, population.features
    problems.check(-1 < rho < 1, f"rho={rho!r}: give a number between -1 and 1")
    problems.check(0 < prevalence < 1, f"prevalence={prevalence!r}: give a number between 0 and 1, as .09")
    pairs = d * (d - 1) // 2
    problems.check(
        population.interactions <= pairs,
        f"interactions={population.interactions}: {d} features have {pairs} pairs",
    )


def _check_sizes(
    sizes: Any, hospitals: int, n_med: float, s_n: float, n_min: int, n_max: int, zipf: float,
    problems: Problems,
) -> None:  # fmt: skip
    if isinstance(sizes, str):
        problems.check(sizes in SIZES, f"sizes={sizes!r}: {did_you_mean(sizes, SIZES)}")
        _check_number("n_med", n_med, 1, np.inf, problems)
        _check_number("s_n", s_n, 0, np.inf, problems)
        _check_number("zipf", zipf, 0, np.inf, problems)
        _check_count("n_min", n_min, 0, problems)
        problems.check(n_min <= n_max, f"n_min={n_min} is above n_max={n_max}")
        problems.check(n_max > 0, f"n_max={n_max}: give a positive number")
        return
    rows = np.asarray(sizes)
    problems.check(
        rows.ndim == 1 and rows.dtype.kind in "iu" and bool((rows >= 0).all()) and bool((rows > 0).any()),
        f"sizes={sizes!r}: give whole numbers of rows, at least one of them positive",
    )
    problems.check(
        rows.shape == (hospitals,),
        f"sizes has {rows.size} numbers for {hospitals} hospitals; pass hospitals={rows.size}",
    )


def _check_number(key: str, value: Any, low: float, high: float, problems: Problems) -> None:
    fine = isinstance(value, (int, float, np.number)) and bool(low <= value < high)
    problems.check(fine, f"{key}={value!r}: give a finite number, {low} or more")


def _check_count(key: str, value: Any, least: int, problems: Problems) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    fine = whole and bool(value >= least)
    problems.check(fine, f"{key}={value!r}: give a whole number, {least} or more")
