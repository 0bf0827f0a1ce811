"""What an upload tells: rows, by division and by matching, and the share of the outcome."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import hospitals
from jax.flatten_util import ravel_pytree

import jaxfed
from jaxfed import attacks
from jaxfed.aggregators import chain
from jaxfed.algorithms import FedAvg, FedSGD, LocalOnly
from jaxfed.audits import dense_rows, invert, prevalence
from jaxfed.audits.prevalence import ridge
from jaxfed.audits.uploads import initial_variables, received, training_rows
from jaxfed.bench import honest_uploads
from jaxfed.core.errors import InvalidInput
from jaxfed.data import from_arrays, standardize, weigh_rows
from jaxfed.models import MLP, logistic, mlp
from jaxfed.privacy import PatientDP, SecureSum
from jaxfed.transforms import Clip

RNG = np.random.default_rng(0)
MEASURED = {
    name: (
        np.stack([RNG.normal(60, 12, n), RNG.normal(240, 50, n), RNG.integers(0, 2, n)], 1).astype(
            np.float32
        ),
        (RNG.random(n) < share).astype(np.int32),
    )
    for name, n, share in (("north", 40, 0.2), ("south", 60, 0.7), ("west", 50, 0.5))
}
DATA = standardize(from_arrays(MEASURED, split=(0.8, 0, 0.2), features=("age", "chol", "sex")))


def simulation(**how):
    how = {"model": mlp(6), "algorithm": FedSGD(), "batch_size": None, "splits": ("test",), **how}
    return jaxfed.Simulation(DATA, **how)


def as_measured(hospital, rows):
    """The rows before they were standardised."""
    x = MEASURED[hospital][0]
    train = DATA.rows(hospital)[2] == 0
    return x[train][rows]


def test_division_gives_the_row():
    row, error = np.array([63.0, 1.0, -2.0]), np.array([0.0, -0.5, 0.25, 1e-12])
    told = dense_rows(np.outer(row, error), error)
    np.testing.assert_allclose(told, np.tile(row, (2, 1)))  # silent units are left out


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"model": logistic()},
        {"model": MLP((3, 3), 1, activation=nn.tanh)},  # layers that could be mistaken for the first
        {"aggregator": Clip(0.01)},
        {"algorithm": FedAvg()},
    ],
    ids=["FedSGD", "logistic", "ambiguous", "clipped", "FedAvg"],
)
def test_one_patient_is_rebuilt_exactly(how):
    got = invert(simulation(**how), "south", 5)
    np.testing.assert_allclose(got.rebuilt, as_measured("south", [5]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got.true, as_measured("south", [5]), rtol=1e-5, atol=1e-5)
    assert got.units == "units of measurement"
    assert got.table["in_sd"].max() < 1e-4


def test_a_secure_sum_hides_the_row():
    """The same attack sees the mean of all hospitals; without the others it would be the row."""
    got = invert(simulation(aggregator=SecureSum(4.0)), "south", 5)
    assert got.table["in_sd"].max() > 0.3
    sim = simulation(aggregator=SecureSum(4.0, 20), model=logistic())
    x, y = training_rows(DATA, "north")
    start = initial_variables(sim, 0)
    seen = received(sim, start, x, y, 0, 0)
    plain = sim.replace(aggregator=chain())
    single = [received(plain, start, *training_rows(DATA, name), c, 0) for c, name in enumerate(MEASURED)]
    sizes = DATA.counts[:, 0] / DATA.counts[:, 0].sum()
    want = jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(sizes, leaves, strict=True)), *single)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_an_upload_is_that_of_the_first_round():
    """Of rows with weights; with the draws of each hospital, also where an attacker sends noise."""
    data = weigh_rows(DATA, 1 + np.arange(len(DATA.y)) % 3)
    noise = attacks.Gaussian(attacks.malicious(data, names=["west"]))
    sim = simulation(algorithm=FedAvg(), model=logistic(), batch_size=8, aggregator=chain(noise))
    sim = sim.replace(hospitals=data)
    start, (sent,) = initial_variables(sim, 3), honest_uploads(sim, (1,), seed=3).updates
    for c, name in enumerate(data.hospitals):
        found = received(sim, start, *training_rows(data, name), c, 3)
        np.testing.assert_allclose(ravel_pytree(found)[0], sent[c], rtol=1e-5, atol=1e-6)


def test_rows_of_an_upload_count_by_their_weights():
    """Some rows alone: their weights have the mean 1 in the hospital, and their sum is its voice."""
    weights = 1 + np.arange(len(DATA.y)) % 3
    data = weigh_rows(DATA, weights)
    sim = simulation(model=logistic(), aggregator=chain()).replace(hospitals=data)
    zero = jax.tree.map(jnp.zeros_like, initial_variables(sim, 0))
    x, y = jax.tree.map(lambda leaf: leaf[[4, 7, 9]], training_rows(data, "west"))
    own = weights[(DATA.owner == 2) & (DATA.split == 0)][[4, 7, 9]]
    found = ravel_pytree(received(sim, zero, x, y, 2, 0))[0]
    pull = own / own.mean() * (y.y - 0.5)
    np.testing.assert_allclose(found, [pull.mean(), *pull @ x / 3], rtol=1e-5)
    rows = [training_rows(data, "north"), training_rows(data, "south"), (x, y)]
    single = [received(sim, zero, *pair, c, 0) for c, pair in enumerate(rows)]
    voices = [weights[(DATA.owner == c) & (DATA.split == 0)].sum() for c in (0, 1)] + [own.sum()]
    seen = received(sim.replace(aggregator=SecureSum(4.0, 20)), zero, x, y, 2, 0)
    want = np.average([ravel_pytree(one)[0] for one in single], axis=0, weights=voices)
    np.testing.assert_allclose(ravel_pytree(seen)[0], want, atol=2e-5)


def test_several_patients():
    """Units that see one patient alone have that patient; matching needs no such luck."""
    sim, rows = simulation(model=mlp(16)), [4, 7]
    for distance in ("cosine", "euclidean"):
        got = invert(sim, "west", rows, method="matching", distance=distance, steps=1500, restarts=2)
        assert got.table["in_sd"].median() < 0.02
        assert got.rows == (4, 7)
        np.testing.assert_allclose(got.true, as_measured("west", rows), rtol=1e-5, atol=1e-5)
    exact = invert(simulation(model=mlp(40)), "west", rows)
    assert exact.table["in_sd"].median() < 1e-3
    assert len(exact.plot().axes) == 2
    assert "2 of 'west''s patients" in repr(exact)


def test_what_cannot_be_inverted():
    sim = simulation()
    for wrong, says in (
        ({"hospital": "sout"}, "hospital='sout': did you mean 'south'"),
        ({"rows": 500}, "rows=500: hospital 'south' has training rows 0 to 47"),
        ({"rows": [1, 1]}, "give some of these"),
        ({"method": "dlg"}, "method='dlg': choose from"),
        ({"steps": 0}, "steps=0: give a whole number >= 1"),
        ({"learning_rate": "a"}, "learning_rate='a': give a number > 0"),
        ({"learning_rate": np.nan}, "learning_rate=nan: give a number > 0"),
        ({"learning_rate": 0}, "learning_rate=0: give a number > 0"),
    ):
        with pytest.raises(InvalidInput, match=says):
            invert(sim, **{"hospital": "south", **wrong})
    with pytest.raises(InvalidInput, match="it hides the outer product; give method='matching'"):
        invert(simulation(l2=0.1), "south")
    with pytest.raises(InvalidInput, match="its uploads have no step of the model; give FedSGD"):
        invert(simulation(algorithm=LocalOnly()), "south")


def test_matching_without_numbers_says_why():
    sim = simulation(model=logistic())
    how = {"method": "matching", "distance": "euclidean", "steps": 2, "restarts": 1}
    nothing = jax.tree.map(lambda leaf: jnp.nan * leaf, initial_variables(sim, 0))
    with pytest.raises(InvalidInput, match="the upload is not finite, so that there is nothing to match"):
        invert(sim, "south", variables=nothing, **how)
    with pytest.raises(InvalidInput, match=r"learning_rate=3e\+38: .* give a smaller one, such as 3e\+37"):
        invert(sim, "south", learning_rate=3e38, **how)


def test_the_bias_of_a_model_without_weights_tells_the_share():
    sim = simulation(model=logistic())
    zero = jax.tree.map(jnp.zeros_like, initial_variables(sim, 0))
    got = prevalence(sim, variables=zero, shadows=40)
    want = [training_rows(DATA, name)[1].mean() for name in MEASURED]
    np.testing.assert_allclose(got.table["true"], want)
    np.testing.assert_allclose(got.table["bias"], want, atol=1e-6)
    np.testing.assert_allclose(got.table["regression"], want, atol=0.02)
    assert got.errors["guess"] > 0.1
    assert got.plot().axes[0].get_xlabel() == "share of '1' in the hospital"
    hidden = prevalence(sim.replace(aggregator=SecureSum(4.0)), variables=zero, shadows=0)
    assert hidden.errors["bias"] > 0.1


def test_the_share_from_uploads_of_local_training():
    steps = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    sim = simulation(algorithm=FedAvg(), model=logistic(), batch_size=8, client_optimizer=steps)
    got = prevalence(sim, shadows=100)
    assert "bias" not in got.table
    assert got.errors["regression"] < 0.5 * got.errors["guess"]


@pytest.mark.filterwarnings("ignore:.*privacy")
def test_uploads_full_of_noise_tell_no_share():
    """Each made-up hospital has noise of its own; of a hospital whose draws they shared it would cancel."""
    private = PatientDP(clip=1.0, noise_multiplier=100.0)
    got = prevalence(simulation(algorithm=FedAvg(), model=logistic(), batch_size=8, privacy=private))
    assert got.table["regression"].between(0.3, 0.7).all()


def test_made_up_hospitals_have_the_steps_of_the_one_that_is_attacked():
    steps = jaxfed.optimizer(optax.sgd, learning_rate=jaxfed.per_hospital([1.0, 0.01, 0.1]))
    sim = simulation(algorithm=FedAvg(), model=logistic(), batch_size=8, client_optimizer=steps)
    got = prevalence(sim)
    assert got.errors["regression"] < 0.05
    weighted = prevalence(sim.replace(hospitals=weigh_rows(DATA, 1 + np.arange(len(DATA.y)) % 3)))
    assert np.array_equal(weighted.table["true"], got.table["true"])
    assert weighted.errors["regression"] < 0.08


def test_ridge():
    x, new = RNG.normal(size=(20, 50)), RNG.normal(size=50)
    y = RNG.normal(size=20)
    centred = x - x.mean(0)
    penalty = 1e-2 * np.trace(centred @ centred.T) / 20
    weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(50), centred.T @ (y - y.mean()))
    want = y.mean() + (new - x.mean(0)) @ weights
    assert ridge(x, y, new, 1e-2) == pytest.approx(want)


def test_no_prevalence_without_two_classes():
    sim = jaxfed.Simulation(hospitals((9, 8), test=2, task="regression"), logistic(), splits=("test",))
    with pytest.raises(InvalidInput, match="its task is regression; give data with two classes"):
        prevalence(sim)
