"""A simulation and its run can be copied and sent to another process, before and after the run."""

import copy
import pickle

import numpy as np
import optax
import pytest
from federations import hospitals, same

import jaxfed
from jaxfed import InvalidInput, Poisson, Simulation, algorithms
from jaxfed.aggregators import TrimmedMean
from jaxfed.algorithms import mixed
from jaxfed.models import logistic, mlp
from jaxfed.storage.fingerprint import settings
from jaxfed.transforms import Clip

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}
SIMULATIONS = {
    "default": lambda: Simulation(hospitals(test=6)),
    "many settings": lambda: Simulation(
        hospitals(test=6, task="multiclass"),
        model=mlp(2, dropout=0.1),
        algorithm=algorithms.FedAdam(tau=0.01),
        client_optimizer=jaxfed.optimizer(optax.adam, learning_rate=jaxfed.per_hospital([0.1] * 5)),
        participation=Poisson(0.5),
        aggregator=jaxfed.chain(Clip(1.0), TrimmedMean(0.2)),
    ),
    "models": lambda: Simulation(
        hospitals(test=6),
        models={"small": logistic(), "large": mlp(3)},
        groups=["small", "large", "small", "large", "large"],
        algorithm=mixed.FedDF(public=np.zeros((4, 3), np.float32)),
    ),
}


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", SIMULATIONS)
def test_a_simulation(name, make_copy):
    sim = SIMULATIONS[name]()
    first = make_copy(sim)
    run = sim.run(1, progress=False)
    after = make_copy(sim)  # with the trainer, which holds arrays on devices
    assert settings(sim) == settings(first) == settings(after)
    same(after.run(1, progress=False).variables, run.variables)


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_run_and_a_sweep(make_copy):
    sim = SIMULATIONS["default"]()
    run = sim.run(1, eval_every=2, progress=False)
    copied = make_copy(run)
    same(copied.variables, run.variables)
    assert repr(copied) == repr(run)
    resumed = [sim.run(1, eval_every=2, resume=one, progress=False) for one in (run, copied)]
    same(resumed[0].variables, resumed[1].variables)
    sweep = sim.sweep({"algorithm": [algorithms.FedAvg(), algorithms.FedProx()]}, 1, progress=False)
    assert make_copy(sweep).values.keys() == {"algorithm"}
    with pytest.raises(InvalidInput, match="none diverged: there are no validation rows"):
        make_copy(sweep).best()
