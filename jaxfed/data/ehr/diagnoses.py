r"""Several classes: hospitals see the same diseases, each with a mix of its own (label shift).

    pi_h ~ Dirichlet(k pi),   y ~ pi_h,   z = s_x g_h + mu_y + L e,
    mu_k = signal L v_k / |v_k|,   e, g, v ~ N(0, I)

so that, by Bayes, ``p(y = k | z) ~ pi_hk exp(signal c_k^T e')`` with ``c_k = v_k / |v_k|`` and
``e' = L^-1 (z - s_x g_h)``: all means are equally far from the origin, and the exact risks are those of a
linear model whose intercepts are the hospital's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, spelled
from jaxfed.core.tasks import MULTICLASS
from jaxfed.data.ehr.checks import check_between, check_count, check_number, check_share
from jaxfed.data.ehr.draws import CASE_MIX, DIAGNOSES, GLOBAL, LABEL_SHIFT, PATIENTS, keyed, mixture
from jaxfed.data.ehr.sizes import Sizes
from jaxfed.data.splits import Split, split_hospitals


@spelled
def synthetic_diagnoses(
    hospitals: int = 30,
    *,
    classes: int = 5,
    label_shift: float = 0.1,
    s_x: float = 0.0,
    signal: float = 1.2,
    rho: float = 0.4,
    features: int = 20,
    seed: int = 0,
    sizes: str | Sequence[int] = "lognormal",
    n_med: float = 470,
    s_n: float = 1.2,
    n_min: int = 30,
    n_max: int = 8000,
    zipf: float = 1.0,
    split: Split = (0.7, 0.1, 0.2),
    name: str = "diagnoses",
) -> Dataset:
    """Draw hospitals ``h0000, h0001, ...`` with ``classes`` diagnoses, evenly frequent in all together.

    Args:
        hospitals: how many.
        classes: K.
        label_shift: ``1 / (k + 1)`` of ``Dirichlet(k / K, ..., k / K)``: 0 for the same mix everywhere,
            near 1 for a diagnosis per hospital. A concentration ``alpha`` is ``1 / (1 + K alpha)``.
        s_x: spread of the hospitals' feature means.
        signal: distance of a diagnosis from the mean patient, in standard deviations.
        rho: correlation of neighbouring features.
        features: d.
        seed: of everything.
        sizes, n_med, s_n, n_min, n_max, zipf: as in :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr`.
        split: as in :func:`~jaxfed.data.splits.resplit`.
        name: what the data are called.

    Returns:
        Dataset with ``x [N, d]`` float32, ``y [N]`` int32 and ``truth["p"] [N, K]``, the probability of each
        diagnosis given x and the hospital.

    Raises:
        InvalidInput: everything that cannot be used, in one list.

    >>> synthetic_diagnoses(3, sizes=[100, 50, 30]).truth["p"].shape
    (180, 5)
    """
    problems = Problems("synthetic_diagnoses")
    rule = Sizes(sizes, n_med, s_n, n_min, n_max, zipf)
    rule.check(hospitals, problems)
    for key, value, least in (("hospitals", hospitals, 1), ("seed", seed, 0), ("features", features, 1)):
        check_count(key, value, least, problems)
    check_count("classes", classes, 2, problems)
    check_share("label_shift", label_shift, problems, "0.1", below=True)
    check_number("s_x", s_x, problems)
    check_number("signal", signal, problems)
    check_between("rho", rho, -1, 1, problems)
    problems.raise_if_any()

    lag = np.abs(np.subtract.outer(np.arange(features), np.arange(features)))
    L = np.linalg.cholesky(np.power(float(rho), lag))
    v = np.stack([keyed(seed, GLOBAL, 2, k).standard_normal(features) for k in range(classes)])
    centre = signal * v / np.linalg.norm(v, axis=1, keepdims=True)
    size = rule.draw(hospitals, seed)
    xs, ys, ps = [], [], []
    for h, n in enumerate(size):
        share = mixture(np.full(classes, 1 / classes), label_shift, keyed(seed, LABEL_SHIFT, h))
        u = keyed(seed, DIAGNOSES, h).random(n)
        y = np.searchsorted(np.cumsum(share)[:-1], u, side="right")
        e = keyed(seed, PATIENTS, h).standard_normal((n, features)) + centre[y]
        xs.append(s_x * keyed(seed, CASE_MIX, h).standard_normal(features) + e @ L.T)
        ys.append(y)
        ps.append(_posterior(e @ centre.T, share))
    names = tuple(f"h{h:04d}" for h in range(hospitals))
    parts = split_hospitals(dict(zip(names, ys, strict=True)), split, seed, True, problems)
    problems.raise_if_any()
    return Dataset(
        x=np.concatenate(xs).astype(np.float32),
        y=np.concatenate(ys).astype(np.int32),
        size=size,
        split=parts,
        hospitals=names,
        task=MULTICLASS,
        classes=tuple(f"diagnosis {k}" for k in range(classes)),
        features=tuple(f"x{j:02d}" for j in range(features)),
        truth={"p": np.concatenate(ps)},
        name=name,
    )


def _posterior(log_likelihood: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``[n, K]`` probabilities from log likelihoods, up to a constant of the row, and ``[K]`` shares."""
    weight = share * np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    return weight / weight.sum(1, keepdims=True)
