"""PhysioNet / Computing in Cardiology Challenge 2019: sepsis in intensive care in two hospital systems.

Reyna, Josef, Jeter, Shashikumar, Westover, Nemati, Clifford, Sharma 2020 (doi
10.1097/CCM.0000000000004145); data doi 10.13026/v64v-d857, CC BY 4.0. Training set A (20,336 patients) is of
one hospital system and B (20,000) of another; a third one was never published. A patient is a ``.psv`` file
with a row for each hour and the column ``SepsisLabel``, 1 from six hours before sepsis sets in.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data.loaders.folders import folder_of
from jaxfed.data.preparing import prepare

SOURCE = (
    "get training_setA and training_setB, folders of .psv files, from "
    "https://physionet.org/content/challenge-2019/1.0.0/"
)
SYSTEMS = {"A": "training_setA", "B": "training_setB"}
LABEL, HOUR = "SepsisLabel", "ICULOS"


def physionet_sepsis(
    folder: str | os.PathLike[str] | None = None,
    *,
    hours: int = 6,
    split: Any = (0.7, 0.1, 0.2),
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Whether a patient gets sepsis later in the stay, from the first hours; two hospitals, A and B.

    A feature is the last value that was measured in the first ``hours``. Patients whose label is 1 by then
    are left out: nothing is left to predict. This is a simpler task than the challenge's, which scores a
    prediction in every hour.

    Args:
        folder: with ``training_setA`` and ``training_setB``, or a folder that contains these; None for
            ``sepsis`` in the folder of the environment variable JAXFED_DATA.
        hours: of the stay that are looked at.
        split, seed: as in :func:`~jaxfed.data.preparing.prepare`.
        **options: more arguments of it.

    Raises:
        InvalidInput: folders or columns that are not there, with where they come from.
    """
    if hours < 1:
        raise InvalidInput(f"physionet_sepsis: hours={hours!r}: give 1 or more")
    table = sepsis_table(folder, hours)
    options = {"name": "PhysioNet sepsis", "classes": ["0", "1"], "drop": ["patient"], **options}
    return prepare(table, hospital="system", label="sepsis", split=split, seed=seed, **options)


def sepsis_table(folder: str | os.PathLike[str] | None = None, hours: int = 6) -> pd.DataFrame:
    """The table behind :func:`physionet_sepsis`, a row per patient; for :meth:`jaxfed.Run.predict`."""
    place = folder_of(folder, "sepsis", SOURCE)
    parts = []
    for system, name in SYSTEMS.items():
        found = [path for path in (place / name, place / "training" / name) if path.is_dir()]
        files = sorted(found[0].glob("*.psv")) if found else []
        if not files:
            raise InvalidInput(
                f"physionet_sepsis: no folder {name!r} with .psv files in {str(place)!r}; {SOURCE}"
            )
        rows = [row for row in (_patient(file, hours) for file in files) if row is not None]
        parts.append(pd.DataFrame(rows).assign(system=system))
    return pd.concat(parts, ignore_index=True)


def _patient(file: Path, hours: int) -> dict[str, Any] | None:
    """The last values of the first hours and the label; None for a patient who has sepsis by then."""
    header, *lines = file.read_text().split()
    names = header.split("|")
    if LABEL not in names or HOUR not in names:
        raise InvalidInput(f"physionet_sepsis: {file} has no columns {LABEL!r} and {HOUR!r}; {SOURCE}")
    if not lines:
        return None
    values = np.array([line.split("|") for line in lines], float)
    early = values[:, names.index(HOUR)] <= hours
    label = values[:, names.index(LABEL)]
    if not early.any() or (label[early] > 0).any():
        return None
    first = values[early]
    known = np.isfinite(first)
    last = len(first) - 1 - known[::-1].argmax(axis=0)
    latest = np.where(known.any(axis=0), first[last, np.arange(len(names))], np.nan)
    features = {name: value for name, value in zip(names, latest, strict=True) if name not in (LABEL, HOUR)}
    return {"patient": file.stem, **features, "sepsis": int(label.max() > 0)}
