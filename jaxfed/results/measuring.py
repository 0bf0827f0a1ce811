"""Makes the performance of a run: checks what was asked, chooses the threshold, computes the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.metrics.metric import Metric, as_metric
from jaxfed.evaluation.tables import Table, estimates_of, table_of
from jaxfed.evaluation.thresholds import RULES, choose_threshold, histogram
from jaxfed.records.predictions import Predictions, with_model
from jaxfed.results.performance import Performance
from jaxfed.runtime.cache import keep_compiled_programs

if TYPE_CHECKING:
    from jaxfed.records.history import History

GOALS = {"youden": "largest Youden index", "f1": "largest F1"}


def performance_of(
    name: str,
    history: History,
    predictions: Predictions,
    split: str = "test",
    threshold: float | str | None = None,
    minimum_events: int = 5,
    level: float = 0.95,
    metrics: Mapping[str, Metric | Callable[..., Any]] | None = None,
) -> Performance:
    """See :meth:`jaxfed.Run.performance`."""
    keep_compiled_programs()
    users = {name: as_metric(metric) for name, metric in (metrics or {}).items()}
    table = table_of(predictions.task, predictions.meaning)
    _check(table, predictions, history, split, threshold, minimum_events, level, users)
    p = predictions.of(split)
    chosen, source = float("nan"), ""
    if table.two_classes:
        chosen, source = _threshold(predictions, threshold)
    kept, H = with_model(p), len(p.hospitals)
    given = (table, users, kept.outputs, kept.y, kept.owner, H)
    estimates, marks = estimates_of(*given, threshold=chosen, level=level)
    return Performance(
        name=name,
        split=split,
        round=history.at(),
        predictions=p,
        sizes=history.rows.sum(1),
        positive=history.positive,
        threshold=chosen,
        threshold_from=source,
        minimum_events=int(minimum_events),
        level=float(level),
        table=table.extended(users),
        users=users,
        estimates=estimates,
        marks=marks,
    )


def _check(
    table: Table,
    predictions: Predictions,
    history: History,
    split: Any,
    threshold: Any,
    minimum_events: Any,
    level: Any,
    users: Mapping[str, Metric],
) -> None:
    problems = Problems("performance")
    splits = [s for s in history.splits if s != "train"]
    problems.check(split in splits, f"split={split!r}: {did_you_mean(split, splits)}")
    number = isinstance(level, float | np.floating) and bool(0 < level < 1)
    problems.check(number, f"level={level!r}: give a number between 0 and 1, such as 0.95")
    whole = isinstance(minimum_events, int | np.integer) and not isinstance(minimum_events, bool)
    problems.check(
        whole and minimum_events >= 1, f"minimum_events={minimum_events!r}: give a whole number, at least 1"
    )
    share = isinstance(threshold, int | float | np.number) and 0 < float(threshold) < 1
    if threshold is not None and not table.two_classes:
        problems.add(
            f"threshold={threshold!r}: the task is {predictions.task!r}, which has none; leave it out"
        )
    elif not (threshold is None or share or threshold in RULES):
        problems.add(
            f"threshold={threshold!r}: give a probability between 0 and 1, or one of {', '.join(RULES)}"
        )
    if table.estimates is None and table.trained is None:
        problems.check(
            bool(users),
            f"task {predictions.task!r} is not jaxfed's and has no metrics with intervals; give "
            'metrics={"name": function}, functions of (outputs, y, mask) as for Simulation(metrics=...)',
        )
    taken = [name for name in users if name in table.labels]
    for name in taken:
        problems.add(f"metrics: {name!r} is the name of a metric of the task; give another name")
    problems.raise_if_any()


def _threshold(predictions: Predictions, threshold: float | str | None) -> tuple[float, str]:
    """The threshold and where it comes from."""
    if threshold is not None and not isinstance(threshold, str):
        return float(threshold), "given"
    rule = "youden" if threshold is None else threshold
    rows = predictions.split == 1
    if not rows.any():
        if threshold is not None:
            raise InvalidInput(
                f"performance: threshold={threshold!r} is chosen on validation rows, and none was evaluated; "
                "give a probability"
            )
        return 0.5, "0.5, as there are no validation rows"
    p = with_model(predictions.of("validation"))
    logit, y, owner = p.outputs.reshape(len(p.y)), p.y, p.owner
    counts = histogram(jnp.asarray(logit), jnp.asarray(y), jnp.asarray(owner), len(p.hospitals))
    value = float(choose_threshold(counts.sum(0), rule))
    return value, f"{GOALS[rule]} on validation rows, from the hospitals' counts"
