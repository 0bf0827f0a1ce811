"""What a command says when something is wrong: one line, in words that can be typed, and no traceback."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

from jaxfed.core.errors import InvalidInput
from jaxfed.storage.checkpoint import CheckpointError

# Arguments in Python that are options with the same name.
OPTIONS = (
    *("categories", "dates", "min_count", "ordinal", "scale", "winsorise"),
    *("algorithm", "batch_size", "classes", "cohort", "decimal", "devices", "drop", "encoding", "epochs"),
    *("features", "hospital", "impute", "label", "learning_rate", "missing", "patient", "sep", "seed"),
    *("split", "task", "epsilon", "delta", "clip", "rate", "rounds", "row_weights", "time", "event"),
)
ARGUMENT = re.compile(rf"(?<![\w.-])({'|'.join(OPTIONS)})=(\[[^\]]*\]|\{{[^}}]*\}}|'[^']*'|(?=[\s,;.)]|$))")
PAIR = re.compile(r"'([^']*)': (\[[^\]]*\]|'[^']*')")
PYTHON = {
    " to jaxfed.data.read_table": "",
    " to read_table": "",
    "turn them into days since another date, which jaxfed.data.prepare does": "add --prepare and --dates, to "
    "turn them into days since another date",
    "one-hot them, which jaxfed.data.prepare does": "add --prepare, which one-hots them",
}


def as_flags(text: str) -> str:
    """``missing=['?']`` as ``--missing '?'``: how the same is said on the command line."""

    def flag(argument: re.Match[str]) -> str:
        name, value = "--" + argument[1].replace("_", "-"), argument[2]
        if value.startswith("["):
            value = " ".join(part.strip() for part in value[1:-1].split(","))
        elif value.startswith("{"):
            value = " ".join(f"{column}={_levels(given)}" for column, given in PAIR.findall(value))
        plain = re.sub(r"'([\w.-]+)'", r"\1", value)  # quotes that a shell does not need
        return f"{name} {plain}".rstrip()

    text = ARGUMENT.sub(flag, text)
    for said, typed in PYTHON.items():
        text = text.replace(said, typed)
    return text


def _levels(given: str) -> str:
    """``['I', 'II']`` as ``I,II``, and other text without its quotes."""
    return ",".join(part.strip(" '") for part in given.strip("[]").split(","))


def line(error: BaseException) -> str:
    """What to say of an error."""
    if isinstance(error, (InvalidInput, CheckpointError, ImportError)):
        return as_flags(str(error))
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


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: Any = None,
) -> None:
    """A warning as one line, without the file and the code that gave it; for ``warnings.showwarning``."""
    print(f"jaxfed: warning: {as_flags(str(message))}", file=file or sys.stderr)
