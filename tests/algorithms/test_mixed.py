"""Algorithms for hospitals with different models, held to their papers."""

import jax
import numpy as np
import pytest
from federations import hospitals
from groups import OF, PUBLIC, GroupLab, advance

from jaxfed.algorithms.mixed import FedMD

pytestmark = pytest.mark.usefixtures("quick_compilation")
RATE = 0.2


def scores(params, x):
    """A model of :func:`groups.models`, of all its hospitals: ``[hospitals, rows]``."""
    hidden = np.asarray(x, np.float64)
    if "hidden_0" in params:
        layer = params["hidden_0"]
        hidden = np.tanh(np.einsum("nd,cde->cne", hidden, layer["kernel"]) + layer["bias"][:, None])
    head = params["head"]
    logit = (
        np.einsum("...nd,cdo->cno", hidden, head["kernel"]) if hidden.ndim == 2 else hidden @ head["kernel"]
    )
    return (logit + head["bias"][:, None])[..., 0]


def in_order(found):
    """``{group: [hospitals, ...]}`` as ``[C, ...]``."""
    position = dict.fromkeys(found, 0)
    rows = []
    for name in OF:
        rows.append(found[name][position[name]])
        position[name] += 1
    return np.array(rows)


def test_fedmd_agrees_on_the_mean_of_scores():
    state, found, _ = GroupLab(FedMD(PUBLIC, batch_size=None)).rounds(2)
    said = in_order({name: scores(params, PUBLIC) for name, params in found.items()})
    np.testing.assert_allclose(state.server.common.targets[:, 0], said.mean(0), rtol=1e-4)


def test_fedmd_digests_the_consensus_and_then_revisits():
    """By hand for logistic regression, one full-batch step of each."""
    lab = GroupLab(FedMD(PUBLIC, batch_size=None), epochs=1)
    state = advance(lab, lab.start(), 1)
    head = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), lab.deployed(state)["small"]["head"])
    target = np.asarray(state.server.common.targets, np.float64)
    after = lab.deployed(advance(lab, state, 1))["small"]["head"]
    data = hospitals()
    for i, c in enumerate([0, 2]):
        w, b = head["kernel"][i], head["bias"][i]
        slope = np.sign(PUBLIC @ w + b - target) / len(PUBLIC)
        w, b = w - RATE * PUBLIC.T @ slope, b - RATE * slope.sum(0)
        x, y, _ = data.rows(data.hospitals[c])
        slope = (1 / (1 + np.exp(-(x @ w + b))) - y[:, None]) / len(y)
        np.testing.assert_allclose(after["kernel"][i], w - RATE * x.T @ slope, rtol=1e-4)
        np.testing.assert_allclose(after["bias"][i], b - RATE * slope.sum(0), rtol=1e-4)


def test_fedmd_draws_other_public_rows_in_every_round():
    """With weights n_k."""
    lab = GroupLab(FedMD(PUBLIC, rows=2, batch_size=None, weighting="samples"))
    state, found, _ = lab.rounds(2)
    said = in_order({name: scores(params, PUBLIC) for name, params in found.items()})
    said = lab.data.counts[:, 0] @ said / lab.data.counts[:, 0].sum()
    common = state.server.common
    assert common.targets.shape == (2, 1)
    assert all(np.isclose(said, value, rtol=1e-4).any() for value in np.asarray(common.targets)[:, 0])
    draws = {tuple(np.asarray(lab.algorithm.public.sample(common.key(r), 2))[:, 0]) for r in range(6)}
    assert len(draws) > 2
