"""Parts of the road of uploads, put in the order in which uploads meet them."""

from __future__ import annotations

from typing import Any

from jaxfed.aggregators.mean import WeightedMean
from jaxfed.core.aggregation import Chain, Mixer, Part, Post, Rule, Streamed, Transform
from jaxfed.core.errors import InvalidInput

_PLACES: tuple[tuple[tuple[type[Part], ...], str], ...] = (
    ((Transform,), "transform"),
    ((Mixer,), "mixer"),
    ((Rule, Streamed), "rule"),
    ((Post,), "post"),
)
_ORDER = "transforms, then mixers, then one rule, then posts"


def chain(*parts: Part) -> Chain:
    """Compose parts: transforms of one upload, mixers of all uploads, the rule, posts for the aggregate.

    Args:
        parts: in the order in which uploads meet them. Without a rule it is ``WeightedMean()``.

    Raises:
        InvalidInput: two rules, a part that stands where it cannot work, or what is no part.

    >>> from jaxfed.aggregators import NNM, TrimmedMean
    >>> chain(NNM(f=2), TrimmedMean(0.2))
    chain(NNM(f=2), TrimmedMean(trim=0.2))
    """
    places = [_place(part) for part in parts]
    text = f"chain({', '.join(map(_name, parts))})"
    rules = [_name(part) for part, place in zip(parts, places, strict=True) if place == 2]
    if len(rules) > 1:
        hiding = [name for name, part in zip(map(_name, parts), parts, strict=True) if part.hides]
        why = (
            f", and with {hiding[0]} the server sees no single upload that another could use"
            if hiding
            else ""
        )
        raise InvalidInput(f"{text}: {' and '.join(rules)} are {len(rules)} rules{why}; give one")
    for (part, place), (after, next_place) in zip(
        zip(parts, places, strict=True), list(zip(parts, places, strict=True))[1:], strict=False
    ):
        if next_place < place:
            name, other = _name(after), _name(part)
            raise InvalidInput(
                f"{text}: {name} is a {_PLACES[next_place][1]} and belongs before {other}, a "
                f"{_PLACES[place][1]}; give {_ORDER}"
            )
    transforms, mixers, (rule, *_), posts = (
        tuple(part for part, place in zip(parts, places, strict=True) if place == at) or empty
        for at, empty in enumerate(((), (), (WeightedMean(),), ()))
    )
    return Chain(transforms, mixers, rule, posts)  # type: ignore[arg-type]


def as_chain(aggregator: Part | Chain) -> Chain:
    """The chain itself, or that of a single part."""
    return aggregator if isinstance(aggregator, Chain) else chain(aggregator)


def _name(part: Part) -> str:
    return type(part).__name__


def _place(part: Any) -> int:
    for place, (kinds, _) in enumerate(_PLACES):
        if isinstance(part, kinds):
            return place
    if isinstance(part, type) and issubclass(part, Part):
        raise InvalidInput(f"chain: {part.__name__} is a class; write {part.__name__}(...)")
    if isinstance(part, Chain):
        raise InvalidInput(f"chain: {part!r} is a chain itself; give its parts")
    kind = part.__name__ if isinstance(part, type) else f"{part!r}, a {type(part).__name__}"
    raise InvalidInput(f"chain: {kind}, is no part of it; give {_ORDER}")
