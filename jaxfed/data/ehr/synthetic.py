"""Synthetic hospitals with electronic-health-record-like sizes, case mix, risk and records.

The sizes and the spread of rates follow the published tables of eICU-CRD (Pollard et al. 2018,
doi 10.1038/sdata.2018.178): 208 hospitals, 966 stays on average, 9 % mortality, from about 4 to
16 % between hospitals. Each way in which hospitals can differ has a strength, a number that is 0 (or
1, for the quality of labels) where they do not; its file says what it means.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, did_you_mean, spelled
from jaxfed.core.tasks import BINARY
from jaxfed.data.ehr.checks import check_count
from jaxfed.data.ehr.coding import Coding
from jaxfed.data.ehr.features import AGE, SEX, columns_of
from jaxfed.data.ehr.measurement import Measurement
from jaxfed.data.ehr.missingness import Missingness
from jaxfed.data.ehr.population import PRESETS, Population
from jaxfed.data.ehr.risk import Patients, Risk
from jaxfed.data.ehr.sizes import Sizes
from jaxfed.data.splits import Split, split_hospitals

T = TypeVar("T")


@spelled
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
    interactions: int = 0,
    interaction_signal: float = 0.8,
    types: int = 0,
    label_shift: float = 0.0,
    units: bool = False,
    s_gain: float = 0.0,
    s_offset: float = 0.0,
    swap: float = 0.0,
    coverage: float = 0.0,
    mcar: float = 0.0,
    mar: float = 0.0,
    mnar: float = 0.0,
    sensitivity: float = 1.0,
    specificity: float = 1.0,
    periods: int = 1,
    drift: float = 0.0,
    s_t: float = 0.0,
    s_bt: float = 0.0,
    groups: int = 0,
    group_shift: float = 0.05,
    s_g: float = 0.3,
    s_gb: float = 0.0,
    n_med: float = 470,
    s_n: float = 1.2,
    n_min: int = 30,
    n_max: int = 8000,
    zipf: float = 1.0,
    name: str | None = None,
) -> Dataset:
    """Draw hospitals ``h0000, h0001, ...`` with binary labels and their true risks.

    Hospital h depends on (seed, h) and the numbers below, never on how many hospitals there are; and no
    strength moves the draws of another part: more missing values are missing in the same patients.

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
        label_shift: intraclass correlation of the labels, ``1 / (k + 1)`` of
            ``Beta(k prevalence, k (1 - prevalence))``: hospitals differ in their prevalence, while patients
            with and without the event are alike. Use it with ``preset="iid"``; 0.05 is much.
        units: values in physical units with the names of :data:`~jaxfed.data.ehr.features.FEATURES`
            instead of standard scores. Standardise before training.
        s_gain: spread of the log of the hospitals' gain, for each feature that a device measures; 0.03.
        s_offset: spread of their offset, in standard deviations of the feature; 0.1.
        swap: probability of each hospital and feature (temperature, creatinine, haemoglobin, glucose) to be
            in another unit; ``truth["swapped"] [N, d]`` says where. 0.05; needs ``units``.
        coverage: 1 for features as incompletely recorded as in eICU-CRD, hospital by hospital; 0 for all.
        mcar: share of cells that are missing completely at random.
        mar: how much more often cells are missing in old patients, in probits per standard deviation.
        mnar: how much less often they are missing in patients at risk, alike.
        sensitivity: mean share of events that hospitals record; Beta(100 s, 100 (1 - s)) between them.
        specificity: mean share of the others whom they record as such. The patients' true outcome is then
            ``truth["outcome"]``, and the probability of the recorded label ``truth["p_observed"]``.
        periods: rows are in the order of time, and ``truth["period"]`` says in which of the periods. See
            :func:`~jaxfed.data.periods.split_by_period`.
        drift: change of the log-odds per period, in all hospitals.
        s_t: spread of a random step of the log-odds in each period.
        s_bt: spread of a random step of the slopes in each period.
        groups: groups of patients, ``truth["group"]``, each half as frequent as the one before.
        group_shift: how much the mix of groups differs between hospitals, as ``label_shift``.
        s_g: spread of the groups' log-odds.
        s_gb: spread of the groups' slopes.
        n_med: median size.
        s_n: spread of the log of sizes.
        n_min: smallest size.
        n_max: largest size.
        zipf: exponent of ``sizes="zipf"``.
        name: what the data are called; by default the preset.

    Returns:
        Dataset with ``x [N, d]`` float32, ``y [N]`` int32 and ``truth``: ``p`` and ``eta`` ``[N]`` float64,
        the risk of a patient given its exact values, and with 20 features or more ``sex [N]``.
        Where values are missing ``x`` holds NaN, for :func:`~jaxfed.data.missing.impute`, and
        ``truth["complete"] [N, d]`` the values.

    Raises:
        InvalidInput: everything that cannot be used, in one list.

    >>> data = synthetic_ehr(3, sizes=[100, 50, 30])
    >>> data.x.shape, data.hospitals
    ((180, 20), ('h0000', 'h0001', 'h0002'))
    """
    given = {key: value for key, value in locals().items() if value is not None}
    problems = Problems("synthetic_ehr")
    if preset not in PRESETS:
        problems.add(f"preset={preset!r}: {did_you_mean(preset, list(PRESETS))}")
    parts = (
        _with(PRESETS.get(preset, Population()), given),
        _with(Measurement(), given),
        _with(Missingness(), given),
        _with(Coding(), given),
    )
    for part in parts:
        part.check(problems)
    check_count("hospitals", hospitals, 1, problems)
    check_count("seed", seed, 0, problems)
    rule = _with(Sizes(), given)
    rule.check(hospitals, problems)
    problems.raise_if_any()

    size = rule.draw(hospitals, seed)
    start = np.concatenate([[0], np.cumsum(size)])
    x, y, truth = _rows(*parts, seed, size)
    names = tuple(f"h{h:04d}" for h in range(hospitals))
    labels = {names[h]: y[start[h] : start[h + 1]] for h in range(hospitals)}
    assigned = split_hospitals(labels, split, seed, True, problems)
    problems.raise_if_any()
    columns = [column.name for column in columns_of(features)]
    return Dataset(
        x=x,
        y=y,
        size=size,
        split=assigned,
        hospitals=names,
        task=BINARY,
        classes=("alive", "died"),
        features=tuple(columns if units else (f"x{j:02d}" for j in range(features))),
        truth=truth,
        name=name or preset,
    )


def _rows(
    population: Population,
    measurement: Measurement,
    missingness: Missingness,
    coding: Coding,
    seed: int,
    size: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """``x [N, d]``, ``y [N]`` and the truth of all hospitals."""
    N, d = int(size.sum()), population.features
    start = np.concatenate([[0], np.cumsum(size)])
    columns, risk = columns_of(d), Risk(population, seed)
    sign = _orientation(risk) if measurement.units else np.ones(d)
    x, y, truth = np.empty((N, d), np.float32), np.empty(N, np.int32), {}

    def remember(key: str, rows: slice, value: np.ndarray) -> None:
        if key not in truth:
            truth[key] = np.empty((N, *value.shape[1:]), value.dtype)
        truth[key][rows] = value

    for h, n in enumerate(size):
        rows = slice(start[h], start[h + 1])
        patients = risk.patients(h, int(n))
        x[rows], swapped = measurement.record(h, patients.z, columns, sign, seed)
        y[rows] = patients.y
        for key, value in {"p": patients.p, "eta": patients.eta, **patients.more}.items():
            remember(key, rows, value)
        if d > SEX:
            remember("sex", rows, (patients.z[:, SEX] > columns[SEX].centre).astype(np.int32))
        if measurement.swap:
            remember("swapped", rows, np.broadcast_to(swapped, (int(n), d)))
        if not coding.exact:
            remember("outcome", rows, patients.y)
            y[rows], observed = coding.record(h, patients.y, patients.p, seed)
            remember("p_observed", rows, observed)
        if not missingness.complete:
            remember("complete", rows, x[rows])
            x[rows][_missing(missingness, h, patients, risk, sign[AGE])] = np.nan
    return x, y, truth


def _missing(missingness: Missingness, h: int, patients: Patients, risk: Risk, sign: float) -> np.ndarray:
    """``[n, d]`` missing cells of hospital ``h``."""
    sd = risk.spread
    score = (patients.eta - risk.a_0) / sd if sd else np.zeros(len(patients.eta))
    both = sign * float(risk.R[AGE] @ risk.b) / sd if sd else 0.0
    columns = columns_of(risk.population.features)
    return missingness.draw(h, sign * patients.z[:, AGE], score, both, columns, risk.seed)


def _orientation(risk: Risk) -> np.ndarray:
    """``[d]``: -1 where a column is turned round, so that patients at risk are on its dangerous side."""
    side = np.array([column.risk for column in columns_of(len(risk.b))])
    return np.where(side * (risk.R @ risk.b) < 0, -1.0, 1.0)


def _with(part: T, given: Mapping[str, Any]) -> T:
    """A copy of a part with those of its numbers that are given."""
    names = {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
    return dataclasses.replace(part, **{key: given[key] for key in names & given.keys()})  # type: ignore[type-var]
