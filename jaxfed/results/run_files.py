"""The files of a run: a folder with its tables, figures, parameters and arrays, without pickle."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from jaxfed.core.dataset import SPLITS
from jaxfed.core.metrics.metric import Scoring
from jaxfed.core.tasks import as_task
from jaxfed.core.types import Variables
from jaxfed.evaluation.baseline import BaselineHazard
from jaxfed.records.history import History
from jaxfed.records.predictions import Predictions
from jaxfed.records.statement import PrivacyStatement
from jaxfed.results.prediction import Inputs
from jaxfed.results.selected import Selected
from jaxfed.storage.npz import load_arrays, load_tree, save_arrays, save_tree
from jaxfed.storage.results import results_folder

Run = Any  # jaxfed.results.run.Run, whose module imports this one
FORMAT = 1
PREDICTIONS, BASELINE, STATEMENT = "predictions.npz", "baseline.npz", "privacy.txt"  # files of some runs


def save_run(run: Run, directory: str | Path, predictions: bool) -> Path:
    """See :meth:`jaxfed.Run.save`."""
    from jaxfed.figures.runs import convergence_figure, hospitals_figure, save_figure

    tables = (f"hospitals_{split}.csv" for split in SPLITS)
    folder = results_folder(directory, PREDICTIONS, BASELINE, STATEMENT, *tables)
    run.to_frame().to_csv(folder / "rounds.csv", index=False)
    for split in run.history.splits:
        run.hospitals(split).to_csv(folder / f"hospitals_{split}.csv")
    leaves = save_tree(folder / "parameters.npz", run.best.variables._asdict())
    save_tree(folder / "parameters_last.npz", run.variables._asdict())
    about = {"rows": run.history.rows, "rate": run.history.rate}
    save_arrays(folder / "history.npz", {**about, **run.history.arrays()})
    if run.best.baseline is not None:
        base = run.best.baseline
        save_arrays(folder / BASELINE, {"ends": base.ends, "hazard": base.hazard})
    if predictions:
        save_arrays(folder / PREDICTIONS, run.predictions.arrays())
    record = {
        "format": FORMAT,
        "name": run.name,
        "personal": run.personal,
        "task": run.history.task,
        "scoring": run.history.scoring.to_json(),
        "splits": run.history.splits,
        "positive": run.history.positive,
        "hospitals": run.history.hospitals,
        "trainees": run.history.trainees,
        "config": run.config,
        "provenance": run.provenance,
        "parameters": leaves,
        "round": run.best.round,
        "inputs": None if run.inputs is None else run.inputs.to_json(),
        "privacy": None if run.privacy is None else run.privacy.to_json(),
    }
    if run.privacy is not None:
        (folder / STATEMENT).write_text(f"{run.privacy}\n")
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    split = run.history.splits[-1]
    save_figure(convergence_figure({run.name: run.history}, split=split), folder / "convergence.png")
    save_figure(hospitals_figure({run.name: run.history}, split=split), folder / "hospitals.png")
    return folder


def fields_of_run(directory: str | Path) -> dict[str, Any]:
    """The fields of the run whose folder this is; see :meth:`jaxfed.Run.load`."""
    folder = Path(directory)
    if not (folder / "run.json").exists():
        raise FileNotFoundError(f"no run in {folder}: there is no run.json; give a folder written by save")
    record = json.loads((folder / "run.json").read_text())
    if record["format"] > FORMAT:
        raise ValueError(
            f"{folder} has format {record['format']} and this jaxfed reads up to {FORMAT}; use a newer jaxfed"
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
    return {
        "name": record["name"],
        "history": history,
        "variables": last,
        "personal": record["personal"],
        "config": record["config"],
        "provenance": record["provenance"],
        "inputs": inputs,
        "best": Selected(record.get("round", int(history.evaluated[-1])), best, outputs, hazard),
        "privacy": PrivacyStatement.from_json(record["privacy"]) if record.get("privacy") else None,
    }


def _scoring(record: dict[str, Any]) -> Scoring:
    """The meaning of the metrics; runs that were saved without it have one of jaxfed's tasks."""
    noted = record.get("scoring")
    return as_task(record["task"]).scoring if noted is None else Scoring.from_json(noted)
