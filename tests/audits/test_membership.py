"""Membership inference: oracles of the scores and of the curves, and federations that remember or do not."""

import numpy as np
import optax
import pytest
from federations import hospitals
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import jaxfed
from jaxfed.audits import Roc, membership
from jaxfed.audits.membership import likelihood_ratio
from jaxfed.audits.shadows import redrawn
from jaxfed.core.dataset import TRAIN
from jaxfed.core.errors import InvalidInput
from jaxfed.models import mlp
from jaxfed.privacy import HospitalDP

ROUNDS = 30


def test_curves():
    rng = np.random.default_rng(0)
    members = rng.random(300) < 0.4
    scores = np.round(members + rng.normal(size=300), 1)  # with ties
    roc = Roc(scores, members)
    area, low, high = roc.auroc_interval()
    assert area == pytest.approx(roc_auc_score(members, scores))
    assert 0.5 < low < area < high < 1
    for fpr in (0.001, 0.01, 0.1, 0.5, 1.0):
        rates = [
            ((scores >= t)[members].mean(), (scores >= t)[~members].mean()) for t in [*set(scores), np.inf]
        ]
        assert roc.tpr_at(fpr) == max(true for true, false in rates if false <= fpr)
    assert roc.advantage(0.5) == pytest.approx(
        (scores >= 0.5)[members].mean() - (scores >= 0.5)[~members].mean()
    )
    false, true = roc.curve()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.isnan(Roc(scores, np.ones(300, bool)).auroc)
    assert np.isnan(Roc(scores, np.ones(300, bool)).tpr_at(0.1))


def test_the_interval_covers_the_area():
    rng, inside = np.random.default_rng(1), 0
    true = norm.cdf(1 / np.sqrt(2))
    for _ in range(400):
        members = np.arange(80) < 30
        _, low, high = Roc(members + rng.normal(size=80), members).auroc_interval()
        inside += low <= true <= high
    assert 0.91 < inside / 400 < 0.98


def test_likelihood_ratios():
    rng = np.random.default_rng(2)
    inside = rng.random((12, 5)) < 0.6
    inside[:, 4] = True  # never left out
    phi = rng.normal(size=(12, 5)) + 2 * inside
    target = rng.normal(size=5)
    ins = [phi[inside[:, i], i] for i in range(5)]
    outs = [phi[~inside[:, i], i] for i in range(4)]
    pooled = [
        np.sqrt(sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups))
        for groups in (ins, outs)
    ]
    everyone = np.concatenate(outs).mean()
    want = [
        norm.logpdf(target[i], ins[i].mean(), pooled[0])
        - norm.logpdf(target[i], outs[i].mean() if i < 4 else everyone, pooled[1])
        for i in range(5)
    ]
    np.testing.assert_allclose(likelihood_ratio(target, phi, inside), want, rtol=1e-9)
    # with many models each row has its own deviation
    inside = np.arange(70)[:, None] % 2 == np.zeros(2)
    phi = rng.normal(size=(70, 2)) * [1, 5] + inside
    want = [
        norm.logpdf(0.3, phi[::2, i].mean(), phi[::2, i].std(ddof=1))
        - norm.logpdf(0.3, phi[1::2, i].mean(), phi[1::2, i].std(ddof=1))
        for i in range(2)
    ]
    np.testing.assert_allclose(likelihood_ratio(np.full(2, 0.3), phi, inside), want, rtol=1e-9)


def federation(**how):
    """Labels that are noise, so that whoever fits them remembers patients."""
    data = hospitals((60, 40, 50, 30), d=8, test=20)
    y = np.random.default_rng(5).integers(0, 2, len(data.y)).astype(np.int32)
    how = {
        "model": mlp(48),
        "client_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.3),
        "epochs": 4,
        "batch_size": 10,
        "devices": 1,
        "splits": ("test",),
        **how,
    }
    return jaxfed.Simulation(data.replace(y=y), **how)


def test_redrawn_hospitals_have_as_many_training_rows():
    data = hospitals((6, 0, 4, 9), test=2)
    for seed in range(3):
        drawn = redrawn(data, seed)
        assert np.array_equal(drawn.counts[:, TRAIN], data.counts[:, TRAIN])
        assert not np.array_equal(drawn.split, data.split)
    assert np.mean([redrawn(data, s).split[0] == TRAIN for s in range(200)]) == pytest.approx(4 / 6, abs=0.12)


def test_a_federation_that_remembers_is_caught():
    """Shadow models are the runs that they stand for; LiRA beats the threshold; a known run is the target."""
    sim = federation()
    got = membership(sim, ROUNDS, shadows=16)
    table = got.table
    assert [*table.index.unique("hospital")] == ["all hospitals", *sim.hospitals.hospitals]
    assert table["auroc"]["lira", "all hospitals"] > table["auroc"]["loss", "all hospitals"] > 0.65
    assert table["auroc_low"]["lira", "all hospitals"] > 0.65
    assert got.roc("lira").tpr_at(0.1) > 0.25
    assert 0.2 < table["advantage"]["loss", "all hospitals"] < 1
    assert (table["members"] + table["others"]).groupby("attack").sum().eq(2 * len(sim.hospitals.y)).all()
    run = sim.run(ROUNDS, progress=False)
    again = membership(sim, ROUNDS, shadows=0, run=run)
    np.testing.assert_allclose(again.scores["loss"], got.scores["loss"], rtol=1e-4, atol=1e-5)
    assert [*again.scores] == ["loss"]
    assert "AUROC" in repr(got)
    assert len(got.plot().axes) == 2
    # untrained: nothing is remembered
    start = membership(sim, ROUNDS, shadows=0, run=sim.run(0, progress=False)).table
    assert start["auroc_low"]["loss", "all hospitals"] < 0.5 < start["auroc_high"]["loss", "all hospitals"]


def test_hospitals_with_models_of_their_own():
    """Each row is judged by its hospital's model; alone a hospital remembers more."""
    sim = federation().local_only()
    run = sim.run(ROUNDS, progress=False)
    got = membership(sim, ROUNDS, shadows=0, run=run)
    frame = run.hospitals("test", at="last")
    losses = -got.scores["loss"]
    held = [losses[(got.owner == c) & ~got.members].mean() for c in range(4)]
    np.testing.assert_allclose(held, frame["log_loss"], rtol=1e-4)
    assert got.table["auroc_low"]["loss", "all hospitals"] > 0.65


@pytest.mark.filterwarnings("ignore:HospitalDP with 4 hospitals")
def test_an_attacked_model_ends_at_its_privacy_budget():
    privacy = HospitalDP(clip=1.0, epsilon=2.0, rounds=2)
    sim = federation(algorithm=jaxfed.algorithms.FedAvg(weighting="uniform"), privacy=privacy)
    at_end, beyond = (membership(sim, rounds, shadows=0).scores["loss"] for rounds in (2, 6))
    np.testing.assert_array_equal(beyond, at_end)


def test_what_cannot_be_attacked():
    sim = federation()
    for wrong, says in (
        ({"rounds": -1}, "rounds=-1: give a whole number >= 0"),
        ({"shadows": 1}, "shadows=1: a row is in it or not; give 0, or 16 and more"),
        ({"shadow": 1}, "no argument 'shadow'; did you mean 'shadows'"),
        ({"run": "mine"}, "run: it is no run of these hospitals"),
    ):
        with pytest.raises(InvalidInput, match=says):
            membership(sim, **{"rounds": 1, **wrong})
    everyone = sim.hospitals.replace(split=np.zeros_like(sim.hospitals.split))
    with pytest.raises(InvalidInput, match="every row is a training row"):
        membership(sim.replace(hospitals=everyone, splits=("train",)), 1)
