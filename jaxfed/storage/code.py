"""What a function or a class is made of: its code, and the values that the code refers to."""

from __future__ import annotations

import dataclasses
import dis
import functools
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

# methods that dataclasses write, without a file; the fields of the dataclass say all about them
GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__"}


@functools.cache
def in_library(module: str | None) -> bool:
    """Whether a module belongs to jaxfed, to the standard library or to an installed package."""
    top = str(module).split(".")[0]
    if top in sys.stdlib_module_names or top in ("jaxfed", "builtins"):
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    if top == "__main__" or file is None:
        return False
    paths = sysconfig.get_paths()
    places = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    return any(Path(file).resolve().is_relative_to(Path(place).resolve()) for place in places)


def can_be_imported(value: Any) -> bool:
    """Whether the value is what its module has under its name, which a lambda or a closure is not."""
    imported: Any = sys.modules.get(str(getattr(value, "__module__", None)))
    for part in value.__qualname__.split("."):
        imported = getattr(imported, part, None)
    return imported is value


def layers(function: Callable[..., Any]) -> list[FunctionType]:
    """A function without the decorators of libraries, and the other decorators around it, outermost first."""
    chain: list[Any] = [function]
    while (inner := getattr(chain[-1], "__wrapped__", None)) is not None and inner not in chain:
        chain.append(inner)
    plain = [layer for layer in chain if isinstance(layer, FunctionType)]
    outer = [layer for layer in plain[:-1] if not in_library(layer.__globals__.get("__name__"))]
    return [*outer, *plain[-1:]]


def parts(function: FunctionType) -> tuple[Any, ...]:
    """All that a function is made of."""
    defaults = function.__defaults__, function.__kwdefaults__
    return function.__code__, *defaults, _enclosed(function), _used(function)


def written_in(kind: type) -> dict[str, Any]:
    """Functions and values in a class and in its bases, except for those of libraries."""
    written: dict[str, Any] = {}
    for base in kind.__mro__:
        if in_library(base.__module__) and can_be_imported(base):
            continue
        for name, value in vars(base).items():
            value = getattr(value, "func", value)  # of a cached property
            if isinstance(value, property):
                written[f"{base.__qualname__}.{name}"] = (value.fget, value.fset)
            elif isinstance(value, staticmethod | classmethod):
                written[f"{base.__qualname__}.{name}"] = value.__func__
            elif isinstance(value, FunctionType):
                generated = name in GENERATED and layers(value)[-1].__code__.co_filename == "<string>"
                if not (generated and dataclasses.is_dataclass(base)):
                    written[f"{base.__qualname__}.{name}"] = value
            elif not name.startswith("_"):
                written[f"{base.__qualname__}.{name}"] = value
    return written


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots included."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    in_slots = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return in_slots | getattr(value, "__dict__", {})


def _enclosed(function: FunctionType) -> list[Any]:
    """The values of a function's closure."""
    values = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # its variable was deleted
            values.append(None)
    return values


def _used(function: FunctionType) -> dict[str, Any]:
    """The global values that a function's code refers to, and those that it takes out of modules.

    Only for functions that are not of a library: what a library's code refers to changes with its version.
    """
    if in_library(function.__globals__.get("__name__")):
        return {}
    values: dict[str, Any] = {}
    names = list(_names(function.__code__))
    for name, is_global in names:
        if is_global and name in function.__globals__:
            values[name] = function.__globals__[name]
        elif name in sys.modules:  # imported inside of the function
            values[name] = sys.modules[name]
    modules = [v for v in values.values() if isinstance(v, ModuleType) and not in_library(v.__name__)]
    for module in modules:
        for name, is_global in names:
            if not is_global and hasattr(module, name):
                values[f"{module.__name__}.{name}"] = getattr(module, name)
    return values


def _names(code: CodeType) -> Iterator[tuple[str, bool]]:
    """The names in a code and in the codes inside of it, and whether each is that of a global."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval, True
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_NAME", "IMPORT_FROM"):
            yield instruction.argval, False
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
