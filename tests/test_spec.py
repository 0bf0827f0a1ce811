"""What a simulation is asked for, as data that nobody has checked yet."""

import numpy as np
import pytest
from federations import hospitals

import jaxfed
from jaxfed.algorithms.mixed import FedMD
from jaxfed.core.errors import InvalidInput
from jaxfed.models import logistic, mlp
from jaxfed.spec.checks import check_spec
from jaxfed.spec.spec import ALL, Spec
from jaxfed.storage.fingerprint import settings
from jaxfed.training.trainer import Trainer


def test_a_specification_checks_nothing_and_a_simulation_does():
    wrong = {"hospitals": hospitals((4, 3)), "batch_size": 0}
    spec = Spec(**wrong)
    for check in (lambda: check_spec(spec), lambda: jaxfed.Simulation(**wrong)):
        with pytest.raises(InvalidInput, match="batch_size=0: give a whole number >= 1"):
            check()


def test_services_need_no_simulation():
    given = {"hospitals": hospitals((6, 4)), "model": logistic(), "splits": ("train",)}
    spec, sim = Spec(**given), jaxfed.Simulation(**given)
    check_spec(spec)
    assert settings(spec) == settings(sim)
    assert Trainer(spec).layout() == sim.trainer.layout()
    assert spec.describe() == sim.describe()


def test_numbers_and_groups_are_in_the_order_of_the_data():
    data = hospitals((5, 4, 3))
    first, second, third = data.hospitals
    alone = Spec(data, steps=jaxfed.per_hospital({third: 3, first: 1, second: 2}))
    assert np.asarray(alone.recipe.locals[0].steps.values).tolist() == [1, 2, 3]
    assert [*alone.local_trainings] == [ALL]
    assert alone.group_of == (ALL, ALL, ALL)
    models, groups = {"small": logistic(), "large": mlp(4)}, {second: "large", third: "small", first: "small"}
    for given in (groups, ["small", "large", "small"]):
        spec = Spec(data, algorithm=FedMD(np.zeros((4, data.x.shape[1]))), models=models, groups=given)
        assert spec.group_of == ("small", "large", "small")
        assert [*spec.local_trainings] == ["small", "large"]
        assert [local.problem.model for local in spec.recipe.locals] == [
            local.problem.model for local in spec.local_trainings.values()
        ]
        assert len(spec.recipe.locals) == 2


def test_hospitals_that_are_evaluated():
    data, others = hospitals((5, 4)), hospitals((3, 3, 3))
    assert Spec(data).evaluation_hospitals is data
    assert Spec(data, evaluate_on=others).evaluation_hospitals is others


def test_the_description_tells_long_arrays_apart():
    """As a resumed run is compared by it."""
    texts = []
    for middle in (1.0, 2.0):
        values = np.ones(3000)
        values[1500] = middle
        texts.append(Spec(hospitals=hospitals(), weights=jaxfed.per_hospital(values)).describe()["weights"])
    assert texts[0] != texts[1]
