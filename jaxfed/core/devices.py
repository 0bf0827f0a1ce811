"""The devices that jax has, and what to type where it cannot start."""

from __future__ import annotations

import os

import jax

from jaxfed.core.errors import InvalidInput

PLATFORMS = "JAX_PLATFORMS"  # environment variable of jax


def available_devices() -> list[jax.Device]:
    """The devices of jax, which starts now if it has not yet.

    Raises:
        InvalidInput: none of the platforms that were asked for can be started, such as a GPU that is absent.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # jax raises either, depending on what is installed
        asked = jax.config.values.get("jax_platforms") or os.environ.get(PLATFORMS, "")
        why = (str(error).strip().splitlines() or [""])[0]
        raise InvalidInput(
            f"{PLATFORMS}={asked}: jax finds no such device{f' ({why})' if why else ''}; set {PLATFORMS}=cpu "
            "for the processor, unset it for whatever there is, or for an NVIDIA GPU install jax[cuda12]"
        ) from error
