"""Privacy as users meet it: simulations, statements, budgets, sweeps, commands and errors."""

import dataclasses
import json
import math

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from catalogue import CATALOGUE, Normalised
from federations import hospitals, same, with_validation

import jaxfed
from jaxfed import FixedCohort, InvalidInput, Poisson, Simulation, cli, optimizer, per_hospital, schedule
from jaxfed.aggregators import Median
from jaxfed.algorithms import AFL, FedAvg, FedProx, LocalOnly
from jaxfed.audits.shadows import final_models
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.models import logistic
from jaxfed.privacy import AdaptiveClip, HospitalDP, Mechanism, PatientDP, accounting, epsilon, noise_for
from jaxfed.records.statement import PrivacyStatement
from jaxfed.spec.patient_privacy import shared_patients
from jaxfed.training.loop import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:HospitalDP with:UserWarning", "ignore:hospital:UserWarning"),
]
DATA = with_validation(hospitals((12, 9, 20), test=8))
UNIFORM = FedAvg(weighting="uniform")
FALLING = schedule(lambda round: 0.1 / (round + 1))
EACH = per_hospital([0.1, 0.2, 0.3])
COUNTS = per_hospital([1, 2, 3])
FIELDS = {"model": logistic(), "batch_size": 4, "splits": ("validation", "test")}


def simulation(privacy=None, data=DATA, **changes):
    return Simulation(data, **{**FIELDS, "privacy": privacy, **changes})


@pytest.fixture(scope="module")
def run():
    return simulation(PatientDP(noise_multiplier=1.0, rate=0.25)).run(3, progress=False)


def test_a_run_states_what_it_guarantees(run, tmp_path):
    statement = run.privacy
    expected = epsilon(Mechanism(1.0, 0.25), 12, 1e-5)
    assert statement.unit == "patient"
    assert {*statement.epsilon} == {*DATA.hospitals}
    assert all(value == pytest.approx(expected) for value in statement.epsilon.values())
    assert {*statement.compositions.values()} == {12}  # of 3 rounds with 4 steps each
    assert statement.accountant == f"PLD of {accounting.version()}"
    assert "protects nobody" in str(statement)
    assert f"({expected:.3g}, 1e-05)-DP of a patient" in repr(run)
    assert "metrics" in str(statement)
    frame = run.to_frame()
    curve = [0.0] + [epsilon(Mechanism(1.0, 0.25), 4 * r, 1e-5) for r in (1, 2, 3)]
    np.testing.assert_allclose(frame[frame["split"] == "test"]["epsilon"], curve)
    np.testing.assert_allclose(run.hospitals()["epsilon"], expected)
    run.save(tmp_path)
    loaded = jaxfed.Run.load(tmp_path)
    assert loaded.privacy == statement
    assert "epsilon" in pd.read_csv(tmp_path / "rounds.csv").columns
    assert "protects nobody" in (tmp_path / "privacy.txt").read_text()
    assert "epsilon" in loaded.history.training


def test_an_infinite_epsilon_is_saved(run):
    infinite = dataclasses.replace(run.privacy, epsilon={"a": math.inf}, shared_epsilon=math.inf)
    text = json.dumps(infinite.to_json(), allow_nan=False)
    assert PrivacyStatement.from_json(json.loads(text)) == infinite


def test_noise_for_a_budget_and_the_end_of_it(run):
    sim = simulation(PatientDP(epsilon=4.0, rounds=2, rate=0.25))
    done = sim.run(4, progress=False)
    assert done.history.training["present"].sum(1).tolist() == [3, 3, 0, 0]
    assert done.privacy.worst <= 4.0
    assert done.privacy.worst > 3.95
    noise = [*done.privacy.noise_multiplier.values()]
    assert noise == pytest.approx([noise_for(4.0, 8, 1e-5, rate=0.25)] * 3)
    more = sim.run(2, progress=False)
    again = sim.run(2, resume=more, progress=False)
    same(again.variables, done.variables)
    assert again.privacy == done.privacy


def test_each_hospital_stops_when_its_own_budget_is_spent():
    sim = simulation(PatientDP(noise_multiplier=1.0, until_epsilon=14.0))
    (limit,) = jax.tree.leaves(sim.private.participation)
    done = sim.run(int(max(limit)), eval_every=100, progress=False)
    assert len({*limit.tolist()}) > 1
    assert done.history.training["present"].sum(0).tolist() == limit.tolist()
    spent = np.array([*done.privacy.epsilon.values()])
    assert (spent <= 14.0).all()
    for mechanism, steps, rounds in zip(
        sim.private.ledger.mechanisms, sim.private.ledger.steps, limit, strict=True
    ):
        assert epsilon(mechanism, int(steps * (rounds + 1)), 1e-5) > 14.0


def test_clip_and_noise_are_swept_as_numbers_of_one_program():
    sim = simulation(PatientDP(noise_multiplier=1.0, rate=0.25))
    swept = sim.sweep({"privacy.noise_multiplier": [0.5, 2.0], "privacy.clip": [0.1, 1.0]}, 2, progress=False)
    assert swept.provenance["programs"] == 1
    single = sim.replace(**{"privacy.noise_multiplier": 2.0, "privacy.clip": 0.1}).run(2, progress=False)
    values = swept.data["log_loss"].sel(
        {"privacy.noise_multiplier": 2.0, "privacy.clip": 0.1, "split": "test"}
    )
    np.testing.assert_allclose(values.isel(round=-1), single.history.single["log_loss"][-1, :, 1], rtol=1e-5)


def test_the_cost_of_privacy_is_a_table():
    sim = simulation(PatientDP(noise_multiplier=1.0, rate=0.5))
    table = sim.privacy_utility([1.0, 10.0], 2, seeds=2, progress=False)
    assert [*table.columns] == ["arm", "epsilon", "seed", "mean", "worst"]
    assert table.groupby("arm").size().to_dict() == {"FedAvg": 6, "local-only": 6, "pooled": 6}
    figure = jaxfed.figures.privacy.utility_figure(table, "AUROC")
    assert len(figure.axes) == 2
    with pytest.raises(InvalidInput, match="PatientDP"):
        simulation().privacy_utility([1.0], 2)


def test_patients_of_several_hospitals_and_rows():
    data = hospitals((4, 3, 5))
    ids = np.array(["a", "b", "c", "c", "b", "d", "e", "f", "g", "h", "b", "f"])
    data = dataclasses.replace(data, patients=ids)
    groups, several, most = shared_patients(data)
    assert (groups, several, most) == ([(0, 1, 2)], 1, 2)
    run = simulation(PatientDP(noise_multiplier=1.0, rate=0.5), data, splits=("train",)).run(
        1, progress=False
    )
    assert run.privacy.shared_patients == 1
    assert run.privacy.shared_epsilon > max(run.privacy.epsilon.values())
    assert run.privacy.worst == run.privacy.shared_epsilon
    assert "up to 2 rows" in str(run.privacy)


def test_hospital_privacy_ends_the_whole_run():
    privacy = HospitalDP(clip=0.5, noise_multiplier=2.0, until_epsilon=5.0)
    sim = simulation(privacy, algorithm=FedAvg(weighting="uniform"), splits=("test",))
    run = sim.run(50, eval_every=100, progress=False)
    rounds = len(run.history.refused)
    assert epsilon(Mechanism(2.0), rounds, 1e-5) <= 5.0 < epsilon(Mechanism(2.0), rounds + 1, 1e-5)
    assert run.privacy.unit == "hospital"
    assert run.privacy.worst == pytest.approx(epsilon(Mechanism(2.0), rounds, 1e-5))
    with pytest.raises(InvalidInput, match="end of its privacy budget"):
        sim.sweep({"seed": range(2)}, 50, progress=False)


def test_whoever_trains_ends_at_the_budget_of_hospitals_and_an_overrun_would_show():
    privacy = HospitalDP(clip=0.5, epsilon=1.0, rounds=2)
    sim = simulation(privacy, algorithm=FedAvg(weighting="uniform"), splits=("test",))
    two = sim.run(2, eval_every=5, progress=False)
    trained = train(sim.trainer, 5, seed=0, eval_every=5, progress=False)
    same(trained.variables, two.variables)
    assert len(trained.history.refused) == 2
    assert 0.99 < trained.privacy.worst <= 1.0
    same(final_models(sim, [DATA], 5, [0])[0], two.variables)
    slope = sim.gradient(["client_optimizer.learning_rate"], 5, split="test")
    assert slope.value == pytest.approx(two.history.pooled["log_loss"][-1, 0], rel=1e-5)
    spent = sim.private.ledger.spent(np.ones((5, 3), int))
    noise = sim.private.noise[0]
    np.testing.assert_allclose(spent, epsilon(Mechanism(noise), 5, 1e-5))
    assert spent.min() > 1.5


def test_sampled_hospitals_are_accounted_whether_they_were_drawn_or_not():
    privacy = HospitalDP(clip=0.5, noise_multiplier=1.0)
    sim = simulation(
        privacy, algorithm=FedAvg(weighting="uniform"), participation=Poisson(0.3), splits=("test",)
    )
    run = sim.run(3, progress=False)
    assert {*run.privacy.compositions.values()} == {3}
    assert {*run.privacy.rate.values()} == {0.3}


@pytest.mark.parametrize("rate", [0.5, np.float32(0.5), np.float64(0.5), 1])
def test_any_number_is_a_rate_of_hospitals(rate):
    sims = [
        simulation(
            HospitalDP(noise_multiplier=1.0, where=where), algorithm=UNIFORM, participation=Poisson(rate)
        )
        for where in ("central", "local")
    ]
    assert [sim.private.ledger.mechanisms[0].rate for sim in sims] == [float(rate), 1.0]
    assert [sim.private.road[-1].expected for sim in sims] == [3 * float(rate)] * 2


def test_rounds_of_everyone_do_not_become_rounds_of_a_sample():
    everyone = simulation(HospitalDP(noise_multiplier=1.0), algorithm=UNIFORM, splits=("test",))
    sampled = everyone.replace(participation=Poisson(0.1))
    with pytest.raises(InvalidInput, match="resume: that run has other participation"):
        sampled.run(1, resume=everyone.run(1, progress=False), progress=False)


def test_few_hospitals_are_warned_of():
    with pytest.warns(UserWarning, match="HospitalDP with 3 hospitals"):
        simulation(HospitalDP(noise_multiplier=1.0), algorithm=FedAvg(weighting="uniform"))


REASONS = {
    "reads a hospital's rows outside": (
        "AFL", "AdaptiveFedProx", "IFCA", "Mime", "MimeLite", "QFedAvg", "Scaffold, option I",
    ),
    "steps of its own": ("APFL", "PFedMe"),
    "same random key": ("Ditto",),
    "second gradient": ("FedSAM",),
    "adapts the model": ("FedRep", "FineTuned", "PerFedAvg"),
    "no local steps": ("FedSGD",),
    "group norm": ("FedBN",),
    "not the sum of its rows": ("FjORD",),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "name"), [(r, n) for r, names in REASONS.items() for n in names])
def test_algorithms_that_are_not_covered_are_refused_with_the_reason(reason, name):
    case = CATALOGUE[name]
    with pytest.raises(InvalidInput, match=reason):
        simulation(PatientDP(noise_multiplier=1.0), algorithm=case.algorithm, model=case.model)


def written(leaks):
    """Versions of an algorithm under one name, as a notebook's cell that is edited makes them."""

    @jaxfed.pytree
    @dataclasses.dataclass(frozen=True)
    class Written(FedAvg):
        def client_update(self, local, server, client, shard, key):
            upload, client, metrics = super().client_update(local, server, client, shard, key)
            more = shard.x.mean() if leaks else 0.0
            return (
                upload._replace(update=jax.tree.map(lambda leaf: leaf + more, upload.update)),
                client,
                metrics,
            )

    return Written()


def test_an_edited_algorithm_is_judged_anew():
    privacy = PatientDP(noise_multiplier=1.0, rate=0.25)
    simulation(privacy, algorithm=written(False))
    with pytest.raises(InvalidInput, match="PatientDP does not cover Written"):
        simulation(privacy, algorithm=written(True))


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"client_optimizer": optimizer(optax.sgd, learning_rate=FALLING)}, [4, 4, 4]),
        ({"algorithm": FedAvg(optimizer(optax.sgd, learning_rate=FALLING), "uniform")}, [4, 4, 4]),
        ({"algorithm": FedProx(mu=FALLING, weighting="uniform")}, [4, 4, 4]),
        ({"algorithm": FedProx(mu=EACH, weighting="uniform")}, [4, 4, 4]),
        ({"l2": FALLING}, [4, 4, 4]),
        ({"l2": EACH}, [4, 4, 4]),
        ({"epochs": COUNTS}, [4, 8, 12]),
        ({"steps": COUNTS}, [1, 2, 3]),
    ],
    ids=[
        "client",
        "server",
        "mu by round",
        "mu by hospital",
        "l2 by round",
        "l2 by hospital",
        "epochs",
        "steps",
    ],
)
def test_numbers_that_differ_between_rounds_or_hospitals_are_covered(changes, steps):
    changes = {"algorithm": UNIFORM, **changes}
    private = simulation(PatientDP(noise_multiplier=1.0, rate=0.25), **changes).private
    assert private.ledger.steps.tolist() == steps
    assert simulation(HospitalDP(noise_multiplier=1.0), **changes).private.ledger.steps.tolist() == [1, 1, 1]


def test_a_schedule_and_numbers_of_hospitals_train_as_the_same_plain_numbers():
    def run(number, clip, mu):
        return simulation(
            HospitalDP(clip=clip, noise_multiplier=0.1),
            algorithm=FedProx(optimizer(optax.sgd, learning_rate=number), "uniform", mu=mu),
            client_optimizer=optimizer(optax.sgd, learning_rate=number),
            l2=number,
        ).run(2, progress=False)

    tenth, half = schedule(lambda round: 0.1), schedule(lambda round: 0.5)
    changing, plain = run(tenth, half, per_hospital([0.2] * 3)), run(0.1, 0.5, 0.2)
    same(changing.variables, plain.variables, rtol=1e-6)
    assert (changing.privacy.clip, plain.privacy.clip) == ("by a schedule over rounds", "0.5")


def test_names_of_other_hospitals_are_forgotten():
    """The penalty plays no part in what is covered, and is not compared with that of another simulation."""
    others = DATA.replace(hospitals=("a", "b", "c"))
    for data in (DATA, others):
        l2 = per_hospital(dict(zip(data.hospitals, (0.1, 0.2, 0.3), strict=True)))
        simulation(PatientDP(noise_multiplier=1.0, rate=0.25), data, l2=l2)


@jaxfed.pytree
@dataclasses.dataclass(frozen=True)
class OwnEpochs(FedAvg):
    """Trains for a number of epochs of its own, or for one that depends on the hospital."""

    own: object = 2
    by_hospital: bool = dataclasses.field(default=False, metadata={"static": True})

    def client_update(self, local, server, client, shard, key):
        epochs = jax.numpy.array([1, 2, 3])[shard.hospital] if self.by_hospital else self.own
        return super().client_update(
            dataclasses.replace(local, epochs=epochs, steps=None), server, client, shard, key
        )


def test_epochs_of_an_algorithm_are_counted_if_they_are_one_number():
    private = PatientDP(noise_multiplier=1.0, rate=0.25)
    assert simulation(private, algorithm=OwnEpochs(), epochs=COUNTS).private.ledger.steps.tolist() == [8] * 3
    for own in (OwnEpochs(own=COUNTS), OwnEpochs(own=schedule(lambda r: r + 1)), OwnEpochs(by_hospital=True)):
        with pytest.raises(InvalidInput, match=r"makes epochs of numbers that differ .*; give it one number"):
            simulation(private, algorithm=own)


@jaxfed.pytree
@dataclasses.dataclass(frozen=True)
class TwoBatchSizes(FedAvg):
    """Trains with large batches, and then with small ones."""

    def client_update(self, local, server, client, shard, key):
        first, second = jax.random.split(key)
        large, small = (dataclasses.replace(local, batch_size=size) for size in (6, 1))
        server = server._replace(variables=large.train(server.variables, shard, first).variables)
        return super().client_update(small, server, client, shard, second)


def test_trainings_at_several_rates_cost_that_of_the_largest():
    ledger = simulation(PatientDP(noise_multiplier=1.0), algorithm=TwoBatchSizes()).private.ledger
    rows = DATA.counts[:, 0]
    assert [mechanism.rate for mechanism in ledger.mechanisms] == pytest.approx(6 / rows)
    assert ledger.steps.tolist() == (-(-rows // 6) + rows).tolist()


def named(*numbers):
    """Numbers by name, in another order than the hospitals'."""
    return per_hospital(dict(zip(("hospital 2", "hospital 0", "hospital 1"), numbers, strict=True)))


def test_rate_clip_and_noise_of_each_hospital():
    """Alone each trains as with its numbers for all, and its epsilon is that of its noise, rate and steps."""
    each = PatientDP(
        noise_multiplier=named(1.0, 2.0, 3.0), rate=named(0.1, 0.25, 0.5), clip=named(0.3, 0.1, 0.2)
    )
    plain = PatientDP(noise_multiplier=3.0, rate=0.5, clip=0.2)
    done, all_as_one = (
        simulation(privacy, algorithm=LocalOnly(), splits=("test",)).run(2, progress=False)
        for privacy in (each, plain)
    )
    same(*(jax.tree.map(lambda leaf: leaf[1], run.variables) for run in (done, all_as_one)))
    for name, noise, rate, steps in (
        ("hospital 0", 2.0, 0.25, 8), ("hospital 1", 3.0, 0.5, 4), ("hospital 2", 1.0, 0.1, 20),
    ):  # fmt: skip
        assert done.privacy.compositions[name] == steps
        assert done.privacy.epsilon[name] == pytest.approx(epsilon(Mechanism(noise, rate), steps, 1e-5))
    assert done.privacy.clip == "0.1 to 0.3 in different hospitals, the whole gradient of a row"


def test_budgets_of_each_hospital_at_rates_of_its_own():
    rates, budgets = named(0.1, 0.25, 0.5), named(2.0, 3.0, 4.0)
    of = zip((0.25, 0.5, 0.1), (3.0, 4.0, 2.0), strict=True)
    sim = simulation(PatientDP(epsilon=budgets, rounds=2, rate=rates), steps=3)
    assert sim.private.noise.tolist() == [noise_for(budget, 6, 1e-5, rate=rate) for rate, budget in of]
    until = simulation(PatientDP(noise_multiplier=1.5, until_epsilon=budgets, rate=rates), steps=3).private
    (limit,) = jax.tree.leaves(until.participation)
    for mechanism, rounds, budget in zip(until.ledger.mechanisms, limit, (3.0, 4.0, 2.0), strict=True):
        assert (
            epsilon(mechanism, 3 * int(rounds), 1e-5)
            <= budget
            < epsilon(mechanism, 3 * int(rounds) + 3, 1e-5)
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_multiplier": math.nan}, "noise_multiplier=nan: give a number"),
        ({"noise_multiplier": 1.0, "delta": 1.0}, "delta=1.0"),
        ({"noise_multiplier": 1.0, "delta": 0.0}, "delta=0.0"),
        ({"noise_multiplier": 1.0, "clip": 0.0}, "clip=0.0"),
        ({"noise_multiplier": 1.0, "rate": 1.5}, "rate=1.5"),
        ({"noise_multiplier": 1.0, "sampling": "shuffled"}, "shuffled and fixed batches have no accounting"),
        (
            {"noise_multiplier": FALLING},
            "noise_multiplier: a schedule has no accounting here; give one number",
        ),
        ({"noise_multiplier": 1.0, "rate": FALLING}, "rate: a schedule has no accounting"),
        ({"noise_multiplier": 1.0, "until_epsilon": FALLING}, "until_epsilon: a schedule has no accounting"),
        ({"epsilon": FALLING, "rounds": 2}, "epsilon: a schedule has no accounting"),
        (
            {"noise_multiplier": 1.0, "until_epsilon": 0.01},
            "a budget of epsilon 0.01 is smaller than its first",
        ),
        ({"epsilon": 1.0}, "rounds=None"),
        ({}, "give noise_multiplier, or epsilon"),
        ({"noise_multiplier": 1.0, "epsilon": 1.0, "rounds": 2}, "give noise_multiplier, or epsilon"),
        ({"noise_multiplier": 1.0, "layers": "each"}, "layers='each'"),
        ({"noise_multiplier": 1.0, "microbatch": 0}, "microbatch=0"),
        ({"noise_multiplier": 1.0, "accountant": "prv"}, "accountant='prv'"),
    ],
)
def test_wrong_values_of_patient_privacy(changes, message):
    with pytest.raises(InvalidInput, match=message):
        simulation(PatientDP(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": FedAvg()}, r"give FedAvg\(weighting='uniform'\)"),
        ({"algorithm": AFL()}, "HospitalDP does not cover AFL"),
        ({"algorithm": LocalOnly()}, "uploads nothing"),
        ({"aggregator": Median()}, "HospitalDP takes its place"),
        (
            {"participation": FixedCohort(2)},
            r"FixedCohort has no accounting for hospitals; give Poisson\(0.667\)",
        ),
        ({"weights": per_hospital([1.0, 2.0, 3.0])}, "every hospital counts once"),
        (
            {"privacy": HospitalDP(noise_multiplier=5.0, adaptive=AdaptiveClip(count_noise=1.0))},
            "count_noise",
        ),
        ({"privacy": HospitalDP(noise_multiplier=1.0, where="local", adaptive=AdaptiveClip())}, "central"),
        (
            {"privacy": HospitalDP(noise_multiplier=1.0, until_epsilon=0.1)},
            "the first round alone costs more",
        ),
        ({"privacy": HospitalDP(noise_multiplier=FALLING)}, "noise_multiplier: a schedule has no accounting"),
        ({"privacy": HospitalDP(epsilon=FALLING, rounds=2)}, "epsilon: a schedule has no accounting"),
        (
            {"privacy": HospitalDP(noise_multiplier=1.0, until_epsilon=FALLING)},
            "until_epsilon: a schedule has no accounting",
        ),
        (
            {"privacy": HospitalDP(noise_multiplier=1.0, adaptive=AdaptiveClip(count_noise=FALLING))},
            "adaptive.count_noise: a schedule has no accounting here; give one number",
        ),
        (
            {
                "privacy": HospitalDP(noise_multiplier=1.0, where="local"),
                "participation": Poisson(schedule(lambda r: 0.5)),
            },
            r"Poisson has no accounting for hospitals; give .* or Poisson\(rate\) with a number",
        ),
        ({"privacy": "patient"}, "privacy='patient': give jaxfed.privacy.PatientDP"),
        ({"model": Normalised()}, "batch statistics"),
    ],
)
def test_wrong_uses_of_hospital_privacy(changes, message):
    given = {"algorithm": FedAvg(weighting="uniform"), "privacy": HospitalDP(noise_multiplier=1.0), **changes}
    with pytest.raises(InvalidInput, match=message):
        simulation(**given)


def test_per_hospital_noise_and_groups_of_models():
    privacy = PatientDP(
        noise_multiplier=per_hospital({"hospital 0": 1.0, "hospital 2": 2.0, "hospital 1": 3.0})
    )
    sim = simulation(
        privacy,
        algorithm=ByGroup(FedAvg()),
        models={"a": logistic(), "b": logistic()},
        groups=("a", "b", "a"),
        splits=("test",),
    )
    run = sim.run(1, progress=False)
    assert [*run.privacy.noise_multiplier.values()] == [1.0, 3.0, 2.0]


def test_baselines_have_the_same_privacy():
    sim = simulation(PatientDP(noise_multiplier=1.0, rate=0.5))
    assert sim.local_only().privacy == sim.pooled().privacy == sim.privacy
    whole = simulation(HospitalDP(noise_multiplier=1.0), algorithm=FedAvg(weighting="uniform"))
    assert whole.local_only().privacy is None
    assert whole.pooled().privacy is None


def command(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["jaxfed", *arguments])
    cli.main()


def test_the_command_for_planning(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "privacy", "--noise", "1.0", "--rate", "0.01", "--rounds", "50", "--steps", "20",
            "--delta", "1e-5", "--out", str(tmp_path))  # fmt: skip
    assert "1.829" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "epsilon.csv", index_col="rounds")
    assert table.iloc[-1, 0] == pytest.approx(1.828, abs=2e-3)
    assert (tmp_path / "epsilon.png").stat().st_size > 0
    for wrong, message in (
        (["--noise", "1.0", "--delta", "2"], "delta"),
        (["--noise", "nan"], "--noise nan"),
        ([], "give --noise 1.0 or --epsilon 3.0"),
    ):
        with pytest.raises(SystemExit, match=message):
            command(monkeypatch, "privacy", *wrong, "--out", str(tmp_path))


def test_the_command_that_trains(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "run", "--hospitals", "3", "--rounds", "2", "--eval-every", "1", "--model",
            "logistic", "--devices", "4",
            "--epsilon", "3", "--delta", "1e-5", "--out", str(tmp_path))  # fmt: skip
    text = capsys.readouterr().out
    assert "Differential privacy of a patient (add-or-remove): epsilon" in text
    assert "FedAvg without privacy" in text
    record = json.loads((tmp_path / "fedavg" / "run.json").read_text())
    assert max(record["privacy"]["epsilon"].values()) <= 3
    assert "FedAvg without privacy" in (tmp_path / "summary.csv").read_text()
    with pytest.raises(SystemExit, match="add --epsilon or --noise"):
        command(monkeypatch, "run", "--clip", "2", "--devices", "4", "--out", str(tmp_path))
