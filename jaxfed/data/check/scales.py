"""Features far from 1, with which steps of usual size do not train a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.finding import Finding
from jaxfed.data.check.roles import roles_of
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import columns_text
from jaxfed.data.notices import FAR


def find(survey: Survey) -> Iterator[Finding]:
    """A finding that names the features; the typical size is the median of their absolute values."""
    known = np.isfinite(survey.x).any(0)
    size = np.zeros(survey.x.shape[1])
    size[known] = np.nanmedian(np.abs(survey.x[:, known]), axis=0)
    others = roles_of(survey)
    large = [
        survey.features[j] for j in np.argsort(-size) if size[j] > FAR and survey.features[j] not in others
    ]
    if large:
        yield Finding(
            "scales", "note",
            columns_text(large, "is far from 1 in size", "are far from 1 in size")
            + ": a model needs features of mean 0 and deviation 1 (jaxfed run --data does that)",
            tuple(large), (), str(len(large)),
            statement="hospitals = jaxfed.data.standardize(hospitals)", option="--standardize federated",
        )  # fmt: skip
