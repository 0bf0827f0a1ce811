"""jax's modes for debugging: strict promotion of types, no compilation, NaN checks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, Normalised
from federations import Lab, hospitals, recipe
from groups import CATALOGUE as OF_GROUPS
from groups import GroupLab
from test_compositions import PARTICIPATIONS, ROADS, keeps

from jaxfed import Simulation
from jaxfed.models import logistic


@pytest.fixture
def strict():
    """A type that differs from the other operand's is an error, unless it is a plain Python number's."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("name", CATALOGUE)
def test_strict_types_of_an_algorithm(strict, name):
    case, data = CATALOGUE[name], hospitals()
    model = Normalised() if case.statistics else case.model
    keeps(Lab(recipe(data, algorithm=case.algorithm, model=model, batch_size=None), data))


@pytest.mark.parametrize("name", OF_GROUPS)
def test_strict_types_of_an_algorithm_for_groups(strict, name):
    keeps(GroupLab(OF_GROUPS[name], hospitals()).lab)


@pytest.mark.parametrize("road", ROADS)
def test_strict_types_of_a_road(strict, road):
    data = hospitals()
    keeps(Lab(recipe(data, aggregator=ROADS[road]), data, devices=2, block=3))


@pytest.mark.parametrize("who", PARTICIPATIONS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_strict_types_of_a_run(strict, who, task):
    """With evaluation; the whole program is traced, and not compiled."""
    sim = Simulation(
        hospitals(test=4, task=task), model=logistic(), participation=PARTICIPATIONS[who], devices=2
    )
    sim.trainer.traced(sim.trainer.input(0), sim.trainer.slot(0))


@pytest.mark.parametrize("who", PARTICIPATIONS)
def test_a_draw_without_compilation(who):
    """A whole round without compilation, with a cohort: core/test_layout.py."""
    participation, sizes = PARTICIPATIONS[who], jnp.array([3, 0, 2, 4])
    keys = jax.random.split(jax.random.key(3), 4)
    draw = partial(participation.draw, participation.init(sizes), keys, jnp.int32(2), sizes)
    expected, _ = jax.jit(draw)()
    with jax.disable_jit():
        found, _ = draw()
    assert found.tolist() == expected.tolist()


@pytest.fixture
def nans():
    jax.config.update("jax_debug_nans", True)
    yield
    jax.config.update("jax_debug_nans", False)


@pytest.mark.filterwarnings("ignore:.*(hospitals have|no AUROC is defined)")
@pytest.mark.parametrize("name", ["FedAvg", "LocalOnly", "FedAdam", "Scaffold, option II", "IFCA", "Ditto"])
def test_nan_checks(nans, name):
    """Metrics that a hospital does not have are NaN, and no error; neither is who is absent."""
    case = CATALOGUE[name]
    data = hospitals((5, 3, 0, 2), test=1)
    sim = Simulation(
        data, model=case.model, algorithm=case.algorithm, participation=PARTICIPATIONS["FixedCohort"],
        splits=("validation", "test"),
    )  # fmt: skip
    frame = sim.run(2, progress=False).history.rounds_frame()
    assert np.isfinite(frame.loc[frame["split"] == "test", "log_loss_pooled"]).all()
    assert frame["auroc"].isna().all()
