"""Whether the road of an upload fits the algorithm and the hospitals."""

from __future__ import annotations

from jaxfed.aggregators import as_chain
from jaxfed.core.aggregation import Streamed
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.spec.spec import Spec


def check_road(spec: Spec, clients: int, problems: Problems) -> None:
    """Record what the aggregator's parts cannot do with at most ``clients`` uploads, or with this
    algorithm's."""
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
