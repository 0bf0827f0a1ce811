"""Checks of the aggregator: its parts have to fit the algorithm and the number of hospitals."""

from __future__ import annotations

from jaxfed.aggregators import as_chain
from jaxfed.core.aggregation import Streamed
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.spec.spec import Spec


def check_road(spec: Spec, clients: int, problems: Problems) -> None:
    """Record why the aggregator cannot work with at most ``clients`` uploads or with this algorithm."""
    try:
        chain = as_chain(spec.aggregator)
    except InvalidInput as error:
        problems.add(str(error))
        return
    problems.extend(f"aggregator: {problem}" for problem in chain.problems(clients))
    name, algorithm = type(spec.algorithm).__name__, spec.algorithm
    if chain.transforms and algorithm.why_untransformed:
        parts = ", ".join(type(part).__name__ for part in chain.transforms)
        problems.add(
            f"aggregator: {parts} would change the uploads of {name}, and {algorithm.why_untransformed}; "
            "leave it out, or give another algorithm"
        )
    averaged = isinstance(chain.rule, Streamed) and chain.rule.averages
    if algorithm.why_averaged and (chain.mixers or not averaged):
        parts = ", ".join(type(part).__name__ for part in (*chain.mixers, chain.rule))
        problems.add(
            f"aggregator: {parts} would not average the uploads of {name}, and {algorithm.why_averaged}; "
            "give WeightedMean(), or another algorithm"
        )
