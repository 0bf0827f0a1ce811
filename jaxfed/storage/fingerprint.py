"""A canonical text of a configuration: equal configurations give equal text in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType
from typing import Any

import jax
import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.storage import code

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def canonical_text(value: Any) -> str:
    """Text that differs if values differ; unlike ``repr`` it has no addresses and omits nothing.

    Arrays are represented by type, shape and a digest of their bytes. A function or a class of a library (one
    that is installed, the standard library, jaxfed) is represented by its name, as the versions of libraries
    are compared elsewhere. Any other function or class has a digest of its compiled code and of all that the
    code refers to: defaults, closures, attributes of the class, and global names, so that an edited loss or
    model is another one.
    """
    return _Writer().text(value)


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
    return _hash(canonical_text(value))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Writer:
    """Writes one text.

    Attributes:
        inside: the values around the current one; a value inside of itself ends there.
        written: functions and classes that the text has, by identity; a second time they are only numbered.
    """

    def __init__(self) -> None:
        self.inside: list[Any] = []
        self.written: dict[int, tuple[int, Any]] = {}  # the value itself keeps its identity from being reused

    def text(self, value: Any) -> str:
        if isinstance(value, np.generic | np.ndarray | jax.Array):
            return self._array(value)
        if isinstance(value, str | bytes | int | float | complex | range | None):
            return repr(value)
        if any(value is other for other in self.inside):
            return "itself"
        self.inside.append(value)
        text = self._compound(value)
        self.inside.pop()
        return text

    def _compound(self, value: Any) -> str:
        if isinstance(value, Mapping):
            items = sorted(value.items(), key=lambda item: str(item[0]))
            return f"{{{', '.join(f'{k}: {self.text(v)}' for k, v in items)}}}"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(self.text(item) for item in value))}}}"
        if isinstance(value, list | tuple):
            return f"({', '.join(self.text(item) for item in value)})"
        if isinstance(value, CodeType):
            return self.text((value.co_code, value.co_names, value.co_consts))
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, type):
            return self._class(value)
        if inspect.ismethod(value):
            return f"{self.text(value.__self__)}.{self._function(value.__func__)}"
        if isinstance(value, functools.partial):
            return f"partial{self.text((value.func, value.args, value.keywords))}"
        if dataclasses.is_dataclass(value):
            fields = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
            return f"{self._class(type(value))}({', '.join(f'{k}={self.text(v)}' for k, v in fields)})"
        if callable(value) and hasattr(value, "__qualname__"):
            return self._function(value)
        if type(value).__repr__ is object.__repr__ or not code.in_library(type(value).__module__):
            return f"{self._class(type(value))}{self.text(code.attributes(value))}"
        if hasattr(value, "to_numpy"):  # the repr of a long table leaves out its middle
            return f"{self._class(type(value))}{self.text(value.to_numpy())}"
        return ADDRESS.sub("", repr(value))

    def _array(self, value: Any) -> str:
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            return f"key {jax.random.key_impl(value)} {self._array(jax.random.key_data(value))}"
        array = np.asarray(value)
        if array.ndim == 0:
            return f"{array.dtype}({array.item()!r})"
        if array.dtype == object:
            return f"object{list(array.shape)} {self.text(array.ravel().tolist())}"
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        return f"{array.dtype}{list(array.shape)} {hashlib.sha256(content).hexdigest()[:16]}"

    def _class(self, kind: type) -> str:
        return self._once(kind, kind.__qualname__, lambda: code.written_in(kind))

    def _function(self, function: Callable[..., Any]) -> str:
        module, name = getattr(function, "__module__", None), function.__qualname__
        layers = code.layers(function)
        if not layers or (code.in_library(module) and code.can_be_imported(function)):
            return f"{module}.{name}"
        return self._once(layers[0], name, lambda: [code.parts(layer) for layer in layers])

    def _once(self, value: Any, name: str, content: Callable[[], Any]) -> str:
        """The name, and a digest of the content or, if the text has that already, its number."""
        if id(value) in self.written:
            return f"{name} #{self.written[id(value)][0]}"
        self.written[id(value)] = len(self.written), value
        parts = content()
        return f"{name} code:{_hash(self.text(parts))}" if parts else name
