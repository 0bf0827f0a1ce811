"""How good the models are: every hospital, calibration, decision curves, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.figures.calibration import calibration_alt, calibration_by_hospital_figure, calibration_figure
from jaxfed.figures.decisions import decision_alt, decision_by_hospital_figure, decision_figure, useful
from jaxfed.figures.forest import ROOM, caterpillar_figure, forest_alt, forest_figure
from jaxfed.figures.subgroups import subgroups_alt, subgroups_figure
from jaxfed.pages.text import capital, count, interval, number, span, together
from jaxfed.results.performance import Performance
from jaxfed.results.performance_tables import POOLED
from jaxfed.results.report.material import Material, Report

PANELS = 9  # hospitals with a panel of their own
SHOWN = ("auroc", "auprc", "brier", "calibration_intercept", "calibration_slope", "oe")  # of every hospital
AT_THRESHOLD = ("sensitivity", "specificity", "ppv", "npv", "f1", "net_benefit")
GAPS = ("auroc", "sensitivity", "specificity", "calibration_intercept")


def add_performance(page: Report, p: Performance, many: bool) -> None:
    """Every hospital, and across hospitals."""
    label = p.labels[p.first]
    across: Any = p.across.loc[p.first]
    part = page.section(f"{capital(label)} in every hospital")
    part.text(_who_counts(p))
    figure: dict[str, Any] = {"label": label, "across": across}
    alt = forest_alt(p.hospitals, p.first, **figure)
    if len(p.hospitals) > ROOM:
        page.draw(
            part, "caterpillar", caterpillar_figure(p.hospitals, p.first, **figure), alt,
            f"{capital(label)} of all hospitals with {p.level:.0%} intervals; the pooled mean, and where a "
            "new hospital lies.",
        )  # fmt: skip
    page.draw(
        part, "forest", forest_figure(p.hospitals, p.first, **figure), alt,
        f"{capital(label)} of {'the lowest and the highest' if len(p.hospitals) > ROOM else 'the'} hospitals "
        f"with {p.level:.0%} intervals. Squares grow with the number of rows.",
    )  # fmt: skip
    part.table(_across(p), "All metrics over the hospitals")
    part.text(
        "All rows: as if they were of one hospital. Mean: of every hospital that has the metric. Random "
        "effects: the mean with its interval, by REML with Hartung and Knapp's method, of the hospitals that "
        "count (fewer where some have no standard error). Prediction: where a new hospital lies. "
        "Range and worst: of the hospitals that count."
    )
    if not many:
        for caption, table in tables_of_hospitals(p):
            part.table(table, caption)


def tables_of_hospitals(p: Performance) -> list[tuple[str, pd.DataFrame]]:
    """Captions and tables of all hospitals."""
    frame = pd.concat([p.pooled, p.hospitals])
    counts = [name for name in ("rows", "events") if name in frame]
    chosen = _chosen(p, SHOWN)
    at = [name for name in AT_THRESHOLD if name in p.metrics]
    star = "" if frame["counted"].all() else "; *: not counted"
    captions = {f"Every hospital with {p.level:.0%} intervals{star}": chosen}
    if at:
        captions[f"At the threshold {number(p.threshold)} ({p.threshold_from}){star}"] = at
    names = [f"{name}{'' if row['counted'] else ' *'}" for name, row in frame.iterrows()]
    tables = [
        (caption, pd.concat([frame[counts], _with_intervals(p, frame, metrics)], axis=1))
        for caption, metrics in captions.items()
    ]
    return [(caption, table.set_axis(pd.Index(names, name="hospital"))) for caption, table in tables]


def _chosen(p: Performance, wanted: Sequence[str]) -> list[str]:
    """Those metrics of a binary task, and the first ones of another."""
    chosen = [name for name in wanted if name in p.metrics]
    return chosen if p.two_classes and chosen else [*p.metrics[: len(wanted)]]


def _who_counts(p: Performance) -> str:
    label = p.labels[p.first]
    across: Any = p.across.loc[p.first]
    scarce = "rows of a class" if p.two_classes else "rows"
    texts = [
        f"Brackets are {p.level:.0%} intervals; {count(int(across['hospitals']), 'hospital')} count in the "
        "worst, the range and the random-effects mean."
    ]
    if across["left_out"]:
        texts.append(
            f"{count(int(across['left_out']), 'hospital')} with fewer than {p.minimum_events} {scarce} stand "
            "apart."
        )
    if across["undefined"]:
        texts.append(f"In {count(int(across['undefined']), 'hospital')} the {label} is not defined.")
    return " ".join(texts)


def add_calibration(page: Report, material: Material, p: Performance) -> None:
    """Curves of all rows and of hospitals."""
    part = page.section("Calibration")
    every, names = p.pooled.iloc[0], _largest(p)
    table = p.calibration(names)
    curve = table[table["hospital"] == POOLED]
    part.text(
        f"Over all rows {_estimate(every, 'oe')} events were observed for each expected (ideally 1), the "
        f"intercept with slope 1 is {_estimate(every, 'calibration_intercept')} (ideally 0; above, risks are "
        f"too low), the slope {_estimate(every, 'calibration_slope')} (ideally 1; below, predictions are too "
        f"extreme), and the expected calibration error {number(every['ece'])}."
    )
    known = p.predictions
    risk = [*known.meaning.columns(known.outputs).values()][-1]
    fine = np.isfinite(risk)
    page.draw(
        part, "calibration", calibration_figure(curve, risk[fine], known.y[fine] > 0, p.positive),
        calibration_alt(curve, p.positive),
        "Observed share against predicted risk, all rows: a flexible curve (restricted cubic spline of the "
        "logit) with its band, bins of equal size with Wilson intervals, and the predictions of both "
        "classes.",
    )  # fmt: skip
    if names:
        page.draw(
            part, "calibration_by_hospital", calibration_by_hospital_figure(table, p.positive),
            f"Calibration curves of {together(names, PANELS)}, each beside that of all rows.",
            f"Calibration of {_which(p, names)}.",
        )  # fmt: skip
        without = [name for name in names if not _has_curve(table, name)]
        if without:
            part.text(f"No flexible curve could be fitted to the rows of {together(without)}.")


def add_decisions(page: Report, p: Performance) -> None:
    """Net benefit of all rows and of hospitals."""
    part = page.section("Decision curves")
    part.text(
        "The net benefit weighs patients who are rightly treated against those treated in vain, at the risk "
        "from which one would treat. A model helps at the thresholds that a clinic would use, if it is above "
        "treating everyone and above treating no one."
    )
    top = max(0.1, min(0.95, float(np.ceil(10 * min(0.95, 2 * p.pooled["prevalence"].iloc[0])) / 10)))
    thresholds = np.linspace(0.01, top, 60).tolist()
    names = _largest(p)
    table = p.decision_curve(thresholds, names)
    every, table = table[table["hospital"] == POOLED], table[table["hospital"] != POOLED]
    caption = "Decision curve of all rows."
    page.draw(part, "decision_curve", decision_figure(every), decision_alt(every), caption)
    if names:
        page.draw(
            part, "decision_curve_by_hospital", decision_by_hospital_figure(table),
            f"Decision curves of {together(names, PANELS)}.", f"Decision curves of {_which(p, names)}.",
        )  # fmt: skip
        helped = useful(table).groupby(table["hospital"], sort=False).mean()
        part.text(
            "Share of these thresholds at which the model is above both: "
            + together([f"{name} {share:.0%}" for name, share in helped.items()], PANELS) + "."
        )  # fmt: skip


def add_subgroups(page: Report, p: Performance, subgroups: Mapping[str, pd.DataFrame]) -> None:
    """Groups of patients and of hospitals, and the gaps between them."""
    if not subgroups:
        return
    part = page.section("Subgroups")
    rate = " The false positive rate is 1 - specificity." if "specificity" in p.metrics else ""
    part.text(
        "Differences are from the group that is marked as the reference, with intervals that take the groups "
        f"as independent.{rate} Looking at many groups finds some by chance."
    )
    for title, table in subgroups.items():
        inner = part.section(f"By {title}")
        metrics = _chosen(p, GAPS)
        page.draw(
            inner, f"subgroups_{_file(title)}", subgroups_figure(table, metrics, p.labels),
            subgroups_alt(table, p.first, p.labels[p.first]), f"Differences between groups by {title}.",
        )  # fmt: skip
        counts = [name for name in ("rows", "hospitals", "events") if name in table]
        values = pd.concat([table[counts], _with_intervals(p, table, metrics)], axis=1)
        values.index = pd.Index(
            [f"{name} (reference)" if table.loc[name, "reference"] else name for name in table.index],
            name="group",
        )
        inner.table(values, f"Groups by {title}")


def _with_intervals(p: Performance, frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Columns of text, named by the labels."""
    return pd.DataFrame(
        {p.labels[name]: [_cell(row, name) for _, row in frame.iterrows()] for name in metrics},
        index=frame.index,
    )


def _across(p: Performance) -> pd.DataFrame:
    every, rows = p.pooled.iloc[0], {}
    for name in p.metrics:
        a: Any = p.across.loc[name]
        rows[p.labels[name]] = {
            "all rows": _cell(every, name),
            "mean": number(a["macro"]),
            "random effects": _cell(a, "mean")
            + (f" of {a['pooled']}" if a["pooled"] < a["hospitals"] else ""),
            "prediction": span(a["prediction_low"], a["prediction_high"])
            if np.isfinite(a["prediction_low"])
            else "–",
            "range": span(a["lowest"], a["highest"]) if a["hospitals"] else "–",
            "worst": f"{number(a['worst'])} ({a['worst_hospital']})" if a["hospitals"] else "–",
            "counted": int(a["hospitals"]),
            "not counted": int(a["left_out"]),
            "undefined": int(a["undefined"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def _largest(p: Performance) -> list[str]:
    """The hospitals that have panels: of those that count, the ones with most events."""
    counted = p.hospitals[p.hospitals["counted"]]
    least = counted[["events", "non_events"]].min(axis=1)
    names = set(least.sort_values(ascending=False, kind="stable").index[:PANELS])
    return [str(name) for name in p.hospitals.index if name in names]


def _has_curve(table: pd.DataFrame, name: str) -> bool:
    return bool(((table["hospital"] == name) & (table["kind"] == "curve")).any())


def _which(p: Performance, names: Sequence[str]) -> str:
    counted = int(p.hospitals["counted"].sum())
    if counted <= len(names):
        return "the hospitals that count"
    return f"the {len(names)} of {counted:,} hospitals with the most rows of the rarer class"


def _cell(row: pd.Series, metric: str) -> str:
    """Of a table: the interval is on one line."""
    number, _, bracket = _estimate(row, metric).partition(" (")
    return (
        f"{number} ({bracket}".replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}")
        if bracket
        else number
    )


def _estimate(row: pd.Series, metric: str) -> str:
    return interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"])


def _file(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title.lower())
