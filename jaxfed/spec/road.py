"""Checks of the aggregator: its parts have to fit the algorithm and the number of hospitals."""

from __future__ import annotations

import numpy as np

from jaxfed.aggregators import as_chain
from jaxfed.core import hyperparameters
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.spec.costs import seen_singly
from jaxfed.spec.spec import Spec


def check_road(spec: Spec, clients: int, problems: Problems) -> None:
    """Record why the aggregator cannot work with at most ``clients`` uploads or with this algorithm."""
    try:
        chain = as_chain(spec.aggregator)
    except InvalidInput as error:
        problems.add(str(error))
        return
    problems.extend(f"aggregator: {problem}" for problem in chain.problems(clients, len(spec.hospitals)))
    name, algorithm = type(spec.algorithm).__name__, spec.algorithm
    if chain.transforms and algorithm.why_untransformed:
        parts = ", ".join(type(part).__name__ for part in chain.transforms)
        problems.add(
            f"aggregator: {parts} would change the uploads of {name}, and {algorithm.why_untransformed}; "
            "leave it out, or give another algorithm"
        )
    rule = type(chain.rule).__name__
    if chain.rule.hides and chain.mixers:
        parts = ", ".join(type(part).__name__ for part in chain.mixers)
        problems.add(
            f"aggregator: {parts} needs single uploads, and with {rule} the server sees only their sum; "
            "leave one of them out"
        )
    most = np.sort(_weights(spec))[::-1][:clients]
    problems.extend(f"aggregator: {rule}: {problem}" for problem in chain.rule.weight_problems(most))
    if algorithm.why_averaged and (chain.mixers or not chain.rule.averages):
        parts = ", ".join(type(part).__name__ for part in (*chain.mixers, chain.rule))
        problems.add(
            f"aggregator: {parts} would not average the uploads of {name}, and {algorithm.why_averaged}; "
            "give WeightedMean(), or another algorithm"
        )


def check_single_uploads(spec: Spec, problems: Problems) -> None:
    """Record an algorithm that shows the server single uploads beside a rule that hides them."""
    rule = spec.recipe.chain.rule
    if rule.hides and seen_singly(spec.recipe, spec.hospitals.x, spec.hospitals.y):
        problems.add(
            f"aggregator: {type(spec.algorithm).__name__} sends numbers that the server needs of each "
            f"hospital, and with {type(rule).__name__} it sees only their sum; give WeightedMean(), or "
            "another algorithm"
        )


def _weights(spec: Spec) -> np.ndarray:
    """``[C]`` weights of the hospitals if they take part."""
    sizes = spec.trained_rows
    weights = sizes if spec.algorithm.weighting == "samples" else (sizes > 0).astype(int)
    if not isinstance(spec.factors, PerHospital):
        return weights
    return weights * hyperparameters.in_order(spec.factors, spec.hospitals.hospitals).values
