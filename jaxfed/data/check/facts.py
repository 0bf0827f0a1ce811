"""What the data are, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxfed.data.check.disclosure import total_text
from jaxfed.data.check.survey import Survey


def facts_of(survey: Survey, differences: pd.DataFrame) -> Iterator[str]:
    """Rows and hospitals, labels, and the differences between the hospitals."""
    small = int((~survey.named).sum())
    few = (
        f", {small} of them with fewer than {survey.minimum} patients and without a name here"
        if small
        else ""
    )
    yield f"{total_text(survey.size, survey.minimum)} rows in {len(survey.size)} hospitals{few}"
    if survey.patients is not None:
        yield f"{len(np.unique(survey.patients)):,} patients"
    number, texts = len(survey.features), len(survey.texts)
    yield f"{number} features" + (f", {texts} of them not, or not all, numbers" if texts else "")
    if survey.prepared:
        yield "The features are imputed or standardised already: units and missing values cannot be seen"
    yield _labels(survey)
    for measure, what in (
        ("labels (EMD)", "Labels"),
        ("features", "Features"),
        ("missingness", "Missing values"),
    ):
        if measure in differences.index.get_level_values(0):
            yield _compared(what, differences[differences.index.get_level_values(0) == measure])


def _labels(survey: Survey) -> str:
    labels, y = survey.labels, survey.labels.y
    known = np.isfinite(y)
    if labels.kind == "regression":
        return f"label {survey.label!r}: a real number"
    shown = [level for k, level in enumerate(labels.levels) if not survey.few(y == k)]
    if labels.kind == "multiclass" or len(shown) < 2:
        return f"label {survey.label!r}: {len(shown)} classes" + (f" ({', '.join(shown)})" if shown else "")
    rate = labels.positive.sum() / known.sum()
    return f"label {survey.label!r}: {shown[1]!r} is the positive class, in {100 * rate:.2g} % of the rows"


def _compared(what: str, table: pd.DataFrame) -> str:
    beyond = int(table["beyond_chance"].sum())
    mean, chance = table["seen"].mean(), table["chance"].mean()
    unit = {"Labels": "earth mover's distance", "Features": "standardised mean difference"}.get(
        what, "difference in the share"
    )
    size = f"{unit} {mean:.2f}, by chance {chance:.2f}"
    if len(table) == 1:
        return f"{what} differ between hospitals {'beyond' if beyond else 'no more than by'} chance: {size}"
    return f"{what}: {beyond} of {len(table)} differ between hospitals beyond chance: {size}"
