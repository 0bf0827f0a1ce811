"""The page of a check."""

from __future__ import annotations

import pandas as pd

from jaxfed.data.check.contents import Contents
from jaxfed.data.check.figures import away, differences_figure, labels_figure, map_figure
from jaxfed.pages import Page, Section

LARGEST = 40  # hospitals whose rows are in the page; all are in the tables of the check


def page_of(check: Contents) -> Page:
    """Summary, findings, all arguments together, hospitals, labels, features, missing values."""
    page = brief_of(check)
    _together(page, check)
    hospitals = check.tables["hospitals"]
    _hospitals(page.section("Hospitals"), check)
    labels = page.section("Labels")
    if "prevalence" in hospitals and hospitals["prevalence"].notna().any():
        labels.figure(
            labels_figure(hospitals), "The share of the positive class in each hospital, with intervals",
            f"Hospitals in which one of the classes has 1 to {check.minimum - 1} patients are left out.",
        )  # fmt: skip
    _differences(labels, check, "labels", "")
    if len(check.tables["medians"].columns):
        _features(page.section("Features"), check)
    if "missingness" in check.tables["differences"].index.get_level_values(0):
        _missing(page.section("Missing values"), check)
    return page


def brief_of(check: Contents) -> Page:
    """Summary and findings alone."""
    page = Page(
        f"Check of {check.name}", f"No value or count of fewer than {check.minimum} patients is shown."
    )
    box = page.box("In short", "summary")
    counts = check.count()
    number = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items() if n]
    box.text(f"{', '.join(number)}." if number else "Nothing to mend.")
    box.items(check.facts)
    part = page.section("What to look at")
    if not check.findings:
        part.text("Nothing.")
    for count, finding in enumerate(check.findings, 1):
        inner = part.box(f"{count}. {finding.severity.capitalize()}: {finding.kind}", finding.severity)
        end = "" if finding.text.endswith("?") else "."
        inner.text(f"{finding.text[0].upper()}{finding.text[1:]}{end}")
        if finding.python:
            inner.code(finding.python, "Python")
        if finding.command:
            inner.code(finding.command, "Command line")
    return page


def _together(page: Page, check: Contents) -> None:
    if not check.findings or "hospital" not in check.given:
        return
    part = page.section("All of it together")
    part.text(
        "What the findings propose, in one place. Look at each of them first: whether a column is known "
        "before the event, or a value means that it is missing, is for those to say who know the data."
    )
    part.code(check.code, "Python")
    part.code(f"jaxfed run --data FILE {check.command}", "Command line")


def _hospitals(part: Section, check: Contents) -> None:
    table = check.tables["hospitals"].sort_values("rows", ascending=False).head(LARGEST)
    shown = table.copy()
    if "events" in shown:
        shown["events"] = [f"<{check.minimum}" if pd.isna(n) else f"{n:,}" for n in table["events"]]
    whole = len(check.tables["hospitals"])
    note = f" The {LARGEST} largest of {whole}." if whole > LARGEST else ""
    parts = [name for name in table.columns if name in ("prevalence", "missing") or "label " in name]
    part.table(
        shown, f"Hospitals with at least {check.minimum} patients.{note}", formats=dict.fromkeys(parts, ".1%")
    )
    if "events" in table and table["events"].isna().any():
        part.text(
            f"Where one of the two classes has 1 to {check.minimum - 1} patients, events are shown as "
            f"<{check.minimum}, whichever class it is, and the prevalence is left out."
        )


def _differences(part: Section, check: Contents, measure: str, axis: str) -> None:
    table = check.tables["differences"]
    rows = table[[key.startswith(measure) for key in table.index.get_level_values(0)]]
    if not len(rows):
        return
    if len(rows) > 2:
        part.figure(
            differences_figure(table, measure, axis), f"{axis}, of each column, beside what chance does",
            "Grey: hospitals of the same sizes, to which all rows are dealt at random.",
        )  # fmt: skip
    written = rows.assign(beyond_chance=["yes" if flag else "no" for flag in rows["beyond_chance"]])
    written = written.rename(
        columns={"chance": "by chance", "chance_high": "by chance, 97.5 %", "beyond_chance": "beyond chance"}
    )
    written.index = pd.Index(
        [f"{name}: {column}" if measure == "labels" else column for name, column in rows.index]
    )
    form = dict.fromkeys(("seen", "by chance", "by chance, 97.5 %"), ".3f")
    part.table(written, "How different the hospitals are, beside what sampling alone does", formats=form)


def _features(part: Section, check: Contents) -> None:
    medians = _largest(check, "medians")
    _differences(part, check, "features", "mean standardised difference of hospitals")
    known = medians.dropna(axis=1, how="all")
    if len(known.columns) and len(known) > 1:
        part.figure(
            map_figure(away(known), "PuOr", (-8, 8), "distance from the middle hospital"),
            "A map of hospitals and features, coloured by how far a hospital's median is from the middle one",
            "Medians of hospitals. A distance of 1 is a deviation between hospitals, or a tenth of the "
            "median. Dark cells are far away: another unit, another way of measuring, or other patients.",
        )  # fmt: skip
    part.table(
        _summary(check), "Medians of hospitals, rounded: the lowest, the middle and the highest hospital"
    )


def _summary(check: Contents) -> pd.DataFrame:
    medians = check.tables["medians"]
    table = pd.DataFrame(
        {
            "hospitals": medians.notna().sum(),
            "lowest median": medians.min(),
            "middle median": medians.median(),
            "highest median": medians.max(),
        }
    )
    missing = check.tables["missing"]
    table["missing, middle hospital"] = [
        f"{share:.1%}" if pd.notna(share) else "–" for share in missing.median()
    ]
    return table


def _missing(part: Section, check: Contents) -> None:
    _differences(part, check, "missingness", "mean difference in the share of missing values")
    part.figure(
        map_figure(_largest(check, "missing"), "cividis", (0, 1), "share of values that are missing"),
        "A map of hospitals and features, coloured by the share of missing values",
        "Grey: fewer than the minimum are missing, or are not.",
    )  # fmt: skip


def _largest(check: Contents, name: str) -> pd.DataFrame:
    order = check.tables["hospitals"]["rows"].sort_values(ascending=False).index[:LARGEST]
    return check.tables[name].loc[order]
