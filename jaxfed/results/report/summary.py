"""The summary in plain words: what was trained, on whom, how good it is, how sure, for whom it is worst, and
what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS
from jaxfed.pages.text import count, interval, number, span, together
from jaxfed.results.performance import Performance
from jaxfed.results.report.material import Material, Report

FEW = 6  # hospitals that are named one by one


def add_summary(page: Report, material: Material, subgroups: Mapping[str, pd.DataFrame]) -> None:
    """The boxes at the top of the page."""
    box = page.box("In short", "summary")
    box.items([*_trained(material), *_results(material, subgroups)])
    open_questions = page.box("What is not known", "caution")
    open_questions.items(_unknown(material))


def _trained(material: Material) -> Iterator[str]:
    history = material.history
    rows = history.rows[:, SPLITS.index("train")]
    algorithm = str(material.config.get("algorithm", material.name)).split("(")[0]
    what = "a model of its own for every hospital" if material.personal else "one model for all hospitals"
    yield (
        f"{algorithm} trained {what}, on {count(int(rows.sum()), 'row')} of "
        f"{count(int((rows > 0).sum()), 'hospital')}, in {count(len(history.refused), 'round')}. All results "
        f"are those of {history.at()}, on {material.split} rows, which were not used for training."
    )
    p = material.performance
    if p is not None and p.task == "binary":
        every = p.pooled.iloc[0]
        yield (
            f"The outcome is “{p.positive}”: {every['events']:,} of {every['rows']:,} {material.split} rows "
            f"have it ({every['prevalence']:.0%}; from {p.hospitals['prevalence'].min():.0%} to "
            f"{p.hospitals['prevalence'].max():.0%} in single hospitals)."
        )


def _results(material: Material, subgroups: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    p = material.performance
    if p is None:
        yield from _without_intervals(material)
        return
    label, every = p.labels[p.first], p.pooled.iloc[0]
    across: Any = p.across.loc[p.first]
    yield (
        f"How good: the {label} is {_estimate(every, p.first)} over all rows together"
        + (f", and {_mean(across, p.level)}." if np.isfinite(across["mean"]) else ".")
        + _meaning(p, across["mean"] if np.isfinite(across["mean"]) else every[p.first])
    )
    low, high = across["prediction_low"], across["prediction_high"]
    if np.isfinite(low):
        yield (
            f"How sure: in a new hospital like these, the {label} of many patients is expected between "
            f"{number(low, high)} and {number(high)} ({p.level:.0%} prediction interval). {_spread(across)}"
        )
    yield from _worst(p)
    if p.task == "binary":
        yield _calibrated(every)
    yield from _gaps(p, subgroups)


def _mean(across: pd.Series, level: float) -> str:
    return (
        f"{interval(across['mean'], across['mean_low'], across['mean_high'])} in an average hospital "
        f"(random-effects mean of {count(int(across['hospitals']), 'hospital')}, with its {level:.0%} "
        "interval)"
    )


def _meaning(p: Performance, value: float) -> str:
    if p.first != "auroc" or p.task != "binary" or not np.isfinite(value):
        return ""
    return (
        f" Of two patients of whom one has the outcome, the model gives that one the higher risk "
        f"{value:.0%} of the time; 50% would be chance."
    )


def _spread(across: pd.Series) -> str:
    hospitals = int(across["hospitals"])
    few = (
        f" {hospitals} hospitals are too few to know: the interval is wide for that alone."
        if hospitals < 6
        else ""
    )
    if not np.isfinite(across["i2"]):
        return few.strip()
    if across["i2"] < 0.05:
        return f"The hospitals differ no more than chance explains.{few}"
    return f"{across['i2']:.0%} of the spread between hospitals is more than chance explains (I²).{few}"


def _worst(p: Performance) -> Iterator[str]:
    across = p.across.loc[p.first]
    name = across["worst_hospital"]
    if across["hospitals"] and isinstance(name, str) and name in p.hospitals.index:
        row: Any = p.hospitals.loc[name]
        size = f"{row['rows']:,} rows" + (f", {row['events']:,} with the outcome" if "events" in row else "")
        yield (
            f"Where it is worst: {name}, {p.labels[p.first]} {_estimate(row, p.first)} ({size}), of the "
            f"{count(int(across['hospitals']), 'hospital')} with enough rows to say."
        )


def _calibrated(every: pd.Series) -> str:
    """Of the pooled rows."""
    ratio, low, high = (every[f"oe{end}"] for end in ("", "_low", "_high"))
    if not np.isfinite(ratio):
        return "Calibration could not be measured."
    means = "agree on average with what was observed" if low <= 1 <= high else (
        f"are on average too {'high' if ratio < 1 else 'low'}"
    )  # fmt: skip
    text = (
        f"Calibration: over all rows, predicted risks {means} ({number(ratio)} observed for each expected, "
        f"{span(low, high)})"
    )
    slope, low, high = (every[f"calibration_slope{end}"] for end in ("", "_low", "_high"))
    if not np.isfinite(slope):
        return f"{text}."
    spread = f"(slope {number(slope)}, {span(low, high)}; ideally 1)"
    if low <= 1 <= high:
        return f"{text}, and are not clearly too extreme or too timid {spread}."
    return f"{text}, but are too {'extreme' if slope < 1 else 'timid'} {spread}."


def _gaps(p: Performance, subgroups: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    label, sign = p.labels[p.first], 1 if p.first in p.higher else -1
    for title, table in subgroups.items():
        gap = sign * table[f"{p.first}_gap"]
        if not gap.notna().any() or gap.idxmin() == table.index[table["reference"]][0]:
            continue
        worst: Any = table.loc[str(gap.idxmin())]
        reference = table.index[table["reference"]][0]
        low, high = worst[f"{p.first}_gap_low"], worst[f"{p.first}_gap_high"]
        clear = "" if not low <= 0 <= high else "; that may be chance"
        yield (
            f"By {title}: the {label} is worst for “{worst.name}”, {_estimate(worst, p.first)}, a difference "
            f"of {interval(worst[f'{p.first}_gap'], low, high)} from “{reference}”{clear}."
        )


def _without_intervals(material: Material) -> Iterator[str]:
    history = material.history
    frame = history.hospitals_frame(material.split)
    values, label = frame[history.primary], history.scoring.label(history.primary)
    pooled = history.pooled[history.primary][history.chosen(), history.splits.index(material.split)]
    yield (
        f"How good: the {label} is {number(float(pooled))} over all rows together, and from "
        f"{span(values.min(), values.max())} in {count(int(values.notna().sum()), 'hospital')}, without "
        "intervals."
    )


def _unknown(material: Material) -> Iterator[str]:
    p = material.performance
    if p is None:
        yield (
            "How sure the results are: there are no intervals, calibration, decision curves or subgroups, "
            f"because {material.without}."
        )
    else:
        yield from _not_counted(p)
    if not material.history.validated:
        yield "Whether fewer rounds would do better: without validation rows, the last round is shown."
    yield (
        "How the model does in a hospital that did not train: every hospital here did. "
        "Leave-one-hospital-out, in sim.compare(), answers that."
    )
    if p is not None and not material.subgroups_of_patients:
        yield (
            "For which patients it is worst: no groups of patients were given; "
            'report(path, subgroups={"sex": column}) takes a value for each row of the data set.'
        )
    if material.trouble:
        yield f"What went wrong: {material.trouble.rstrip('; ')}."
    if material.privacy is None:
        yield "What the model or the uploads tell of single patients: training had no differential privacy."


def _not_counted(p: Performance) -> Iterator[str]:
    label, hospitals = p.labels[p.first], p.hospitals
    undefined = hospitals[hospitals[p.first].isna()]
    few = hospitals[~hospitals["counted"] & hospitals[p.first].notna()]
    if 0 < len(few) <= FEW:
        yield from (f"{name}: {_few(row, p)}" for name, row in few.iterrows())
    elif len(few):
        yield (
            f"The {label} of {count(len(few), 'hospital')}: each has fewer than {p.minimum_events} rows "
            + ("of a class" if p.task == "binary" else "")
            + ". They are shown, and not counted in the worst, the range and the random-effects mean."
        ).replace(" .", ".")
    if len(undefined):
        names = together([str(name) for name in undefined.index])
        why = ": their rows are all of one class, or there are none" if p.task == "binary" else ""
        yield f"The {label} of {count(len(undefined), 'hospital')}, where it is not defined ({names}){why}."


def _few(row: pd.Series, p: Performance) -> str:
    """Why a hospital is not counted, where its number would stand."""
    label = p.labels[p.first]
    rests = f"the {label} of {_estimate(row, p.first)} rests on "
    if "events" in row:
        few = min(
            (row["events"], p.positive), (row["non_events"], f"not {p.positive}"), key=lambda pair: pair[0]
        )
        rests += f"{count(int(few[0]), 'row')} “{few[1]}” of {row['rows']:,}"
    else:
        rests += count(int(row["rows"]), "row")
    return f"{rests}; it is shown, and not counted in the worst, the range and the random-effects mean."


def _estimate(row: pd.Series, metric: str) -> str:
    return interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
