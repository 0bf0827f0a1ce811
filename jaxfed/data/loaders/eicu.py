"""eICU Collaborative Research Database: intensive care stays of 208 hospitals in the USA, 2014 and 2015.

Pollard, Johnson, Raffa, Celi, Mark, Badawi 2018 (doi 10.1038/sdata.2018.178). The full data (doi
10.13026/C2WM1R, 200,859 stays) need a PhysioNet account with credentials, a course on research with human
subjects and a signed agreement. The demo (doi 10.13026/4mxk-na84, about 2,500 stays of 20 hospitals) is open
(Open Database License 1.0). Both are folders of the same tables, of which three are read.
"""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data.loaders.folders import folder_of, read_csv
from jaxfed.data.preparing import prepare

SOURCE = (
    "get patient.csv.gz, apacheApsVar.csv.gz and apachePatientResult.csv.gz from "
    "https://physionet.org/content/eicu-crd-demo/ (open) or https://physionet.org/content/eicu-crd/ (needs "
    "credentials)"
)
# The worst value of the first day, as APACHE counts it; -1 where it was not measured.
APACHE = [
    "intubated", "vent", "dialysis", "eyes", "motor", "verbal", "meds", "urine", "wbc", "temperature",
    "respiratoryrate", "sodium", "heartrate", "meanbp", "ph", "hematocrit", "creatinine", "albumin", "pao2",
    "pco2", "bun", "glucose", "bilirubin", "fio2",
]  # fmt: skip
PATIENT = ["patientunitstayid", "uniquepid", "hospitalid", "gender", "age", "ethnicity", "unittype"]
OUTCOME = {"ALIVE": 0, "EXPIRED": 1}


def eicu(
    folder: str | os.PathLike[str] | None = None,
    *,
    min_stays: int = 1,
    split: Any = (0.7, 0.1, 0.2),
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Death in hospital, from the first day in intensive care; a hospital is a hospital.

    Features are the variables of the APACHE score, age (above 89, which is published as "> 89", 90), gender,
    ethnicity and type of unit. All stays of a patient are in one part of the split.

    Args:
        folder: with the tables ``patient``, ``apacheApsVar`` and ``apachePatientResult`` as ``.csv`` or
            ``.csv.gz``; None for ``eicu`` in the folder of the environment variable JAXFED_DATA.
        min_stays: hospitals with fewer stays are left out.
        split, seed: as in :func:`~jaxfed.data.preparing.prepare`.
        **options: more arguments of it, such as ``how="local"`` or ``scale="robust"``.

    Raises:
        InvalidInput: tables or columns that are not there, with where they come from.
    """
    table = eicu_table(folder)
    stays = table["hospitalid"].map(table["hospitalid"].value_counts())
    if not (stays >= min_stays).any():
        raise InvalidInput(
            f"eicu: no hospital has min_stays={min_stays} stays; the largest has {stays.max()}"
        )
    rows = {"hospital": "hospitalid", "label": "died", "patient": "uniquepid", "drop": ["patientunitstayid"]}
    options = {**rows, "name": "eICU", "classes": ["0", "1"], **options}
    return prepare(table[stays >= min_stays], split=split, seed=seed, **options)


def eicu_table(folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The table behind :func:`eicu`, a row per stay with an APACHE result; for :meth:`jaxfed.Run.predict`."""
    place = folder_of(folder, "eicu", SOURCE)
    patients = read_csv(place, "patient", PATIENT, "eicu", SOURCE, dtype={"hospitalid": str, "age": str})
    apache = read_csv(place, "apacheApsVar", ["patientunitstayid", *APACHE], "eicu", SOURCE)
    results = ["patientunitstayid", "apacheversion", "actualhospitalmortality"]
    outcome = read_csv(place, "apachePatientResult", results, "eicu", SOURCE)
    # A stay has a row for each version of the score; what happened is the same in both.
    outcome = outcome.sort_values("apacheversion").drop_duplicates("patientunitstayid", keep="last")
    died = outcome["actualhospitalmortality"].astype(str).str.strip().str.upper().map(OUTCOME)
    outcome = outcome.assign(died=died).dropna(subset="died").astype({"died": int})
    patients["age"] = pd.to_numeric(patients["age"].str.replace("> 89", "90"), errors="coerce")
    apache[APACHE] = apache[APACHE].mask(apache[APACHE] == -1)
    table = patients.merge(apache, on="patientunitstayid").merge(
        outcome[["patientunitstayid", "died"]], on="patientunitstayid"
    )
    if not len(table):
        raise InvalidInput("eicu: no stay is in all three tables; get them of the same version")
    return table
