"""The influence of every hospital, round by round, and whom a rule leaves out."""

import numpy as np
import pytest
from federations import Lab, hospitals, recipe
from matplotlib.figure import Figure
from roads import aggregate

from jaxfed import InvalidInput, Simulation, attacks
from jaxfed.aggregators import (
    NNM,
    Bucketing,
    CentredClipping,
    GeometricMedian,
    Krum,
    Median,
    TrimmedMean,
    WeightedMean,
    chain,
)
from jaxfed.algorithms import FedSGD
from jaxfed.models import MLP, logistic
from jaxfed.records.history import History
from jaxfed.results.detection import detect


def updates(seed=0):
    return np.random.default_rng(seed).normal(size=(9, 7)).astype(np.float32)


WEIGHTS = np.array([5, 0, 2, 8, 3, 1, 0, 4, 2.0], np.float32)


@pytest.mark.parametrize("devices", [1, 4])
def test_influence_of_coordinatewise_rules(devices):
    """By hand: whose numbers are in the middle, in every coordinate."""
    x, used = updates(), WEIGHTS > 0
    ranks = np.argsort(np.argsort(np.where(used[:, None], x, np.inf), axis=0), axis=0)
    for rule, inside in ((Median(), ranks == 3), (TrimmedMean(0.3), (ranks >= 2) & (ranks < 5))):
        found = aggregate(x, rule, weights=WEIGHTS, devices=devices).metrics["influence"]
        np.testing.assert_allclose(found, (inside / inside.sum(0)).mean(1), atol=1e-6)


def test_equal_numbers_share_the_influence():
    found = aggregate(np.ones((9, 7)), TrimmedMean(0.3)).metrics["influence"]
    np.testing.assert_allclose(found, np.full(9, 1 / 9), rtol=1e-6)


def test_influence_after_mixers_is_that_of_hospitals():
    """The aggregate is the mean of what hospitals sent, with their influences."""
    x = updates()
    for parts in ((NNM(2), Krum(2)), (Bucketing(2), GeometricMedian()), (NNM(2), Bucketing(1), Krum(2))):
        found = aggregate(x, *parts, weights=WEIGHTS, seed=3)
        part = found.metrics["influence"]
        assert part.shape == (9,)
        assert not part[WEIGHTS == 0].any()
        np.testing.assert_allclose(part @ x, found.update, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(part.sum(), 1, rtol=1e-5)


def test_influence_of_centred_clipping_is_that_of_a_step():
    x = updates()
    found = aggregate(x, CentredClipping(1.0), weights=WEIGHTS)
    part = found.metrics["influence"]
    np.testing.assert_allclose(part @ x, found.update, rtol=1e-4, atol=1e-6)  # from v = 0
    assert 0 < part.sum() < 1


def flipped(data, names):
    """The data with the rows of some hospitals times -30."""
    x = np.array(data.x)
    for name in names:
        x[data.owner == data.hospitals.index(name)] *= -30
    return data.replace(x=x)


def test_a_run_tells_whom_its_rule_left_out():
    data = hospitals((9, 9, 8, 8, 7, 9), test=2)
    bad = data.hospitals[1:2]
    sim = Simulation(
        flipped(data, bad), logistic(), FedSGD(), client_optimizer=None, aggregator=Krum(1), splits=("test",)
    )
    run = sim.run(4, progress=False)
    assert run.history.training["influence"].shape == (4, 6)
    np.testing.assert_array_equal(run.history.training["influence"], run.history.training["selected"])
    found = run.detection(bad)
    assert found.table["voice"].sum() == pytest.approx(6)
    assert found.table.loc[bad[0], "voice"] == 0
    assert found.table.loc[bad[0], "silenced"] == 1
    assert bad[0] not in found.silenced
    assert found.silenced  # Krum takes a single hospital
    assert "honest hospitals silenced: " in repr(found)
    assert isinstance(found.plot(), Figure)
    marks = attacks.malicious(data, names=bad)
    assert run.detection(marks).table.equals(found.table)
    turned = attacks.malicious(data.select(data.hospitals[::-1]), names=bad)  # marks go by name
    assert run.detection(turned).table.equals(found.table)
    shuffled = sim.replace(aggregator=chain(Bucketing(1), Krum(1))).run(1, progress=False).history.training
    assert "selected" not in shuffled  # upload k is not that of hospital k
    assert shuffled["influence"].sum() == pytest.approx(1)
    with pytest.raises(InvalidInput, match="malicious='nowhere' is no hospital"):
        run.detection(["nowhere"])
    plain = sim.replace(aggregator=WeightedMean()).run(1, progress=False)
    assert "influence" not in plain.history.training
    with pytest.raises(InvalidInput, match="tells nothing of single hospitals"):
        plain.detection(bad)


def test_groups_of_models_and_two_devices():
    data = hospitals((6, 6, 6, 6, 6))
    how = recipe(data, model=MLP((), outputs=1), aggregator=chain(NNM(1), Median()), batch_size=None)
    _, _, info = Lab(how, data, devices=2).rounds(2)
    np.testing.assert_allclose(info.clients["influence"].sum(1), 1, rtol=1e-5)


def history(influence, present=None, rejected=None):
    """A history of rounds with these influences ``[R, C]``."""
    influence = np.array(influence, float)
    present = np.ones(influence.shape, bool) if present is None else np.array(present, bool)
    names = tuple("abcdefgh"[: influence.shape[1]])
    data = hospitals((3,) * influence.shape[1])
    empty = History.empty(data.replace(hospitals=names), ("test",), names)
    rejected = np.zeros(influence.shape, bool) if rejected is None else np.array(rejected, bool)
    columns = {"influence": np.where(present, influence, np.nan), "present": present, "rejected": rejected}
    return empty.trained(columns, np.zeros(len(influence), bool))


def test_the_roc_by_hand():
    found = detect(history([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]), ["c", "b"])
    np.testing.assert_allclose(found.table["voice"], [3, 1, 0, 0])
    np.testing.assert_allclose(found.table["silenced"], [0, 0.5, 1, 1])
    assert found.silenced == ("d",)
    np.testing.assert_allclose(found.roc["false_alarms"], [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(found.roc["detected"], [0, 0.5, 1, 1])
    # of the four pairs (honest, malicious) a > c, a > b, d = c and d < b
    assert found.auroc == pytest.approx(2.5 / 4)


def test_absent_and_rejected_hospitals():
    present = [[1, 1, 0, 1], [1, 0, 0, 1]]
    rejected = [[0, 1, 0, 0], [0, 0, 0, 0]]
    found = detect(history([[0.5, 0, 0, 0.5], [0.25, 0, 0, 0.75]], present, rejected), ["b"])
    np.testing.assert_allclose(found.table["rounds"], [2, 1, 0, 2])
    np.testing.assert_allclose(found.table["voice"], [0.75, 0, np.nan, 1.25])
    np.testing.assert_allclose(found.table["silenced"], [0, 1, np.nan, 0])
    assert found.auroc == 1
    nobody = detect(history([[1.0, 0.0]]))
    assert np.isnan(nobody.auroc)
    assert isinstance(nobody.plot(), Figure)
