"""Gradient inversion: patients' rows from what a hospital sends.

    exact:     x_i = (d loss / d W)_ij / (d loss / d b)_j     for any unit j of the first dense layer
    matching:  x = argmin_x  1 - <g(x), g> / (||g(x)|| ||g||),   or   ||g(x) - g||^2

The first: of one patient a dense layer's gradient is an outer product of row and error (Phong et al. 2018,
doi:10.1109/TIFS.2017.2787987; Geiping et al. 2020, arXiv:2003.14053, Proposition 3.1). Of several patients a
unit that is active for one of them alone still has that row (Boenisch et al. 2023, arXiv:2112.02918). The
second: Zhu, Liu, Han 2019, arXiv:1906.08935 (the squared distance) and Geiping et al. 2020 (the cosine).

Departures: Adam instead of L-BFGS for the squared distance, no total variation (rows are no images), and the
labels are given, as Geiping et al. assume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from jaxfed.audits.confidence import check_attackable
from jaxfed.audits.matching import matched
from jaxfed.audits.uploads import initial_variables, of_mean_one, received, training_rows
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean, spelled
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.types import PyTree, Variables, labels
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import ALL, Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS, DISTANCES = ("exact", "matching"), ("cosine", "euclidean")
SILENT = 1e-6  # units whose bias gradient is below this share of the largest tell nothing


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
        guesses = _exact(problem, start, gradient, x, y)
    else:
        starts = jax.random.normal(jax.random.fold_in(jax.random.key(seed), 1), (restarts, *x.shape))
        guesses = _matched(problem, start, gradient, starts, y, learning_rate, steps, distance == "cosine")
    flat, guesses = (part.reshape(len(part), -1) for part in (x, guesses))
    rebuilt = guesses[_nearest(flat, guesses)]
    names = data.features or tuple(f"x{j}" for j in range(flat.shape[1]))
    own, units = _own_units(data, hospital)
    spread = every.reshape(len(every), -1).std(0)
    true, rebuilt = own(flat), own(rebuilt)
    spread = np.abs(own(flat[:1] + spread) - own(flat[:1]))[0]
    return Inversion(true, rebuilt, tuple(names), tuple(chosen), units, spread, hospital, method)


def dense_rows(kernel: Any, bias: Any) -> np.ndarray:
    """``[units, d]``: what each unit of a dense layer tells of the layer's input, loudest unit first.

    Args:
        kernel: ``[d, units]`` the gradient of the kernel.
        bias: ``[units]`` the gradient of the bias. Units whose gradient is (almost) 0 are left out.

    >>> import numpy as np
    >>> dense_rows(np.outer([63.0, 1.0], [0.5, 0.0]), np.array([0.5, 0.0]))
    array([[63.,  1.]])
    """
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    loud = np.argsort(-np.abs(bias), kind="stable")
    loud = loud[np.abs(bias[loud]) > SILENT * np.abs(bias).max()]
    return (kernel[:, loud] / bias[loud]).T


def _exact(problem: Problem, variables: Variables, gradient: PyTree, x: np.ndarray, y: Any) -> np.ndarray:
    """What the units of the first dense layer tell: the row itself if there is one."""
    width = int(np.prod(x.shape[1:]))
    layers = _dense_layers(gradient, width)
    if not layers:
        raise InvalidInput(
            f"invert: no dense layer with a bias takes the {width} features; give method='matching'"
        )
    best = layers[0]
    if len(layers) > 1:  # the layer that gives back a row of the attacker's own
        probe = jax.random.normal(jax.random.key(0), (1, *x.shape[1:]))
        label = jnp.asarray(labels(y)[:1])
        batch = Batch(probe, label, jnp.ones(1), jax.random.key(0))
        known = dict(_dense_layers(problem.gradient(variables, batch).params, width))

        def error(name: str) -> float:
            told = dense_rows(*known[name])
            return float(np.abs(told[0] - np.asarray(probe).ravel()).max()) if len(told) else np.inf

        best = min(layers, key=lambda layer: error(layer[0]))
    told = dense_rows(*best[1])
    if not len(told):
        raise InvalidInput(
            "invert: the first layer's gradient is 0 (all of its units are silent) or not finite, so that "
            "there is nothing to rebuild; give another row or model"
        )
    if len(told) < len(x):
        told = np.concatenate([told, np.repeat(told[:1], len(x) - len(told), 0)])
    return told[:1] if len(x) == 1 else told


def _matched(
    problem: Problem,
    variables: Variables,
    gradient: PyTree,
    starts: Array,
    y: Any,
    learning_rate: float,
    steps: int,
    cosine: bool,
) -> np.ndarray:
    """The rows of the start that came nearest."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)):
        raise InvalidInput(
            "invert: the upload is not finite, so that there is nothing to match; give a simulation with a "
            "smaller step size, or another model, variables=run.variables"
        )
    y = jax.tree.map(jnp.asarray, y)
    found, far = matched(problem, variables, gradient, starts, y, learning_rate, steps, cosine)
    far = np.where(np.isfinite(far), far, np.inf)
    if np.isinf(far).all():
        raise InvalidInput(
            f"invert: learning_rate={learning_rate!r}: matching ended in no numbers from any start; give a "
            f"smaller one, such as {learning_rate / 10:g}"
        )
    return np.asarray(found[int(far.argmin())])


def _dense_layers(params: Any, width: int, path: str = "") -> list[tuple[str, tuple[Any, Any]]]:
    """Kernels and biases of dense layers with so many inputs, by their path."""
    if not isinstance(params, dict):
        return []
    kernel, bias = params.get("kernel"), params.get("bias")
    if kernel is not None and bias is not None and kernel.ndim == 2 and kernel.shape[0] == width:
        return [(path, (kernel, bias))]
    return [layer for name, part in params.items() for layer in _dense_layers(part, width, f"{path}/{name}")]


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
