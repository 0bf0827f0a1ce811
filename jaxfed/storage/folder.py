"""The folder of a run's checkpoints: the newest files are kept, and the newest intact file is used."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxfed.core.errors import warn
from jaxfed.storage.checkpoint import Checkpoint, CheckpointError, config_hash, read, read_config, write

CODE = re.compile(r"(\S+) code:([0-9a-f]{16})")  # as the fingerprint of a setting has it
SUFFIX = ".checkpoint"
PAUSE = 30.0  # seconds between checkpoints if no number of rounds is given


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in a folder that no other run uses.

    Attributes:
        folder: created if it does not exist.
        config: the configuration of the run.
        keep: how many of the newest checkpoints are kept.
    """

    folder: Path
    config: Mapping[str, Any]
    keep: int = 3

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, and remove those that are no longer needed.

        Raises:
            CheckpointError: another run has meanwhile written into the folder.
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
        # a checkpoint of a later round is damaged, because otherwise the run would have continued from it
        for old in set(files) - set(files[files.index(path) :][: self.keep]):
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> Checkpoint | None:
        """The newest intact checkpoint, or None if there is none; a warning names each damaged one.

        Raises:
            CheckpointError: a checkpoint is of another run or format, or all are damaged.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError("missing", f"{self.folder} is a file; give a folder for checkpoints")
        for part in self.folder.glob(f"*{SUFFIX}.*.part"):  # left by a run that was killed while it wrote
            part.unlink(missing_ok=True)
        bad: list[CheckpointError] = []
        for path in self._files():
            try:
                checkpoint = read(path)
            except CheckpointError as error:
                if error.reason == "format":
                    raise
                bad.append(error)
                continue
            check_config(checkpoint.config, self.config, str(path))
            for worse in bad:
                warn(f"{worse}; going on from {path.name}")
            return checkpoint
        if bad:
            raise bad[0]
        return None

    def _files(self) -> list[Path]:
        """The files, newest first."""
        return sorted(self.folder.glob(f"round-*{SUFFIX}"), reverse=True)

    def _check_owner(self) -> None:
        for path in self._files()[:1]:
            try:
                config = read_config(path)
            except (OSError, CheckpointError):
                return  # it is being replaced, or it is damaged, which the next read reports
            check_config(config, self.config, str(path))


class Saver:
    """Writes checkpoints at regular intervals, or never if there is no folder for them.

    A checkpoint is a copy on the host that a thread writes while training continues. The context manager
    exits when the last checkpoint is on the disk; the next call raises an error that occurred in the thread.

    Args:
        files: the folder, or None.
        every: rounds between checkpoints; None for :data:`PAUSE` seconds.
        saved: rounds done at the newest checkpoint, None if there is none.
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
        """Write the checkpoint ``make(config)`` if it is due or ``always``, but at most once a round."""
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
        """A text that says from which folder the same call continues."""
        return f"; call it again to go on from {self._files.folder}" if self._files else ""


def check_config(stored: Mapping[str, Any], config: Mapping[str, Any], name: str) -> None:
    """Raise :class:`CheckpointError` that names the fields in which ``config`` differs from ``stored``."""
    if config_hash(stored) == config_hash(config):
        return
    current = json.loads(json.dumps(config))
    differences = [
        f"  {field}: {_difference(stored.get(field), current.get(field))}"
        for field in sorted({*stored, *current})
        if stored.get(field) != current.get(field)
    ]
    raise CheckpointError(
        "configuration",
        "\n".join([f"{name} is of another run; give another folder, or the same settings:", *differences]),
    )


def _difference(stored: Any, current: Any) -> str:
    if CODE.sub("", str(stored)) == CODE.sub("", str(current)):
        names = dict.fromkeys(CODE.findall(str(current)))
        edited = [name for name, digest in names if f"{name} code:{digest}" not in str(stored)]
        return f"the code of {', '.join(edited)}, or a value that it refers to, has been edited since"
    before, now = _short(stored, current)
    return f"{before} there, {now} here"


def _short(stored: Any, current: Any, most: int = 100) -> tuple[str, str]:
    """Two different values as text; long texts are cut to the part where they begin to differ."""
    values = stored, current
    texts = [json.dumps(value) if isinstance(value, dict | list) else str(value) for value in values]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    first = max(0, same - most // 2) if max(map(len, texts)) > most else 0
    before, now = (
        ("..." if first else "") + text[first : first + most] + ("..." if len(text) > first + most else "")
        for text in texts
    )
    return before, now
