"""The command line: ``jaxfed run``, ``jaxfed sweep`` and ``jaxfed bench``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import tyro

import jaxfed
from jaxfed.cli import toml
from jaxfed.cli.bench import bench_command
from jaxfed.cli.resume import typed
from jaxfed.cli.run import run_command
from jaxfed.cli.sweep import SweepOptions, sweep_command
from jaxfed.core.errors import InvalidInput
from jaxfed.storage.checkpoint import CheckpointError

__all__ = ["main"]


def main() -> None:
    """Entry point of the ``jaxfed`` command."""
    try:
        sys.argv[1:] = typed(sys.argv[1:])
        if sys.argv[1:2] == ["sweep"]:
            known = {field.name for field in dataclasses.fields(SweepOptions)} - {"file", "vary"}
            sys.argv[2:] = toml.expanded(sys.argv[2:], known)
        commands: dict[str, Callable[..., Any]] = {
            "run": run_command,
            "sweep": sweep_command,
            "bench": bench_command,
        }
        tyro.extras.subcommand_cli_from_dict(commands, description=jaxfed.__doc__)
    except (InvalidInput, CheckpointError, FileNotFoundError, ImportError) as error:
        sys.exit(f"jaxfed: {error}")
