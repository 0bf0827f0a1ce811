"""The choice of malicious hospitals."""

import numpy as np
import pytest

from jaxfed import InvalidInput, Simulation, attacks
from jaxfed.aggregators import NNM, Median, chain
from jaxfed.data import from_arrays, synthetic_ehr

HOSPITALS = synthetic_ehr(5, sizes=[30, 80, 0, 50, 40])


def marked(who):
    return [name for name, mark in zip(who.names, who.values, strict=True) if mark]


def test_ways_to_choose():
    assert marked(attacks.malicious(HOSPITALS, names=["h0003", "h0000"])) == ["h0000", "h0003"]
    assert marked(attacks.malicious(HOSPITALS, largest=2)) == ["h0001", "h0003"]
    assert marked(attacks.malicious(HOSPITALS, smallest=1)) == ["h0000"]
    drawn = [marked(attacks.malicious(HOSPITALS, 0.5, seed=seed)) for seed in range(20)]
    assert {len(names) for names in drawn} == {2}  # of the four with rows
    assert {name for names in drawn for name in names} == {"h0000", "h0001", "h0003", "h0004"}
    assert drawn[0] == marked(attacks.malicious(HOSPITALS, 0.5, seed=0))


def test_marks_follow_their_names():
    """A data set in another order has the same malicious hospitals."""
    turned = HOSPITALS.select(["h0004", "h0003", "h0001", "h0000"])
    who = attacks.malicious(turned.select(turned.hospitals[::-1]), largest=1)
    sim = Simulation(turned, aggregator=chain(attacks.IPM(who), Median()))
    (attack,) = sim.recipe.chain.mixers
    assert np.asarray(attack.malicious.values).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing given; give one of fraction, names"),
        ({"fraction": 0.2, "largest": 1}, "fraction and largest given"),
        ({"fraction": 0.2}, "fraction=0.2 of 4 hospitals is less than 1; give at least 0.25"),
        ({"fraction": 1.0}, "fraction=1.0: give a number > 0 and < 1"),
        ({"largest": 5}, "largest=5: give a whole number from 1 to 4"),
        ({"smallest": 1.5}, "smallest=1.5: give a whole number"),
        ({"fraction": 0.5, "seed": -1}, "seed=-1: give a whole number >= 0"),
        ({"fraction": 0.5, "seed": 1.5}, "seed=1.5: give a whole number >= 0"),
        ({"names": ["h0009", "h0001"]}, "no hospital 'h0009'; did you mean"),
        ({"names": "h0001"}, r"names='h0001': give a list of hospitals, such as \['h0000', 'h0001'\]"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        attacks.malicious(HOSPITALS, **arguments)


@pytest.mark.parametrize("count", [2, 3, 7, 9, 12, 1000, 1017])
def test_the_fraction_that_a_message_asks_for_is_enough(count):
    rows = (np.zeros((2, 1)), [0, 1])
    hospitals = from_arrays({f"h{i}": rows for i in range(count)}, split=None)
    with pytest.raises(InvalidInput, match="is less than 1; give at least 0") as error:
        attacks.malicious(hospitals, 0.9 / count)
    least = float(str(error.value).split()[-1])
    assert len(marked(attacks.malicious(hospitals, least))) == 1
    with pytest.raises(InvalidInput, match=r"give names=\['h1'\]"):
        attacks.malicious(hospitals.select(["h1"]), 0.5)


def test_other_hospitals_than_those_that_train_are_refused():
    who = attacks.malicious(synthetic_ehr(6, n_med=50), largest=1)
    hospitals = HOSPITALS.select(["h0000", "h0001", "h0003"])
    with pytest.raises(InvalidInput, match="no such hospital as \\['h0002', 'h0004', 'h0005'\\]"):
        Simulation(hospitals, aggregator=chain(attacks.IPM(who), Median())).run(1, progress=False)


def test_an_attack_comes_before_what_the_server_does():
    who = attacks.malicious(HOSPITALS, largest=1)
    with pytest.raises(InvalidInput, match="IPM is an attack: give it before NNM"):
        Simulation(HOSPITALS, aggregator=chain(NNM(1), attacks.IPM(who), Median()))
