"""Cox's loss and the C-index pair by pair, and small hospitals with times."""

import numpy as np

from jaxfed.data import from_arrays


def naive_cox(eta, time, event, ties="breslow"):
    """The negative log partial likelihood, event by event."""
    total = 0.0
    for t in np.unique(time[event > 0]):
        dead, at_risk = np.flatnonzero((time == t) & (event > 0)), time >= t
        for order, i in enumerate(dead):
            less = order / len(dead) * np.exp(eta[dead]).sum() if ties == "efron" else 0
            total += np.log(np.exp(eta[at_risk]).sum() - less) - eta[i]
    return total


def naive_cindex(score, time, event):
    """Harrell's C-index, pair by pair."""
    right = pairs = 0
    for i in np.flatnonzero(event):
        for j in range(len(time)):
            if time[i] < time[j] or (time[i] == time[j] and not event[j]):
                pairs += 1
                right += 1 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0
    return right / pairs if pairs else np.nan


def draw(n, seed=0, features=3, steps=20):
    """Features, times with ties, and events of ``n`` patients."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    time = rng.exponential(np.exp(-x @ np.linspace(0.9, -0.6, features)))
    limit = rng.exponential(1.5, n)
    observed = np.ceil(steps * np.minimum(time, limit)) / steps
    return x, observed.astype(np.float32), (time <= limit).astype(np.float32)


def hospitals(sizes=(40, 25, 12), split=(0.6, 0.0, 0.4), **options):
    """Hospitals whose patients have times with ties."""
    pairs = {}
    for c, n in enumerate(sizes):
        x, time, event = draw(n, seed=c)
        pairs[f"hospital {c}"] = x, np.stack([time, event], axis=1)
    return from_arrays(pairs, **{"task": "survival", "split": split, **options})
