"""Options that make a federation, in common to all commands: data, model, algorithm, training."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optax

import jaxfed
from jaxfed.cli.tables import TableOptions, check_table, read
from jaxfed.core import checks
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class FederationOptions(TableOptions):
    """A federation of hospitals and how it trains."""

    hospitals: int = 200
    """Number of hospitals (synthetic, breast-cancer, digits)."""
    preset: str = "icu-mortality"
    """Heterogeneity of the synthetic hospitals: iid, mild, icu-mortality, strong, extreme."""
    generator: tuple[str, ...] = ()
    """Arguments of what makes the hospitals: of jaxfed.data.synthetic_ehr, as s_a=0.5 mcar=0.2, or of
    breast_cancer and digits, as partition=dirichlet alpha=0.3."""
    folder: Path | None = None
    """Where the files of heart or tcga-brca are."""
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
    devices: int | None = None
    """jax devices to use; on a CPU one per core where not given."""
    epsilon: float | None = None
    """Train with differential privacy of each patient (DP-SGD): what all rounds together may cost."""
    delta: float = 1e-5
    """Delta of differential privacy; well below 1 over the number of patients."""
    noise: float | None = None
    """Noise multiplier of differential privacy, instead of --epsilon."""
    clip: float = 1.0
    """The largest norm of a patient's gradient under differential privacy."""
    rate: float | None = None
    """A patient's probability to be in a step under differential privacy, the same in all hospitals; the
    batch size over the median hospital's rows where not given."""


def load(options: FederationOptions) -> jaxfed.Dataset:
    """The hospitals.

    Raises:
        InvalidInput: whatever is wrong with the data or with the options that say what they are.
    """
    check_table(options)
    make = generator(options)
    if make is not None:
        return make()
    if options.generator:
        raise InvalidInput(f"--generator: --data {options.data} is not generated; leave it out")
    if options.data == "heart":
        return jaxfed.data.heart_disease(options.folder)
    if options.data == "tcga-brca":
        return jaxfed.data.tcga_brca(options.folder)
    return read(options)


def generator(options: FederationOptions) -> Callable[..., jaxfed.Dataset] | None:
    """What makes the hospitals, where they are generated or cut from one data set."""
    number, seed = options.hospitals, options.seed
    makers: dict[str, Callable[..., jaxfed.Dataset]] = {
        "synthetic": partial(_synthetic, number, preset=options.preset, seed=seed),
        "breast-cancer": partial(jaxfed.data.breast_cancer, number, seed=seed),
        "digits": partial(jaxfed.data.digits, number, seed=seed),
    }
    if options.data not in makers:
        return None
    problems, given = Problems("--generator"), {}
    for text in options.generator:
        name, equals, value = text.partition("=")
        problems.check(bool(name and equals and value), f"{text!r}: give a name and a value, as s_a=0.5")
        problems.check(name not in ("hospitals", "preset", "seed"), f"{text}: give --{name} {value}")
        problems.check(name not in given, f"{name} is given twice")
        given[name] = value_of(value)
    problems.raise_if_any()
    return partial(makers[options.data], **given)


def value_of(text: str) -> Any:
    """A number, true, false or none where the text is that, else the text."""
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _synthetic(hospitals: int, **arguments: Any) -> jaxfed.Dataset:
    """Generated hospitals that can be trained on: no missing values, and no physical units."""
    dataset = jaxfed.data.synthetic_ehr(hospitals, **arguments)
    if not np.isfinite(dataset.x).all():
        dataset = jaxfed.data.impute(dataset, "flag")
    return jaxfed.data.standardize(dataset, "federated" if arguments.get("units") else "none")


def simulation_of(options: FederationOptions, hospitals: jaxfed.Dataset) -> jaxfed.Simulation:
    """The simulation."""
    return jaxfed.Simulation(
        hospitals,
        model=model_of(options, options.model),
        algorithm=algorithm_of(options, options.algorithm),
        client_optimizer=_sgd(options),
        epochs=options.epochs,
        batch_size=options.batch_size,
        participation=jaxfed.FixedCohort(options.cohort) if options.cohort is not None else jaxfed.Everyone(),
        devices=options.devices,
        privacy=privacy_of(options, hospitals),
    )


def privacy_of(options: FederationOptions, hospitals: jaxfed.Dataset) -> jaxfed.privacy.PatientDP | None:
    """Differential privacy, if it is asked for.

    Raises:
        InvalidInput: options of privacy without --epsilon or --noise, or both of these.
    """
    if options.epsilon is None and options.noise is None:
        given = [name for name in ("delta", "clip", "rate") if getattr(options, name) != _default(name)]
        if given:
            raise InvalidInput(f"--{given[0]}: that is for differential privacy; add --epsilon or --noise")
        return None
    if options.epsilon is not None and options.noise is not None:
        raise InvalidInput("--epsilon and --noise: give one of them")
    sizes = hospitals.counts[:, 0]
    rate = options.rate
    if rate is None:
        rate = min(1.0, options.batch_size / max(float(np.median(sizes[sizes > 0])), 1.0))
    return jaxfed.privacy.PatientDP(
        clip=options.clip,
        noise_multiplier=options.noise,
        epsilon=options.epsilon,
        rounds=options.rounds if options.epsilon is not None else None,
        rate=rate,
        delta=options.delta,
    )


def _default(name: str) -> Any:
    return next(field.default for field in dataclasses.fields(FederationOptions) if field.name == name)


def model_of(options: FederationOptions, name: str) -> Any:
    """A model by its name.

    Raises:
        InvalidInput: there is none of that name.
    """
    models: dict[str, Callable[[], Any]] = {
        "mlp": partial(jaxfed.models.mlp, *options.hidden),
        "logistic": jaxfed.models.logistic,
        "cnn": partial(jaxfed.models.cnn, *options.hidden),
    }
    if name not in models:
        raise InvalidInput(f"--model {name}: {did_you_mean(name, [*models])}")
    return models[name]()


def algorithm_of(options: FederationOptions, wanted: str) -> Algorithm:
    """An algorithm by its name, in any case.

    Raises:
        InvalidInput: there is none of that name.
    """
    names = {name.lower(): name for name in jaxfed.algorithms.__all__}
    name = names.get(wanted.lower())
    if name is None:
        near = [names[n] for n in difflib.get_close_matches(wanted.lower(), names, n=3)]
        raise InvalidInput(
            f"--algorithm {wanted}: did you mean {' or '.join(near) or 'FedAvg'}? "
            f"There are {', '.join(names.values())}"
        )
    kind = getattr(jaxfed.algorithms, name)
    if name == "FedSGD":
        return kind(server_optimizer=_sgd(options))
    parts = {field.name for field in dataclasses.fields(kind)} & {"head"}
    return kind(**dict.fromkeys(parts, options.head))


def check_lengths(options: FederationOptions) -> None:
    """Refuse impossible numbers of rounds before anything is loaded or written."""
    problems = Problems("run")
    problems.extend(checks.count("rounds", options.rounds, 0))
    problems.extend(checks.count("eval_every", options.eval_every, 1))
    problems.raise_if_any()


def check_head(options: FederationOptions, algorithm: Any) -> None:
    """Refuse --head for an algorithm that shares the whole model."""
    if options.head != FederationOptions.head and not hasattr(algorithm, "head"):
        raise InvalidInput(
            f"--head {' '.join(options.head)}: with {type(algorithm).__name__} no part of the model stays in "
            "the hospital; leave it out, or give --algorithm FedPer"
        )


def _sgd(options: FederationOptions) -> Optimizer:
    return jaxfed.optimizer(optax.sgd, learning_rate=options.learning_rate)
