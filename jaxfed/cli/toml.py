"""Options of a command in a TOML file: they become flags, and flags on the command line go before them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxfed.core.errors import InvalidInput, Problems, did_you_mean

VARY = "vary"  # a table of fields with their values


def expanded(arguments: Sequence[str], known: Iterable[str]) -> list[str]:
    """The command's arguments; where a TOML file is named, its flags in place of its name, before the others.

    Args:
        arguments: what follows the command's name.
        known: names of options.

    Raises:
        InvalidInput: no such file, no TOML, or keys that are no options.
    """
    paths = [Path(text) for text in arguments if text.endswith(".toml") and not text.startswith("-")]
    if not paths:
        return list(arguments)
    if len(paths) > 1:
        raise InvalidInput(f"{' and '.join(map(str, paths))}: give one file")
    (path,) = paths
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
    problems, options = Problems(str(path)), sorted(known)
    flags: list[str] = []
    for key, value in content.items():
        name = key.replace("-", "_")
        if name == VARY:
            continue
        if name not in options:
            problems.add(f"there is no option {key!r}: {did_you_mean(name, [*options, VARY])}")
        elif isinstance(value, Mapping):
            problems.add(f"[{key}]: only [{VARY}] is a table; give {key} = a value")
        else:
            flags += _flag(name, value)
    fields = dict(_fields(content.get(VARY, {}), "", problems))
    given = {text.partition("=")[0] for text in _after(arguments, "--" + VARY)}
    for field, values in fields.items():
        if field not in given:
            flags += ["--" + VARY, f"{field}={values}"]
    problems.raise_if_any()
    rest = [text for text in arguments if Path(text) != path]
    return [*flags, *rest]


def _flag(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]


def _fields(table: Any, prefix: str, problems: Problems) -> Iterable[tuple[str, str]]:
    """Paths with their values as on the command line; ``a.b = [1]`` may come as nested tables."""
    if not isinstance(table, Mapping):
        problems.add(f"{prefix or VARY} = {table!r}: give values in a list")
        return
    for key, value in table.items():
        path = prefix + key
        if isinstance(value, Mapping):
            yield from _fields(value, path + ".", problems)
        elif isinstance(value, str):
            yield path, value  # a range, as "0.001..1:log"
        elif isinstance(value, list):
            yield path, ",".join(str(item).lower() if isinstance(item, bool) else str(item) for item in value)
        else:
            problems.add(f"{path} = {value!r}: give values in a list")


def _after(arguments: Sequence[str], flag: str) -> list[str]:
    """What was given to a flag."""
    follows = [b for a, b in pairwise(arguments) if a == flag]
    return follows + [text.removeprefix(flag + "=") for text in arguments if text.startswith(flag + "=")]
