"""What a command says when something is wrong: one line, in words that can be typed, and no traceback."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Collection
from typing import Any

from jaxfed.core.errors import InvalidInput
from jaxfed.storage.checkpoint import CheckpointError

OTHER = {"data", "file", "model"}  # options that are not what the arguments of these names are
RENAMED = {"noise_multiplier": "noise"}  # arguments whose options have other names
LITERAL = r"\[[^\]]*\]|\{[^}]*\}|\([^()]*\)|'[^']*'|\"[^\"]*\"|\.\.\."
NUMBER = r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|inf|nan)"
WORD = r"[A-Za-z]\w*(?:-\w+)*"
VALUE = rf"{LITERAL}|(?:{NUMBER}|{WORD})(?![\w(\[]|\.\w)|(?=[\s,;.)]|$)"
EXAMPLE = re.compile(r"\bas \(([\d., ]+)\)")  # as (.7, .1, .2)
CALL = re.compile(r"\w\((?:[^()]|\([^()]*\))*$")  # the beginning of a line that ends inside of a call
PYTHON = {
    " to jaxfed.data.read_table": "",
    " to read_table": "",
    "turn them into days since another date, which jaxfed.data.prepare does": "add --prepare and --dates, to "
    "turn them into days since another date",
    "one-hot them, which jaxfed.data.prepare does": "add --prepare, which one-hots them",
}


def as_flags(text: str, options: Collection[str]) -> str:
    """``missing=['?']`` as ``--missing '?'``: how the same is said on the command line.

    Args:
        text: what is said of arguments in Python, a line or several.
        options: names of the options of the command, as ``batch_size``.
    """
    names = [name for name in options if name not in OTHER]
    names += [name for name, option in RENAMED.items() if option in options]
    argument = re.compile(rf"(?<![\w.'\"-])({'|'.join(names)})=({VALUE})") if names else None
    text = "\n".join(_line_as_flags(part, argument) for part in text.split("\n"))
    for said, typed in PYTHON.items():
        text = text.replace(said, typed)
    return text


def _line_as_flags(text: str, argument: re.Pattern[str] | None) -> str:
    """A line with its arguments as options, but those inside of calls."""

    def flag(found: re.Match[str]) -> str:
        return found[0] if CALL.search(text[: found.start()]) else _flag(found[1], found[2])

    flags = text if argument is None else argument.sub(flag, text)
    if flags == text:
        return text
    flags = EXAMPLE.sub(lambda numbers: f"as {numbers[1].replace(',', '')}", flags)
    return flags.replace(", or None", ", or leave it out")


def _flag(name: str, value: str) -> str:
    """An argument with its value in Python as an option."""
    option = "--" + RENAMED.get(name, name).replace("_", "-")
    if not value or re.fullmatch(NUMBER, value):
        return f"{option} {value}".rstrip()
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return f"{option} {value}" if re.fullmatch(WORD, value) else f"{name}={value}"
    if literal is None:
        return f"no {option}"
    if isinstance(literal, bool):
        return option if literal else option.replace("--", "--no-", 1)
    return f"{option} {_words(literal)}"


def _words(value: Any) -> str:
    """A value as words of a shell: ``['?', 'NA']`` as ``'?' NA``, ``{'asa': [1, 2]}`` as ``asa=1,2``."""
    if isinstance(value, dict):
        return " ".join(shlex.quote(f"{column}={_levels(given)}") for column, given in value.items())
    if isinstance(value, list | tuple | set):
        return " ".join(map(_words, value))
    if value is ...:
        return "..."
    quoted = shlex.quote(str(value))
    alone = not re.search(r"[\w']", quoted)  # as a comma, which would be read as one of the sentence
    return f"'{quoted}'" if alone else quoted


def _levels(given: Any) -> str:
    """``['I', 'II']`` as ``I,II``, and other values as their text."""
    if isinstance(given, list | tuple):
        return ",".join(map(_levels, given))
    return "..." if given is ... else str(given)


def line(error: BaseException, options: Collection[str]) -> str:
    """What to say of an error of a command with these options."""
    if isinstance(error, (InvalidInput, CheckpointError, ImportError)):
        return as_flags(str(error), options)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "out of memory; give --batch-size, --cohort or --devices a smaller number, or fewer --hospitals"
        )
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}; the same command with --debug shows where"


def show_warning(message: Warning | str, options: Collection[str]) -> None:
    """A warning as one line, without the file and the code that gave it."""
    print(f"jaxfed: warning: {as_flags(str(message), options)}", file=sys.stderr)
