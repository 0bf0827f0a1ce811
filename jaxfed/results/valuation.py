"""What each hospital is worth to the federation, beside its size and how much its labels differ."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.storage.results import results_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Valuation:
    """The values of C hospitals; S seeds, P random orders (1 if all coalitions were measured).

    Attributes:
        method: how they were measured.
        metric, label: the column of a sweep's table, and its text.
        split: the rows on which it was measured.
        values: ``[S, P, C]``, positive where the hospital improves the metric.
        total: what training of all improves the metric by, against a model before training; Shapley values
            sum to it.
        sizes: one row per hospital: ``train_rows``, ``share_of_rows``, and with classes ``prevalence``
            (binary) and ``label_shift``, the distance of its label shares from those of all rows.
        coalitions: one row per coalition: whether each hospital belongs to it, and ``utility``, the metric as
            measured, mean over seeds. Of ``"gradient-shapley"`` that of the last round.
        by_round: a row per round and a column per hospital for ``"gradient-shapley"``, else None.
        config: how the simulation was set up.
        seconds: of all work.
    """

    method: str
    metric: str
    label: str
    split: str
    values: np.ndarray
    total: float
    sizes: pd.DataFrame
    coalitions: pd.DataFrame
    by_round: pd.DataFrame | None
    config: dict[str, Any]
    seconds: float

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per hospital, the largest value first.

        ``value``, the mean over seeds and orders; ``standard_error`` of that mean over random orders, or over
        seeds if all coalitions were measured (NaN with one); ``share`` of the sum of all values; then
        :attr:`sizes`.
        """
        mean = self.values.mean((0, 1))
        orders = self.values.shape[1]
        each = self.values.mean(0) if orders > 1 else self.values[:, 0]
        error = np.full(len(mean), np.nan)
        if len(each) > 1:
            error = each.std(0, ddof=1) / np.sqrt(len(each))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = mean / mean.sum()
        table = self.sizes.copy()
        for place, (name, column) in enumerate(
            {"value": mean, "standard_error": error, "share": share}.items()
        ):
            table.insert(place, name, column)
        return table.sort_values("value", ascending=False)

    def plot(self) -> Figure:
        """Values with standard errors, and values against size, coloured by label shift."""
        from jaxfed.figures.valuation import valuation_figure

        return valuation_figure(self.table, self.label, f"{self.method}, {self.split} rows")

    def save(self, path: str | Path) -> Path:
        """Write a folder with the tables and the figure."""
        from jaxfed.figures.runs import save_figure

        folder = results_folder(path, "rounds.csv")
        self.table.to_csv(folder / "values.csv")
        self.coalitions.to_csv(folder / "coalitions.csv", index=False)
        if self.by_round is not None:
            self.by_round.to_csv(folder / "rounds.csv")
        save_figure(self.plot(), folder / "values.png")
        return folder

    def _text(self) -> str:
        table = self.table
        first, last = table.index[0], table.index[-1]
        return (
            f"{self.method} values of {len(table)} hospitals by {self.label} on {self.split} rows: most "
            f"{first} {table['value'].iloc[0]:+.4f}, least {last} {table['value'].iloc[-1]:+.4f}; training "
            f"of all improves it by {self.total:+.4f}; {int((table['value'] < 0).sum())} values are negative"
        )

    def __repr__(self) -> str:
        return f"Valuation({self._text()})"

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(self._text())}</p>" + self.table.to_html(
            float_format="{:.4f}".format, border=0
        )
