"""Frozen dataclasses as pytrees: fields are leaves, except those marked ``metadata={"static": True}``.

This module does not use ``jax.tree_util.register_dataclass``: in jax 0.10 the tree structures of two such
classes with equal fields compare as equal, so jax may use the compiled program of one algorithm for another
if their hashes collide in a cache. Here the class is part of the comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax

from jaxfed.core.errors import spelled

T = TypeVar("T", bound=type)


def pytree(cls: T) -> T:
    """Register a class as a pytree: a decorator, above ``@dataclasses.dataclass(frozen=True)``.

    An argument that does not exist is an InvalidInput that suggests the nearest name.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    fields = [field for field in dataclasses.fields(cls) if field.init]
    leaves = [field.name for field in fields if not field.metadata.get("static", False)]
    static = [field.name for field in fields if field.metadata.get("static", False)]

    def static_part(node: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, tuple(getattr(node, name) for name in static)

    def flatten(node: Any) -> tuple[list[Any], tuple[type, tuple[Any, ...]]]:
        return [getattr(node, name) for name in leaves], static_part(node)

    def flatten_with_keys(node: Any) -> tuple[list[Any], tuple[type, tuple[Any, ...]]]:
        keyed = [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in leaves]
        return keyed, static_part(node)

    def unflatten(aux: tuple[type, tuple[Any, ...]], children: Iterable[Any]) -> Any:
        values = dict(zip(leaves, children, strict=True)) | dict(zip(static, aux[1], strict=True))
        return cls(**values)

    cls.__init__ = spelled(init, cls.__name__)  # type: ignore[misc]
    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
