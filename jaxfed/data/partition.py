"""Rules that share the rows of one data set out to artificial hospitals by their labels.

Each is ``(labels [N], hospitals, seed) -> [N]`` hospital numbers, draws from ``seed`` alone, and
ends after a bounded number of steps: ``min_rows`` is built in, not waited for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxfed.core.errors import Problems
from jaxfed.data.quantity import assign_sizes, check_whole, round_sizes


def iid(labels: np.ndarray, hospitals: int, seed: int = 0, *, min_rows: int = 1) -> np.ndarray:
    """Rows dealt at random; sizes differ by at most one."""
    check_whole("iid", {}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    labels = _checked("iid", labels, hospitals, seed, min_rows)
    N = len(labels)
    return assign_sizes(round_sizes(np.ones(hospitals), N, min_rows), _rng(seed).permutation(N))


def dirichlet(
    labels: np.ndarray,
    hospitals: int,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    sizes: Sequence[float] | np.ndarray | None = None,
    min_rows: int = 1,
) -> np.ndarray:
    """Label skew with given sizes (Hsu, Qi, Brown 2019, arXiv 1909.06335).

    Hospital h draws its class shares from Dirichlet(alpha p), p the overall shares, and takes its
    rows without replacement; where a class runs out, it goes on with the others, so hospitals
    served late are closer to what is left. Here small ones are served first, because only a small
    one can differ much from the whole; among equal ones the order is drawn.

    Args:
        labels: ``[N]`` classes.
        hospitals: C, at most N.
        seed: of all draws.
        alpha: > 0; small: few classes per hospital, large: all alike.
        sizes: ``[C]`` shares of the rows, for label and quantity skew together; None: equal.
        min_rows: every hospital gets at least as many.
    """
    check_whole("dirichlet", {"alpha": alpha}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    problems = Problems("dirichlet")
    _check_alpha(alpha, problems)
    shares = np.ones(max(hospitals, 1)) if sizes is None else np.asarray(sizes, float)
    problems.check(
        shares.shape == (max(hospitals, 1),) and bool((shares >= 0).all()) and 0 < shares.sum() < np.inf,
        f"sizes={sizes!r}: give {hospitals} shares, none negative, not all 0",
    )
    labels = _checked("dirichlet", labels, hospitals, seed, min_rows, problems)
    _, number, left = np.unique(labels, return_inverse=True, return_counts=True)
    rng, K = _rng(seed), len(left)
    pools = [rng.permutation(np.flatnonzero(number == k)) for k in range(K)]
    size = round_sizes(shares, len(labels), min_rows)
    prior = left / left.sum()
    assignment = np.empty(len(labels), np.int64)
    turn = rng.permutation(hospitals)
    for h in turn[np.argsort(size[turn], kind="stable")]:
        take = _draw(int(size[h]), _log_shares(rng, alpha * prior), left, rng)
        for k in np.flatnonzero(take):
            assignment[pools[k][left[k] - take[k] : left[k]]] = h
        left = left - take
    return assignment


def dirichlet_by_class(
    labels: np.ndarray,
    hospitals: int,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    min_rows: int = 1,
) -> np.ndarray:
    """Label and quantity skew: each class is shared out by Dirichlet(alpha) over the hospitals.

    Yurochkin et al. 2019 (arXiv 1905.12022). Where the paper's code draws again until every
    hospital has enough rows, here hospitals below ``min_rows`` receive random rows of the largest.
    """
    check_whole("dirichlet_by_class", {"alpha": alpha}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    problems = Problems("dirichlet_by_class")
    _check_alpha(alpha, problems)
    labels = _checked("dirichlet_by_class", labels, hospitals, seed, min_rows, problems)
    rng = _rng(seed)
    assignment = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        share = _softmax(_log_shares(rng, np.full(hospitals, alpha)))
        size = round_sizes(share, len(rows), 0)
        assignment[rows] = assign_sizes(size, np.arange(len(rows)))
    size = np.bincount(assignment, minlength=hospitals)
    for h in np.flatnonzero(size < min_rows):
        while size[h] < min_rows:
            largest = int(size.argmax())
            moved = min(min_rows - size[h], max(1, (size[largest] - min_rows) // 2))
            assignment[rng.choice(np.flatnonzero(assignment == largest), moved, replace=False)] = h
            size[h] += moved
            size[largest] -= moved
    return assignment


def dirichlet_lognormal(
    labels: np.ndarray,
    hospitals: int,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    sigma: float = 1.0,
    min_rows: int = 1,
) -> np.ndarray:
    """Label and quantity skew, each with its strength: :func:`dirichlet` with lognormal sizes.

    Unlike with :func:`dirichlet_by_class`, ``alpha`` does not change the sizes, which are proportional to
    ``exp(sigma N(0, 1))``.
    """
    check_whole(
        "dirichlet_lognormal",
        {"alpha": alpha, "sigma": sigma},
        hospitals=hospitals,
        seed=seed,
        min_rows=min_rows,
    )
    problems = Problems("dirichlet_lognormal")
    _check_alpha(alpha, problems)
    problems.check(0 <= sigma < np.inf, f"sigma={sigma!r}: give a finite number, not below 0")
    _checked("dirichlet_lognormal", labels, hospitals, seed, min_rows, problems)
    sizes = np.exp(sigma * np.random.default_rng([seed, 1]).standard_normal(hospitals))
    return dirichlet(labels, hospitals, seed, alpha=alpha, sizes=sizes, min_rows=min_rows)


def shards(labels: np.ndarray, hospitals: int, seed: int = 0, *, per_hospital: int = 2) -> np.ndarray:
    """Rows sorted by label, cut into equal shards, ``per_hospital`` dealt to each hospital.

    McMahan et al. 2017 (arXiv 1602.05629), where two shards mean at most two digits for most.
    """
    check_whole("shards", {}, hospitals=hospitals, seed=seed, per_hospital=per_hospital)
    problems = Problems("shards")
    problems.check(per_hospital >= 1, f"per_hospital={per_hospital!r}: give 1 or more")
    labels = _checked("shards", labels, hospitals, seed, max(per_hospital, 1), problems)
    rng, N = _rng(seed), len(labels)
    # The shuffle decides which rows of a class share a shard.
    order = rng.permutation(N)
    order = order[np.argsort(labels[order], kind="stable")]
    shard = np.arange(N) * (hospitals * per_hospital) // N
    assignment = np.empty(N, np.int64)
    assignment[order] = (rng.permutation(hospitals * per_hospital) // per_hospital)[shard]
    return assignment


def classes_per_hospital(
    labels: np.ndarray, hospitals: int, seed: int = 0, *, classes: int = 2
) -> np.ndarray:
    """Every hospital has exactly ``classes`` classes; a class is shared evenly by its hospitals."""
    check_whole("classes_per_hospital", {}, hospitals=hospitals, seed=seed, classes=classes)
    problems = Problems("classes_per_hospital")
    labels = _checked("classes_per_hospital", labels, hospitals, seed, 1, problems, last=False)
    _, number, count = np.unique(labels, return_inverse=True, return_counts=True)
    K, rng = len(count), _rng(seed)
    problems.check(1 <= classes <= K, f"classes={classes!r}: the labels have {K}; give 1 to {K}")
    problems.check(
        hospitals * classes >= K,
        f"{hospitals} hospitals with {classes} classes each leave some of {K} classes to nobody",
    )
    problems.raise_if_any()
    # Consecutive places in a shuffled ring: no class twice, all classes used almost equally often.
    ring = (np.arange(hospitals * classes) % K).reshape(hospitals, classes)
    holder = rng.permutation(K)[ring][rng.permutation(hospitals)]
    assignment = np.empty(len(labels), np.int64)
    for k in range(K):
        owners = rng.permutation(np.flatnonzero((holder == k).any(1)))
        problems.check(
            len(owners) <= count[k],
            f"a class with {count[k]} rows cannot be shared by {len(owners)} hospitals; "
            "use fewer hospitals or classes",
        )
        rows = rng.permutation(np.flatnonzero(number == k))
        assignment[rows] = owners[np.arange(len(rows)) % len(owners)]
    problems.raise_if_any()
    return assignment


def gamma_similarity(
    labels: np.ndarray, hospitals: int, seed: int = 0, *, gamma: float = 0.5, min_rows: int = 1
) -> np.ndarray:
    """A share ``gamma`` of the rows dealt at random, the rest in order of the labels; equal sizes.

    The "s % similarity" of Karimireddy et al. 2020 (arXiv 1910.06378): 0 is sorted, 1 is iid.
    """
    check_whole("gamma_similarity", {"gamma": gamma}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    problems = Problems("gamma_similarity")
    problems.check(0 <= gamma <= 1, f"gamma={gamma!r}: give a share between 0 and 1")
    labels = _checked("gamma_similarity", labels, hospitals, seed, min_rows, problems)
    rng, N = _rng(seed), len(labels)
    order = rng.permutation(N)
    mixed = round(gamma * N)
    size = round_sizes(np.ones(hospitals), N, min_rows)
    first = round_sizes(size.astype(float), mixed, 0)
    assignment = np.empty(N, np.int64)
    assignment[order[:mixed]] = assign_sizes(first, np.arange(mixed))
    rest = order[mixed:]
    rest = rest[np.argsort(labels[rest], kind="stable")]
    turn = rng.permutation(hospitals)
    assignment[rest] = np.repeat(turn, (size - first)[turn])
    return assignment


def _log_shares(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Logs of a Dirichlet draw times a constant; a tiny alpha would underflow without them."""
    # A gamma variable of shape a is one of shape a + 1 times U^(1/a), whatever a > 0.
    log = np.log(rng.standard_gamma(alpha + 1)) + np.log1p(-rng.random(len(alpha))) / alpha
    return np.maximum(log, -1e300)


def _softmax(log: np.ndarray) -> np.ndarray:
    weight = np.exp(log - log.max())
    return weight / weight.sum()


def _draw(n: int, log_q: np.ndarray, left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``[K]`` rows per class: n in all, shares near ``q``, never more than are ``left``."""
    take = np.zeros_like(left)
    while (short := n - int(take.sum())) > 0:
        # Each pass fills a class or is the last, so there are at most K + 1 passes.
        room = left - take
        open_classes = np.flatnonzero(room)
        drawn = rng.multinomial(short, _softmax(log_q[open_classes]))
        take[open_classes] += np.minimum(drawn, room[open_classes])
    return take


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _check_alpha(alpha: float, problems: Problems) -> None:
    problems.check(0 < alpha < np.inf, f"alpha={alpha!r}: give a positive number")


def _checked(
    where: str,
    labels: np.ndarray,
    hospitals: int,
    seed: int,
    min_rows: int,
    problems: Problems | None = None,
    last: bool = True,
) -> np.ndarray:
    problems = problems or Problems(where)
    labels = np.asarray(labels)
    N = len(labels) if labels.ndim else 0
    problems.check(labels.ndim == 1, f"labels have shape {labels.shape}; give one label per row")
    problems.check(hospitals >= 1, f"hospitals={hospitals!r}: give 1 or more")
    problems.check(seed >= 0, f"seed={seed!r}: give 0 or more")
    problems.check(min_rows >= 0, f"min_rows={min_rows!r}: give 0 or more")
    problems.check(hospitals <= N, f"{hospitals} hospitals for {N} rows; give at most one hospital per row")
    problems.check(
        hospitals > N or hospitals * min_rows <= N,
        f"{hospitals} hospitals with at least {min_rows} rows need {hospitals * min_rows}, "
        f"but there are {N}; give fewer hospitals or a smaller minimum",
    )
    if last or problems.count:
        problems.raise_if_any()
    return labels
