"""What the best possible model would score on generated data, per hospital and pooled.

With the true risks ``p`` known, the expected log loss and Brier score of the model that predicts
them are ``mean -(p log p + (1-p) log(1-p))`` and ``mean p (1-p)``, and its expected AUROC is

    sum_{i != j} p_i (1-p_j) [1(p_i > p_j) + .5 1(p_i = p_j)]  /  sum_{i != j} p_i (1-p_j).

With several classes ``p`` is ``[n, K]``: log loss ``mean -sum_k p_k log p_k``, Brier score
``mean sum_k p_k (1-p_k)``, and ``mean max_k p_k`` is the expected accuracy. Of times until an event the
expected concordance is that of the true log hazard ratios.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.errors import InvalidInput, did_you_mean

POOLED = "(pooled)"
MOST = 4000  # quantiles that stand for more patients than that in a sum over pairs


def truth_table(dataset: Dataset, split: str | None = None) -> pd.DataFrame:
    """Bayes-optimal scores of a dataset that carries ``truth["p"]``.

    Where labels are recorded with errors, they are those against the recorded labels, of somebody who knows
    ``truth["p_observed"]``.

    Args:
        dataset: as from :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr`.
        split: ``"train"``, ``"validation"``, ``"test"``, or None for all rows.

    Returns:
        One row per hospital and a last row ``(pooled)``; columns ``n``, ``prevalence`` (of the
        labels), ``risk`` (mean p), ``log_loss`` (nats), ``brier``, ``auroc``; with several classes ``n``,
        ``log_loss``, ``brier`` and ``accuracy``; with times ``n``, ``events`` and ``concordance``. NaN where
        undefined.

    The pooled AUROC sees differences between hospitals that no hospital sees in itself: raising
    ``s_a`` raises it while the hospitals' own hardly move. Report both.

    Raises:
        InvalidInput: no ``truth["p"]``, or an unknown split.
    """
    if "p" not in dataset.truth:
        raise InvalidInput(
            f"truth_table: dataset {dataset.name!r} has no truth['p']; only generated data know it"
        )
    if split is not None and split not in SPLITS:
        raise InvalidInput(f"truth_table: split={split!r}; {did_you_mean(split, SPLITS)}")
    used = np.ones(len(dataset.y), bool) if split is None else dataset.split == SPLITS.index(split)
    p, y = np.asarray(dataset.truth.get("p_observed", dataset.truth["p"]), float), dataset.y
    scores: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    scores = _scores if p.ndim == 1 else _scores_of_classes
    if dataset.task.survival:
        p, y, scores = np.asarray(dataset.truth["eta"], float), y[:, 1], _scores_of_times
    rows = [
        scores(p[a:b][used[a:b]], y[a:b][used[a:b]])
        for a, b in zip(dataset.start, dataset.start + dataset.size, strict=True)
    ]
    rows.append(scores(p[used], y[used]))
    table = pd.DataFrame(rows, index=pd.Index([*dataset.hospitals, POOLED], name="hospital"))
    return table.astype({"n": int})


def oracle_auroc(p: np.ndarray) -> float:
    """Expected AUROC of the true risks ``p [n]``; NaN where no pair can differ. O(n log n)."""
    _, group = np.unique(p, return_inverse=True)
    positive, negative = np.bincount(group, p), np.bincount(group, 1 - p)
    below = np.cumsum(negative) - negative
    same = float(p @ (1 - p))
    pairs = float(p.sum() * (1 - p).sum()) - same
    if len(p) < 2 or pairs <= 0:
        return float("nan")
    return (float(positive @ (below + 0.5 * negative)) - 0.5 * same) / pairs


def oracle_concordance(eta: np.ndarray, censored: bool = True) -> float:
    """Expected concordance (Harrell's C) of the true log hazard ratios ``eta [n]``; NaN below two patients.

    Of a pair the event of i comes first with probability ``e_i / (e_i + e_j + c)``, ``e = exp(eta)``, where
    c is 2 with the censoring of :func:`~jaxfed.data.ehr.survival.synthetic_survival` (a hazard of 1 for each
    of the two) and 0 without any. The expectations of concordant and of comparable pairs are added up over
    all pairs; of more than 4,000 patients over those of 4,000 quantiles.
    """
    e = np.exp(np.sort(np.asarray(eta, float)))
    if e.ndim != 1:
        raise InvalidInput(f"oracle_concordance: eta has shape {e.shape}; give [n]")
    if len(e) > MOST:
        e = e[np.round(np.linspace(0, len(e) - 1, MOST)).astype(int)]
    concordant = comparable = 0.0
    for i in range(len(e) - 1):
        later = e[i + 1 :]
        seen = 1 / (e[i] + later + 2 * censored)
        comparable += float((seen * (e[i] + later)).sum())
        concordant += float((seen * np.where(later > e[i], later, (e[i] + later) / 2)).sum())
    return concordant / comparable if len(e) > 1 else float("nan")


def _scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    if not len(p):
        nan = float("nan")
        return {"n": 0, "prevalence": nan, "risk": nan, "log_loss": nan, "brier": nan, "auroc": nan}
    return {
        "n": len(p),
        "prevalence": float(y.mean()),
        "risk": float(p.mean()),
        "log_loss": float((_surprise(p) + _surprise(1 - p)).mean()),
        "brier": float((p * (1 - p)).mean()),
        "auroc": oracle_auroc(p),
    }


def _scores_of_classes(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    if not len(p):
        nan = float("nan")
        return {"n": 0, "log_loss": nan, "brier": nan, "accuracy": nan}
    return {
        "n": len(p),
        "log_loss": float(_surprise(p).sum(1).mean()),
        "brier": float((p * (1 - p)).sum(1).mean()),
        "accuracy": float(p.max(1).mean()),
    }


def _scores_of_times(eta: np.ndarray, event: np.ndarray) -> dict[str, float]:
    return {"n": len(eta), "events": float(event.sum()), "concordance": oracle_concordance(eta)}


def _surprise(p: np.ndarray) -> np.ndarray:
    """``-p log p``, 0 at p = 0: the smallest float in its place gives that without a warning."""
    return -p * np.log(np.maximum(p, np.finfo(float).tiny))
