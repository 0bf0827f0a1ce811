"""The generated hospitals as the table that they would send: units, gaps, dates, patients, text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxfed.data.ehr.features import SEX
from jaxfed.data.ehr.synthetic import synthetic_ehr

LIKE_A_RECORD = {
    "units": True, "s_gain": 0.03, "s_offset": 0.1, "swap": 0.05, "coverage": 1.0, "periods": 4, "groups": 4,
}  # fmt: skip
DECIMALS = 3  # more than any value is recorded with
FIRST_YEAR, DAYS = 2019, 365  # a period is a year


def synthetic_table(hospitals: int = 8, **options: Any) -> pd.DataFrame:
    """A table with a row per patient, as hospitals have it.

    Values are in physical units, sometimes in other ones (``swap=0.05``), by devices that are calibrated
    differently (``s_gain=0.03``, ``s_offset=0.1``), and as incomplete as in eICU-CRD (``coverage=1``); there
    are four years (``periods=4``) and four ethnic groups (``groups=4``).

    Args:
        hospitals: how many.
        **options: of :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr`; they win over the numbers above. The
            same call of it gives the same patients in the same order, with their truth.

    Returns:
        Columns ``site`` and ``patient`` (text), ``admitted`` (date, where there are periods), the features
        (``sex`` as text), ``ethnicity`` (text, where there are groups), ``died`` (0 or 1).

    Raises:
        InvalidInput: as ``synthetic_ehr``.

    >>> synthetic_table(2, sizes=[40, 30], features=3).columns.tolist()
    ['site', 'patient', 'admitted', 'age', 'heart_rate', 'map', 'ethnicity', 'died']
    """
    dataset = synthetic_ehr(hospitals, **{**LIKE_A_RECORD, **options})
    place = np.concatenate([np.arange(n) for n in dataset.size])
    site = np.repeat(np.array(dataset.hospitals), dataset.size)
    table = pd.DataFrame({"site": site})
    table["patient"] = [f"{name}-{i:05d}" for name, i in zip(site, place, strict=True)]
    if "period" in dataset.truth:
        periods = int(options.get("periods", LIKE_A_RECORD["periods"]))
        days = place * periods * DAYS // np.repeat(dataset.size, dataset.size)
        year = (FIRST_YEAR + days // DAYS).astype(str).astype("datetime64[Y]")
        table["admitted"] = year.astype("datetime64[D]") + days % DAYS
    for j, feature in enumerate(dataset.features):
        table[feature] = np.round(dataset.x[:, j].astype(float), DECIMALS)
    if len(dataset.features) > SEX:
        sex = dataset.features[SEX]
        table[sex] = np.where(dataset.x[:, SEX] > 0, "male", "female")
    if "group" in dataset.truth:
        table["ethnicity"] = [f"group {g}" for g in dataset.truth["group"]]
    table["died"] = dataset.y
    return table
