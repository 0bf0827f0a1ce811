"""One jax device per CPU core: hospitals then train on all cores at once."""

from __future__ import annotations

import os

import jax

from jaxfed.core.devices import available_devices
from jaxfed.core.errors import warn
from jaxfed.runtime.cache import keep_compiled_programs


def use_cpu_devices(count: int | None = None) -> int:
    """Let jax see ``count`` CPU devices; call it before anything else uses jax.

    Where there is one for each core, XLA is told (in ``XLA_FLAGS``) not to split single operations over
    cores: all are busy already, and a batch of rows would be gathered by two of them.

    Compiled programs are kept in jaxfed's cache folder, so that the next process starts sooner
    (:mod:`jaxfed.runtime.cache`; ``JAXFED_CACHE=off`` switches that off).

    Args:
        count: None for one per core that this process may use.

    Returns:
        int: the number of devices that jax has now. Where jax is already running they cannot be
        changed any more, and a warning says so.

    Raises:
        InvalidInput: jax cannot start what ``JAX_PLATFORMS`` asks for.
    """
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    wanted, flags = count or cores, os.environ.get("XLA_FLAGS", "")
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
        if wanted >= cores and "xla_disable_hlo_passes" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_disable_hlo_passes=cpu-parallel-task-assigner".strip()
    except RuntimeError:
        if len(available_devices()) != wanted:
            warn(
                f"jax is already running with {len(available_devices())} device(s), {wanted} wanted: restart "
                "the kernel and call jaxfed.use_cpu_devices() first"
            )
    keep_compiled_programs()
    return len(available_devices())
