"""Choices that were measured, kept for this process and in a small file in the user's cache folder.

The file is ``choices.json`` in ``$JAXFED_CACHE``, in ``$XDG_CACHE_HOME/jaxfed`` or in ``~/.cache/jaxfed``. A
folder that cannot be read or written is no error: the choice is then measured once in every process.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import jax

known: dict[str, Any] = {}  # of this process


def name_of(*about: Any) -> str:
    """A name for a choice: a hash of what it depends on, of jax, and of this machine."""
    machine = (
        jax.__version__,
        len(jax.devices()),
        jax.devices()[0].device_kind,
        platform.node(),
        _processor(),
    )
    text = re.sub(r"0x[0-9a-f]+", "", repr((about, machine)))  # addresses differ between processes
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def recall(name: str) -> Any:
    """What was kept under a name, or None."""
    if name not in known:
        known.update(_read() | known)
    return known.get(name)


def keep(name: str, value: Any) -> None:
    """Keep a value that JSON can hold."""
    known[name] = value
    try:
        path = location()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(_read() | {name: value}, indent=1))
        os.replace(part, path)
    except OSError:
        pass


def _read() -> dict[str, Any]:
    try:
        found = json.loads(location().read_text())
    except (OSError, ValueError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def location() -> Path:
    """Where the file is, or would be."""
    given = os.environ.get("JAXFED_CACHE")
    if given:
        return Path(given) / "choices.json"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "jaxfed" / "choices.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())
