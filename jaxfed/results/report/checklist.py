"""The TRIPOD-Cluster checklist: what in a report answers each of its 19 items, and what its authors must add.

Debray et al. 2023, BMJ 380:e071018, doi:10.1136/bmj-2022-071018 (explained: doi:10.1136/bmj-2022-071058).
The items are paraphrased; a submission takes their wording from the paper. A cluster is a hospital.
"""

from __future__ import annotations

import dataclasses

import pandas as pd

from jaxfed.results.report.material import Material, Report

NOTHING, EVERYTHING = "Nothing", "All of it"


@dataclasses.dataclass(frozen=True)
class Item:
    """One of the 19 items.

    Attributes:
        number: of the item.
        topic: what it is about.
        asks: what it asks for, paraphrased.
        here: what in the report answers it.
        author: what the report cannot know.
    """

    number: int
    topic: str
    asks: str
    here: str
    author: str


def add_checklist(page: Report, material: Material) -> None:
    """The section with the table."""
    part = page.section("TRIPOD-Cluster checklist")
    part.text(
        "The 19 items for prediction models that are developed or validated in clustered data (Debray et "
        "al., BMJ 2023; 380:e071018, doi:10.1136/bmj-2022-071018), paraphrased, with what in this report "
        "answers each, and what its authors must write. A cluster is a hospital."
    )
    columns = {
        "topic": "item",
        "asks": "asks for",
        "here": "in this report",
        "author": "to be written by the authors",
    }
    rows = [{text: getattr(item, name) for name, text in columns.items()} for item in checklist(material)]
    index = pd.Index([item.number for item in checklist(material)], name="no.")
    part.table(pd.DataFrame(rows, index=index))


def checklist(material: Material) -> list[Item]:
    """The items, answered for this report."""
    measured = material.performance is not None
    curves = ", Calibration, Decision curves" if material.two_classes else ""
    groups = "Subgroups" if measured and material.subgroups else NOTHING
    models = "a model of its own for each hospital" if material.personal else "one model for all hospitals"
    rows = [
        (
            "Title",
            "Development or validation of a prediction model; for whom; which outcome",
            "The algorithm, the data and the outcome",
            "The target population and the purpose",
        ),
        (
            "Abstract",
            "Aims, setting, participants, data, size, predictors, outcome, analysis, results, conclusions",
            "In short: size, outcome, analysis and results",
            "Aims, setting, conclusions",
        ),
        (
            "Background and objectives",
            "Medical context, existing models, why this design; aims",
            NOTHING,
            EVERYTHING,
        ),
        (
            "Participants and data",
            "Which patients and data sets were eligible; where the data come from and how they were obtained",
            "Hospitals and rows: the hospitals and their sizes",
            "Eligibility of patients and hospitals, dates, how data were collected",
        ),
        (
            "Sample size",
            "How it was arrived at",
            "Hospitals and rows: rows and events of every hospital",
            "Why these hospitals, and whether they are enough",
        ),
        (
            "Outcome and predictors",
            "Definitions, and how and when each was measured",
            "Settings: names of the columns; In short: the outcome",
            "Definitions and times of measurement",
        ),
        (
            "Data preparation",
            "Cleaning, harmonisation, checks; how risk of bias of hospitals was judged; differences from the "
            "development data; missing values",
            "Settings: how columns were imputed and standardised",
            "Cleaning, harmonising between hospitals, what was missing, risk of bias (PROBAST)",
        ),
        (
            "Data analysis",
            "Handling of predictors; type and building of the model; heterogeneity of parameters and of "
            "performance; how predictions were made; measures; updating",
            f"Settings: model, algorithm, optimiser ({models})"
            + (
                f"; AUROC or other metrics in every hospital{curves}: measures and pooling"
                if measured
                else ""
            ),
            "Why this model; how settings were chosen; any recalibration",
        ),
        (
            "Planned subgroups and sensitivity analyses",
            "Which were planned",
            groups,
            "Which were planned beforehand",
        ),
        (
            "Hospitals and participants",
            "Numbers from identified to analysed; characteristics in all and by hospital (dates, predictors, "
            "treatments, events, follow-up, missing values); comparison with the development data",
            "Hospitals and rows: rows, events and prevalence by hospital, label shift",
            "Flow chart, predictors by hospital, treatments, dates, missing values",
        ),
        (
            "Risk of bias",
            "Results by hospital",
            NOTHING,
            EVERYTHING,
        ),
        (
            "Model development and specification",
            "Heterogeneity that led to choices; the whole model, and how to use it",
            "Settings; run.save(folder) writes the parameters, run.predict(table) scores new patients",
            "The saved parameters, or why they are not published",
        ),
        (
            "Performance",
            "Measures with intervals, in all and by hospital; heterogeneity between hospitals",
            f"Metrics in every hospital{curves}; random-effects mean, I² and prediction interval"
            if measured
            else "Training: metrics without intervals",
            "Validation in hospitals that did not train (leave-one-hospital-out, sim.compare)",
        ),
        (
            "Updating",
            "Results of updated models, in all and by hospital",
            NOTHING,
            "If any was done",
        ),
        (
            "Subgroups and sensitivity analyses",
            "Their results",
            groups,
            NOTHING if material.subgroups_of_patients else "Groups of patients (report(path, subgroups=...))",
        ),
        (
            "Interpretation",
            "Main results with their heterogeneity, against the aims and earlier studies; strengths and "
            "limits",
            "In short; What is not known",
            "Discussion, comparison with earlier models",
        ),
        (
            "Implications",
            "Use of the model and further research, in other settings and populations",
            "In short: where a new hospital is expected" if measured else NOTHING,
            "Discussion",
        ),
        (
            "Supplementary resources",
            "Protocol, code, data",
            "Settings, Provenance",
            "Where protocol, code and data can be had",
        ),
        (
            "Funding",
            "Source, and the role of funders",
            NOTHING,
            EVERYTHING,
        ),
    ]
    return [Item(number, *row) for number, row in enumerate(rows, 1)]
