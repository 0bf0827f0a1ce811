"""The report of a comparison: what joining is worth, for whom, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jaxfed.core.optional import needs
from jaxfed.pages.text import capital, count, interval, number, span
from jaxfed.results.arms import LOCAL, MEANINGS, shown_pair
from jaxfed.results.report.material import MANY, Report, data_name
from jaxfed.results.report.training import add_tables_of_settings

Comparison = Any  # jaxfed.results.comparison.Comparison, whose module imports this one


def comparison_report(c: Comparison, metric: str, title: str | None = None) -> Report:
    """The page, with its figure.

    Args:
        c: the comparison.
        metric: one of its metrics.
        title: of the page.

    Raises:
        ImportError: great-tables is not installed.
    """
    needs("great_tables", "report", "a report")
    label, sentences = c.scoring.label(metric), c.sentences()
    gains, hospitals = c.gains(*shown_pair(c.arms), metric), c.by_hospital(metric)
    page = Report(
        title or f"What joining is worth: {data_name(c.config) or 'a comparison'}",
        f"{count(len(hospitals), 'hospital')}; jaxfed {c.provenance.get('jaxfed', '')}, "
        f"{str(c.provenance.get('created', ''))[:10]}",
    )
    page.box("In short", "summary").items(sentences)
    _add_arms(page, label, c.summary(metric), c.settings)
    if LOCAL in c.arms:
        _add_differences(page, label, c.differences(metric=metric))
    part = page.section("Hospitals")
    lowest, highest = gains["gain"].min(), gains["gain"].max()
    page.draw(
        part, "comparison", c.plot(metric),
        f"{capital(label)} of each arm in each hospital, and the gains of the hospitals, from "
        f"{span(lowest, highest)}.",
        f"{capital(label)} of every hospital under each arm, and what each gains, with intervals over seeds.",
    )  # fmt: skip
    star = "" if hospitals["counted"].all() else "; *: not counted"
    caption = f"{capital(label)} of every hospital, mean over seeds{star}"
    marks = [f"{name}{'' if counted else ' *'}" for name, counted in hospitals["counted"].items()]
    every = hospitals.drop(columns=["train_rows", "counted"]).set_axis(pd.Index(marks, name="hospital"))
    every = every.rename(columns={"test_rows": "rows", "non_events": "others"})
    if len(every) <= MANY:
        part.table(every, caption, formats=_three(every))
    add_tables_of_settings(page, c.config, c.provenance)
    if len(every) > MANY:
        page.section("All hospitals").table(every, caption, formats=_three(every))
    return page


def _add_arms(page: Report, label: str, table: pd.DataFrame, settings: Mapping[str, str]) -> None:
    part = page.section("Arms")
    part.items(f"{arm}: {MEANINGS[arm]}." for arm in map(str, table.index) if arm in MEANINGS)
    shown = table.rename(columns={"all_rows": "all rows", "weighted": "by rows"})
    shown["over seeds"] = [
        f"{low:.3f} to {high:.3f}" for low, high in table[["seeds_low", "seeds_high"]].to_numpy()
    ]
    shown["worst"] = [f"{row['worst']:.3f} ({row['worst_hospital']})" for _, row in table.iterrows()]
    shown = shown.drop(columns=["seeds_low", "seeds_high", "worst_hospital"])
    caption = f"Mean {label} of hospitals' test rows, at each run's best round on validation rows"
    part.table(shown, caption, formats=_three(shown))
    tuned = {arm: text for arm, text in settings.items() if text}
    if tuned:
        chosen = pd.DataFrame({"settings": tuned}).rename_axis("arm")
        part.table(chosen, "Settings that tuning chose on validation rows")


def _add_differences(page: Report, label: str, differences: pd.DataFrame) -> None:
    part = page.section("What an arm is worth")
    part.text(
        f"Differences in {label} from training alone, paired by hospital; positive is better. Intervals are "
        "over hospitals, and p values are adjusted for the number of arms (Holm)."
    )
    rows = {
        str(arm): {
            "hospitals": int(row["hospitals"]),
            "difference": interval(row["gain"], row["low"], row["high"]),
            "p, adjusted": number(row["p_holm"]),
            "share that gains": interval(row["share"], row["share_low"], row["share_high"]),
        }
        for arm, row in differences.iterrows()
    }
    part.table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm"), "Against training alone")


def _three(table: pd.DataFrame) -> dict[str, str]:
    """Three decimals for numbers that are not whole."""
    return {str(name): ".3f" for name in table if pd.api.types.is_float_dtype(table[name].dtype)}
