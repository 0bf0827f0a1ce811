"""The benchmark of aggregators: every rule under every attack on every kind of hospitals, as whole runs.

All runs on hospitals of the same shape are one sweep and one compiled program. Each rule's own numbers are
chosen on validation rows against its worst attack; everything that is reported is of test rows. Only honest
hospitals are scored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optax
import pandas as pd

from jaxfed.algorithms import FedAvg
from jaxfed.bench import report, tables
from jaxfed.bench.catalogue import FULL, Grid
from jaxfed.bench.cells import Cells, cells_of, check, defences_of, families, settings_of
from jaxfed.bench.dissimilarity import Dissimilarity, dissimilarity
from jaxfed.core.errors import InvalidInput, spelled
from jaxfed.core.optimizer import optimizer
from jaxfed.models import logistic, mlp
from jaxfed.runtime.provenance import provenance
from jaxfed.spec.checks import check_spec
from jaxfed.spec.spec import Spec
from jaxfed.sweep.run import sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_SKILL = {"auroc": 0.5}  # what a diverged model counts as; else a guess among the classes
WITHIN = 0.03  # a defence holds if it loses at most this to the mean without attackers


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """The results.

    Attributes:
        grid: what was compared.
        rounds: a row for each run and evaluation: ``setting, rule, before, numbers, attack, seed, round``;
            ``score`` (mean over honest hospitals of the metric on test rows), ``worst`` (the worst honest
            hospital that has the metric), ``validation`` (log loss over honest validation rows),
            ``diverged``.
        metric: the metric of each setting.
        measured: heterogeneity and breakdown bound of each setting.
        impossible: defences that cannot work with so few hospitals, and why.
        provenance: versions, device, time, seconds.
    """

    grid: Grid
    rounds: pd.DataFrame
    metric: dict[str, str]
    measured: dict[str, Dissimilarity]
    impossible: dict[str, str]
    provenance: dict[str, Any]

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """The rows of :attr:`rounds` with each rule's chosen numbers, and ``defence``, its name."""
        return tables.chosen(self.rounds)

    @cached_property
    def final(self) -> pd.DataFrame:
        """A row for each setting, defence and attack, after the last round: means and sd over seeds."""
        return tables.final(self.chosen, WITHIN)

    @cached_property
    def worst_cases(self) -> pd.DataFrame:
        """A row for each setting and defence: what it costs without attackers, and its worst attack."""
        return tables.worst_cases(self.final, WITHIN)

    @property
    def summary(self) -> list[str]:
        """The result in plain words, a sentence or two for each setting."""
        return tables.summary(self.worst_cases, self.measured, self.grid, WITHIN)

    def plot(self, kind: str = "heatmap") -> Figure:
        """A figure.

        Args:
            kind: ``"heatmap"``, rule x attack; ``"curves"``, convergence with bands; ``"cost"``, what
                robustness costs without attackers.

        Raises:
            InvalidInput: another kind.
        """
        from jaxfed.figures import robustness

        kinds = {
            "heatmap": lambda: robustness.heatmaps(self.final, self.metric),
            "curves": lambda: robustness.curves(self.chosen, self.metric),
            "cost": lambda: robustness.costs(self.worst_cases, self.metric),
        }
        if kind not in kinds:
            raise InvalidInput(f"plot: kind={kind!r}; give one of {[*kinds]}")
        return kinds[kind]()

    def save(self, folder: str | Path) -> Path:
        """Write tables (CSV, JSON), figures (PNG, SVG) and one self-contained page, ``report.html``."""
        written = {"rounds": self.chosen, "final": self.final, "worst": self.worst_cases}
        figures = {kind: self.plot(kind) for kind in report.FIGURES}
        whole = (self.summary, self.metric, self.measured, self.impossible, self.provenance, self.record())
        return report.write(report.Contents(self.grid, written, figures, *whole), Path(folder))

    def record(self) -> dict[str, Any]:
        """Everything but the curves as plain text and numbers."""
        return {
            "grid": dataclasses.asdict(self.grid),
            "provenance": self.provenance,
            "metric": self.metric,
            "measured": {
                name: dataclasses.asdict(d) | {"bound": d.share} for name, d in self.measured.items()
            },
            "impossible": self.impossible,
            "summary": self.summary,
            "worst cases": json.loads(self.worst_cases.to_json(orient="records")),
            "final": json.loads(self.final.to_json(orient="records")),
        }

    def __repr__(self) -> str:
        runs = len(self.rounds.drop_duplicates(["setting", "rule", "before", "numbers", "attack", "seed"]))
        lines = "\n".join(f"- {sentence}" for sentence in self.summary)
        return f"Benchmark({runs} runs in {self.provenance['seconds']:.0f} s)\n{lines}"

    def _repr_html_(self) -> str:
        points = "".join(f"<li>{sentence}</li>" for sentence in self.summary)
        return f"<ul>{points}</ul>{tables.shown(self.worst_cases).to_html(index=False, border=0)}"


@spelled
def aggregators(
    *,
    rules: Sequence[str] | None = None,
    before: Sequence[str] | None = None,
    attacks: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    hospitals: int | None = None,
    malicious: float | None = None,
    rounds: int | None = None,
    eval_every: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    momentum: float | None = None,
    hidden: int | None = None,
    full: bool = False,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Benchmark:
    """Compare aggregators under attacks and heterogeneity.

    Where None is given it is that of :class:`~jaxfed.bench.Grid`, which takes about 3 minutes on 2 cores, or
    with ``full`` that of ``jaxfed.bench.FULL``: everything but two rules, SMEA and MDA, that take very long.

    Args:
        rules: names of rules, ``"mean"`` among them.
        before: names of pre-aggregators; ``"none"`` is to go without.
        attacks: names of attacks, ``"none"`` among them.
        settings: names of kinds of hospitals.
        hospitals: how many.
        malicious: the share of the hospitals that are.
        rounds: communication rounds.
        eval_every: rounds between evaluations.
        seeds: how many, from 0.
        steps: local steps in a round.
        batch_size: rows of a step; None for all of a hospital.
        momentum: beta of the momentum in hospitals (:class:`~jaxfed.transforms.Momentum`); 0 for none.
        hidden: width of the hidden layer; 0 for logistic regression.
        full: whether to compare everything but SMEA and MDA, with 5 seeds.
        checkpoint: a folder; the same call goes on where it was cut.
        progress: show a progress bar.

    Raises:
        InvalidInput: lists everything that is wrong, before anything is compiled.
        CheckpointError: the folder is of another benchmark.
        KeyboardInterrupt: it was interrupted; what is done is in the checkpoint.
    """
    grid = grid_of(
        full, rules=rules, before=before, attacks=attacks, settings=settings, hospitals=hospitals,
        malicious=malicious, rounds=rounds, eval_every=eval_every, seeds=seeds, steps=steps,
        batch_size=batch_size, momentum=momentum, hidden=hidden,
    )  # fmt: skip
    frames, metric, measured = [], {}, {}
    impossible: dict[str, str] = {}
    seconds = compiling = 0.0
    for number, family in enumerate(families(settings_of(grid))):
        cells = cells_of(grid, family)
        spec = spec_of(cells, grid)
        folder = None if checkpoint is None else Path(checkpoint) / str(number)
        result = sweep(
            spec,
            cells.fields,
            grid.rounds,
            mode="zip",
            eval_every=grid.eval_every,
            checkpoint=folder,
            keep=2,
            progress=progress,
        )
        done = np.where(np.isnan(result.data["diverged"]), result.data["rounds_done"], grid.rounds)
        if (done < grid.rounds).any():
            how = "the same call goes on" if checkpoint else "give checkpoint=folder to be able to go on"
            raise KeyboardInterrupt(f"{int((done == grid.rounds).sum())} of {len(done)} runs are done; {how}")
        frames.append(tables.rounds(result.data, cells.frame, family, result.primary, floor_of(spec)))
        seconds, compiling = (
            seconds + result.provenance["seconds"],
            compiling + result.provenance["compile_seconds"],
        )
        impossible |= defences_of(grid, family[0])[1]
        for setting in family:
            metric[setting.name] = result.primary
            measured[setting.name] = dissimilarity(
                dataclasses.replace(spec, hospitals=setting.hospitals), setting.honest
            )
    origin = {**provenance(), "seconds": seconds, "compile_seconds": compiling}
    order = {name: i for i, name in enumerate(grid.settings)}
    table = pd.concat(frames, ignore_index=True)
    table = table.sort_values("setting", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return Benchmark(grid, table, metric, measured, impossible, origin)


def grid_of(full: bool = False, **given: Any) -> Grid:
    """The grid with the fields that are not None, checked.

    Raises:
        InvalidInput: lists everything that is wrong with it.
    """
    changes: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None
    }
    grid = dataclasses.replace(FULL if full else Grid(), **changes)
    check(grid)
    return grid


def spec_of(cells: Cells, grid: Grid) -> Spec:
    """The simulation of the benchmark; hospitals and aggregator are those of the first run."""
    spec = Spec(
        cells.hospitals[0],
        model=mlp(grid.hidden) if grid.hidden else logistic(),
        algorithm=FedAvg(weighting="uniform"),  # most rules ignore weights, so the mean does too
        client_optimizer=optimizer(optax.sgd, learning_rate=0.3),
        steps=grid.steps,
        batch_size=grid.batch_size,
        aggregator=cells.chains[0],
    )
    check_spec(spec)
    return spec


def floor_of(spec: Spec) -> float:
    """The metric of a model that knows nothing."""
    classes = max(len(spec.hospitals.classes), 2)
    return NO_SKILL.get(spec.hospitals.task.scoring.first, 1 / classes)
