"""The folder of a run's checkpoints: the newest are kept, the newest that is whole is used."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxfed.storage.checkpoint import Checkpoint, CheckpointError, config_hash, read, read_config, write

SUFFIX = ".checkpoint"
PAUSE = 30.0  # seconds between checkpoints where no number of rounds is given


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in a folder that it has for itself.

    Attributes:
        folder: made where it is not there.
        config: of the run.
        keep: how many of the newest are kept.
    """

    folder: Path
    config: Mapping[str, Any]
    keep: int = 3

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write one, and remove those that are no longer needed.

        Raises:
            CheckpointError: meanwhile another run has written into the folder.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                "not written", f"{self.folder}: {error.strerror}; give a folder that can be written"
            ) from error
        self._check_owner()
        path = self.folder / f"round-{checkpoint.round:08d}{SUFFIX}"
        write(path, checkpoint)
        files = self._files()
        # one of a later round could not be read, or the run would have gone on from there
        for old in set(files) - set(files[files.index(path) :][: self.keep]):
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> Checkpoint | None:
        """The newest that is whole, None where there are none; a warning names each that is not.

        Raises:
            CheckpointError: of another run or another format, or none is whole.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError("missing", f"{self.folder} is a file; give a folder for checkpoints")
        for part in self.folder.glob(f"*{SUFFIX}.*.part"):  # of a run that was killed while it wrote
            part.unlink(missing_ok=True)
        bad: list[CheckpointError] = []
        for path in self._files():
            try:
                found = read(path)
            except CheckpointError as error:
                if error.reason == "format":
                    raise
                bad.append(error)
                continue
            check_config(found.config, self.config, str(path))
            for worse in bad:
                warnings.warn(f"{worse}; going on from {path.name}", stacklevel=2)
            return found
        if bad:
            raise bad[0]
        return None

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"round-*{SUFFIX}"), reverse=True)

    def _check_owner(self) -> None:
        for path in self._files()[:1]:
            try:
                config = read_config(path)
            except (OSError, CheckpointError):
                return  # being replaced, or damaged: the next that reads it will see
            check_config(config, self.config, str(path))


class Saver:
    """Writes checkpoints when it is time, or never where there is no folder for them.

    A checkpoint is a copy on the host that a thread writes while training goes on. Used as a context manager
    it
    ends when the last one is on the disk; what went wrong in a thread is raised by the next call.

    Args:
        files: the folder, or None.
        every: rounds between two; None for :data:`PAUSE` seconds.
        saved: rounds that were done at the newest one, None where there is none.
    """

    def __init__(self, files: Checkpoints | None, every: int | None, saved: int | None) -> None:
        self._files, self.every = files, every
        self._saved, self._time = saved, time.monotonic()
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._last: Future[Path] | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *error: object) -> None:
        self._writing.shutdown()
        if error[0] is None:
            self._raise_if_failed()

    def save(
        self, done: int, make: Callable[[Mapping[str, Any]], Checkpoint], *, always: bool = False
    ) -> None:
        """Write what ``make`` makes of the configuration, if it is time or ``always``, but once a round."""
        if self._files is not None and done != self._saved and (always or self._due(done)):
            self._raise_if_failed()
            self._last = self._writing.submit(self._files.save, make(self._files.config))
            self._saved, self._time = done, time.monotonic()

    def _raise_if_failed(self) -> None:
        if self._last is not None:
            self._last.result()

    def _due(self, done: int) -> bool:
        if self.every is None:
            return time.monotonic() - self._time >= PAUSE
        return done // self.every > (self._saved or 0) // self.every

    def remark(self) -> str:
        """Where to find the last one."""
        return f"; call it again to go on from {self._files.folder}" if self._files else ""


def check_config(found: Mapping[str, Any], config: Mapping[str, Any], name: str) -> None:
    """Raise :class:`CheckpointError` that names the fields in which ``config`` differs from the one found."""
    if config_hash(found) == config_hash(config):
        return
    here = json.loads(json.dumps(config))
    differences = [
        f"  {field}: {there} there, {now} here"
        for field in sorted({*found, *here})
        if found.get(field) != here.get(field)
        for there, now in [_short(found.get(field), here.get(field))]
    ]
    raise CheckpointError(
        "configuration",
        "\n".join([f"{name} is of another run; give another folder, or the same settings:", *differences]),
    )


def _short(there: Any, here: Any, most: int = 100) -> tuple[str, str]:
    """Two different values as text; of long ones the part where they begin to differ."""
    texts = [json.dumps(value) if isinstance(value, dict | list) else str(value) for value in (there, here)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    first = max(0, same - most // 2) if max(map(len, texts)) > most else 0
    there, here = (
        ("..." if first else "") + text[first : first + most] + ("..." if len(text) > first + most else "")
        for text in texts
    )
    return there, here
