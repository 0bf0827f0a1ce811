"""How much of the spread of a metric comes from hospitals, from patients and from seeds.

    y_hs = mu + a_h + b_s + c_hs + e_h,       Var(e_h) = v_h

``a`` of hospitals, ``b`` of seeds, ``c`` of seeds in a hospital, ``e`` of the patients that a hospital
happens to have for evaluation, which all seeds share. ``v_h`` is known (DeLong's variance for AUROC); the
others are the estimates of a two-way analysis of variance without replication (Searle, Casella and McCulloch
1992, 4.4), at least 0.
"""

from __future__ import annotations

import numpy as np


def variance_components(values: np.ndarray, within: np.ndarray) -> dict[str, float]:
    """Variances of ``hospitals``, ``patients``, ``seeds`` and ``hospitals x seeds``.

    Args:
        values: ``[S, C]`` of seeds and hospitals, on a scale on which effects add up, such as the logit.
        within: ``[C]`` or ``[S, C]`` sampling variance of each. Hospitals with a NaN anywhere are left out.

    Returns:
        NaN for what cannot be told: from one seed, nothing about seeds; from one hospital, nothing at all.
    """
    values = np.atleast_2d(np.asarray(values, float))
    within = np.broadcast_to(np.asarray(within, float), values.shape)
    fine = np.isfinite(values).all(0) & np.isfinite(within).all(0)
    y, v = values[:, fine], within[:, fine]
    S, C = y.shape
    nan = float("nan")
    if C < 2:
        return {"hospitals": nan, "patients": nan, "seeds": nan, "hospitals x seeds": nan}
    of_hospital, of_seed = y.mean(0), y.mean(1)
    patients = float(v.mean())
    between = float(of_hospital.var(ddof=1))
    if S < 2:
        return {
            "hospitals": max(between - patients, 0.0), "patients": patients, "seeds": nan,
            "hospitals x seeds": nan,
        }  # fmt: skip
    rest = y - of_hospital - of_seed[:, None] + y.mean()
    both = float((rest**2).sum() / ((S - 1) * (C - 1)))
    return {
        "hospitals": max(between - both / S - patients, 0.0),
        "patients": patients,
        "seeds": max(float(of_seed.var(ddof=1)) - both / C, 0.0),
        "hospitals x seeds": both,
    }
