"""A run in words: its result in one sentence, a short table of HTML, and what went wrong."""

from __future__ import annotations

from typing import Any

from jaxfed.records.history import History

Run = Any  # jaxfed.results.run.Run, whose module imports this one


def text(run: Run) -> str:
    """The metric of the best round, and what it took."""
    row = run.summary()
    metric, split = run.history.primary, run.history.splits[-1]
    positive = f"positive class {run.history.positive}, " if run.history.positive else ""
    return (
        f"Run({run.name}: {len(run.history.hospitals)} hospitals, {positive}{run.history.at()}: "
        f"{split} {metric} mean {row[metric]:.3f}, worst {row[f'{metric}_worst']:.3f}, "
        f"pooled {row[f'{metric}_pooled']:.3f}; {run.trouble()}{_seconds(run.provenance)}"
        + (")" if run.privacy is None else f"; {run.privacy.short()})")
    )


def html(run: Run) -> str:
    """The same as HTML, with the first, the best and the last evaluation."""
    frame = run.to_frame()
    split, metric = run.history.splits[-1], run.history.primary
    frame = frame[frame["split"] == split].iloc[[*dict.fromkeys([0, run.history.chosen(), -1])]]
    second = run.history.scoring.loss
    columns = ["round", metric, f"{metric}_worst", f"{metric}_best", f"{metric}_pooled", second]
    columns = [*dict.fromkeys(columns)]
    positive = f"positive class {run.history.positive}; " if run.history.positive else ""
    table = frame[columns].to_html(index=False, float_format="{:.3f}".format, border=0)
    return (
        f"<b>{run.name}</b>, {len(run.history.hospitals)} hospitals, {split}; {positive}"
        f"{run.history.at()}; {run.trouble()}{_seconds(run.provenance)}{table}"
        + ("" if run.privacy is None else f"<pre>{run.privacy}</pre>")
    )


def trouble(history: History) -> str:
    """See :meth:`jaxfed.Run.trouble`."""
    training = history.training
    counts = {"hospitals have no training rows, hence no model and no metrics": history.without_model()}
    if training:
        counts |= {
            "uploads were not finite and left out": int(training["rejected"].sum()),
            "new models were not finite and left out": int(history.refused.sum()),
            "rounds had no hospital": int((~training["present"].any(axis=1)).sum()),
        }
    return "".join(f"{number} {what}; " for what, number in counts.items() if number)


def _seconds(provenance: dict[str, Any]) -> str:
    return (
        f"{1e3 * provenance['seconds_per_round']:.1f} ms per round, "
        f"{provenance['compile_seconds']:.1f} s compiling"
    )
