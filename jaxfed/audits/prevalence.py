"""Property inference: which share of a hospital's patients has the outcome, from one upload.

    bias:        share = mean p - (d loss / d b),     as the output bias has the gradient mean(p - y)
    regression:  share ~ ridge regression on the upload, fitted on uploads of made-up hospitals

The first is for gradients (FedSGD) of models with one logit and an output bias. The attacker does not know
mean p, the mean probability that the model gives the hospital's patients; he takes that of the other
hospitals' patients. It is exact for a model whose outputs are all equal, such as one that starts with weights
of 0. The second is for any algorithm: the attacker draws hospitals of the same size and of all prevalences
from the patients of the other hospitals, and computes what they would send with the hospital's own settings,
each with random draws of its own (Ganju et al. 2018, doi:10.1145/3243734.3243834; Melis et al. 2019,
arXiv:1805.04049, for federated learning). With row weights a bias tells the weighted share of the outcome, so
that the first is left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxfed.audits.confidence import check_attackable
from jaxfed.audits.uploads import (
    initial_variables,
    input_of,
    received,
    step_of,
    training_rows,
    upload_of,
)
from jaxfed.core import keys
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.errors import Problems, spelled
from jaxfed.core.types import PyTree, Variables, Weighted, labels
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import ALL, Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIDGE = 1e-3  # strength of the penalty, relative to the mean squared norm of an upload


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prevalence:
    """The share of the outcome in every hospital, true and as an upload tells it.

    Attributes:
        table: a row per hospital with training rows: ``rows``, ``true``, and what each attack says (``bias``,
            ``regression``).
        label: the name of the outcome.
    """

    table: pd.DataFrame
    label: str

    @property
    def errors(self) -> pd.Series:
        """The mean absolute error of each attack, and of guessing the other hospitals' share (``guess``)."""
        columns = [name for name in ("bias", "regression", "guess") if name in self.table]
        return self.table[columns].sub(self.table["true"], axis=0).abs().mean()

    def plot(self) -> Figure:
        """What uploads tell over the truth."""
        from jaxfed.figures.audits import prevalence_figure

        return prevalence_figure(self.table, self.label)

    def __repr__(self) -> str:
        errors = ", ".join(f"{name} {value:.3f}" for name, value in self.errors.items())
        return f"Prevalence(of {self.label!r} in {len(self.table)} hospitals; mean errors: {errors})"


@spelled
def prevalence(
    sim: Spec, *, variables: Variables | None = None, shadows: int = 200, seed: int = 0
) -> Prevalence:
    """Read the share of the outcome from every hospital's upload in the first round.

    If the aggregator hides single uploads, an attack gets the aggregate with all other hospitals.

    Args:
        sim: the simulation; two classes.
        variables: the global model; None for that with which a run with ``seed`` starts.
        shadows: how many made-up hospitals the regression is fitted on; 0 for none.
        seed: of the run, and of the made-up hospitals.

    Raises:
        InvalidInput: lists what is wrong with the arguments.
    """
    problems = Problems("prevalence")
    check_attackable(sim, problems)
    data = sim.hospitals
    check_count(problems, "shadows", shadows, 0)
    check_count(problems, "seed", seed, 0)
    problems.check(data.task.two_classes, f"sim: its task is {data.task}; give data with two classes")
    sizes = data.counts[:, TRAIN]
    problems.check(
        int((sizes > 0).sum()) > 1,
        "sim: one hospital has training rows; the attacker needs others to learn from",
    )
    both = len(np.unique(data.y[data.split == TRAIN])) == 2
    problems.check(both, "sim: training rows have one class alone; nothing can be inferred")
    problems.raise_if_any()
    start = initial_variables(sim, seed) if variables is None else variables
    rows: dict[str, dict[str, float]] = {}
    for c, name in enumerate(data.hospitals):
        if not sizes[c]:
            continue
        x, y = training_rows(data, name)
        step = received(sim, start, x, y, c, seed)
        others = data.select([other for other in data.hospitals if other != name])
        row: dict[str, float] = {"rows": len(labels(y)), "true": float(labels(y).mean())}
        if not sim.algorithm.trains and not sim.recipe.chain.transforms and data.row_weights is None:
            bias = _output_bias(jax.tree.map(jnp.negative, step))
            if bias is not None:
                row["bias"] = _mean_probability(sim, start, others) - bias
        if shadows:
            row.update(regression=_regressed(sim, start, step, c, len(labels(y)), shadows, seed))
        row["guess"] = float(others.y[others.split == TRAIN].mean())
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("hospital")
    return Prevalence(table.astype({"rows": int}), data.classes[1])


def _output_bias(gradient: PyTree) -> float | None:
    """The gradient of the single number that is the output's bias; None if there is not exactly one."""
    single = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if leaf.shape == (1,) and "bias" in jax.tree_util.keystr(path[-1:])
    ]
    return float(single[0][0]) if len(single) == 1 else None


def _mean_probability(spec: Spec, variables: Variables, others: Dataset) -> float:
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf[others.split == TRAIN]), others.x)
    outputs = spec.local_trainings[ALL].problem.predict(variables, x)
    return float(jax.nn.sigmoid(outputs).mean())


def _regressed(
    spec: Spec, variables: Variables, step: PyTree, hospital: int, size: int, shadows: int, seed: int
) -> float:
    """The share that a ridge regression on uploads of made-up hospitals predicts."""
    rng, data = np.random.default_rng([seed, hospital]), spec.hospitals
    train = np.flatnonzero((data.split == TRAIN) & (data.owner != hospital))
    classes = [train[data.y[train] == label] for label in (0, 1)]
    positives = rng.binomial(size, rng.uniform(size=shadows))
    if not all(map(len, classes)):
        return math.nan
    # as many rows for every hospital, so that one program serves all
    index = np.zeros((shadows, int(data.counts[:, TRAIN].max())), np.int64)
    for rows, count in zip(index, positives, strict=True):
        chosen = [rng.choice(of, n) for of, n in zip(classes, (size - count, count), strict=True)]
        rows[:size] = rng.permutation(np.concatenate(chosen))
    y: Any = data.y if data.row_weights is None else Weighted(*map(jnp.asarray, (data.y, data.row_weights)))
    ids = keys.client_ids([f"shadow {s} of {data.hospitals[hospital]}" for s in range(shadows)])
    given = jax.tree.map(jnp.asarray, (data.x, y, index, size, hospital, ids, seed))
    uploads = _uploads(input_of(spec), variables, *given)
    flat = jax.vmap(lambda update: ravel_pytree(step_of(spec, update))[0])(uploads)
    known, new = (np.asarray(part, np.float64) for part in (flat, ravel_pytree(step)[0]))
    return float(np.clip(ridge(known, positives / size, new), 0, 1))


@jax.jit
def _uploads(
    recipe: Recipe,
    variables: Variables,
    x: PyTree,
    y: Any,
    index: Array,
    size: Array,
    hospital: Array,
    ids: Array,
    seed: Array,
) -> PyTree:
    """``[S, ...]`` updates of made-up hospitals that have the first ``size`` of the rows ``index [S, n]``.

    All have the numbers of ``hospital``; each has random draws of its own, those of ``ids [S, 2]``.
    """

    def one(made_up: tuple[Array, Array]) -> PyTree:
        rows, client_id = made_up
        taken = jax.tree.map(lambda leaf: leaf[rows], (x, y))
        return upload_of(recipe, variables, *taken, size, hospital, client_id, seed).update

    return jax.lax.map(one, (index, ids))


def ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, strength: float = RIDGE) -> Any:
    """The prediction for ``new [d]`` of a ridge regression with an intercept on ``x [n, d]``, ``y [n]``.

    It is solved with the products of rows, ``[n, n]``, as d may be large.
    """
    mean = x.mean(0)
    centred = x - mean
    products = centred @ centred.T
    penalty = strength * max(np.trace(products) / len(x), 1e-300)
    weights = np.linalg.solve(products + penalty * np.eye(len(x)), y - y.mean())
    return y.mean() + weights @ (centred @ (new - mean))
