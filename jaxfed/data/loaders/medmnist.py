"""MedMNIST v2: twelve sets of small medical images, and six of volumes, shared out to artificial hospitals.

Yang, Shi, Wei, Liu, Zhao, Ke, Pfister, Ni 2023 (doi 10.1038/s41597-022-01721-8); files doi
10.5281/zenodo.10519652, CC BY 4.0 (DermaMNIST: CC BY-NC 4.0). A ``.npz`` file has the images and labels of
the official split and no hospitals: these come from a rule, as in :func:`~jaxfed.data.examples.digits`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, listed
from jaxfed.core.tasks import multilabel
from jaxfed.data.examples import Partition, assign, from_partition
from jaxfed.data.splits import Split

SOURCE = "get it from https://zenodo.org/records/10519652 (such as pneumoniamnist.npz)"
PARTS = ("train", "val", "test")


def medmnist(
    path: str | os.PathLike[str],
    hospitals: int = 10,
    *,
    partition: Partition = "dirichlet",
    label: int | None = None,
    split: Split | str = "official",
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Images ``x [N, h, w, c]`` (volumes ``[N, d, h, w, 1]``) from 0 to 1, in artificial hospitals.

    Args:
        path: the ``.npz`` file; of any size (28, 64, 128, 224).
        hospitals: how many.
        partition: the name of a rule or a function, as in :func:`~jaxfed.data.examples.breast_cancer`.
        label: of a file with several labels per image (ChestMNIST), the number of the one to predict; None
            for all of them, as :func:`jaxfed.evaluation.multilabel`; hospitals then differ by whether an
            image has any.
        split: ``"official"``: that of the file; else as in :func:`~jaxfed.data.splits.resplit`.
        seed: of the partition and of a split that is not the official one.
        **options: of the rule, as ``alpha=.3``.

    Raises:
        InvalidInput: no such file, another content, or no such label.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInput(f"medmnist: there is no file {str(file)!r}; {SOURCE}")
    arrays = _arrays(file)
    images = np.concatenate([arrays[f"{part}_images"] for part in PARTS])
    labels = np.concatenate([arrays[f"{part}_labels"] for part in PARTS])
    parts = np.repeat(np.arange(3, dtype=np.int8), [len(arrays[f"{part}_labels"]) for part in PARTS])
    y = _labels(labels, label)
    if images.shape[-1] not in (1, 3) or images.ndim == 3:
        images = images[..., None]
    several = y.ndim > 1
    any_label = np.asarray(y.any(axis=1), np.int32) if several else y
    assignment = assign(any_label, hospitals, partition, seed, options)
    if isinstance(split, str):
        if split != "official":
            raise InvalidInput(f"medmnist: split={split!r}; give 'official' or three fractions")
        split = {f"p{c:02d}": parts[assignment == c] for c in range(hospitals)}
    x = images.astype(np.float32) / 255
    task = multilabel(f"label_{k}" for k in range(y.shape[1])) if several else None
    name = file.name.removesuffix(".npz")
    return from_partition(x, y, assignment, split=split, seed=seed, task=task, name=name)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    wanted = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
    try:
        with np.load(file, allow_pickle=False) as content:
            absent = [name for name in wanted if name not in content]
            if not absent:
                return {name: content[name] for name in wanted}
    except (ValueError, OSError, EOFError, AttributeError):
        absent = wanted
    raise InvalidInput(
        f"medmnist: {str(file)!r} has no arrays {listed(absent)}: it is no MedMNIST file; {SOURCE}"
    )


def _labels(labels: np.ndarray, label: int | None) -> np.ndarray:
    """``[N]`` class numbers, or ``[N, L]`` if all of several labels ``[N, L]`` are predicted."""
    columns = labels.reshape(len(labels), -1).astype(np.int32)
    width = columns.shape[1]
    if label is not None and not 0 <= label < width:
        raise InvalidInput(f"medmnist: label={label}: the file has {width} labels per image, from 0")
    return columns if label is None and width > 1 else columns[:, label or 0]
