"""How training went: convergence, what it guarantees, whom the rule leaves out, settings and provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.diagnostics import COSINE, NORM
from jaxfed.figures.privacy import epsilon_figure
from jaxfed.figures.runs import convergence_figure
from jaxfed.pages.text import capital, count, number, shortened, span, together
from jaxfed.records.history import History
from jaxfed.results.detection import detect
from jaxfed.results.diagnostics import diagnose
from jaxfed.results.report.material import Material, Report

LONGEST = 400  # letters of a setting
NONE = (
    "No differential privacy was used: there is no guarantee about what uploads or the trained model tell of "
    "single patients. Rows stayed in their hospital in the simulated federation; the updates of models did "
    "not."
)


def add_training(page: Report, material: Material) -> None:
    """The section on convergence."""
    part = page.section("Training")
    history, whose = _judged(material)
    label = history.scoring.label(history.primary)
    frame = history.rounds_frame()
    values = frame[frame["split"] == material.split][history.primary]
    path = f"from {number(values.iloc[0])} to {number(values.iloc[history.chosen()])}"
    part.text(f"Shown is {history.at()}. The mean {label} of {whose} went {path}.")
    if material.trouble:
        part.box("During training", "caution").text(f"{material.trouble.rstrip('; ').capitalize()}.")
    page.draw(
        part, "convergence", convergence_figure({material.name: history}, split=material.split),
        f"{capital(label)} over rounds: the mean of {whose} {path} at the round shown.",
        f"{capital(label)} over rounds, of {whose}: mean, 10th to 90th percentile, worst hospital.",
    )  # fmt: skip


def add_diagnostics(page: Report, material: Material) -> None:
    """How far the hospitals' updates differ, if the run has recorded it."""
    if NORM not in material.history.training:
        return
    part = page.section("Updates of the hospitals")
    shown = diagnose(material.history)
    spread = shown.rounds["b_squared"]
    part.text(
        "B² is the mean squared distance of the hospitals' updates from their weighted mean, over the "
        f"squared norm of that mean: 0 if all are equal. It was {number(spread.iloc[0])} in the first round "
        f"and {number(spread.iloc[-1])} in the last. An update with a cosine below 0 points away from the "
        "mean."
    )
    away = shown.hospitals[COSINE]
    against = [str(name) for name in away.index[away < 0]]
    if against:
        part.text(f"On average over the rounds, the updates of {together(against)} point away from the mean.")
    page.draw(
        part, "diagnostics", shown.plot(),
        f"Norms and cosines of updates over rounds; B² from {number(spread.iloc[0])} to "
        f"{number(spread.iloc[-1])}; {count(int(shown.table['rejected'].sum()), 'update')} rejected.",
        "Norm of each hospital's update, its cosine to the weighted mean, B² over rounds, and who was absent "
        "or rejected.",
    )  # fmt: skip


def _judged(material: Material) -> tuple[History, str]:
    """The history of the hospitals that count; of all if that is not known, or if none does."""
    history, p = material.history, material.performance
    names = [] if p is None else [*p.hospitals.index[p.hospitals["counted"]]]
    if not names or len(names) == len(history.hospitals):
        return history, "the hospitals"
    return history.among(names), f"the {count(len(names), 'hospital')} with enough rows to say"


def add_privacy(page: Report, material: Material) -> None:
    """The statement, or that there is none."""
    part = page.section("Privacy")
    statement = material.privacy
    if statement is None:
        part.text(NONE)
        return
    part.items(line.strip() for line in str(statement).splitlines())
    spent = material.history.training.get("epsilon")
    if spent is not None and len(spent):
        rounds = pd.Index(np.arange(1, len(spent) + 1), name="round")
        most = spent.max(1)
        table = pd.DataFrame({"most in a hospital": most, "mean": spent.mean(1)}, index=rounds)
        page.draw(
            part, "privacy", epsilon_figure(table, statement.delta),
            f"Epsilon over rounds: {span(most[0], most[-1])} in the hospital that spends "
            "most.",
            f"What hospitals have spent, at delta {statement.delta:g}.",
        )  # fmt: skip


def add_detection(page: Report, material: Material) -> None:
    """Whom the rule leaves out, if it says so."""
    if "influence" not in material.history.training:
        return
    part = page.section("Whom the aggregation leaves out")
    found = detect(material.history)
    silenced = found.table.index[found.table["silenced"] > 0.5]
    if len(silenced):
        part.text(
            f"In more than half of their rounds, the uploads of {count(len(silenced), 'hospital')} had less "
            f"than a tenth of an equal share in the aggregate: {together([str(name) for name in silenced])}. "
            "What differs from the others is left out, whether it is wrong or only rare."
        )
    else:
        part.text("No hospital was left out in more than half of its rounds.")
    voice = found.table["voice"].dropna()
    page.draw(
        part, "detection", found.plot(),
        f"The voice of every hospital in the aggregate, from {span(voice.min(), voice.max())}; 1 is an equal "
        "share.",
        "The part of every hospital in the aggregate, against an equal share.",
    )  # fmt: skip


def add_settings(page: Report, material: Material) -> None:
    """Settings and provenance, what is needed to run it again."""
    inputs = ""
    if material.inputs is not None and material.inputs.features:
        steps = [step.kind for step in material.inputs.steps]
        names = together(material.inputs.features, 40)
        inputs = f"Inputs: {count(len(material.inputs.features), 'column')} ({names})"
        inputs += f"; prepared by: {together(steps)}." if steps else "."
    add_tables_of_settings(page, material.config, material.provenance, inputs)


def add_tables_of_settings(
    page: Report, config: Mapping[str, Any], provenance: Mapping[str, Any], inputs: str = ""
) -> None:
    """Both sections, with a sentence on the inputs."""
    part = page.section("Settings")
    shown = {name: tidy(value) for name, value in config.items() if value is not None}
    caption = "How the simulation was set up; what is not listed has its default"
    part.table(pd.DataFrame({"value": shown}).rename_axis("setting"), caption)
    if inputs:
        part.text(inputs)
    part = page.section("Provenance")
    shown = {name.replace("_", " "): tidy(value) for name, value in provenance.items()}
    part.table(pd.DataFrame({"value": shown}).rename_axis(""), "Versions, device and time")
    part.text(
        "With the same versions, device and settings a run gives the same numbers. Intervals treat rows of a "
        "hospital as independent, hospitals as a sample of those that could have taken part, and the trained "
        "model as given."
    )


def tidy(value: object) -> str:
    """A value of a table as one line, cut where it is long, without what a module prints for itself."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = re.sub(r"#\s*attributes", "", str(value))
    text = re.sub(r"\s*\n\s*", ", ", text.strip())
    text = re.sub(r"\(,?\s+", "(", re.sub(r",\s*\)", ")", text)).replace(" = ", "=")
    return shortened(text, LONGEST)
