"""Features that nearly give the label away, in all hospitals or in one: written down after the event."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.finding import Finding, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import columns_text, hospitals_text, named

PERFECT = 0.99  # AUROC of one column, from which no measurement is that good
ELSEWHERE = 0.9  # AUROC in all other hospitals, for a column that gives the label away in some
ALIKE = 0.999  # correlation of ranks with a real label
ENOUGH = 20  # patients of each class, so that chance hardly ever separates them
MOST = 10  # classes, each of which is compared with the rest


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for features that do so everywhere, one for those that do so in some hospitals, and one for
    those that are measured depending on the label."""
    labels = survey.labels
    everywhere, measured = [], []
    somewhere: dict[str, list[int]] = {}
    for name, values in zip(survey.features, survey.x.T, strict=True):
        known = np.isfinite(values) & np.isfinite(labels.y)
        if labels.kind == "regression":
            if known.sum() >= ENOUGH and correlation(values[known], labels.y[known]) >= ALIKE:
                everywhere.append(name)
            continue
        if _separates(values[known], labels.y[known]):
            everywhere.append(name)
            continue
        labelled = np.isfinite(labels.y)
        if not known.all() and _separates(np.isnan(values)[labelled], labels.y[labelled]):
            measured.append(name)
        elif labels.kind == "binary":
            sites = _only_in(survey, values, known)
            somewhere |= {name: sites} if sites else {}
    if everywhere:
        what = "is the label with another name" if labels.kind == "regression" else f"AUROC {PERFECT} or more"
        yield Finding(
            "gives the label away", "problem",
            columns_text(everywhere, "nearly tells", "nearly tell")
            + f" the label alone ({what}): known only after the event?",
            tuple(everywhere), (), str(len(everywhere)), arguments=dropping(survey, everywhere),
        )  # fmt: skip
    if measured:
        yield Finding(
            "gives the label away", "problem",
            "whether " + columns_text(measured, "is missing", "are missing")
            + f" nearly tells the label (AUROC {PERFECT} or more): filled in only after the event?",
            tuple(measured), (), str(len(measured)), arguments=dropping(survey, measured),
        )  # fmt: skip
    for name, sites in somewhere.items():
        yield Finding(
            "gives the label away in one hospital", "problem",
            f"column {name!r} nearly tells the label alone (AUROC {PERFECT} or more) in "
            f"{hospitals_text(survey, sites)}, and not elsewhere: does it mean something else there?",
            (name,), named(survey, sites), str(len(sites)), arguments=dropping(survey, [name]),
        )  # fmt: skip


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has the larger value, ties counting half. Mann and Whitney 1947."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    n, p = len(values), int(positive.sum())
    if p in (0, n):
        return np.nan
    return float((rankdata(values)[positive].sum() - p * (p + 1) / 2) / (p * (n - p)))


def correlation(values: np.ndarray, y: np.ndarray) -> float:
    """Size of the correlation of ranks. Spearman 1904."""
    from scipy.stats import rankdata

    a, b = rankdata(values), rankdata(y)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(a, b)[0, 1]))


def _separates(values: np.ndarray, y: np.ndarray) -> bool:
    """Whether the values separate a class that has enough patients from the rest."""
    classes = np.unique(y)
    if len(classes) > MOST or len(classes) < 2:
        return False
    for k in classes[-1:] if len(classes) == 2 else classes:
        positive = y == k
        if min(positive.sum(), (~positive).sum()) < ENOUGH or not _may_separate(values, positive):
            continue
        area = auroc(values, positive)
        if max(area, 1 - area) >= PERFECT:
            return True
    return False


def _may_separate(values: np.ndarray, positive: np.ndarray) -> bool:
    """Without sorting: half of the positives are below their median, so the area is at most ``(1 + f) / 2``
    where ``f`` is the share of the others below it."""
    middle, others = np.median(values[positive]), values[~positive]
    below = float((others < middle).mean() + (others == middle).mean() / 2)
    return max(below, 1 - below) >= 2 * PERFECT - 1 - 1e-9


def _only_in(survey: Survey, values: np.ndarray, known: np.ndarray) -> list[int]:
    """Hospitals where the values separate the classes, if they do not do nearly so in all others."""
    y, sites = survey.labels.y, []
    for c in range(len(survey.size)):
        rows = survey.rows(c)
        if _separates(values[rows][known[rows]], y[rows][known[rows]]):
            sites.append(c)
    rest = known & ~np.isin(survey.owner, sites)
    if not sites or not 0 < survey.labels.positive[rest].mean() < 1:
        return []
    area = auroc(values[rest], survey.labels.positive[rest])
    return sites if max(area, 1 - area) < ELSEWHERE else []
