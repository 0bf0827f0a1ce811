"""A configuration in words that are equal where it is equal, in any process."""

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


def in_words(value: Any, inside: tuple[Any, ...] = ()) -> str:
    """Text that differs where values differ; unlike ``repr`` it has no addresses and leaves nothing out.

    Arrays are told by type, shape and a digest of their bytes; a function that can be imported by its
    name is told by that, others (lambdas, closures) by a digest of their code and of what they enclose.

    Args:
        value: anything.
        inside: functions around it, for those that enclose themselves.
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return _array(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{k}: {in_words(v, inside)}' for k, v in value.items()))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(in_words(item, inside) for item in value))}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(in_words(item, inside) for item in value)})"
    if isinstance(value, type):
        return value.__qualname__
    if inspect.ismethod(value):
        return f"{in_words(value.__self__, inside)}.{value.__name__}"
    if isinstance(value, functools.partial):
        return f"partial{in_words((value.func, value.args, value.keywords), inside)}"
    if dataclasses.is_dataclass(value):
        fields = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(f'{k}={in_words(v, inside)}' for k, v in fields)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return _function(value, inside)
    if type(value).__repr__ is object.__repr__:
        return f"{type(value).__name__}{in_words(getattr(value, '__dict__', {}), inside)}"
    return ADDRESS.sub("", repr(value))


def settings(configured: Any) -> dict[str, str]:
    """The fields of a dataclass in words; a data set in few, with a digest of all that it holds."""
    fields = {field.name: getattr(configured, field.name) for field in dataclasses.fields(configured)}
    return {
        name: f"{field!r} {digest(field.replace(truth={}))}"
        if isinstance(field, Dataset)
        else in_words(field)
        for name, field in fields.items()
    }


def digest(value: Any) -> str:
    """64 bits of what :func:`in_words` says, as 16 letters."""
    return hashlib.sha256(in_words(value).encode()).hexdigest()[:16]


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
    found: Any = sys.modules.get(str(module))
    for part in name.split("."):
        found = getattr(found, part, None)
    plain = inspect.unwrap(function)
    if found is function or any(plain is one for one in inside) or not inspect.isfunction(plain):
        return f"{module}.{name}"
    what = (_code(plain.__code__), plain.__defaults__, plain.__kwdefaults__, _enclosed(plain))
    return f"{name} {hashlib.sha256(in_words(what, (*inside, plain)).encode()).hexdigest()[:16]}"


def _enclosed(function: Any) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # its variable was deleted
            found.append(None)
    return found


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = [_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, constants
