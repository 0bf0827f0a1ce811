"""Gradient inversion: patients' rows from what a hospital sends, and how near they are to the true ones.

Rows are told exactly by a dense layer (:mod:`jaxfed.audits.dense_layers`), or found by optimisation
(:mod:`jaxfed.audits.matching`); each has its sources there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxfed.audits.confidence import check_attackable
from jaxfed.audits.dense_layers import rows_by_layer
from jaxfed.audits.matching import rows_by_matching
from jaxfed.audits.uploads import initial_variables, of_mean_one, received, training_rows
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean, spelled
from jaxfed.core.types import Variables
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import ALL, Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS, DISTANCES = ("exact", "matching"), ("cosine", "euclidean")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inversion:
    """Rows that were rebuilt from what a hospital sent, beside the true ones.

    Attributes:
        true, rebuilt: ``[rows, features]``, in the features' own units where the data set knows them; a
            rebuilt row stands beside the true one that it fits best.
        features: their names.
        rows: numbers of the rows among the hospital's training rows.
        units: what the numbers are measured in.
        spread: ``[features]`` standard deviations over all training rows, in the same units.
        hospital: its name.
        method: how they were rebuilt.
    """

    true: np.ndarray
    rebuilt: np.ndarray
    features: tuple[str, ...]
    rows: tuple[int, ...]
    units: str
    spread: np.ndarray
    hospital: str
    method: str

    @property
    def table(self) -> pd.DataFrame:
        """A line per rebuilt number: ``row``, ``feature``, ``true``, ``rebuilt``, ``error``, and ``in_sd``,
        the magnitude of the error in standard deviations of the feature."""
        rows, features = self.true.shape
        error = self.rebuilt - self.true
        spread = np.where(self.spread > 0, self.spread, 1)
        return pd.DataFrame(
            {
                "row": np.repeat(self.rows, features),
                "feature": np.tile(np.array(self.features, object), rows),
                "true": self.true.ravel(),
                "rebuilt": self.rebuilt.ravel(),
                "error": error.ravel(),
                "in_sd": (np.abs(error) / spread).ravel(),
            }
        )

    def plot(self) -> Figure:
        """All rebuilt numbers over the true ones, and the first row feature by feature."""
        from jaxfed.figures.audits import inversion_figure

        return inversion_figure(self.table, self.spread, self.units)

    def __repr__(self) -> str:
        error = self.table["in_sd"]
        return (
            f"Inversion({self.method}, {len(self.rows)} of {self.hospital!r}'s patients: error median "
            f"{error.median():.2g} and largest {error.max():.2g} standard deviations of a feature)"
        )


@spelled
def invert(
    sim: Spec,
    hospital: str,
    rows: int | Sequence[int] = 0,
    *,
    method: Literal["exact", "matching"] = "exact",
    distance: Literal["cosine", "euclidean"] = "cosine",
    variables: Variables | None = None,
    seed: int = 0,
    steps: int = 2000,
    restarts: int = 4,
    learning_rate: float = 0.1,
) -> Inversion:
    """Rebuild patients' rows from the upload of a hospital that has these rows alone.

    The upload is that of the simulation's algorithm in its first round, after the aggregator's transforms. If
    the aggregator hides single uploads, the attack gets the aggregate with all other hospitals.

    Args:
        sim: the simulation; its features are one matrix. With :class:`~jaxfed.FedSGD` the upload is a
            gradient; that of :class:`~jaxfed.FedAvg` is one up to a factor if it is one step on all rows.
        hospital: whose upload.
        rows: number(s) of the rows among its training rows.
        method: ``"exact"`` for models whose first layer is dense, with a bias; ``"matching"`` for any.
        distance: of gradients, for matching; the cosine needs no step size.
        variables: the global model; None for that with which a run with ``seed`` starts.
        seed: of the run, and of the starts of matching.
        steps, restarts, learning_rate: of matching; the start with the least distance counts.

    Raises:
        InvalidInput: lists what is wrong with the arguments, or no dense layer sees the rows.
    """
    chosen = _check(sim, hospital, rows, method, distance, seed, steps, restarts, learning_rate)
    data, problem = sim.hospitals, sim.local_trainings[ALL].problem
    every, target = training_rows(data, hospital)
    x, y = every[chosen].astype(np.float32), jax.tree.map(lambda leaf: leaf[chosen], target)
    start = initial_variables(sim, seed) if variables is None else variables
    number = data.hospitals.index(hospital)
    gradient = jax.tree.map(jnp.negative, received(sim, start, x, y, number, seed))
    y = of_mean_one(y, len(chosen))
    if method == "exact":
        guesses = rows_by_layer(problem, start, gradient, x, y)
    else:
        starts = jax.random.normal(jax.random.fold_in(jax.random.key(seed), 1), (restarts, *x.shape))
        guesses = rows_by_matching(
            problem, start, gradient, starts, y, learning_rate, steps, distance == "cosine"
        )
    flat, guesses = (part.reshape(len(part), -1) for part in (x, guesses))
    rebuilt = guesses[_nearest(flat, guesses)]
    names = data.features or tuple(f"x{j}" for j in range(flat.shape[1]))
    own, units = _own_units(data, hospital)
    spread = every.reshape(len(every), -1).std(0)
    true, rebuilt = own(flat), own(rebuilt)
    spread = np.abs(own(flat[:1] + spread) - own(flat[:1]))[0]
    return Inversion(true, rebuilt, tuple(names), tuple(chosen), units, spread, hospital, method)


def _nearest(true: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """For each true row its own guess, so that the distances add up to least."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    far = ((true[:, None, :].astype(np.float64) - guesses[None, :, :]) ** 2).sum(-1)
    return linear_sum_assignment(np.nan_to_num(far, nan=1e30, posinf=1e30))[1]


def _own_units(data: Dataset, hospital: str) -> tuple[Any, str]:
    """The function from the model's units to those in which the features were measured, and their name."""
    steps = [step for step in data.steps if step.kind == "standardize"]
    if not steps or not all("" in step.numbers for step in steps):
        return lambda x: np.asarray(x, np.float64), "units of the data set"

    def own(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        for step in reversed(steps):
            mean, divisor = (
                numbers[step.hospitals.index(hospital) if step.hospitals else 0]
                for numbers in step.numbers[""]
            )
            x = x * divisor + mean
        return x

    return own, "units of measurement"


def _check(
    sim: Any,
    hospital: Any,
    rows: Any,
    method: Any,
    distance: Any,
    seed: Any,
    steps: Any,
    restarts: Any,
    learning_rate: Any,
) -> list[int]:
    """Raise for whatever is wrong; returns the numbers of the rows."""
    problems = Problems("invert")
    check_attackable(sim, problems)
    for name, value, names in (("method", method, METHODS), ("distance", distance, DISTANCES)):
        problems.check(value in names, f"{name}={value!r}: {did_you_mean(value, names)}")
    for name, count, least in (("seed", seed, 0), ("steps", steps, 1), ("restarts", restarts, 1)):
        check_count(problems, name, count, least)
    number = isinstance(learning_rate, (int, float, np.floating)) and not isinstance(learning_rate, bool)
    problems.check(
        number and 0 < learning_rate < np.inf, f"learning_rate={learning_rate!r}: give a number > 0"
    )
    x = sim.hospitals.x
    problems.check(
        isinstance(x, np.ndarray) and x.dtype.kind in "fiu",
        "sim: its features are no single array of numbers; give data with one",
    )
    problems.check(
        method != "exact" or sim.l2 is None,
        f"l2={sim.l2!r}: it hides the outer product; give method='matching'",
    )
    known = hospital in sim.hospitals.hospitals
    problems.check(known, f"hospital={hospital!r}: {did_you_mean(hospital, sim.hospitals.hospitals)}")
    problems.raise_if_any()
    count = int(sim.hospitals.counts[sim.hospitals.hospitals.index(hospital), TRAIN])
    chosen = np.atleast_1d(np.asarray(rows))
    whole = chosen.dtype.kind in "iu" and chosen.ndim == 1 and 0 < len(chosen) == len(set(chosen.tolist()))
    inside = whole and bool(((chosen >= 0) & (chosen < count)).all())
    problems.check(
        inside, f"rows={rows!r}: hospital {hospital!r} has training rows 0 to {count - 1}; give some of these"
    )
    problems.raise_if_any()
    return chosen.tolist()
