"""Public files: found in a folder the user names, in a cache, or fetched once; always checked."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from jaxfed.core.errors import InvalidInput

VARIABLE = "JAXFED_DATA"


def find_files(
    folder: str | os.PathLike[str] | None,
    name: str,
    sums: Mapping[str, str],
    url: str,
    places: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    r"""``{file: content}`` of a public data set, with ``\r\n`` turned into ``\n``.

    Args:
        folder: where the files are, or its parent with a folder called ``name`` in it. None: the
            folder in the environment variable JAXFED_DATA, then the cache
            (``$XDG_CACHE_HOME/jaxfed`` or ``~/.cache/jaxfed``), then ``url``.
        name: of the data set.
        sums: ``{file: md5}`` of the content with ``\n``.
        url: address of the folder that holds the files, ending in ``/``.
        places: ``{file: its path below url}`` where that is not the file's name.

    Raises:
        InvalidInput: files that are absent, changed, or cannot be fetched; says where to put them.
    """
    if folder is not None:
        found = _look(Path(folder), name, sums)
        if found is None:
            raise InvalidInput(
                f"{name}: no {', '.join(sums)} in {str(folder)!r} nor in its folder {name!r}; "
                f"get them from {url}"
            )
        return _read(found, sums, name, url)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxfed" / name
    named = os.environ.get(VARIABLE)
    for place in [*([Path(named)] if named else []), cache]:
        found = _look(place, name, sums)
        if found is not None:
            return _read(found, sums, name, url)
    return _fetch(cache, name, sums, {file: url + (places or {}).get(file, file) for file in sums})


def _look(folder: Path, name: str, sums: Mapping[str, str]) -> Path | None:
    for place in (folder, folder / name):
        if all((place / file).is_file() for file in sums):
            return place
    return None


def _read(place: Path, sums: Mapping[str, str], name: str, url: str) -> dict[str, bytes]:
    files = {file: _lines(place / file) for file in sums}
    changed = [file for file, content in files.items() if _md5(content) != sums[file]]
    if changed:
        raise InvalidInput(
            f"{name}: {', '.join(changed)} in {str(place)!r} differ from the published files "
            f"(md5); get them again from {url}"
        )
    return files


def _fetch(cache: Path, name: str, sums: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, bytes]:
    files = {}
    for file, md5 in sums.items():
        try:
            with urllib.request.urlopen(addresses[file], timeout=30) as answer:
                content = answer.read().replace(b"\r\n", b"\n")
        except (urllib.error.URLError, OSError) as error:
            raise InvalidInput(
                f"{name}: cannot fetch {addresses[file]} ({error}); put {', '.join(sums)} "
                f"into {str(cache)!r}, or name their folder with folder=... "
                f"or the environment variable {VARIABLE}"
            ) from error
        if _md5(content) != md5:
            raise InvalidInput(
                f"{name}: {addresses[file]} is not the published file (md5); put the right one into "
                f"{str(cache)!r}"
            )
        files[file] = content
    cache.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        # Whole or not at all: another process may read the cache meanwhile.
        part = cache / f".{file}.{os.getpid()}"
        part.write_bytes(content)
        part.replace(cache / file)
    return files


def _lines(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
