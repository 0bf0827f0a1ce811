"""The command line: ``jaxfed run``, ``jaxfed sweep``, ``bench``, ``privacy`` and ``data check``."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import tyro

import jaxfed
from jaxfed.cli import toml
from jaxfed.cli.bench import bench_command
from jaxfed.cli.data import check_command
from jaxfed.cli.folders import check_names
from jaxfed.cli.messages import line, show_warning
from jaxfed.cli.privacy import privacy_command
from jaxfed.cli.resume import typed
from jaxfed.cli.run import run_command
from jaxfed.cli.sweep import SweepOptions, sweep_command

__all__ = ["main"]

COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run_command,
    "sweep": sweep_command,
    "bench": bench_command,
    "privacy": privacy_command,
    "data check": check_command,
}


def main() -> None:
    """Entry point of the ``jaxfed`` command; what is wrong is one line, with ``--debug`` a traceback."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]

    def show(message: Warning | str, *where: Any, **also: Any) -> None:
        show_warning(message, _options(sys.argv[1:]))

    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            _run()
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                raise
            sys.exit(f"jaxfed: {line(error, _options(sys.argv[1:]))}")


def _run() -> None:
    check_names(sys.argv[1:])
    sys.argv[1:] = typed(sys.argv[1:])
    if sys.argv[1:3] == ["data", "check"]:
        sys.argv[1:3] = ["data check"]
    if sys.argv[1:2] == ["sweep"]:
        known = {field.name for field in dataclasses.fields(SweepOptions)} - {"file", "vary"}
        sys.argv[2:] = toml.expanded(sys.argv[2:], known)
    description = f"{jaxfed.__doc__}\n\nWith --debug an error is shown with its traceback."
    tyro.extras.subcommand_cli_from_dict(COMMANDS, description=description)


def _options(arguments: list[str]) -> set[str]:
    """Names of the options of a command, without those that were typed as ``name=value``, as in --vary."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    names: set[str] = set()
    for name, hint in get_type_hints(command).items() if command else ():
        kinds = [kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)]
        names |= {field.name for kind in kinds for field in dataclasses.fields(kind)} if kinds else {name}
    return names - {"return"} - {argument.partition("=")[0] for argument in arguments if "=" in argument}
