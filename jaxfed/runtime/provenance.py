"""Where a result came from: versions, device, time."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax

from jaxfed.core.errors import warn

PACKAGES = ("jaxfed", "jax", "jaxlib", "flax", "optax", "numpy")


def provenance() -> dict[str, Any]:
    """Versions, the device and the time, as plain text and numbers."""
    device = jax.devices()[0]
    return {
        **_versions(),
        "device": device.device_kind,
        "platform": device.platform,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _versions() -> dict[str, str]:
    """They cost 10 ms to look up and do not change while a process runs."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {**versions, "python": platform.python_version()}


def compare_versions(there: Mapping[str, Any]) -> None:
    """Warn where a checkpoint was made with other versions or on another device."""
    here = provenance()
    differ = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in (*PACKAGES, "python", "device")
        if there[name] != here[name]
    ]
    if differ:
        warn(
            f"the checkpoint was made with other versions ({'; '.join(differ)}): "
            "the run goes on, but its result may not be bit for bit that of an uninterrupted one"
        )
