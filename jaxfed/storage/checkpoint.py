"""Checkpoint files: every byte is covered by a checksum, and a file is read completely or not at all.

    magic (8 bytes) | length of the header (8) | sha256 of the header (32) | header, JSON | arrays, end to end

The header has the format, library versions, the configuration and its hash, the round, notes, and for every
array its path, shape, dtype and sha256; bits of random keys also have the name of their implementation.
The format does not use pickle. A file is written under a temporary name, flushed to the disk and renamed, so
that a crash at any moment leaves the old file or the new file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np

FORMAT = 2
MAGIC = b"JAXFED\r\n"  # damaged by a transfer as text
PREFIX = len(MAGIC) + 8 + 32

Reason = Literal[
    "missing", "truncated", "damaged", "configuration", "shape or dtype", "format", "keys", "not written"
]


class CheckpointError(Exception):
    """A checkpoint cannot be used.

    Attributes:
        reason: ``"missing"``, ``"truncated"``, ``"damaged"``, ``"configuration"`` (of another run),
        ``"shape or dtype"``, ``"format"`` (an older or a newer one), ``"keys"`` (another implementation)
        or ``"not written"`` (no space, or no permission).
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        config: the settings that must be equal for a run to continue; plain text and numbers.
        round: rounds done.
        arrays: the arrays, by path.
        keys: the implementation of random keys, by path, for ``arrays`` that are bits of random keys.
        notes: other values that are needed; plain text and numbers.
        versions: versions of the libraries that wrote it.
    """

    config: Mapping[str, Any]
    round: int
    arrays: Mapping[str, np.ndarray]
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a file; an existing file is replaced only after the new file is on the disk.

    Raises:
        CheckpointError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            for piece in encode(checkpoint):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CheckpointError(
                "not written",
                f"{path} cannot be written: {error.strerror or error}; what was saved before is as it was: "
                "make space, or give another folder, and the same call goes on from there",
            ) from error
        raise
    _flush_folder(path.parent)


def read(path: Path) -> Checkpoint:
    """Read a file and check all of it.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or has another format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError("missing", f"{path}: {error.strerror}") from None
    return decode(data, str(path))


def read_config(path: Path) -> dict[str, Any]:
    """The configuration in a file; only the header is read and checked."""
    with open(path, "rb") as file:
        start = file.read(PREFIX)
        header, _ = _header(start + file.read(_header_length(start)), str(path))
    return header["config"]


def encode(checkpoint: Checkpoint) -> Iterator[bytes | memoryview]:
    """The bytes of a file, in pieces."""
    table, pieces = [], []
    for path, array in checkpoint.arrays.items():
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        if array.dtype.kind not in "biufc" and not hasattr(ml_dtypes, array.dtype.name):
            raise TypeError(f"{path}: arrays of {array.dtype} cannot be kept; give numbers")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        piece = array.reshape(-1).view(np.uint8).data
        entry = {"path": path, "shape": array.shape, "dtype": array.dtype.name, "sha256": _sha(piece).hex()}
        table.append(entry | ({"key": checkpoint.keys[path]} if path in checkpoint.keys else {}))
        pieces.append(piece)
    header = _json(
        {
            "format": FORMAT,
            "versions": checkpoint.versions,
            "config": checkpoint.config,
            "hash": config_hash(checkpoint.config),
            "round": checkpoint.round,
            "notes": checkpoint.notes,
            "leaves": table,
        }
    )
    yield MAGIC + len(header).to_bytes(8, "little") + _sha(header)
    yield header
    yield from pieces


def decode(data: bytes, name: str) -> Checkpoint:
    """The checkpoint in the bytes of a file; raises :class:`CheckpointError` if any byte is wrong."""
    header, start = _header(data, name)
    if header["format"] > FORMAT:
        raise CheckpointError(
            "format",
            f"{name} has format {header['format']} and this jaxfed reads up to {FORMAT}; use a newer jaxfed",
        )
    if header["format"] < FORMAT:
        raise CheckpointError(
            "format",
            f"{name} was written by an older jaxfed (format {header['format']}); start the run anew in "
            "another folder",
        )
    arrays, keys = {}, {}
    for leaf in header["leaves"]:
        dtype = np.dtype(getattr(ml_dtypes, leaf["dtype"], None) or leaf["dtype"]).newbyteorder("<")
        stop = start + dtype.itemsize * int(np.prod(leaf["shape"], dtype=np.int64))
        piece = memoryview(data)[start:stop]
        if stop > len(data):
            raise CheckpointError("truncated", f"{name} is truncated: it ends inside {leaf['path']}")
        if _sha(piece).hex() != leaf["sha256"]:
            raise CheckpointError("damaged", f"{name} is damaged: checksum of {leaf['path']}")
        native = np.frombuffer(piece, dtype).astype(dtype.newbyteorder("="), copy=False)
        arrays[leaf["path"]] = native.reshape(leaf["shape"])
        if "key" in leaf:
            keys[leaf["path"]] = leaf["key"]
        start = stop
    if start != len(data):
        raise CheckpointError("damaged", f"{name} is damaged: {len(data) - start} bytes too many")
    return Checkpoint(header["config"], header["round"], arrays, keys, header["notes"], header["versions"])


def _header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    """The checked header, and the offset of the first array."""
    if not data.startswith(MAGIC[: len(data)]):
        raise CheckpointError("damaged", f"{name} is no checkpoint of jaxfed, or its beginning is damaged")
    stop = PREFIX + _header_length(data)
    if len(data) < PREFIX or stop > len(data):
        raise CheckpointError("truncated", f"{name} is truncated: it ends inside the header")
    if _sha(data[PREFIX:stop]) != data[len(MAGIC) + 8 : PREFIX]:
        raise CheckpointError("damaged", f"{name} is damaged: checksum of the header")
    return json.loads(data[PREFIX:stop]), stop


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 of a configuration, whatever the order of its fields."""
    return _sha(_json(config)).hex()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "little")


def _sha(data: Any) -> bytes:
    return hashlib.sha256(data).digest()


def _flush_folder(folder: Path) -> None:
    """Flush a rename to the disk; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
