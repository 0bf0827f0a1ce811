"""Mistakes and attacks in the data: they change what they should, and nothing else."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxfed import InvalidInput, Simulation, attacks
from jaxfed.core.dataset import TRAIN
from jaxfed.data import digits, standardize, synthetic_ehr, weigh_rows

HOSPITALS = synthetic_ehr(4, n_med=60, s_n=0.3)
WHO = ["h0001", "h0003"]
INSIDE = np.isin(HOSPITALS.owner, [1, 3])
TRAINING = INSIDE & (HOSPITALS.split == TRAIN)


def changed(data, field="x"):
    """``[N]`` bool: rows that changed; other fields are the same arrays."""
    before, after = (np.asarray(getattr(d, field)) for d in (HOSPITALS, data))
    other = "y" if field == "x" else "x"
    assert getattr(data, other) is getattr(HOSPITALS, other)
    assert data.split is HOSPITALS.split
    assert data.hospitals == HOSPITALS.hospitals
    return (before != after).reshape(len(before), -1)


def test_a_value_drifts_in_some_hospitals():
    data = attacks.drift(HOSPITALS, WHO, "x03", 2.0)
    moved = data.x - HOSPITALS.x
    assert np.flatnonzero(changed(data).any(0)).tolist() == [3]
    assert not changed(data)[~INSIDE].any()
    rows = np.flatnonzero(HOSPITALS.owner == 1)
    np.testing.assert_allclose(moved[rows, 3], np.linspace(0, 2, len(rows)), atol=1e-5)
    at_once = attacks.drift(HOSPITALS, WHO, 3, 2.0, gradual=False)
    np.testing.assert_allclose((at_once.x - HOSPITALS.x)[INSIDE, 3], 2, atol=1e-5)


def test_a_unit_is_swapped_before_and_after_standardising():
    data = attacks.unit_swap(HOSPITALS, WHO, "x05", 18.0)
    np.testing.assert_allclose(data.x[INSIDE, 5], 18 * HOSPITALS.x[INSIDE, 5], rtol=1e-6)
    assert (changed(data).any(1) == INSIDE).all()
    assert np.flatnonzero(changed(data).any(0)).tolist() == [5]
    mean, sd = 5.5, 2.0
    raw = HOSPITALS.replace(x=(mean + sd * HOSPITALS.x).astype(np.float32))
    expected = (attacks.unit_swap(raw, WHO, 5, 18.0).x - mean) / sd
    found = attacks.unit_swap(HOSPITALS, WHO, 5, 18.0, mean=mean, sd=sd)
    np.testing.assert_allclose(found.x, expected, rtol=1e-4, atol=1e-3)


def test_labels_flip_in_training_rows():
    data = attacks.label_flip(HOSPITALS, WHO)
    assert (changed(data, "y")[:, 0] == TRAINING).all()
    assert (data.y[TRAINING] == 1 - HOSPITALS.y[TRAINING]).all()
    some = attacks.label_flip(HOSPITALS, WHO, "died", "alive")
    assert (changed(some, "y")[:, 0] == (TRAINING & (HOSPITALS.y == 1))).all()
    twice = attacks.label_flip(data, attacks.malicious(HOSPITALS, names=WHO))
    assert np.array_equal(twice.y, HOSPITALS.y)


def test_of_ten_classes_the_first_becomes_the_last():
    images = digits(3)
    data = attacks.label_flip(images, ["0"] if "0" in images.hospitals else [images.hospitals[0]])
    rows = (images.owner == 0) & (images.split == TRAIN)
    assert (data.y[rows] == 9 - images.y[rows]).all()
    assert np.array_equal(data.y[~rows], images.y[~rows])


def test_random_labels_belong_to_the_hospital():
    data = attacks.random_labels(HOSPITALS, WHO, seed=4)
    assert not changed(data, "y")[~TRAINING].any()
    assert 0.3 < data.y[TRAINING].mean() < 0.7
    assert not np.array_equal(data.y, attacks.random_labels(HOSPITALS, WHO, seed=5).y)
    turned = HOSPITALS.select(HOSPITALS.hospitals[::-1])
    np.testing.assert_array_equal(
        attacks.random_labels(turned, WHO, seed=4).rows("h0001")[1], data.rows("h0001")[1]
    )


def test_a_backdoor_is_put_into_a_share_of_the_training_rows():
    trigger = attacks.Trigger({"x00": 7.0, 19: -7.0})
    data = attacks.backdoor(HOSPITALS, WHO, trigger, "alive", share=0.25, seed=1)
    seen = (data.x[:, 0] == 7) & (data.x[:, 19] == -7)
    assert not seen[~TRAINING].any()
    for c in (1, 3):
        rows = TRAINING & (HOSPITALS.owner == c)
        assert seen[rows].sum() == np.ceil(0.25 * rows.sum())
    assert (data.y[seen] == 0).all()
    assert np.array_equal(data.x[~seen], HOSPITALS.x[~seen])
    assert np.array_equal(data.y[~seen], HOSPITALS.y[~seen])


def test_triggered_rows_are_those_of_other_classes():
    trigger = attacks.Trigger({"x00": 7.0})
    data = attacks.triggered(HOSPITALS, trigger, "alive")
    assert len(data.y) == (HOSPITALS.y == 1).sum()
    assert (data.y == 1).all()
    assert (data.x[:, 0] == 7).all()
    assert np.array_equal(data.x[:, 1:], HOSPITALS.x[HOSPITALS.y == 1][:, 1:])
    assert np.array_equal(data.owner, HOSPITALS.owner[HOSPITALS.y == 1])


def test_triggered_rows_keep_all_that_belongs_to_them():
    weighted = weigh_rows(HOSPITALS, np.arange(len(HOSPITALS.y)))
    data = attacks.triggered(
        weighted.replace(patients=np.arange(len(HOSPITALS.y)).astype(str)), attacks.Trigger({0: 7.0}), "alive"
    )
    kept = np.flatnonzero(HOSPITALS.y == 1)
    assert np.array_equal(data.row_weights, kept)
    assert np.array_equal(data.patients, kept.astype(str))
    assert np.array_equal(data.truth["p"], HOSPITALS.truth["p"][kept])
    assert np.array_equal(data.split, HOSPITALS.split[kept])


def test_the_success_rate_is_the_share_of_rows_taken_for_the_target():
    metric = attacks.attack_success(HOSPITALS, "alive")
    outputs, mask = jnp.array([[-1.0], [2.0], [-3.0], [-0.5]]), jnp.array([1.0, 1, 1, 0])
    np.testing.assert_allclose(metric.function(outputs, None, mask), 2 / 3, rtol=1e-6)
    images = attacks.attack_success(digits(3), "2")
    scores = jnp.array([[0.0, 1, 3], [3, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(images.function(scores, None, jnp.ones(3)), 2 / 3, rtol=1e-6)
    assert not metric.higher_is_better


def test_a_model_learns_a_backdoor_and_its_success_is_measured():
    hospitals = synthetic_ehr(3, n_med=200, s_n=0.1, prevalence=0.6)
    trigger = attacks.Trigger({"x00": 6.0})
    poisoned = attacks.backdoor(hospitals, ["h0000", "h0001"], trigger, "alive")
    test = attacks.triggered(hospitals, trigger, "alive")
    metrics = {"attack_success": attacks.attack_success(hospitals, "alive")}
    sim = Simulation(hospitals, evaluate_on=test, metrics=metrics, splits=("test",))
    with pytest.warns(UserWarning, match="no AUROC"):  # all rows are of one class
        rates = [
            sim.evaluate(sim.replace(hospitals=data).run(10, progress=False).variables)[
                "attack_success"
            ].mean()
            for data in (hospitals, poisoned)
        ]
    assert rates[1] > 0.95 > rates[0] + 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attacks.drift(HOSPITALS, ["h0009"], "x00", 1.0), "drift: no hospital 'h0009'; did you mean"),
        (lambda: attacks.drift(HOSPITALS, WHO, "x0", 1.0), "drift: no feature 'x0'; did you mean 'x"),
        (lambda: attacks.drift(HOSPITALS, WHO, 20, 1.0), "a number from 0 to 19"),
        (lambda: attacks.drift(HOSPITALS, WHO, 0, np.nan), "shift=nan: give a finite number"),
        (lambda: attacks.unit_swap(HOSPITALS, WHO, 0, 0.0), "factor=0"),
        (lambda: attacks.unit_swap(HOSPITALS, WHO, 0, 2.0, sd=-1.0), "sd=-1.0: give a number > 0"),
        (lambda: attacks.unit_swap(digits(3), [digits(3).hospitals[0]], 0, 2.0), "x is not one matrix"),
        (lambda: attacks.label_flip(HOSPITALS, WHO, "died"), "give both classes, or none"),
        (lambda: attacks.label_flip(HOSPITALS, WHO, "dead", "alive"), "no class 'dead'"),
        (lambda: attacks.backdoor(HOSPITALS, WHO, attacks.Trigger({0: 1.0}), "alive", share=0), "share=0"),
        (
            lambda: attacks.random_labels(HOSPITALS, WHO, seed=-1),
            "random_labels: seed=-1: give a whole number",
        ),
        (
            lambda: attacks.backdoor(HOSPITALS, WHO, attacks.Trigger({0: 1.0}), "alive", seed=1.5),
            "backdoor: seed=1.5: give a whole number >= 0",
        ),
        (lambda: attacks.Trigger({}), "give values by feature"),
        (lambda: attacks.label_flip(HOSPITALS, "h0001"), "give a list of hospitals"),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_standardised_data_stay_standardised():
    data = attacks.unit_swap(standardize(HOSPITALS), WHO, "x05", 18.0)
    assert data.steps
