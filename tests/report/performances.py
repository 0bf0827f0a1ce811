"""Tables with the columns of those of ``Run.performance``, for tests of figures."""

import numpy as np
import pandas as pd


def hospitals(count=4, *, few=1, seed=0):
    """Binary hospitals; the last ``few`` have a single patient without the event, the very last has none."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(30, 400, count)
    events = np.maximum(rows * rng.uniform(0.2, 0.6, count), 6).astype(int)
    if few:
        events[-few:] = rows[-few:] - 1
    value = rng.uniform(0.65, 0.9, count)
    table = pd.DataFrame({"rows": rows, "events": events, "non_events": rows - events})
    table["prevalence"] = table["events"] / rows
    for metric in ("auroc", "brier"):
        table[metric], table[f"{metric}_low"], table[f"{metric}_high"] = value, value - 0.06, value + 0.05
    table["counted"] = table["non_events"] >= 5
    table["note"] = np.where(table["counted"], "", "1 non-event: AUROC not counted in worst and range")
    table.index = pd.Index([f"hospital {c}" for c in range(count)], name="hospital")
    return table


def across():
    names = ("mean", "mean_low", "mean_high", "prediction_low", "prediction_high")
    return pd.Series(dict(zip(names, (0.8, 0.77, 0.83, 0.68, 0.9), strict=True)))


def calibration(names):
    parts = []
    for name in names:
        for kind, points in (("curve", 30), ("bins", 10)):
            p = np.linspace(0.03, 0.9, points)
            observed = p**1.3
            low, high = np.clip(observed - 0.08, 0, 1), np.clip(observed + 0.08, 0, 1)
            parts.append(
                pd.DataFrame(
                    {"hospital": name, "kind": kind, "predicted": p, "observed": observed, "low": low,
                     "high": high, "rows": 40 if kind == "bins" else 0}
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def decisions(names):
    t = np.linspace(0.01, 0.6, 40)
    parts = [
        pd.DataFrame(
            {"hospital": name, "threshold": t, "net_benefit": 0.3 - 0.35 * t, "low": 0.27 - 0.35 * t,
             "high": 0.33 - 0.35 * t, "treat_all": 0.35 - 0.65 * t / (1 - t), "treat_none": 0.0}
        )
        for name in names
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def subgroups():
    table = pd.DataFrame({"rows": [400, 300, 80], "reference": [True, False, False]})
    for metric in ("auroc", "sensitivity", "specificity", "calibration_intercept"):
        table[metric], table[f"{metric}_low"], table[f"{metric}_high"] = [0.8, 0.75, 0.7], 0.6, 0.9
        table[f"{metric}_gap"] = [0.0, -0.05, -0.1]
        table[f"{metric}_gap_low"], table[f"{metric}_gap_high"] = [np.nan, -0.1, -0.3], [np.nan, 0.0, 0.1]
    table.index = pd.Index(["large", "medium", "small"], name="group")
    return table
