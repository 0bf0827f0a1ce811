"""Runs with invented outputs, so that nothing has to be trained."""

import dataclasses

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.tasks import as_task
from jaxfed.core.types import Variables
from jaxfed.records.history import History
from jaxfed.records.predictions import Predictions
from jaxfed.results.run import Run
from jaxfed.results.selected import Selected

SIZES = (60, 48, 36, 30)
NAMES = ("north", "south <b>", "single", "west")
CLASSES = {"binary": ("well", "ill"), "multiclass": ("a", "b", "c"), "regression": (), "survival": ()}
PROVENANCE = {
    "jaxfed": "0",
    "created": "2026-01-02T03:04:05",
    "compile_seconds": 1.0,
    "seconds_per_round": 0.1,
}


def run_of(task="binary", *, outputs=True, training=None):
    """Four hospitals; of a binary task ``single`` has one row without the event among its test rows."""
    rng = np.random.default_rng(1)
    N = sum(SIZES)
    owner = np.repeat(np.arange(4), SIZES)
    split = np.concatenate([np.arange(n) % 3 for n in SIZES]).astype(np.int8)
    x = rng.normal(size=(N, 3))
    score = x @ [1.0, -1.0, 0.5] + rng.logistic(size=N)
    y = (score > 0).astype(np.int32)
    y[owner == 2] = 1
    y[np.flatnonzero((owner == 2) & (split == 2))[0]] = 0
    y[np.flatnonzero((owner == 2) & (split == 1))[0]] = 0
    guess = (x @ [1.0, -1.0, 0.5])[:, None]
    if task == "multiclass":
        y = np.digitize(score, [-1, 1]).astype(np.int32)
        guess = -np.abs(guess - [-1.5, 0.0, 1.5])
    if task == "regression":
        y = score
    if task == "survival":  # a larger score is an earlier event
        y = np.stack([np.exp(-score / 4), rng.integers(0, 4, N) > 0], axis=1)
    data = Dataset(
        x,
        y,
        np.array(SIZES),
        split,
        NAMES,
        as_task(task),
        CLASSES[task],
        ("age", "sex", "bmi"),
        name="invented",
    )
    evaluated = split > 0
    history = History.empty(data, ("validation", "test"), NAMES)
    measured = {name: rng.uniform(0.4, 0.9, (3, 4, 2)) for name in {history.scoring.loss, history.primary}}
    history = history.evaluations(
        np.array([0, 1, 2]), measured, {name: values.mean(1) for name, values in measured.items()}
    )
    seen = {"loss": np.ones((2, 4)), "present": np.ones((2, 4), bool), "rejected": np.zeros((2, 4), bool)}
    history = history.trained({**seen, **(training or {})}, np.zeros(2, bool))
    p = Predictions(
        guess[evaluated].astype(np.float32), y[evaluated], owner[evaluated], split[evaluated],
        np.flatnonzero(evaluated), NAMES, task, data.classes, data.task.meaning(data.classes, data.outputs),
    )  # fmt: skip
    best = Selected(
        int(history.evaluated[history.chosen()]), Variables({}, {}), (lambda: p) if outputs else None
    )
    config = {
        "hospitals": repr(data),
        "algorithm": "FedAvg(mu=1)",
        "model": "MLP(\n    # attributes\n    h = 2\n)",
    }
    return Run("FedAvg", history, Variables({}, {}), False, config, PROVENANCE, best)


def private(run, statement):
    """The run with a statement of what it guarantees."""
    return dataclasses.replace(run, privacy=statement)
