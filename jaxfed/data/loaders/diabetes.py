"""Diabetes 130-US hospitals, 1999 to 2008: readmission within 30 days; without the hospitals.

Strack, DeShazo, Gennings, Olmo, Ventura, Cios, Clore 2014 (doi 10.1155/2014/781670); UCI doi
10.24432/C5230J, CC BY 4.0. 101,766 stays of patients with diabetes in 130 hospitals, but the published table
does not say which stay was in which hospital. Sites are therefore proxies: values of another column.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, did_you_mean, warn
from jaxfed.data.loaders.folders import folder_of, read_csv
from jaxfed.data.notices import DataWarning
from jaxfed.data.preparing import prepare

SOURCE = "get diabetic_data.csv from https://archive.ics.uci.edu/dataset/296/diabetes+130-us+hospitals+for+years+1999-2008"
SITES = ("medical_specialty", "payer_code", "admission_source_id")
NUMBERS = [
    "time_in_hospital", "num_lab_procedures", "num_procedures", "num_medications", "number_outpatient",
    "number_emergency", "number_inpatient", "number_diagnoses",
]  # fmt: skip
CODES = ["admission_type_id", "discharge_disposition_id", "admission_source_id"]
TEXTS = ["race", "gender", "max_glu_serum", "A1Cresult", "metformin", "glipizide", "glyburide", "insulin"]
DIAGNOSES = ["diag_1", "diag_2", "diag_3"]
OTHERS = ["change", "diabetesMed", "age", "patient_nbr", "readmitted", "medical_specialty", "payer_code"]
AGES = [f"[{ten}-{ten + 10})" for ten in range(0, 100, 10)]
# Died, or discharged to a hospice: such patients are not readmitted.
GONE = [11, 13, 14, 19, 20, 21]
# The paper's groups of ICD-9 codes, from the first to below the second number.
GROUPS = {
    "circulatory": [(390, 460), (785, 786)],
    "respiratory": [(460, 520), (786, 787)],
    "digestive": [(520, 580), (787, 788)],
    "diabetes": [(250, 251)],
    "injury": [(800, 1000)],
    "musculoskeletal": [(710, 740)],
    "genitourinary": [(580, 630), (788, 789)],
    "neoplasms": [(140, 240)],
}


def diabetes_130(
    folder: str | os.PathLike[str] | None = None,
    *,
    sites: str = "medical_specialty",
    min_stays: int = 100,
    split: Any = (0.7, 0.1, 0.2),
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Readmission within 30 days; **the sites are proxies**, because the table has no hospitals.

    All stays of a patient are in one part of the split; stays that end in death or in a hospice are left out.
    Diagnoses are in the paper's nine groups.

    Args:
        folder: with ``diabetic_data.csv``; None for ``diabetes`` in the folder of the environment variable
            JAXFED_DATA.
        sites: the column that stands for the hospital: ``"medical_specialty"`` of the admitting physician,
            ``"payer_code"`` or ``"admission_source_id"``. It is no feature then.
        min_stays: sites with fewer stays are one, ``other``; stays without an entry are in ``unknown``.
        split, seed: as in :func:`~jaxfed.data.preparing.prepare`.
        **options: more arguments of it.

    Raises:
        InvalidInput: a file or columns that are not there, with where they come from.

    Warns:
        DataWarning: that the sites are no hospitals.
    """
    if sites not in SITES:
        raise InvalidInput(f"diabetes_130: sites={sites!r}: {did_you_mean(sites, SITES)}")
    table = diabetes_table(folder)
    site = table[sites].astype(object).where(table[sites].notna(), "unknown").astype(str)
    rare = site.map(site.value_counts()) < min_stays
    table = table.drop(columns=list({sites, "medical_specialty", "payer_code"})).assign(
        site=site.mask(rare, "other")
    )
    warn(
        f"diabetes_130: the table does not say which hospital a stay was in; sites are values of {sites!r}, "
        "and no hospitals: differences between them are of case mix only",
        DataWarning,
    )
    asked: dict[str, Any] = {
        "categories": [name for name in CODES if name in table],
        "ordinal": {"age": AGES},
        "patient": "patient_nbr",
        "name": "diabetes 130-US (proxy sites)",
        "classes": ["0", "1"],
        **options,
    }
    return prepare(table, hospital="site", label="readmitted", split=split, seed=seed, **asked)


def diabetes_table(folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The table behind :func:`diabetes_130`, a row per stay; ``readmitted`` is 1 within 30 days."""
    place = folder_of(folder, "diabetes", SOURCE)
    columns = [*NUMBERS, *CODES, *TEXTS, *DIAGNOSES, *OTHERS]
    how: dict[str, Any] = {"na_values": ["?", "Unknown/Invalid"], "keep_default_na": False}
    text = dict.fromkeys([*DIAGNOSES, "patient_nbr"], str)
    table = read_csv(place, "diabetic_data", columns, "diabetes_130", SOURCE, dtype=text, **how)
    table = table[~table["discharge_disposition_id"].isin(GONE)]
    groups = {name: table[name].map(_group, na_action="ignore") for name in DIAGNOSES}
    soon = (table["readmitted"].astype(str).str.strip() == "<30").astype(int)
    return table.assign(**groups, readmitted=soon).reset_index(drop=True)


def _group(code: str) -> str:
    """The group of an ICD-9 code; codes that start with E or V are others."""
    try:
        number = np.floor(float(code))
    except ValueError:
        return "other"
    return next(
        (name for name, spans in GROUPS.items() if any(low <= number < high for low, high in spans)), "other"
    )
