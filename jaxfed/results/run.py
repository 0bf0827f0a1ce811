"""The result of a run: tables, figures, parameters and provenance, which are saved without pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxfed.core.dataset import SPLITS
from jaxfed.core.errors import InvalidInput, spelled
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.metrics.metric import Metric, Scoring
from jaxfed.core.tasks import as_task
from jaxfed.core.types import State, Variables
from jaxfed.evaluation.baseline import BaselineHazard
from jaxfed.records.history import At, History
from jaxfed.records.predictions import Predictions
from jaxfed.records.statement import PrivacyStatement
from jaxfed.results.detection import Detection, detect
from jaxfed.results.diagnostics import Diagnostics, diagnose
from jaxfed.results.prediction import Inputs, predict
from jaxfed.results.survival import baseline_at, with_survival
from jaxfed.storage.npz import load_arrays, load_tree, save_arrays, save_tree
from jaxfed.storage.results import results_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxfed.results.performance import Performance

FORMAT = 1
PREDICTIONS, BASELINE, STATEMENT = "predictions.npz", "baseline.npz", "privacy.txt"  # files of some runs


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """The model of the round that a run's tables, figures and files show.

    Attributes:
        round: rounds of training: those with the lowest pooled validation loss, or all of them if no
            validation rows were evaluated.
        variables: the model then, as in ``Run.variables``.
        outputs: makes :attr:`predictions`; None in files without them.
        hazard: makes :attr:`baseline`; None if there is none.
    """

    round: int
    variables: Variables
    outputs: Callable[[], Predictions] | None = None
    hazard: Callable[[], BaselineHazard] | None = None

    @cached_property
    def predictions(self) -> Predictions | None:
        """Outputs for the validation and test rows, computed when first asked for."""
        return None if self.outputs is None else self.outputs()

    @cached_property
    def baseline(self) -> BaselineHazard | None:
        """The baseline hazard of a Cox model on the training rows, computed when first asked for.

        None for other models, for algorithms that adapt the model before use, and with differential privacy,
        whose guarantee it would not have.
        """
        return None if self.hazard is None else self.hazard()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has what was computed already, and neither the devices nor the rows for the rest."""
        return {**self.__dict__, "outputs": None, "hazard": None}

    def __repr__(self) -> str:
        return f"Selected(round={self.round})"


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
        from jaxfed.figures.runs import convergence_figure, hospitals_figure, save_figure

        tables = (f"hospitals_{split}.csv" for split in SPLITS)
        folder = results_folder(directory, PREDICTIONS, BASELINE, STATEMENT, *tables)
        self.to_frame().to_csv(folder / "rounds.csv", index=False)
        for split in self.history.splits:
            self.hospitals(split).to_csv(folder / f"hospitals_{split}.csv")
        leaves = save_tree(folder / "parameters.npz", self.best.variables._asdict())
        save_tree(folder / "parameters_last.npz", self.variables._asdict())
        about = {"rows": self.history.rows, "rate": self.history.rate}
        save_arrays(folder / "history.npz", {**about, **self.history.arrays()})
        if self.best.baseline is not None:
            base = self.best.baseline
            save_arrays(folder / BASELINE, {"ends": base.ends, "hazard": base.hazard})
        if predictions:
            save_arrays(folder / PREDICTIONS, self.predictions.arrays())
        record = {
            "format": FORMAT,
            "name": self.name,
            "personal": self.personal,
            "task": self.history.task,
            "scoring": self.history.scoring.to_json(),
            "splits": self.history.splits,
            "positive": self.history.positive,
            "hospitals": self.history.hospitals,
            "trainees": self.history.trainees,
            "config": self.config,
            "provenance": self.provenance,
            "parameters": leaves,
            "round": self.best.round,
            "inputs": None if self.inputs is None else self.inputs.to_json(),
            "privacy": None if self.privacy is None else self.privacy.to_json(),
        }
        if self.privacy is not None:
            (folder / STATEMENT).write_text(f"{self.privacy}\n")
        (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
        split = self.history.splits[-1]
        save_figure(convergence_figure({self.name: self.history}, split=split), folder / "convergence.png")
        save_figure(hospitals_figure({self.name: self.history}, split=split), folder / "hospitals.png")
        return folder

    @classmethod
    def load(cls, directory: str | Path) -> Run:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: the folder contains no run.
            ValueError: the run was written in a newer format.
        """
        folder = Path(directory)
        if not (folder / "run.json").exists():
            raise FileNotFoundError(
                f"no run in {folder}: there is no run.json; give a folder written by save"
            )
        record = json.loads((folder / "run.json").read_text())
        if record["format"] > FORMAT:
            raise ValueError(
                f"{folder} has format {record['format']} and this jaxfed reads up to {FORMAT}; "
                "use a newer jaxfed"
            )
        arrays = load_arrays(folder / "history.npz")
        history = History(
            hospitals=tuple(record["hospitals"]),
            task=record["task"],
            scoring=_scoring(record),
            splits=tuple(record["splits"]),
            rows=arrays["rows"],
            rate=arrays["rate"],
            positive=record.get("positive", ""),
            trainees=tuple(record["trainees"]),
        ).filled(arrays)
        names = ("parameters.npz", "parameters_last.npz") if "round" in record else ["parameters.npz"] * 2
        best, last = (Variables(**load_tree(folder / name, record["parameters"])) for name in names)
        inputs = Inputs.from_json(record["inputs"]) if record.get("inputs") else None
        outputs = None
        if (folder / PREDICTIONS).exists() and inputs is not None:
            outputs = partial(
                Predictions, **load_arrays(folder / PREDICTIONS),
                hospitals=history.hospitals, task=history.task, classes=inputs.classes,
                meaning=inputs.meaning,
            )  # fmt: skip
        hazard = None
        if (folder / BASELINE).exists():
            hazard = partial(BaselineHazard, ("",), **load_arrays(folder / BASELINE))
        return cls(
            name=record["name"],
            history=history,
            variables=last,
            personal=record["personal"],
            config=record["config"],
            provenance=record["provenance"],
            inputs=inputs,
            best=Selected(record.get("round", int(history.evaluated[-1])), best, outputs, hazard),
            privacy=PrivacyStatement.from_json(record["privacy"]) if record.get("privacy") else None,
        )

    def summary(self) -> dict[str, Any]:
        """The evaluation of the best round, as a row of :meth:`to_frame`."""
        frame = self.to_frame()
        split = self.history.splits[-1]
        row = frame[frame["split"] == split].iloc[self.history.chosen()]
        return {str(name): value for name, value in row.items()}

    def trouble(self) -> str:
        """A text on hospitals without a trained model, uploads and models left out, and empty rounds."""
        history, training = self.history, self.history.training
        counts = {"hospitals have no training rows, hence no model and no metrics": history.without_model()}
        if training:
            counts |= {
                "uploads were not finite and left out": int(training["rejected"].sum()),
                "new models were not finite and left out": int(history.refused.sum()),
                "rounds had no hospital": int((~training["present"].any(axis=1)).sum()),
            }
        return "".join(f"{number} {what}; " for what, number in counts.items() if number)

    def __repr__(self) -> str:
        row = self.summary()
        metric, split = self.history.primary, self.history.splits[-1]
        positive = f"positive class {self.history.positive}, " if self.history.positive else ""
        return (
            f"Run({self.name}: {len(self.history.hospitals)} hospitals, {positive}{self.history.at()}: "
            f"{split} {metric} mean {row[metric]:.3f}, worst {row[f'{metric}_worst']:.3f}, "
            f"pooled {row[f'{metric}_pooled']:.3f}; {self.trouble()}{_seconds(self.provenance)}"
            + (")" if self.privacy is None else f"; {self.privacy.short()})")
        )

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        split, metric = self.history.splits[-1], self.history.primary
        frame = frame[frame["split"] == split].iloc[[*dict.fromkeys([0, self.history.chosen(), -1])]]
        second = self.history.scoring.loss
        columns = ["round", metric, f"{metric}_worst", f"{metric}_best", f"{metric}_pooled", second]
        columns = [*dict.fromkeys(columns)]
        positive = f"positive class {self.history.positive}; " if self.history.positive else ""
        table = frame[columns].to_html(index=False, float_format="{:.3f}".format, border=0)
        return (
            f"<b>{self.name}</b>, {len(self.history.hospitals)} hospitals, {split}; {positive}"
            f"{self.history.at()}; {self.trouble()}{_seconds(self.provenance)}{table}"
            + ("" if self.privacy is None else f"<pre>{self.privacy}</pre>")
        )


def _scoring(record: dict[str, Any]) -> Scoring:
    """The meaning of the metrics; runs that were saved without it have one of jaxfed's tasks."""
    noted = record.get("scoring")
    return as_task(record["task"]).scoring if noted is None else Scoring.from_json(noted)


def _seconds(provenance: dict[str, Any]) -> str:
    return (
        f"{1e3 * provenance['seconds_per_round']:.1f} ms per round, "
        f"{provenance['compile_seconds']:.1f} s compiling"
    )
