"""Arms of a comparison, and hospitals that are left out: as if the data were without them."""

import dataclasses

import numpy as np
import pytest
from federations import Lab, hospitals, recipe, same, with_validation
from sweeps import HOSPITALS, ROWS, made

import jaxfed
from jaxfed import FedAvg, FixedCohort, InvalidInput, Simulation, aggregators, algorithms, per_hospital
from jaxfed.models import logistic
from jaxfed.sweep.arms import _Arrays, included

SMALL = {"model": logistic(), "batch_size": None, "devices": 1, "block": 1}


@pytest.mark.parametrize(
    ("algorithm", "parts"),
    [
        (algorithms.Scaffold(), {"participation": FixedCohort(2)}),
        (algorithms.FedDyn(), {"aggregator": aggregators.TrimmedMean(0.3)}),
    ],
    ids=["Scaffold in cohorts", "FedDyn trimmed"],
)
def test_a_hospital_that_is_not_included_is_absent(algorithm, parts):
    data, out = hospitals((11, 4, 7, 9)), 2
    marks = (np.arange(4) != out).astype(int)
    given = dataclasses.replace(recipe(data, algorithm=algorithm, **parts), included=per_hospital(marks))
    small = data.select([h for h, mark in zip(data.hospitals, marks, strict=True) if mark])
    lab, alone = Lab(given, data), Lab(recipe(small, algorithm=algorithm, **parts), small)
    (state, seen), (other, expected) = lab.advance(lab.start(), 3), alone.advance(alone.start(), 3)
    assert not seen.present[:, out].any()
    np.testing.assert_array_equal(seen.present[:3, marks > 0], expected.present[:3])
    same(state.server, other.server, rtol=1e-5)


def test_leave_one_out_on_heart_is_a_program_and_equals_runs_on_data_without_the_hospital(heart_folder):
    heart = jaxfed.data.impute(jaxfed.data.heart_disease(heart_folder), "mean")
    heart = jaxfed.data.standardize(jaxfed.data.resplit(heart, (0.6, 0.1, 0.3)), "federated")
    sim = Simulation(heart, **SMALL)
    fields = {"included": included(sim, heart.hospitals)}
    done = sim.sweep(fields, 3, eval_every=3, progress=False)
    assert done.provenance["programs"] == 1
    rest = {
        f"without {name}": heart.select([other for other in heart.hospitals if other != name])
        for name in heart.hospitals
    }
    alone = sim.replace(hospitals=rest["without va"], evaluate_on=heart)
    four = alone.sweep({"hospitals": rest}, 3, eval_every=3, progress=False).data
    for name in rest:
        ours, expected = done.data.sel(included=name), four.sel(hospitals=name)
        for metric in ("auroc", "log_loss", "auroc_pooled"):
            np.testing.assert_allclose(ours[metric], expected[metric], rtol=1e-5, atol=1e-6)
    run = alone.run(3, eval_every=3, progress=False)  # an entry of that sweep is a single run
    np.testing.assert_allclose(
        done.data["log_loss"].sel(included="without va").transpose("round", "hospital", "split"),
        run.history.single["log_loss"],
        rtol=1e-5,
    )


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


def test_each_arm_is_its_own_runs(sim):
    comparison = sim.compare(3, seeds=2, personalised=False, progress=False)
    assert comparison.provenance["programs"] == 3
    assert comparison.arms == ("local-only", "pooled", "federated", "leave-one-out")
    run = sim.run(3, seed=1, progress=False)
    assert comparison.rounds[2, 1].tolist() == [run.best.round] * 3
    for metric in ("auroc", "log_loss"):
        expected = run.hospitals("test")[metric]
        np.testing.assert_allclose(comparison.values[metric][2, 1], expected, rtol=1e-6)
    out = sim.hospitals.hospitals[1]
    others = per_hospital({h: int(h != out) for h in sim.hospitals.hospitals})
    last = comparison.arms.index("leave-one-out")
    run = sim.replace(included=others).run(int(comparison.rounds[last, 0, 1]), progress=False)
    expected = run.hospitals("test", "last").loc[out]
    assert comparison.values["log_loss"][last, 0, 1] == pytest.approx(expected["log_loss"], rel=1e-6)
    assert np.isnan(comparison.pooled["auroc"][last]).all()
    test = sim.hospitals.split == 2
    events = [int(sim.hospitals.y[test & (sim.hospitals.owner == c)].sum()) for c in range(3)]
    assert comparison.hospitals["events"].tolist() == events


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"seeds": 0}, "seeds=0: give a number"),
        ({"leave_one_out": ["hospital 9"]}, "did you mean"),
        ({"leave_one_out": "hospital 1"}, r"give a list of names, \['hospital 1'\]"),
        ({"tune": {"client_optimizer.learning_rat": [0.1]}}, "did you mean client_optimizer.learning_rate"),
        ({"seed": 3}, "did you mean 'seeds'"),
    ],
)
def test_wrong_arguments_name_the_remedy(sim, arguments, text):
    with pytest.raises(InvalidInput, match=text):
        sim.compare(2, **arguments)


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
