"""A canonical text of a configuration: equal configurations give equal text in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

import jax
import numpy as np

from jaxfed.core.dataset import Dataset

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def canonical_text(value: Any, inside: tuple[Any, ...] = ()) -> str:
    """Text that differs if values differ; unlike ``repr`` it has no addresses and omits nothing.

    Arrays are represented by type, shape and a digest of their bytes; a function that can be imported by its
    name by this name, other functions (lambdas, closures) by a digest of their code and closure.

    Args:
        value: any value.
        inside: the functions that enclose it, for functions that enclose themselves.
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return _array(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{k}: {canonical_text(v, inside)}' for k, v in value.items()))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(canonical_text(item, inside) for item in value))}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(canonical_text(item, inside) for item in value)})"
    if isinstance(value, type):
        return value.__qualname__
    if inspect.ismethod(value):
        return f"{canonical_text(value.__self__, inside)}.{value.__name__}"
    if isinstance(value, functools.partial):
        return f"partial{canonical_text((value.func, value.args, value.keywords), inside)}"
    if dataclasses.is_dataclass(value):
        fields = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(f'{k}={canonical_text(v, inside)}' for k, v in fields)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return _function(value, inside)
    if type(value).__repr__ is object.__repr__:
        return f"{type(value).__name__}{canonical_text(getattr(value, '__dict__', {}), inside)}"
    return ADDRESS.sub("", repr(value))


def settings(configured: Any) -> dict[str, str]:
    """The fields of a dataclass as text; a data set is summarised, with a digest of its content."""
    fields = {field.name: getattr(configured, field.name) for field in dataclasses.fields(configured)}
    return {
        name: f"{field!r} {digest(field.replace(truth={}))}"
        if isinstance(field, Dataset)
        else canonical_text(field)
        for name, field in fields.items()
    }


def digest(value: Any) -> str:
    """The first 64 bits of the SHA-256 of :func:`canonical_text`, as 16 hexadecimal digits."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()[:16]


def _array(value: Any) -> str:
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {jax.random.key_impl(value)} {_array(jax.random.key_data(value))}"
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array.dtype}({array.item()!r})"
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return f"{array.dtype}{list(array.shape)} {hashlib.sha256(content).hexdigest()[:16]}"


def _function(function: Callable[..., Any], inside: tuple[Any, ...]) -> str:
    module, name = getattr(function, "__module__", None), function.__qualname__
    imported: Any = sys.modules.get(str(module))
    for part in name.split("."):
        imported = getattr(imported, part, None)
    plain = inspect.unwrap(function)
    if imported is function or any(plain is other for other in inside) or not inspect.isfunction(plain):
        return f"{module}.{name}"
    what = (_code(plain.__code__), plain.__defaults__, plain.__kwdefaults__, _enclosed(plain))
    return f"{name} {hashlib.sha256(canonical_text(what, (*inside, plain)).encode()).hexdigest()[:16]}"


def _enclosed(function: Any) -> list[Any]:
    values = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # its variable was deleted
            values.append(None)
    return values


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = [_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, constants
