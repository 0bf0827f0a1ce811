"""Weights of rows: a weight of 2 is worth two equal rows, in every hospital and between hospitals."""

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from federations import hospitals

import jaxfed
from jaxfed import FedAvg, FedSGD, InvalidInput, Simulation
from jaxfed.algorithms import FedProx, HeteroFL, LocalOnly, mixed
from jaxfed.data import from_frame, weigh_rows
from jaxfed.models import logistic, mlp
from jaxfed.privacy import HospitalDP, PatientDP

COUNTS = np.array([1, 2, 3, 1])


def repeated(data, counts):
    """The data set with every row as often as its count says."""
    size = np.bincount(data.owner, counts, minlength=len(data)).astype(int)
    index = np.repeat(np.arange(len(data.y)), counts)
    return data.replace(x=data.x[index], y=data.y[index], split=data.split[index], size=size)


def federation():
    data = hospitals((7, 12, 5), test=4)
    counts = np.where(data.split == 0, COUNTS[np.arange(len(data.y)) % 4] + (data.owner == 1), 1)
    return data, counts


def trained(data, rounds=1, **changes):
    settings = {
        "model": logistic(),
        "client_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.3),
        "batch_size": None,
        "epochs": 2,
        "devices": 1,
        "block": 2,
        "l2": 0.01,
    }
    return Simulation(data, **{**settings, **changes}).run(rounds, progress=False)


def close(a, b, **how):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **{"rtol": 2e-5, "atol": 1e-6, **how}), a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": FedSGD(), "client_optimizer": None},
        {"algorithm": FedProx(mu=0.1), "weights": jaxfed.per_hospital([1.0, 3.0, 2.0]), "devices": 2},
        {"algorithm": LocalOnly()},
        {"privacy": HospitalDP(clip=1e6, noise_multiplier=0.0), "algorithm": FedAvg(weighting="uniform")},
    ],
    ids=["FedAvg", "FedSGD", "FedProx and weights of hospitals", "local", "private hospitals"],
)
@pytest.mark.filterwarnings("ignore:HospitalDP with 3 hospitals")
def test_a_weight_is_worth_as_many_equal_rows(changes):
    data, counts = federation()
    weighted = trained(weigh_rows(data, 0.5 * counts), **changes)
    again = trained(repeated(data, counts), **changes)
    close(weighted.variables, again.variables)
    if not changes:
        plain = trained(data)
        difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), weighted.variables, plain.variables)
        assert max(jax.tree.leaves(difference)) > 1e-3


def test_equal_weights_change_nothing():
    data, _ = federation()
    changes = {"algorithm": HeteroFL(rate=1.0), "batch_size": 4, "model": mlp(4)}
    equal = trained(weigh_rows(data, np.full(len(data.y), 7.0)), **changes)
    close(equal.variables, trained(data, **changes).variables)


def test_hospitals_with_one_voice_keep_it():
    data, counts = federation()
    same = trained(weigh_rows(data, counts), algorithm=FedAvg(weighting="uniform"))
    again = trained(repeated(data, counts), algorithm=FedAvg(weighting="uniform"))
    close(same.variables, again.variables)


@pytest.mark.filterwarnings("ignore:HospitalDP with 3 hospitals")
def test_a_private_hospital_counts_once_whatever_its_weights():
    data, counts = federation()
    private = {"privacy": HospitalDP(noise_multiplier=1.0), "algorithm": FedAvg(weighting="uniform")}
    heavy = np.where(data.owner == 1, 1024 * counts, counts)
    sims = [Simulation(weigh_rows(data, w), model=logistic(), devices=1, **private) for w in (counts, heavy)]
    assert [sim.recipe.weights for sim in sims] == [None, None]
    close(sims[0].hospitals.target.weight, sims[1].hospitals.target.weight)


def test_private_patients_have_no_weights():
    """The mean weight of the rows is of all patients: one more would move the gradients of all others."""
    data, counts = federation()
    private = {"model": logistic(), "privacy": PatientDP(noise_multiplier=1.0)}
    with pytest.raises(InvalidInput, match=r"row_weights: .*hospitals\.replace\(row_weights=None\)"):
        Simulation(weigh_rows(data, counts), **private)
    Simulation(weigh_rows(data, counts).replace(row_weights=None), **private)


def test_pooled_training_is_weighted_too():
    data, counts = federation()
    sim = Simulation(weigh_rows(data, counts), model=logistic(), batch_size=None, devices=1)
    again = Simulation(repeated(data, counts), model=logistic(), batch_size=None, devices=1)
    close(*(s.pooled().run(2, progress=False).variables for s in (sim, again)))


def test_prototypes_and_widths_see_the_labels():
    data, counts = federation()
    sim = Simulation(
        weigh_rows(data, counts), models={"a": mlp(4), "b": mlp(4)}, groups=["a", "b", "a"],
        algorithm=mixed.FedProto(), batch_size=4, devices=1,
    )  # fmt: skip
    run = sim.run(1, progress=False)
    assert np.isfinite(run.history.training["loss"]).all()


def test_they_stay_with_their_rows():
    data, counts = federation()
    weighted = weigh_rows(data, counts)
    assert (weighted.select([data.hospitals[1]]).row_weights == counts[data.owner == 1]).all()
    same = weigh_rows(
        data, dict(zip(data.hospitals, np.split(counts, np.cumsum(data.size)[:-1]), strict=True))
    )
    assert (same.row_weights == weighted.row_weights).all()
    assert jaxfed.data.standardize(weighted, "federated").row_weights is weighted.row_weights


def test_a_column_of_a_table():
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"site": np.arange(40) % 2, "age": rng.normal(size=40), "died": rng.integers(0, 2, 40)})
    df["w"] = rng.uniform(0.5, 2, 40)
    data = from_frame(df, row_weights="w")
    assert data.features == ("age",)
    expected = df.set_index(df["age"].astype(np.float32))["w"]
    np.testing.assert_allclose(data.row_weights, expected.loc[data.x[:, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda n: np.ones(n - 1), r"shape \(.*\); give \[\d+\] numbers"),
        (lambda n: np.where(np.arange(n) == 3, -1, 1), "below 0"),
        (lambda n: np.where(np.arange(n) == 3, np.nan, 1), "missing"),
        (lambda n: np.zeros(n), "all training rows have weight 0"),
        (lambda n: ["a"] * n, "give"),
        (lambda n: {"nowhere": np.ones(3)}, "nowhere"),
    ],
)
def test_bad_weights(weights, message):
    data, _ = federation()
    with pytest.raises(InvalidInput, match=message):
        weigh_rows(data, weights(len(data.y)))
