"""The record of a run: its metrics, its models and where they come from, and what may be asked of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxfed.core.errors import InvalidInput, spelled
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.types import State, Variables
from jaxfed.records.history import At, History
from jaxfed.records.predictions import Predictions
from jaxfed.records.statement import PrivacyStatement
from jaxfed.results import run_text
from jaxfed.results.detection import Detection, detect
from jaxfed.results.diagnostics import Diagnostics, diagnose
from jaxfed.results.prediction import Inputs, predict
from jaxfed.results.run_files import fields_of_run, save_run
from jaxfed.results.selected import Selected
from jaxfed.results.survival import baseline_at, with_survival

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxfed.results.performance import Performance


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished (or interrupted) run.

    Attributes:
        name: the name of the algorithm, or another name of the run in tables and figures.
        history: metrics per round and hospital, as arrays.
        variables: the global model after the last round; with personal models ``[C, ...]``, one per
            hospital. For algorithms that adapt the model before it is used (FineTuned, PerFedAvg, FedRep)
            it is not yet adapted.
        personal: whether every hospital has its own model.
        config: how the simulation was set up.
        provenance: versions, device, time, seconds.
        inputs: what the model expects and what its outputs mean, for :meth:`predict`; None in files of
            earlier versions.
        state: for ``Simulation.run(resume=...)``; None after :meth:`load`.
        best: the model of the round with the lowest pooled validation loss.
        privacy: what the run guarantees; None without differential privacy.
    """

    name: str
    history: History
    variables: Variables
    personal: bool
    config: dict[str, Any]
    provenance: dict[str, Any]
    best: Selected
    inputs: Inputs | None = None
    state: State | None = None
    privacy: PrivacyStatement | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row per evaluated round and split; see :meth:`History.rounds_frame`."""
        return self.history.rounds_frame()

    def hospitals(self, split: str = "test", at: At = "best") -> pd.DataFrame:
        """One row per hospital: rows, prevalence, and its metrics.

        Args:
            split: which rows.
            at: the round that is ``"best"`` on validation rows (lowest pooled loss), which is that of
                :attr:`best`, or the ``"last"``.
        """
        return self.history.hospitals_frame(split, at)

    def predict(
        self,
        rows: Any,
        model: Any,
        hospital: str | Sequence[str] | None = None,
        *,
        times: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Predictions of the best round's model for new patients, also by a run that was loaded from files.

        Rows are imputed and standardised with the numbers of the training data.

        Args:
            rows: as they are measured: a table with the features' columns (others are ignored), or an array
                ``[n, d]`` (or whatever ``x`` was) in the order of the features.
            model: the model that was trained; parameters are saved, and code is not. ``{group: model}`` if
                hospitals have different ones.
            hospital: the rows' hospital, or a name for each row: needed if hospitals have models of their own
                or were standardised by themselves.
            times: of a Cox model, at which the probability to have had no event is wanted, in the unit of the
                labels.

        Raises:
            InvalidInput: a column is missing, the hospital is unknown, or the algorithm adapts the model to a
                hospital's rows before use; or ``times`` without a Cox model and its baseline.

        Returns:
            A row per patient: a probability for each class, or ``prediction``. With time and event:
            ``risk``, where larger means an earlier event: the log relative hazard, with ``survival at 365``
            for each of the ``times``, by the baseline hazard of all hospitals' training rows (NaN after the
            last of them); or, with a discrete hazard, the cumulative hazard up to the last cut, and the
            probability to survive up to each.
        """
        if self.inputs is None:
            raise InvalidInput("predict: the run was saved by an earlier version; run and save it anew")
        owners = self.history.trainees if self.personal else None
        if times is None:
            return predict(self.inputs, self.best.variables, owners, rows, model, hospital)
        baseline = baseline_at(times, self.inputs.meaning, self.best.baseline)
        table = predict(self.inputs, self.best.variables, owners, rows, model, hospital)
        return with_survival(table, times, baseline)

    @property
    def predictions(self) -> Predictions:
        """Outputs of the best round's models for the evaluated rows, computed when first asked for.

        Raises:
            InvalidInput: the run was saved or copied without them.
        """
        if self.best.predictions is None:
            raise InvalidInput(
                "predictions: the run was saved or copied without them; run it anew, or save it with "
                "run.save(folder, predictions=True)"
            )
        return self.best.predictions

    @spelled
    def performance(
        self,
        split: str = "test",
        *,
        threshold: float | str | None = None,
        minimum_events: int = 5,
        level: float = 0.95,
        metrics: Mapping[str, Metric | Callable[..., Any]] | None = None,
    ) -> Performance:
        """Metrics of the best round's models with intervals: per hospital, pooled and across hospitals.

        Args:
            split: which rows, ``"test"`` or ``"validation"``.
            threshold: a probability from which a row is called positive; ``"youden"`` or ``"f1"`` for the
                best on validation rows, which hospitals' counts alone tell; None for ``"youden"``, or .5 if
                there are no validation rows.
            minimum_events: events and non-events that a hospital needs to count in the worst, the range and
                the random-effects mean.
            level: of the intervals.
            metrics: users' metrics, as ``Simulation(metrics=...)`` takes them; their intervals are
                bootstrapped.

        Raises:
            InvalidInput: lists what is wrong with the arguments; or the run was saved without predictions.
        """
        from jaxfed.results.measuring import performance_of

        return performance_of(
            self.name, self.history, self.predictions, split, threshold, minimum_events, level, metrics
        )

    def detection(self, malicious: Iterable[str] | PerHospital = ()) -> Detection:
        """Which hospitals the rule left out, against those that were malicious.

        Args:
            malicious: names of hospitals, or marks as :func:`jaxfed.attacks.malicious` gives; without them
                the table says whom the rule silences.

        Raises:
            InvalidInput: the aggregator tells nothing of single hospitals, or there is no such hospital.
        """
        return detect(self.history, malicious)

    def diagnostics(self) -> Diagnostics:
        """Norms and directions of the hospitals' updates, B² over rounds, and who was rejected.

        Of a run with ``Simulation(diagnostics=True)``; ``run.diagnostics().plot()`` draws them.

        Raises:
            InvalidInput: the run has recorded none.
        """
        return diagnose(self.history)

    def plot(self, metric: str | None = None, split: str | None = None) -> Figure:
        """Convergence (mean, 10th to 90th percentile and worst hospital) and every hospital's result.

        Args:
            metric: None for the task's first one.
            split: None for the last of the evaluated splits.
        """
        from jaxfed.figures.runs import comparison_figure

        return comparison_figure({self.name: self.history}, metric, split or self.history.splits[-1])

    def report(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        split: str | None = None,
        subgroups: Mapping[str, Any] | None = None,
        threshold: float | str | None = None,
        minimum_events: int = 5,
        level: float = 0.95,
        metrics: Mapping[str, Metric | Callable[..., Any]] | None = None,
        figures: str | Path | None = None,
    ) -> Path:
        """Write one HTML file that needs nothing else: results with intervals in words, tables and figures.

        It has a summary, the data, convergence, every hospital with the prediction interval, calibration and
        decision curves or Kaplan-Meier curves, subgroups, privacy, diagnostics if they were recorded,
        settings and the TRIPOD-Cluster checklist. A run that was saved without its predictions has a report
        without intervals, which says so.

        Args:
            path: of the file.
            title: of the page.
            split: which rows; None for the last of the evaluated splits, which are the test rows.
            subgroups: ``{title: by}``, where ``by`` has a value for each row of the data set, or is
                ``{hospital: group}``; see :meth:`jaxfed.results.performance.Performance.subgroups`. Thirds of
                the hospitals by size come with it.
            threshold, minimum_events, level, metrics: see :meth:`performance`.
            figures: a folder, for every figure as PNG and SVG as well.

        Raises:
            ImportError: great-tables is not installed.
            InvalidInput: an argument does not fit the run, or a file cannot be written.
        """
        from jaxfed.results.report.material import Material, absent
        from jaxfed.results.report.write import SIZE, run_report

        split = split or self.history.splits[-1]
        without = absent(self.best.predictions, metrics)
        measured = None
        if not without:
            measured = self.performance(
                split, threshold=threshold, minimum_events=minimum_events, level=level, metrics=metrics
            )
        elif subgroups:
            raise InvalidInput(f"report: subgroups: {without}")
        by_size = {SIZE: SIZE} if len(self.history.hospitals) >= 3 else {}
        page = run_report(
            Material(
                name=self.name, history=self.history, personal=self.personal, config=self.config,
                provenance=self.provenance, split=split, trouble=self.trouble(), inputs=self.inputs,
                privacy=self.privacy, performance=measured, without=without,
                subgroups={**by_size, **(subgroups or {})},
            ),
            title,
        )  # fmt: skip
        file = page.save(path)
        if figures is not None:
            page.save_figures(figures)
        return file

    def save(self, directory: str | Path, *, predictions: bool = False) -> Path:
        """Write tables (CSV), figures (PNG), parameters and arrays (npz), configuration (JSON).

        ``hospitals_*.csv``, ``hospitals.png`` and ``parameters.npz`` are of the round of :attr:`best`;
        ``rounds.csv`` has all rounds, and ``parameters_last.npz`` is of the last.

        Args:
            directory: a folder; it is made if need be.
            predictions: also write :attr:`predictions`, which have every patient's label and output.
        """
        return save_run(self, directory, predictions)

    @classmethod
    def load(cls, directory: str | Path) -> Run:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: the folder contains no run.
            ValueError: the run was written in a newer format.
        """
        return cls(**fields_of_run(directory))

    def summary(self) -> dict[str, Any]:
        """The evaluation of the best round, as a row of :meth:`to_frame`."""
        frame = self.to_frame()
        split = self.history.splits[-1]
        row = frame[frame["split"] == split].iloc[self.history.chosen()]
        return {str(name): value for name, value in row.items()}

    def trouble(self) -> str:
        """A text on hospitals without a trained model, uploads and models left out, and empty rounds."""
        return run_text.trouble(self.history)

    def __repr__(self) -> str:
        return run_text.text(self)

    def _repr_html_(self) -> str:
        return run_text.html(self)
