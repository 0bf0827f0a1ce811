"""Options that make a federation, in common to all commands: data, model, algorithm, training."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Literal

import optax
import pandas as pd

import jaxfed
from jaxfed.core.errors import InvalidInput
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.types import Algorithm


@dataclasses.dataclass(frozen=True)
class FederationOptions:
    """A federation of hospitals and how it trains."""

    data: str = "synthetic"
    """synthetic, heart, breast-cancer, digits, or a table (.csv or .parquet)."""
    hospitals: int = 200
    """Number of hospitals (synthetic, breast-cancer, digits)."""
    preset: str = "icu-mortality"
    """Heterogeneity of the synthetic hospitals: iid, mild, icu-mortality, strong, extreme."""
    folder: Path | None = None
    """Where the heart disease files are."""
    hospital: str = "site"
    """Column of a table that names the hospital."""
    label: str = "died"
    """Column of a table to predict."""
    algorithm: str = "FedAvg"
    """What hospitals and server do, with its default settings; any name of jaxfed.algorithms."""
    head: tuple[str, ...] = ("head",)
    """Parts of the model that stay in the hospital (FedPer, FedRep)."""
    model: Literal["mlp", "logistic", "cnn"] = "mlp"
    """The model."""
    hidden: tuple[int, ...] = (64, 32)
    """Hidden layers of the mlp, or channels of the cnn."""
    rounds: int = 50
    """Communication rounds."""
    epochs: int = 2
    """Local epochs per round."""
    batch_size: int = 32
    """Rows per local step."""
    learning_rate: float = 0.05
    """Step size of the hospitals (of the server with FedSGD)."""
    cohort: int | None = None
    """Hospitals per round; all where not given."""
    eval_every: int = 5
    """Rounds between evaluations."""
    seed: int = 0
    """Of the data, the initial model, cohorts and batches."""
    devices: int | None = None
    """jax devices to use; on a CPU one per core where not given."""


def load(options: FederationOptions) -> jaxfed.Dataset:
    """The hospitals."""
    data, seed = jaxfed.data, options.seed
    if options.data == "synthetic":
        return data.synthetic_ehr(options.hospitals, preset=options.preset, seed=seed)
    if options.data == "heart":
        return data.heart_disease(options.folder)
    if options.data == "breast-cancer":
        return data.breast_cancer(options.hospitals, seed=seed)
    if options.data == "digits":
        return data.digits(options.hospitals, seed=seed)
    path = Path(options.data)
    if path.suffix not in (".csv", ".parquet"):
        raise InvalidInput(
            f"--data {options.data}: give synthetic, heart, breast-cancer, digits, or a .csv or .parquet file"
        )
    if not path.exists():
        raise FileNotFoundError(f"--data {path}: there is no such file")
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    return data.standardize(
        data.from_frame(frame, hospital=options.hospital, label=options.label, seed=seed, impute="mean")
    )


def simulation_of(options: FederationOptions, hospitals: jaxfed.Dataset) -> jaxfed.Simulation:
    """The simulation."""
    step = jaxfed.optimizer(optax.sgd, learning_rate=options.learning_rate)
    models = {
        "mlp": jaxfed.models.mlp(*options.hidden),
        "logistic": jaxfed.models.logistic(),
        "cnn": jaxfed.models.cnn(*options.hidden),
    }
    return jaxfed.Simulation(
        hospitals,
        model=models[options.model],
        algorithm=_algorithm(options, step),
        client_optimizer=step,
        epochs=options.epochs,
        batch_size=options.batch_size,
        participation=jaxfed.FixedCohort(options.cohort) if options.cohort else jaxfed.Everyone(),
        devices=options.devices,
    )


def _algorithm(options: FederationOptions, step: Optimizer) -> Algorithm:
    names = {name.lower(): name for name in jaxfed.algorithms.__all__}
    name = names.get(options.algorithm.lower())
    if name is None:
        near = [names[n] for n in difflib.get_close_matches(options.algorithm.lower(), names, n=3)]
        raise InvalidInput(
            f"--algorithm {options.algorithm}: did you mean {' or '.join(near) or 'FedAvg'}? "
            f"There are {', '.join(names.values())}"
        )
    kind = getattr(jaxfed.algorithms, name)
    if name == "FedSGD":
        return kind(server_optimizer=step)
    required = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    return kind(**dict.fromkeys(required, options.head))
