"""Commands that can be cut: what was typed is kept beside the checkpoints."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from jaxfed.core.errors import InvalidInput
from jaxfed.runtime.provenance import provenance
from jaxfed.storage.checkpoint import Checkpoint, CheckpointError, read, write
from jaxfed.storage.folder import SUFFIX, check_config

FILE = f"command{SUFFIX}"
CHECKPOINTS = {"checkpoint", "every", "keep", "resume"}
PLACES = {
    "out",
    "overwrite",
    "report",
    "devices",
    *CHECKPOINTS,
}  # where results and checkpoints go, and on what
# when it goes on
CHANGEABLE = {"rounds", "out", "overwrite", "report", "baselines", "metric", "file", *CHECKPOINTS}


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """Where a command keeps what it has done."""

    checkpoint: Path | None = None
    """Folder for checkpoints; the same command goes on where it was cut."""
    every: int | None = None
    """Rounds between checkpoints (of a sweep: of all its runs together); 30 seconds where not given."""
    keep: int = 3
    """How many of the newest checkpoints are kept."""
    resume: Path | None = None
    """Folder of a command that was cut: it goes on with its own options."""


def typed(arguments: list[str]) -> list[str]:
    """What to do: what was typed, or with ``COMMAND --resume FOLDER`` what was typed then.

    Raises:
        InvalidInput: more options beside ``--resume``.
        CheckpointError: no such command in the folder.
    """
    command, *rest = [part for argument in arguments for part in argument.split("=", 1)] or [""]
    if "--resume" not in rest:
        return arguments
    if len(rest) != 2 or rest[0] != "--resume":
        raise InvalidInput(
            "--resume takes all options from the command that was cut; leave the others out, or type that "
            "command again, with its --checkpoint and, for instance, more --rounds"
        )
    folder = Path(rest[1])
    if not (folder / FILE).is_file():
        raise CheckpointError(
            "missing",
            f"--resume {folder}: there is no {FILE}; give the folder of jaxfed {command} --checkpoint FOLDER "
            "(what began in Python goes on with the same call there)",
        )
    then = read(folder / FILE).notes["arguments"]
    if then[0] != command:
        raise CheckpointError("configuration", f"--resume {folder}: that was jaxfed {then[0]}, not {command}")
    return [*_without(then, "--checkpoint"), "--checkpoint", str(folder)]  # it may have been moved


def apart(options: CheckpointOptions) -> set[str]:
    """Options that may differ where results are written over: what goes on may do so with more rounds."""
    return PLACES | {"file"} if options.checkpoint is None else PLACES | CHANGEABLE


def remember(options: CheckpointOptions) -> None:
    """Keep what was typed, for :func:`typed`, where there is a folder for checkpoints.

    Raises:
        CheckpointError: the folder is of a command with other options.
    """
    if options.checkpoint is None:
        return
    config = {
        field.name: str(getattr(options, field.name))
        for field in dataclasses.fields(options)
        if field.name not in CHANGEABLE
    }
    path = options.checkpoint / FILE
    if path.is_file():
        check_config(read(path).config, config, str(path))
    options.checkpoint.mkdir(parents=True, exist_ok=True)
    file = getattr(options, "file", None)  # a TOML file: its options are among the arguments by now
    arguments = [argument for argument in sys.argv[1:] if argument != str(file)]
    write(path, Checkpoint(config, 0, {}, notes={"arguments": arguments}, versions=provenance()))


def _without(arguments: list[str], flag: str) -> list[str]:
    """Arguments but a flag with its value."""
    before = ["", *arguments]
    return [
        argument
        for argument, one in zip(arguments, before, strict=False)
        if argument.split("=")[0] != flag and one != flag
    ]
