"""A sweep as a netCDF 3 file, written by scipy, which jax depends on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfed.core.errors import InvalidInput
from jaxfed.core.optional import needs

if TYPE_CHECKING:
    from xarray import Dataset

FORMAT = 1
NAME = "sweep.nc"
MARK = "jaxfed_sweep_format"
TEXTS = ("fields", "config", "provenance")


def write(
    path: Path, data: Dataset, fields: Sequence[str], config: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Write a temporary file and rename it, so that ``path`` is always a complete file."""
    texts = {"fields": list(fields), "config": config, "provenance": provenance}
    attributes = {MARK: FORMAT, **{name: json.dumps(value) for name, value in texts.items()}}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        data.assign_attrs(attributes).to_netcdf(temporary, engine="scipy", format="NETCDF3_64BIT")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> tuple[Dataset, dict[str, Any], dict[str, Any]]:
    """Read the data, configuration and provenance that :func:`write` wrote."""
    xarray = needs("xarray", "sweep", "reading a sweep")
    path = path / NAME if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"no sweep in {path}: give what Sweep.save wrote")
    try:
        stored = xarray.load_dataset(path, engine="scipy", decode_times=False)
    except (TypeError, ValueError, KeyError, EOFError) as error:
        raise InvalidInput(
            f"{path} is not a whole netCDF file: {error}; give what Sweep.save wrote"
        ) from error
    version = stored.attrs.get(MARK)
    if version != FORMAT:
        raise InvalidInput(
            f"{path} has format {version} and this jaxfed reads format {FORMAT}; "
            + ("give what Sweep.save wrote" if version is None else "use the jaxfed that wrote it")
        )
    fields, config, provenance = (json.loads(stored.attrs[name]) for name in TEXTS)
    # netCDF sorts coordinates, has no 64-bit integers, and gives strings back as objects
    names = [*fields, *(name for name in stored.coords if name not in fields)]
    data = xarray.Dataset(
        {name: _widened(stored[name].variable) for name in stored.data_vars},
        coords={name: _widened(stored[name].variable) for name in names},
        attrs={name: value for name, value in stored.attrs.items() if name not in (MARK, *TEXTS)},
    )
    return data, config, provenance


def _widened(variable: Any) -> Any:
    kinds = {"i": np.int64, "O": str}
    wide = variable.astype(kinds.get(variable.dtype.kind, variable.dtype))
    wide.encoding = {}
    return wide
