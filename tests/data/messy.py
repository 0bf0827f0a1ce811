"""A table of six hospitals, and the same with planted faults."""

import numpy as np
import pandas as pd

from jaxfed.data import synthetic_ehr

SITES = {"North": 160, "South": 150, "East": 140, "West": 130, "St Mary": 120, "Harbour": 110}


def clean(seed=0):
    """Seven measurements in physical units, and a score."""
    data = synthetic_ehr(
        len(SITES), sizes=[*SITES.values()], features=8, prevalence=0.4, preset="mild", seed=seed
    )
    z = data.x.astype(float)
    columns = {
        "age": 2.0 + 0.3 * z[:, 0],
        "creatinine": np.exp(0.1 + 0.4 * z[:, 1]),
        "temp": 36.8 + 0.7 * z[:, 2],
        "bmi": 25 + 3 * z[:, 3],
        "lactate": np.exp(0.5 * z[:, 4]),
        "crp": z[:, 5],
        "albumin": 3 + 0.5 * z[:, 6],
        "score": z[:, 7],
    }
    return pd.DataFrame({"site": np.repeat([*SITES], [*SITES.values()]), **columns, "died": data.y}).round(4)


def messy(seed=0):
    """Sixteen faults, of fifteen kinds."""
    rng = np.random.default_rng(seed)
    df = clean(seed)
    n, site = len(df), df["site"].copy()
    df["creatinine"] = df["creatinine"].mask(site == "South", df["creatinine"] * 88.4)
    df["temp"] = df["temp"].mask(site == "East", df["temp"] * 1.8 + 32)
    df.loc[::8, "bmi"] = -9
    df["lactate"] = df["lactate"].astype(object)
    df.loc[rng.choice(n, 30, False), "lactate"] = "?"
    df["row"] = rng.permutation(n)
    df["sample_weight"] = rng.uniform(0.5, 2, n)
    df["admitted"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")).astype(
        str
    )
    df["discharge"] = df["died"] * 3 + rng.uniform(0, 1, n)
    df["score"] = df["score"].mask(site == "West", df["died"] * 6 + df["score"] * 0.1)
    df["country"] = 49
    df["site"] = site.mask((site == "St Mary") & (np.arange(n) % 3 == 0), "st mary ")
    df["albumin"] = df["albumin"].mask(site == "Harbour")
    df["died"] = np.where(df["died"] == 1, "yes", "no")
    copies = df.sample(25, random_state=seed)
    return pd.concat([df, copies.assign(row=np.arange(n, n + 25))], ignore_index=True)


PLANTED = {
    ("names alike", ("site",), ("st mary ", "St Mary")),
    ("label coding", ("died",), ()),
    ("missing codes", ("lactate",), ()),
    ("date", ("admitted",), ()),
    ("id", ("row",), ()),
    ("gives the label away", ("discharge",), ()),
    ("gives the label away in one hospital", ("score",), ("West",)),
    ("repeated rows", (), ()),
    ("sentinel", ("bmi",), (*SITES, "st mary ")),
    ("unit", ("creatinine",), ("South",)),
    ("unit", ("temp",), ("East",)),
    ("weight", ("sample_weight",), ()),
    ("constant", ("country",), ()),
    ("not measured", ("albumin",), ("Harbour",)),
    ("missing values", ("lactate", "albumin"), ()),
    ("scales", ("temp",), ()),
}
