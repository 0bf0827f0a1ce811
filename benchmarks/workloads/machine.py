"""The machine that measures, in words for the record."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """The machine, as jax sees it."""
    code = "import jax, json; d = jax.devices()[0]; print(json.dumps([d.platform, d.device_kind]))"
    probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kind, device = json.loads(probe.stdout)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "device": processor() if kind == "cpu" else device,
        "platform": kind,
        "cores": cores,
        "memory_bytes": memory,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def processor() -> str:
    """Name of the CPU."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def slug(device: dict[str, Any]) -> str:
    """For a file's name."""
    name = re.sub(r"[^a-z0-9]+", "-", device["device"].lower()).strip("-")
    return f"{name}-{device['cores']}-cores" if device["platform"] == "cpu" else name
