"""Hospitals whose labels look exchanged: features point the other way there than in all others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.finding import Finding
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named, rows_of

ENOUGH = 20  # patients of each class
FAR = 6.0  # standard errors, of correlated features too


def find(survey: Survey) -> Iterator[Finding]:
    """Hospitals where the mean differences between the classes are those of the others with the other sign.

    With ``d_h`` the differences in means over the pooled deviations and ``d`` those of the other hospitals,
    ``t_h = d_h . d / |d|`` is about ``|d|`` in a hospital like the others and ``-|d|`` in an exchanged one;
    its standard error is ``sqrt(1 / n_1 + 1 / n_0)`` for features that do not go together.
    """
    labels = survey.labels
    if labels.kind != "binary" or not survey.x.shape[1] or len(survey.size) < 2:
        return
    usable = np.array([np.ptp(v[np.isfinite(v)]) > 0 if np.isfinite(v).any() else False for v in survey.x.T])
    if not usable.any():
        return
    sums = [_sums(survey, labels.y == k) for k in (0, 1)]
    count = np.stack([survey.count(labels.y == k) for k in (0, 1)])  # [2, C]
    deviation = np.nanstd(survey.x[:, usable], axis=0)
    means = [np.divide(s, n, out=np.zeros(s.shape), where=n > 0)[:, usable] for s, n in sums]
    difference = (means[1] - means[0]) / deviation  # [C, d]
    enough = (count >= ENOUGH).all(0)
    weight = np.where(enough, survey.size, 0)[:, None]
    whole = (weight * difference).sum(0)
    exchanged = []
    for c in np.flatnonzero(enough):
        rest = weight.sum() - weight[c]
        if not rest:
            continue
        others = (whole - weight[c] * difference[c]) / rest
        length = np.linalg.norm(others)
        projection = difference[c] @ others / max(length, 1e-12)
        if projection < -0.5 * length and projection < -FAR * np.sqrt((1 / count[:, c]).sum()):
            exchanged.append(int(c))
    if exchanged and 2 * len(exchanged) < enough.sum() + 1:
        column = survey.label
        zero, one = labels.levels[:2]
        change = {zero: one, one: zero} if labels.text else {int(zero): int(one), int(one): int(zero)}
        yield Finding(
            "labels exchanged", "problem",
            f"in {hospitals_text(survey, exchanged)} all features point to the other class than elsewhere: "
            f"are {zero!r} and {one!r} exchanged there?",
            (column,), named(survey, exchanged), str(len(exchanged)),
            statement=f"df[{column!r}] = df[{column!r}].mask({rows_of(survey, exchanged)}, "
            f"df[{column!r}].replace({change!r}))",
        )  # fmt: skip


def _sums(survey: Survey, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[C, d]`` sums of the values of rows in ``mask``, and how many there are."""
    owner, x = survey.owner[mask], survey.x[mask]
    known = np.isfinite(x)
    sums = [
        np.bincount(owner, np.where(k, v, 0), len(survey.size)) for v, k in zip(x.T, known.T, strict=True)
    ]
    counts = [np.bincount(owner, k, len(survey.size)) for k in known.T]
    return np.stack(sums, 1), np.stack(counts, 1)
