"""Missing values: how many, columns that some hospitals never measure, columns that are mostly empty."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.finding import Finding, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import columns_text, hospitals_text, named

MOSTLY = 0.5  # of all values


def find(survey: Survey) -> Iterator[Finding]:
    """Findings about missing values."""
    gone = np.isnan(survey.x)
    empty = gone.all(0)
    if not (gone & ~empty).any():
        return
    never = [
        (c, int(j))
        for c in range(len(survey.size))
        for j in np.flatnonzero(gone[survey.rows(c)].all(0) & ~empty)
    ]
    lacking = sorted({j for _, j in never})
    if never:
        sites = sorted({c for c, _ in never})
        columns = [survey.features[j] for j in lacking]
        yield Finding(
            "not measured", "caution",
            columns_text(columns, "has", "have") + f" no value in {hospitals_text(survey, sites)}: a flag "
            "tells the model what was never measured there, other ways of imputing do not",
            tuple(columns), named(survey, sites), str(len(sites)), arguments={"impute": "flag"},
        )  # fmt: skip
    share = gone.mean(0)
    mostly = [survey.features[j] for j in np.flatnonzero((share > MOSTLY) & ~empty)]
    if mostly:
        yield Finding(
            "mostly missing", "caution",
            columns_text(mostly, "is", "are") + f" missing in more than {MOSTLY:.0%} of the rows",
            tuple(mostly), (), str(len(mostly)), arguments=dropping(survey, mostly),
        )  # fmt: skip
    some = [survey.features[j] for j in np.flatnonzero(gone.any(0) & ~empty)]
    part = gone[:, ~empty].mean()
    told = "less than 1 %" if part < 0.01 else f"about {part:.0%}"
    yield Finding(
        "missing values", "note",
        f"{told} of the values are missing, in {columns_text(some, '', '').strip()}; training needs a "
        "number for each",
        tuple(some), (), str(len(some)), arguments={"impute": "flag" if never else "median"},
    )  # fmt: skip
