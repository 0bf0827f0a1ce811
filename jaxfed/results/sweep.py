"""The result of a sweep: an xarray Dataset with named axes; tables, the best settings, figures, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.core.metrics.metric import Scoring
from jaxfed.records import ranking as choice
from jaxfed.records import sweep_table as table
from jaxfed.records.history import At
from jaxfed.records.ranking import Best, plain
from jaxfed.storage import netcdf as files

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

Kind = Literal["heatmap", "curves", "parallel"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """A finished (or interrupted) sweep.

    Attributes:
        data: its dimensions are one for each swept field, with the given name (``"algorithm.mu"``), or, if
            the sweep was not a grid, ``config`` with the fields as coordinates along it; then ``round``,
            ``split`` and ``hospital``. Variables: metrics per hospital (fields..., round, split, hospital),
            such as ``auroc``; over all rows together (fields..., round, split), such as ``auroc_pooled``;
            ``diverged`` (fields...), the round in which a configuration diverged, or NaN; ``rounds_done``
            (fields...); ``rows`` (split, hospital).
        config: how the simulation and the sweep were set up.
        provenance: versions, device, time, seconds.
        values: ``{field: {name: value}}`` for fields whose values are no numbers, such as algorithms, which
            ``data`` has by name. They are not saved: a sweep that was loaded has the names alone.
    """

    data: Dataset
    config: dict[str, Any]
    provenance: dict[str, Any]
    values: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = {"diverged", "rounds_done", "rows"} - {*self.data.data_vars}
        missing |= {*table.AXES} - {*self.data.dims}
        if missing or not self.metrics:
            lacks = ", ".join(sorted(missing)) or "metrics"
            raise InvalidInput(f"Sweep: data lacks {lacks}; give what Simulation.sweep gives")
        if table.scoring_of(self.data) is None:
            raise InvalidInput(
                f"Sweep: nothing says what {', '.join(self.metrics)} mean; keep the attribute "
                f"{table.SCORING!r} of the data that Simulation.sweep gives"
            )

    @cached_property
    def fields(self) -> dict[str, np.ndarray]:
        """Swept fields, each with the values it takes."""
        return table.fields_of(self.data)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that every hospital has."""
        return table.metrics_of(self.data)

    @cached_property
    def scoring(self) -> Scoring:
        """The meaning of the metrics."""
        scoring = table.scoring_of(self.data)
        assert scoring is not None, "checked by __post_init__"
        return scoring

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """One row per configuration: its fields, the round in which it diverged or NaN, and rounds done."""
        return table.configurations(self.data)

    @property
    def loss(self) -> str:
        """The column by which the best settings are chosen by default: the loss over all rows."""
        return self.scoring.loss + table.POOLED

    @property
    def primary(self) -> str:
        """The metric that reports show besides the loss."""
        return self.scoring.first

    def to_frame(self) -> pd.DataFrame:
        """One row per configuration, evaluated round and split.

        Columns: the number of the configuration, its fields, ``round``, ``split``; for each metric the mean
        over hospitals, weighted by rows, sd, worst, 10th percentile (of the bad side), best, how many
        hospitals have none, and over all rows pooled; ``diverged`` and ``rounds_done``. From the round in
        which a configuration diverged, its metrics are NaN.
        """
        return self._frame.copy()

    def best(self, metric: str | None = None, by: str = "validation", at: At = "last") -> Best:
        """The best settings: chosen on validation rows, to be reported on test rows.

        If the seed is a field, settings are judged by the mean over their seeds that did not diverge, and
        settings with fewer diverged seeds precede all others, whatever those score: so settings that
        sometimes diverge do not win because only their good seeds are left.
        ``sim.replace(**sweep.best().settings)`` is the simulation with the best settings.

        Args:
            metric: any metric's column of :meth:`to_frame`, such as ``"auroc"`` (mean over hospitals) or
                ``"auroc_worst"``; None for the loss over all rows. Its name says whether more is better.
            by: the split to choose on; never ``"test"``.
            at: after the ``"last"`` round, or each setting at its ``"best"`` round (early stopping).

        Raises:
            InvalidInput: the metric or split is unknown, ``by="test"``, or all configurations diverged.
        """
        metric = metric or self.loss
        choice.check_choice(metric, by, self._frame)
        return choice.best_of(self._frame, [*self.fields], self.scoring, metric, by, at, self.values)

    def ranking(self, metric: str | None = None, by: str = "validation", at: At = "last") -> pd.DataFrame:
        """All settings, best first: a table with the rule and the arguments of :meth:`best`.

        Columns: the fields without the seed, ``round``, the metric on that split and on test rows (mean over
        the seeds that did not diverge), its sd over these seeds, their number (``seeds``), and the number of
        seeds that diverged or were stopped (``dead``).
        """
        metric = metric or self.loss
        choice.check_choice(metric, by, self._frame)
        return choice.ranking(self._frame, [*self.fields], self.scoring, metric, by, at)

    def plot(
        self,
        metric: str | None = None,
        split: str | None = None,
        *,
        kind: Kind | None = None,
        x: str | None = None,
        y: str | None = None,
    ) -> Figure:
        """A heat map of two fields, curves with a band over seeds, or parallel coordinates.

        Args:
            metric: any metric's column of :meth:`to_frame`; None for the loss over all rows.
            split: which rows are shown; None for validation rows. The settings marked as best are chosen on
                validation rows in any case.
            kind: None to choose by the number of fields besides the seed: curves for at most one, a heat map
                for two, parallel coordinates for more.
            x, y: fields of the heat map; None for the first two. Each cell shows the best of all other
                fields.
        """
        from jaxfed.figures.sweeps import sweep_figure

        metric, split = metric or self.loss, split or self._split
        return sweep_figure(self._frame, self.fields, self.scoring, metric, split, kind, x, y)

    def save(self, path: str | Path) -> Path:
        """Write a netCDF file (``path`` ends in ``.nc``), or a folder with it, tables and a figure."""
        target = Path(path)
        if target.suffix == ".nc":
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write(target, self.data, [*self.fields], self.config, self.provenance)
            return target
        from jaxfed.figures.runs import save_figure

        target.mkdir(parents=True, exist_ok=True)
        files.write(target / files.NAME, self.data, [*self.fields], self.config, self.provenance)
        self._frame.to_csv(target / "rounds.csv", index=False)
        self.configurations.to_csv(target / "configurations.csv", index=False)
        save_figure(self.plot(), target / "sweep.png")
        return target

    @classmethod
    def load(cls, path: str | Path) -> Sweep:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            InvalidInput: the file is not a sweep, or has another format.
        """
        return cls(*files.read(Path(path)))

    @property
    def dead(self) -> int:
        """The number of configurations that diverged."""
        return int(self.configurations["diverged"].notna().sum())

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return table.tidy(self.data, self.scoring)

    @property
    def _split(self) -> str:
        """The validation split if it was evaluated, else the last split."""
        splits = [str(name) for name in self.data["split"].to_numpy()]
        return "validation" if "validation" in splits else splits[-1]

    def _best(self) -> Best | None:
        """The best settings, or None if no configuration can be chosen."""
        try:
            return self.best()
        except InvalidInput:
            return None

    def __repr__(self) -> str:
        best = self._best()
        chosen = f"; {best!r}" if best else ""
        return f"Sweep({self._size()}; {self._extent()}{chosen}{self._seconds()})"

    def _repr_html_(self) -> str:
        best = self._best()
        rows = [
            {
                "field": name,
                "values": len(values),
                "from ... to": ", ".join(map(str, _few(values))),
                "best": "" if best is None else best.names.get(name, "all of them"),
            }
            for name, values in self.fields.items()
        ]
        text = pd.DataFrame(rows).to_html(index=False, border=0)
        if best:
            text += (
                f"best on {best.by} rows by {choice.label(best.metric, self.scoring)}: "
                f"{best.validation:.4g}; on test rows {best.test:.4g}, "
                f"{choice.label(self.primary, self.scoring)} {best.value(self.primary):.4g}, {best.counted()}"
            )
        return f"<b>Sweep</b> of {self._size()}; {self._extent()}{self._seconds()}{text}"

    def _size(self) -> str:
        sizes = [f"{name} ({len(values)})" for name, values in self.fields.items()]
        between = ", " if table.CONFIG in self.data.dims else " x "
        return f"{len(self.configurations)} configurations of {between.join(sizes)}"

    def _extent(self) -> str:
        rounds, hospitals = int(self.data["round"].to_numpy()[-1]), self.data.sizes["hospital"]
        stopped = int((self.configurations["rounds_done"] < rounds).sum()) - self.dead
        early = f", {stopped} stopped before" if stopped else ""
        return f"{rounds} rounds{early}, {hospitals} hospitals, {self.dead or 'none'} diverged"

    def _seconds(self) -> str:
        seconds = self.provenance.get("seconds")
        return "" if seconds is None else f"; {seconds:.1f} s"


def _few(values: np.ndarray) -> list[Any]:
    """All values, or the first and the last of many."""
    shown = [plain(value) for value in values]
    return shown if len(shown) <= 6 else [*shown[:2], "...", shown[-1]]
