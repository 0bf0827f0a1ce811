"""Every entry of a sweep is the single run with its settings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import hospitals, with_validation

from jaxfed import (
    FedAvg,
    FixedCohort,
    Poisson,
    Simulation,
    aggregators,
    algorithms,
    optimizer,
    per_hospital,
    schedule,
)
from jaxfed.models import MLP, logistic

ROUNDS, EVERY = 5, 2
SMALL = {"model": logistic(), "batch_size": None, "splits": ("validation", "test"), "devices": 1, "block": 1}


def data(sizes=(11, 4, 7, 1, 9), seed=0):
    """Hospitals with training, validation and test rows."""
    return with_validation(hospitals(sizes, test=6, seed=seed))


def simulation(**changes):
    return Simulation(changes.pop("hospitals", None) or data(), **{**SMALL, **changes})


def sgd(step):
    return optimizer(optax.sgd, learning_rate=step)


def sweep(sim, fields, **how):
    return sim.sweep(fields, ROUNDS, eval_every=EVERY, progress=False, **how)


def equal(entry, sim, seed=0, rtol=None):
    """All numbers of one entry are those of the single run: bit for bit, or to ``rtol``."""
    run = sim.run(ROUNDS, seed=seed, eval_every=EVERY, progress=False)
    own = entry.sel(hospital=[*sim.evaluation_hospitals.hospitals])
    close = np.testing.assert_array_equal
    if rtol is not None:
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)  # noqa: E731
    assert own["round"].values.tolist() == run.history.evaluated.tolist() == [0, 2, 4, 5]
    assert int(own["rounds_done"]) == ROUNDS
    assert np.isnan(own["diverged"])
    for name, expected in run.history.single.items():
        close(own[name].transpose("round", "hospital", "split"), expected)
        close(own[f"{name}_pooled"].transpose("round", "split"), run.history.pooled[name])


@pytest.fixture
def compiled():
    """Names of the programs that are compiled during a test."""
    names = []

    def listen(event, seconds, **details):
        if event.endswith("backend_compile_duration"):
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


ADVANCE = "jit(advance)"


@pytest.fixture(scope="module")
def sim():
    return simulation(algorithm=algorithms.FedProx(), participation=Poisson(0.7))


def test_a_grid_of_numbers_is_one_program_and_bitwise_the_single_runs(sim, compiled):
    rates, strengths, seeds = [0.1, 0.4], [0, 1.5, 2], range(3)
    found = sweep(sim, {"client_optimizer.learning_rate": rates, "algorithm.mu": strengths, "seed": seeds})
    assert compiled.count(ADVANCE) == 1
    assert found.data["log_loss"].dims == (
        "client_optimizer.learning_rate", "algorithm.mu", "seed", "round", "split", "hospital",
    )  # fmt: skip
    for rate, mu, seed in [(0.1, 1.5, 2), (0.4, 0, 0), (0.4, 2, 1)]:
        entry = found.data.sel({"client_optimizer.learning_rate": rate, "algorithm.mu": mu, "seed": seed})
        single = sim.replace(client_optimizer=sgd(rate), algorithm=algorithms.FedProx(mu=float(mu)))
        equal(entry, single, seed)
    again = sweep(sim, {"participation.rate": (0.3, 0.9), "l2": [None]}, mode="random", samples=2)
    assert compiled.count(ADVANCE) == 2  # other numbers, same program; the second is the single runs'
    rate = float(again.data["participation.rate"][1])
    equal(again.data.isel(config=1), sim.replace(participation=Poisson(rate)))


@pytest.mark.parametrize(("devices", "together"), [(2, None), (4, None), (1, 3), (2, 2)])
def test_devices_and_runs_side_by_side(sim, devices, together):
    """Four devices and three configurations leave one idle; two and two are vmapped on each of two."""
    found = sweep(sim.replace(devices=devices), {"algorithm.mu": [0, 1.0, 2.0]}, together=together)
    entry = found.data.sel({"algorithm.mu": 2.0})
    equal(entry, sim.replace(algorithm=algorithms.FedProx(mu=2.0)), rtol=1e-5)


def test_too_little_memory_for_all_at_a_time(sim, compiled):
    """Four devices, memory for two runs: two at a time, on two devices each."""
    large = sim.replace(devices=4, hospitals=data((600, 200, 50, 30, 20)))
    whole = sweep(large, {"seed": range(4)})
    found = sweep(large, {"seed": range(4)}, memory=26_200)  # their rows, held once, need 26,040
    assert compiled.count(ADVANCE) == 2
    np.testing.assert_allclose(found.data["log_loss"], whole.data["log_loss"], rtol=1e-5)


def test_devices_share_the_hospitals_of_few_runs(sim):
    """Two runs on four devices: two for each."""
    found = sweep(sim.replace(devices=4, block=2), {"algorithm.mu": [0, 2.0]})
    equal(found.data.isel({"algorithm.mu": 1}), sim.replace(algorithm=algorithms.FedProx(mu=2.0)), rtol=1e-5)


def test_static_fields_make_groups(sim, compiled):
    kinds = {"algorithm": [FedAvg(), algorithms.Ditto(lam=0.5)], "batch_size": [None, 4], "seed": [0, 1]}
    found = sweep(sim, kinds)
    assert found.data["algorithm"].values.tolist() == ["FedAvg", "Ditto"]
    assert compiled.count(ADVANCE) == 4
    assert found.provenance["programs"] == 4
    entry = found.data.sel(algorithm="Ditto", batch_size="4", seed=1)
    equal(entry, sim.replace(algorithm=algorithms.Ditto(lam=0.5), batch_size=4), 1)


# Of each kind: streamed, by coordinates or distances, with a loop, a state, or draws, a mixer, of subsets.
# All of them side by side: aggregators/test_robust.py
RULES = ("UniformMean", "Median", "Krum", "GeometricMedian", "CentredClipping", "NNM", "MDA", "DnC")


@pytest.mark.parametrize("rule", RULES)
def test_aggregators(rule):
    sim = simulation(aggregator=getattr(aggregators, rule)())
    found = sweep(sim, {"client_optimizer.learning_rate": [0.1, 0.2]})
    equal(found.data.isel({"client_optimizer.learning_rate": 1}), sim.replace(client_optimizer=sgd(0.2)))


def test_schedules_and_numbers_of_each_hospital(sim):
    slow = optax.exponential_decay(0.4, 1, 0.5)
    each = per_hospital({name: 0.1 * (c + 1) for c, name in enumerate(data().hospitals)})
    found = sweep(sim, {"client_optimizer.learning_rate": [0.2, schedule(slow), each], "epochs": [1, 2]})
    assert found.provenance["programs"] == 3
    entry = found.data.isel({"client_optimizer.learning_rate": 2, "epochs": 1})
    equal(entry, sim.replace(client_optimizer=sgd(each), epochs=2))
    entry = found.data.isel({"client_optimizer.learning_rate": 1, "epochs": 0})
    equal(entry, sim.replace(client_optimizer=sgd(schedule(slow))))


def test_data_sets_as_an_axis(sim, compiled):
    sets = {"small": data(), "large": data((30, 3, 8, 12, 2, 5), seed=1)}
    found = sweep(sim.replace(devices=2), {"hospitals": sets, "seed": [0, 3]})
    assert compiled.count(ADVANCE) == 1
    assert found.data["rows"].sel(hospitals="small", seed=0, hospital="hospital 5").sum() == 0
    for name in sets:
        equal(found.data.sel(hospitals=name, seed=3), sim.replace(hospitals=sets[name]), 3, rtol=1e-5)


def test_arguments_of_a_generator(sim):
    made = []

    def generate(n):
        made.append(n)
        return data((n, 4, 7))

    found = sweep(sim, {"data.n": [5, 9], "algorithm.mu": [0, 1.0]}, data=generate)
    assert made == [5, 9]
    equal(
        found.data.sel({"data.n": 9, "algorithm.mu": 1.0}),
        sim.replace(hospitals=data((9, 4, 7)), algorithm=algorithms.FedProx(mu=1.0)),
    )


def test_other_hospitals_to_evaluate_on(sim):
    few = data().select(["hospital 3", "hospital 0"])
    one = sim.replace(evaluate_on=few)
    equal(sweep(one, {"seed": [0, 1]}).data.sel(seed=1), one, 1)


def test_zip(sim):
    found = sweep(sim, {"algorithm.mu": [0.5, 1.0], "seed": [4, 4]}, mode="zip")
    assert found.data["diverged"].dims == ("config",)
    equal(found.data.isel(config=1), sim.replace(algorithm=algorithms.FedProx(mu=1.0)), 4)


class Own:
    """A distribution of one's own."""

    def sample(self, rng):
        return rng.choice([0.25, 0.5])


def test_random(sim):
    fields = {
        "client_optimizer.learning_rate": (1e-4, 1.0, "log"),
        "algorithm.mu": Own(),
        "epochs": (1, 3),
        "seed": [5, 6],
    }
    one, again = (sweep(sim, fields, mode="random", samples=9).data for _ in range(2))
    assert one.identical(again)
    assert not one["epochs"].equals(sweep(sim, fields, mode="random", samples=9, seed=1).data["epochs"])
    assert {*one["epochs"].values.tolist()} == {1, 2, 3}
    assert {*one["algorithm.mu"].values.tolist()} == {0.25, 0.5}
    assert (one["client_optimizer.learning_rate"] < 0.01).any()
    k = 8
    rate, mu, epochs, seed = (one[name].values[k].item() for name in fields)
    equal(
        one.isel(config=k),
        sim.replace(client_optimizer=sgd(rate), algorithm=algorithms.FedProx(mu=mu), epochs=epochs),
        seed,
    )


def test_more_evaluations_than_fit_one_call(sim):
    found = sim.sweep({"seed": [0]}, 20, progress=False)
    run = sim.run(20, progress=False)
    assert found.data["round"].values.tolist() == list(range(21))
    np.testing.assert_array_equal(found.data["log_loss_pooled"][0], run.history.pooled["log_loss"])


def test_no_rounds(sim):
    found = sim.sweep({"seed": [0, 1]}, 0, progress=False)
    assert found.data["rounds_done"].values.tolist() == [0, 0]
    assert np.isfinite(found.data["log_loss_pooled"]).all()


def test_fields_of_a_model():
    sim = simulation(model=MLP((2,), outputs=1))
    found = sweep(sim, {"model.hidden": [(2,), (3, 2)]})
    assert found.data["model.hidden"].values.tolist() == ["(2,)", "(3, 2)"]
    equal(found.data.isel({"model.hidden": 1}), sim.replace(model=MLP((3, 2), outputs=1)))


def test_user_arrays_are_theirs(sim):
    own = sim.hospitals.x.copy()
    sweep(sim, {"seed": [0, 1]})
    np.testing.assert_array_equal(sim.hospitals.x, own)


def test_a_fixed_cohort_of_each_size():
    sim = simulation()
    found = sweep(sim, {"participation": [FixedCohort(2), FixedCohort(3)]})
    assert len({*found.data["participation"].values.tolist()}) == 2
    equal(found.data.isel(participation=1), sim.replace(participation=FixedCohort(3)))


def test_half_precision(sim):
    """Numbers stay without a type of their own, or a bfloat16 model would train in float32."""
    half = sim.replace(model=dense(jnp.bfloat16))
    equal(
        sweep(half, {"client_optimizer.learning_rate": [0.1, 0.2]}).data.isel(
            {"client_optimizer.learning_rate": 1}
        ),
        half.replace(client_optimizer=sgd(0.2)),
    )


def dense(dtype):
    return nn.Dense(1, dtype=dtype, param_dtype=dtype)
