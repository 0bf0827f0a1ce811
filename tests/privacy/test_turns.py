"""Hospital-level privacy of hospitals that take turns, with correlated noise, in whole rounds and runs."""

import json
import warnings

import jax
import numpy as np
import optax
import pytest
from federations import hospitals, same, with_validation

from jaxfed import Cyclic, Everyone, FixedCohort, InvalidInput, Poisson, Simulation, optimizer, per_hospital
from jaxfed.algorithms import FedAvg
from jaxfed.models import logistic
from jaxfed.privacy import AdaptiveClip, BandMF, HospitalDP, Mechanism, Tree, epsilon, noise_for
from jaxfed.records.statement import PrivacyStatement

pytestmark = pytest.mark.filterwarnings("ignore:HospitalDP with:UserWarning")
DATA = with_validation(hospitals((12, 9, 20, 6, 8), test=8, d=1500))
FEDAVG = FedAvg(weighting="uniform")
LAST = len(DATA.hospitals) - 1


def simulation(participation=Cyclic(2), rates=(0.2,) * 5, **privacy):  # noqa: B008 - frozen
    """All of one program: shapes and number of bands are the same, and the rest are numbers."""
    return Simulation(
        DATA, model=logistic(), algorithm=FEDAVG, batch_size=4, splits=("test",), participation=participation,
        client_optimizer=optimizer(optax.sgd, learning_rate=per_hospital(rates)),
        privacy=HospitalDP(**{"noise_multiplier": 2.0, "correlation": BandMF(), **privacy}),
    )  # fmt: skip


def models(sim, rounds):
    """``[R, P]`` after each round, and ``[R, C]`` who took part."""
    run, after = None, []
    for _ in range(rounds):
        run = sim.run(1, resume=run, eval_every=5, progress=False)
        after.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run.variables)]))
    return np.array(after), run.history.training["present"]


def test_the_noise_of_rounds_has_the_covariance_of_the_matrix():
    """In the engine, where uploads are next to nothing: C makes it white."""
    updates = np.diff(models(simulation(clip=1e-6, noise_multiplier=2e6), 7)[0], axis=0)
    C = sum(c * np.eye(7, k=-j) for j, c in enumerate(BandMF(bands=3).coefficients))
    white, count = (
        (C[:, 1:] @ updates)[3:],
        updates.shape[1],
    )  # rows without the first update, which is not seen
    covariance = white @ white.T / count
    np.testing.assert_allclose(covariance, np.eye(4), atol=5 / count**0.5)
    assert np.abs(updates @ updates.T / count - np.eye(6)).max() > 0.2  # it is not white itself


def test_one_hospital_moves_the_release_by_at_most_the_clip_and_the_noise_by_nothing():
    """A hospital with wild uploads, and one that uploads zeros, as in a turn that stays empty."""
    (wild, present), (empty, _) = (
        models(simulation(clip=0.3, rates=(0.2,) * LAST + (rate,)), 3) for rate in (50.0, 0.0)
    )
    turn = int(np.flatnonzero(present[:, LAST])[0])
    assert 0.5 * 0.3 < 2 * np.linalg.norm(wild[turn] - empty[turn]) <= 0.3 * (1 + 1e-4)
    np.testing.assert_array_equal(wild[:turn], empty[:turn])


def test_a_run_states_its_turns_and_goes_on_where_it_stopped(tmp_path):
    sim = simulation()
    run = sim.run(5, eval_every=5, progress=False)
    assert run.history.training["present"].sum(1).tolist() == [2, 2, 1, 2, 2]
    turns = run.history.training["present"].sum(0)
    statement = run.privacy
    assert [*statement.compositions.values()] == turns.tolist()
    one, two = (epsilon(Mechanism(2.0), k, 1e-5) for k in (1, 2))
    np.testing.assert_allclose([*statement.epsilon.values()], np.where(turns == 2, two, one), rtol=1e-9)
    np.testing.assert_allclose(run.history.training["epsilon"].max(1), [one, one, one, two, two], rtol=1e-9)
    for text in (
        "every hospital once in 3 rounds, in a public order",
        "banded matrix factorisation, 3 bands (square root)",
        "sums of updates over 5 rounds have 0.696",
    ):
        assert text in str(statement)
    assert PrivacyStatement.from_json(json.loads(json.dumps(statement.to_json()))) == statement
    sim.run(2, eval_every=5, checkpoint=tmp_path, progress=False)
    again = sim.run(5, eval_every=5, checkpoint=tmp_path, progress=False)
    same(again.variables, run.variables)
    assert again.privacy == statement


def test_one_band_is_independent_noise():
    """Turns without a correlation are the same as one band; and so is every hospital in every round."""
    plain, turns = simulation(Everyone(), correlation=None), simulation(correlation=None)
    band = simulation(correlation=BandMF(bands=1))
    always = np.ones((6, 5), int)
    together = simulation(Everyone(), correlation=BandMF(bands=1))
    np.testing.assert_allclose(
        together.private.ledger.curve(always)[0], plain.private.ledger.curve(always)[0], rtol=1e-9
    )
    assert [part.noise_multiplier for part in plain.private.road] == [2.0]
    assert [part.multiplier for part in together.private.road[1:]] == [2.0]
    assert repr(turns.private.road) == repr(band.private.road)
    update = {"a": np.zeros((50, 40), np.float32)}
    noise = together.private.road[1].apply(update, (), jax.random.key(0))[0]["a"]
    assert np.std(noise) == pytest.approx(2.0 / 5, rel=0.05)


def test_the_bound_adapts_where_hospitals_take_turns():
    """All uploads of a full round are below the bound; its noise costs nothing more than a fixed bound's."""
    quiet = simulation(clip=1e6, noise_multiplier=0.0, correlation=None, adaptive=AdaptiveClip())
    (state,) = quiet.run(2, eval_every=5, progress=False).state.aggregator
    assert float(state.group[0].rule.clip[0]) == pytest.approx(1e6 * np.exp(-2 * 0.2 * (1 - 0.5)), rel=1e-5)
    fixed, adaptive = (
        simulation(correlation=None, adaptive=kind).private for kind in (None, AdaptiveClip(count_noise=1.5))
    )
    (mean,) = adaptive.road
    assert (mean.noise_multiplier, mean.expected, mean.adaptive.count_noise) == (2.0, 2.0, 1.5)
    turns = np.arange(7)[:, None] % 3 == np.array([0, 1, 2, 0, 1])
    np.testing.assert_array_equal(adaptive.ledger.curve(turns)[0], fixed.ledger.curve(turns)[0])


@pytest.mark.filterwarnings("ignore:correlation=:UserWarning")
@pytest.mark.parametrize("correlation", [None, BandMF(), BandMF(rounds=9), Tree(), Tree(restart=8)], ids=repr)
def test_budgets(correlation):
    sim = simulation(noise_multiplier=None, epsilon=3.0, rounds=10, correlation=correlation)
    turns = np.arange(10)[:, None] % 3 == np.array([0, 1, 2, 0, 1])
    spent = sim.private.ledger.spent(turns)
    assert 2.98 < spent.max() <= 3.0
    assert sim.private.lasts == 10
    if correlation in (None, BandMF()):
        assert sim.private.noise[0] == pytest.approx(noise_for(3.0, 4, 1e-5), rel=2e-3)
    until = simulation(until_epsilon=4.5, correlation=correlation).private
    turns = np.arange(until.lasts + 1)[:, None] % 3 == np.array([0, 1, 2, 0, 1])
    curve = until.ledger.curve(turns)[0].max(1)
    assert curve[-2] <= 4.5 < curve[-1]
    assert (np.diff(curve) >= 0).all()


def test_noise_that_helps_nothing_is_warned_of():
    for correlation, who in ((Tree(), Everyone()), (BandMF(), Cyclic(5)), (Tree(restart=16), Cyclic(3))):
        with pytest.warns(UserWarning, match="of the mean squared error of independent noise"):
            simulation(who, correlation=correlation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "HospitalDP with")
        simulation(Cyclic(2), correlation=Tree(restart=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"participation": Poisson(0.4)}, r"with Poisson any round may be .* participation=Cyclic\(2\)"),
        ({"participation": FixedCohort(3)}, r"give participation=Cyclic\(3\), or leave correlation out"),
        ({"correlation": "tree"}, r"correlation='tree': give BandMF\(\), Tree\(\), or None"),
        ({"correlation": BandMF(bands=0)}, "correlation: bands=0: give a whole number >= 1"),
        ({"correlation": Tree(restart=1.5)}, "correlation: restart=1.5"),
        ({"where": "local"}, "give where='central'"),
        ({"adaptive": AdaptiveClip()}, "leave adaptive out, or a schedule for clip"),
        ({"until_epsilon": 0.1}, "the first round alone costs more"),
        ({"participation": Cyclic(9)}, r"Cyclic\(size=9\): give a whole number from 1 to 5"),
        ({"participation": Cyclic(0)}, r"Cyclic\(size=0\)"),
    ],
)
def test_wrong_uses(changes, message):
    with pytest.raises(InvalidInput, match=message):
        simulation(**changes)
