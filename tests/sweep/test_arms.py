"""Arms of a comparison, and hospitals that are left out: as if the data were without them."""

import dataclasses

import numpy as np
import pytest
from federations import Lab, hospitals, recipe, same, with_validation
from sweeps import HOSPITALS, ROWS, made

import jaxfed
from jaxfed import FedAvg, FixedCohort, InvalidInput, Simulation, algorithms, per_hospital
from jaxfed.models import logistic
from jaxfed.results.arms import FEDERATED
from jaxfed.sweep.arms import _Arrays, compare_arms, included

SMALL = {"model": logistic(), "batch_size": None, "devices": 1, "block": 1}


def test_a_hospital_that_is_not_included_is_absent():
    # a cohort is drawn of those that are there, and the server counts hospitals
    algorithm, parts = algorithms.Scaffold(), {"participation": FixedCohort(2), "model": logistic()}
    data, out = hospitals((11, 4, 7, 9)), 2
    marks = (np.arange(4) != out).astype(int)
    given = dataclasses.replace(recipe(data, algorithm=algorithm, **parts), included=per_hospital(marks))
    small = data.select([h for h, mark in zip(data.hospitals, marks, strict=True) if mark])
    lab, alone = Lab(given, data), Lab(recipe(small, algorithm=algorithm, **parts), small)
    (state, seen), (other, expected) = lab.advance(lab.start(), 3), alone.advance(alone.start(), 3)
    assert not seen.present[:, out].any()
    np.testing.assert_array_equal(seen.present[:3, marks > 0], expected.present[:3])
    same(state.server, other.server, rtol=1e-5)


def validation_loss(settings, done):
    """Lowest after 5 rounds, but without the first hospital after 10."""
    return {0: 0.9, 5: 0.5, 10: 0.6}[done] + (settings.get("algorithm.mu", 0) - 1) ** 2


def test_the_round_of_a_run_that_leaves_a_hospital_out_does_not_see_its_validation_rows():
    names = ["all", "without north"]
    sweep = made({"included": names, "seed": [0, 1]}, validation_loss)
    loss = sweep.data["log_loss"]
    loss.loc[{"round": 10, "split": "validation", "hospital": "north"}] = 9.0
    loss.loc[{"round": 10, "split": "validation", "hospital": ["east", "south"]}] = 0.1
    arrays = _Arrays(sweep, {})
    everyone, without = arrays.chosen(0, None), arrays.chosen(1, "north")
    assert everyone.rounds.tolist() == [5, 5]
    assert without.rounds.tolist() == [10, 10]
    at = sweep.data.sel(split="test", included="without north", round=10)
    np.testing.assert_array_equal(without.metrics["auroc"], at["auroc"].transpose("seed", "hospital"))


def test_settings_are_those_of_the_least_validation_loss_and_of_no_diverged_seed():
    fields = {"algorithm.mu": [0.0, 1.0, 1.5], "seed": [0, 1]}
    diverged = lambda s: 6 if s["algorithm.mu"] == 1.0 and s["seed"] == 1 else np.nan  # noqa: E731
    arrays = _Arrays(made(fields, validation_loss, died=diverged), {"algorithm.mu": fields["algorithm.mu"]})
    assert arrays.settings == ["algorithm.mu=0.0", "algorithm.mu=1.0", "algorithm.mu=1.5"]
    assert arrays.chosen(0, None).settings == 2
    arrays = _Arrays(made(fields, validation_loss), {"algorithm.mu": fields["algorithm.mu"]})
    assert arrays.chosen(0, None).settings == 1


def test_without_validation_rows_the_last_round_counts():
    arrays = _Arrays(made({"seed": [0]}, validation_loss, splits=("test",)), {})
    assert arrays.chosen(0, None).rounds.tolist() == [10]
    sweep = made({"seed": [0]}, validation_loss)
    sweep.data["log_loss"].loc[{"split": "validation"}] = np.nan
    assert _Arrays(sweep, {}).chosen(0, None).rounds.tolist() == [10]
    assert len(HOSPITALS) == ROWS.shape[1]


@pytest.fixture(scope="module")
def sim():
    data = with_validation(hospitals((30, 12, 20), test=24))
    return Simulation(data, **SMALL)


def test_arms_are_the_runs_of_a_sweep_and_a_hospital_that_is_left_out_has_the_model_of_the_others(sim):
    how = {"leave_one_out": True, "tune": None, "eval_every": 1, "progress": False}
    comparison = compare_arms({FEDERATED: sim}, 3, seeds=2, **how)
    assert comparison.provenance["programs"] == 1
    assert comparison.arms == ("federated", "leave-one-out")
    names = sim.hospitals.hospitals
    runs = sim.sweep({"included": included(sim, names), "seed": range(2)}, 3, progress=False).data
    validation = runs["log_loss_pooled"].sel(included="all", split="validation")
    for seed in range(2):
        best = int(validation.sel(seed=seed).argmin("round"))
        assert comparison.rounds[0, seed].tolist() == [best] * 3
        for metric in ("auroc", "log_loss"):
            expected = runs[metric].sel(included="all", seed=seed, round=best, split="test")
            np.testing.assert_array_equal(comparison.metrics[metric][0, seed], expected)
    loss = runs["log_loss"].sel(included=f"without {names[1]}", seed=0)
    weight = np.where(np.arange(3) == 1, 0, sim.hospitals.counts[:, 1])
    best = int((loss.sel(split="validation").to_numpy() @ weight).argmin())
    assert comparison.rounds[1, 0, 1] == best
    expected = loss.sel(split="test", round=best, hospital=names[1])
    assert comparison.metrics["log_loss"][1, 0, 1] == expected
    assert np.isnan(comparison.pooled["auroc"][1]).all()
    test = sim.hospitals.split == 2
    events = [int(sim.hospitals.y[test & (sim.hospitals.owner == c)].sum()) for c in range(3)]
    assert comparison.hospitals["events"].tolist() == events


def test_the_arms_of_a_simulation(sim, monkeypatch):
    monkeypatch.setattr("jaxfed.simulation.compare_arms", lambda arms, *_, **__: arms)
    arms = sim.compare(1)
    kinds = {name: type(arm.algorithm).__name__ for name, arm in arms.items()}
    assert kinds == {
        "local-only": "LocalOnly", "pooled": "FedAvg", "federated": "FedAvg", "personalised": "FineTuned"
    }  # fmt: skip
    assert arms["federated"] is sim
    assert len(arms["pooled"].hospitals) == 1
    ditto = sim.replace(algorithm=algorithms.Ditto())
    arms = ditto.compare(1)
    assert arms["personalised"].algorithm is ditto.algorithm
    assert isinstance(arms["federated"].algorithm, FedAvg)
    assert "personalised" not in sim.compare(1, personalised=False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"seeds": 0}, "seeds=0: give a whole number"),
        ({"rounds": 0}, "rounds=0: give a whole number"),
        ({"personalised": "Ditto"}, "personalised='Ditto': give an algorithm with a model for each hospital"),
        ({"leave_one_out": ["hospital 9"]}, "did you mean"),
        ({"leave_one_out": "hospital 1"}, r"give a list of names, \['hospital 1'\]"),
        ({"tune": {"client_optimizer.learning_rat": [0.1]}}, "did you mean client_optimizer.learning_rate"),
        ({"tune": {"algorithm": [FedAvg()]}}, "tune: algorithm makes the arms what they are"),
        ({"seed": 3}, "did you mean 'seeds'"),
    ],
)
def test_wrong_arguments_name_the_remedy(sim, arguments, text):
    with pytest.raises(InvalidInput, match=text):
        sim.compare(**{"rounds": 2, **arguments})


def test_what_cannot_be_included(sim):
    names = sim.hospitals.hospitals
    for marks in ([0, 0, 0], [1, 2, 0]):
        with pytest.raises(InvalidInput, match=r"included=.*1 for hospitals that train"):
            sim.replace(included=per_hospital(dict(zip(names, marks, strict=True))))
    with pytest.raises(InvalidInput, match=r"FixedCohort\(size=3\): give a whole number from 1 to 2"):
        sim.replace(included=per_hospital([1, 1, 0]), participation=FixedCohort(3))
    with pytest.raises(InvalidInput, match="HospitalDP accounts for all hospitals"):
        sim.replace(
            included=per_hospital([1, 1, 0]),
            algorithm=FedAvg(weighting="uniform"),
            privacy=jaxfed.privacy.HospitalDP(clip=1.0, noise_multiplier=1.0),
        )


def test_pooled_training_has_the_rows_of_those_included(sim):
    pooled = sim.replace(included=per_hospital([1, 0, 1])).pooled()
    rest = sim.hospitals.select([sim.hospitals.hospitals[c] for c in (0, 2)])
    np.testing.assert_array_equal(pooled.hospitals.y, rest.y)
    assert pooled.included is None
    assert len(pooled.evaluation_hospitals) == 3
