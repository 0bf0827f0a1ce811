"""Federated averaging in NumPy loops, from the papers and not from the package.

Only the order of a hospital's rows comes from jaxfed (``permute`` with the documented keys); who was
present is read from the log.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxfed.core import keys
from jaxfed.core.permutation import permute


def mean_gradient(params, x, y, l2=0.0):
    """Mean binary log loss and its gradient for tanh networks of zero or one hidden layer."""
    names = sorted(params, key=lambda name: name == "head")
    layers = [params[name] for name in names]
    hidden = x
    if len(layers) == 2:
        hidden = np.tanh(x @ layers[0]["kernel"] + layers[0]["bias"])
    logit = (hidden @ layers[-1]["kernel"] + layers[-1]["bias"])[:, 0]
    loss = np.mean(np.logaddexp(0, logit) - y * logit)
    back = ((1 / (1 + np.exp(-logit)) - y) / len(y))[:, None]
    grads = {"head": {"kernel": hidden.T @ back, "bias": back.sum(0)}}
    if len(layers) == 2:
        inner = back @ layers[1]["kernel"].T * (1 - hidden**2)
        grads[names[0]] = {"kernel": x.T @ inner, "bias": inner.sum(0)}
    for name in params:
        grads[name]["kernel"] = grads[name]["kernel"] + l2 * params[name]["kernel"]
        loss += l2 / 2 * np.square(params[name]["kernel"]).sum()
    return loss, grads


def combine(function, *trees):
    """A function of numbers on trees of two levels."""
    return {
        name: {leaf: function(*(t[name][leaf] for t in trees)) for leaf in trees[0][name]}
        for name in trees[0]
    }


def batches(key, n, batch_size, epochs=None, steps=None):
    """The rows of every step of a hospital with key ``key``, as lists."""
    if batch_size is None:
        return [np.arange(n)] * (epochs if steps is None else steps)
    found, epoch = [], 0
    while epoch < epochs if steps is None else len(found) < steps:
        order = np.asarray(permute(keys.purpose(key, keys.EPOCH), jnp.arange(n), n, epoch))
        found += [order[i : i + batch_size] for i in range(0, n, batch_size)]
        epoch += 1
    return found if steps is None else found[:steps]


def client_keys(seed, round, names):
    """The key of each hospital in a round."""
    key = keys.at_round(keys.run_key(seed), keys.CLIENT, round)
    return [keys.client_key(key, words) for words in keys.client_ids(names)]


def local_sgd(params, x, y, rows, rate, *, l2=0.0, correct=lambda grads, params, rows: grads):
    """One hospital: a step of SGD for every batch; new params and the mean loss of the steps."""
    losses = []
    for own in rows:
        loss, grads = mean_gradient(params, x[own], y[own], l2)
        losses.append(loss)
        grads = correct(grads, params, own)
        params = combine(lambda p, g: p - rate * g, params, grads)
    return params, np.mean(losses)


def fedavg(
    data, params, present, *, rate, seed=0, batch_size=4, epochs=1, steps=None, l2=0.0,
    weighting="samples", correct=None,
):  # fmt: skip
    """The model after every round and the losses ``[R, C]``; ``present [R, C]``.

    ``correct(x, y) -> (grads, params, rows) -> grads`` of a hospital that starts from the server's params.
    """
    models, losses = [], np.full(np.shape(present), np.nan)
    for r, here in enumerate(np.asarray(present)):
        total, weight = combine(np.zeros_like, params), 0.0
        for c, (name, key) in enumerate(
            zip(data.hospitals, client_keys(seed, r, data.hospitals), strict=True)
        ):
            x, y, split = data.rows(name)
            x, y = np.asarray(x, np.float64)[split == 0], y[split == 0]
            if not here[c]:
                continue
            hook = {} if correct is None else {"correct": correct(params, x, y)}
            rows = batches(key, len(y), batch_size, epochs, steps)
            own, losses[r, c] = local_sgd(params, x, y, rows, rate, l2=l2, **hook)
            w = len(y) if weighting == "samples" else 1
            total = combine(lambda t, p: t + w * p, total, own)  # noqa: B023
            weight += w
        if weight:
            params = combine(lambda t: t / weight, total)  # noqa: B023
        models.append(params)
    return models, losses


def in_numpy(params):
    """Params in float64."""
    return combine(lambda leaf: np.asarray(leaf, np.float64), params)
