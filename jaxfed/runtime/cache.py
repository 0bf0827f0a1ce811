"""Compiled programs on disk, so that a second process need not compile what the first one did.

jax's persistent compilation cache, in ``$JAXFED_CACHE``, in ``$XDG_CACHE_HOME/jaxfed`` or in
``~/.cache/jaxfed``, in a folder of its own for each processor: what was compiled for one may not run on
another. ``JAXFED_CACHE=off`` switches it off. A cache that a user has set up is left as it is; an entry that
cannot be read only costs time.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax

SWITCH = "JAXFED_CACHE"
LEAST_SECONDS = 0.1  # programs that compile faster are not worth a file


def keep_compiled_programs() -> None:
    """Let jax keep programs on disk, unless that is switched off or set up already."""
    if os.environ.get(SWITCH) == "off" or jax.config.values.get("jax_compilation_cache_dir"):
        return
    try:
        folder = location() / processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that cannot be written to
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_raise_persistent_cache_errors", False)


def location() -> Path:
    """jaxfed's cache folder."""
    given = os.environ.get(SWITCH)
    if given:
        return Path(given)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "jaxfed"


def processor() -> str:
    """A name for this processor and this jax: a hash of what a compiled program depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        cpu = [platform.processor(), platform.machine()]
    about = repr((jax.__version__, cpu, os.environ.get("XLA_FLAGS", "")))
    return hashlib.blake2b(about.encode(), digest_size=8).hexdigest()
