"""Runs that are cut and go on from their checkpoints equal those that were not, bit for bit."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from algorithms.catalogue import CATALOGUE
from federations import hospitals, recipe, same

import jaxfed
from jaxfed import CheckpointError, FedAvg, InvalidInput, LocalOnly, Poisson, Simulation
from jaxfed.core.engine import runs as engine
from jaxfed.core.types import State
from jaxfed.models import logistic, mlp
from jaxfed.records.recorder import Recorder
from jaxfed.storage import folder as checkpoint_folder
from jaxfed.storage.checkpoint import Checkpoint, decode, encode, read
from jaxfed.storage.fingerprint import settings
from jaxfed.storage.leaves import flatten, restore
from jaxfed.training import loop, progress
from jaxfed.training import stretch as stretches
from jaxfed.training.trainer import Trainer

RATE = jaxfed.optimizer(optax.sgd, learning_rate=0.3)
SMALL = {"model": logistic(), "batch_size": 4, "splits": ("test",), "client_optimizer": RATE}


def simulation(data=None, **changes):
    return Simulation(data or hospitals(test=6), **{**SMALL, "devices": 1, **changes})


def quiet(sim, rounds, **how):
    return sim.run(rounds, progress=False, **{"eval_every": 3, **how})


@pytest.fixture(scope="module")
def sim():
    """Partial participation and a server with memory."""
    algorithm = FedAvg(jaxfed.optimizer(optax.sgd, learning_rate=0.8, momentum=0.5))
    return simulation(algorithm=algorithm, participation=Poisson(0.6))


@pytest.fixture(scope="module")
def whole(sim):
    return quiet(sim, 7)


def equal_runs(a, b):
    """Everything but the seconds."""
    same(a.state, b.state)
    same(a.variables, b.variables)
    same(a.history.arrays(), b.history.arrays())
    assert a.config == b.config


def rounds_in(folder):
    return sorted(read(path).round for path in folder.iterdir())


@pytest.mark.parametrize("every", [1, 2, 5, None])
def test_cut_and_called_again(sim, whole, tmp_path, every):
    for rounds in (2, 4, 7):
        run = quiet(sim, rounds, checkpoint=tmp_path, every=every)
    equal_runs(run, whole)
    assert len(rounds_in(tmp_path)) <= 3
    assert rounds_in(tmp_path)[-1] == 7


def test_when_they_are_written(sim, tmp_path, monkeypatch):
    quiet(sim, 7, checkpoint=tmp_path / "a", every=2, keep=9)
    assert rounds_in(tmp_path / "a") == [0, 2, 4, 6, 7]
    quiet(sim, 7, checkpoint=tmp_path / "b", keep=9)  # a quick run: at the start and at the end
    assert rounds_in(tmp_path / "b") == [0, 7]
    monkeypatch.setattr(checkpoint_folder, "PAUSE", 0.0)
    quiet(sim, 4, checkpoint=str(tmp_path / "c"), keep=2)
    found = rounds_in(tmp_path / "c")
    assert len(found) == 2
    assert found[-1] == 4


def test_an_evaluation_out_of_turn_is_not_kept(sim, whole, tmp_path):
    """A run of 4 rounds evaluates after the fourth; one of 7 does not."""
    cut = quiet(sim, 4, checkpoint=tmp_path)
    assert cut.history.evaluated.tolist() == [0, 3, 4]
    assert quiet(sim, 7, checkpoint=tmp_path).history.evaluated.tolist() == [0, 3, 6, 7]


def test_a_finished_run_is_not_run_again(sim, whole, tmp_path, monkeypatch):
    quiet(sim, 7, checkpoint=tmp_path)

    advance = Trainer.advance

    def refuse(self, given, slot, stretch, *, fresh):
        assert not fresh
        assert not stretch.rounds.any(), "trained again"
        return advance(self, given, slot, stretch, fresh=fresh)

    monkeypatch.setattr(Trainer, "advance", refuse)
    equal_runs(quiet(sim, 7, checkpoint=tmp_path), whole)


def test_ctrl_c_writes_a_last_one(sim, whole, tmp_path, monkeypatch, capsys):
    calls, advance = [], Trainer.advance

    def interrupted(self, given, slot, stretch, *, fresh):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, given, slot, stretch, fresh=fresh)

    monkeypatch.setattr(stretches, "SECONDS", 0.0)  # a round in a call
    monkeypatch.setattr(Trainer, "advance", interrupted)
    part = sim.run(7, eval_every=3, checkpoint=tmp_path, every=100)
    monkeypatch.undo()
    done = part.config["rounds"]
    assert 0 < done < 7
    assert rounds_in(tmp_path) == [0, done]
    assert (
        f"interrupted after {done} of 7 rounds; call it again to go on from {tmp_path}"
        in capsys.readouterr().out
    )
    equal_runs(quiet(sim, 7, checkpoint=tmp_path), whole)


@pytest.mark.parametrize(
    ("owner", "place"), [(Trainer, "advance"), (Trainer, "rounds_seen"), (Recorder, "evaluation")]
)
def test_an_error_leaves_what_was_written_before(sim, whole, tmp_path, monkeypatch, owner, place):
    calls, function = [], getattr(owner, place)

    def fail(self, *arguments, **how):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return function(self, *arguments, **how)

    monkeypatch.setattr(owner, place, fail)
    with pytest.raises(MemoryError):
        quiet(sim, 7, checkpoint=tmp_path, every=1)
    monkeypatch.undo()
    equal_runs(quiet(sim, 7, checkpoint=tmp_path, every=1), whole)


def test_a_bad_last_one_costs_some_rounds_and_nothing_else(sim, whole, tmp_path):
    quiet(sim, 5, checkpoint=tmp_path, every=2)
    newest = sorted(tmp_path.iterdir())[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    with pytest.warns(
        UserWarning, match=r"round-00000005.checkpoint is damaged.*going on from round-00000004"
    ):
        run = quiet(sim, 7, checkpoint=tmp_path, every=2)
    equal_runs(run, whole)


def test_the_timings_go_on(sim, tmp_path):
    quiet(sim, 4, checkpoint=tmp_path)
    timings = read(sorted(tmp_path.iterdir())[-1]).notes["timings"]
    assert timings["rounds"] == 4
    run = quiet(sim, 7, checkpoint=tmp_path)
    later = read(sorted(tmp_path.iterdir())[-1]).notes["timings"]
    assert later["rounds"] == 7
    assert all(later[name] > number for name, number in timings.items())
    assert run.provenance["seconds_per_round"] == later["training_seconds"] / 7


def test_from_given_variables_in_another_type(sim, tmp_path):
    """The state has the type of what it starts from, not that of the model."""
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), quiet(sim, 0, seed=3).variables)
    plain = sim.replace(algorithm=FedAvg())
    expected = quiet(plain, 4, initial=start)
    for rounds in (2, 4):
        run = quiet(plain, rounds, initial=start, checkpoint=tmp_path)
    equal_runs(run, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(run.variables)} == {jnp.dtype(jnp.bfloat16)}
    with pytest.raises(CheckpointError, match=r"initial: .*there, None here"):
        quiet(plain, 4, checkpoint=tmp_path)


def test_an_earlier_end_is_an_error(sim, tmp_path):
    quiet(sim, 5, checkpoint=tmp_path)
    with pytest.raises(InvalidInput, match=r"rounds=3: .*has done 5, and rounds is the total"):
        quiet(sim, 3, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"checkpoint": 3}, "checkpoint=3: give the name of a folder"),
        ({"every": 3}, "every=3: give checkpoint=folder too"),
        ({"checkpoint": "x", "every": 0}, "every=0"),
        ({"checkpoint": "x", "keep": 0}, "keep=0"),
    ],
)
def test_bad_arguments(sim, how, said):
    with pytest.raises(InvalidInput) as error:
        quiet(sim, 1, **how)
    assert said in str(error.value)


def test_resume_and_checkpoint_are_two_ways(sim, whole, tmp_path):
    with pytest.raises(InvalidInput, match="give one of them"):
        quiet(sim, 1, resume=whole, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("changes", "how", "said"),
    [
        ({"algorithm": FedAvg()}, {}, "algorithm: "),
        ({"model": mlp(3)}, {}, "model: "),
        (
            {"participation": Poisson(0.7)},
            {},
            "participation: Poisson(rate=0.6) there, Poisson(rate=0.7) here",
        ),
        ({"l2": 0.1}, {}, "l2: None there, 0.1 here"),
        ({"devices": 2}, {}, "devices: 1 there, 2 here"),
        ({"hospitals": hospitals(test=6, seed=1)}, {}, "hospitals: "),
        ({}, {"seed": 1}, "seed: 0 there, 1 here"),
        ({}, {"eval_every": 2}, "eval_every: 3 there, 2 here"),
    ],
)
def test_a_folder_of_another_run(sim, whole, tmp_path, changes, how, said):
    """Found before anything is compiled, and told field by field."""
    quiet(sim, 1, checkpoint=tmp_path)
    other = sim.replace(**changes)
    with pytest.raises(CheckpointError) as error:
        quiet(other, 7, **how, checkpoint=tmp_path)
    text = str(error.value)
    assert error.value.reason == "configuration"
    assert said in text
    assert str(tmp_path) in text
    assert len(text.splitlines()) == 2


def test_two_runs_in_one_folder_at_once(sim, tmp_path, monkeypatch):
    """The other one began while this one was already training."""
    checkpoint = progress.Progress.checkpoint

    def meanwhile(self, config):
        if self.done:
            monkeypatch.undo()
            for path in tmp_path.iterdir():
                path.unlink()
            quiet(sim, 1, checkpoint=tmp_path, seed=1)
        return checkpoint(self, config)

    monkeypatch.setattr(progress.Progress, "checkpoint", meanwhile)
    with pytest.raises(CheckpointError, match="seed: 1 there, 0 here"):
        quiet(sim, 7, checkpoint=tmp_path, every=1)


def test_data_are_told_by_every_byte():
    data = hospitals(test=6)
    x, y, split = data.x.copy(), data.y.copy(), data.split.copy()
    x[3, 1] = np.nextafter(x[3, 1], 9)
    y[5] = 1 - y[5]
    split[0] = 1
    names = ("z", *data.hospitals[1:])
    others = [{"x": x}, {"y": y}, {"split": split}, {"hospitals": names}, {"x": data.x.astype(np.float32)}]
    found = {settings(simulation(one))["hospitals"] for one in (data, *(data.replace(**o) for o in others))}
    assert len(found) == 6
    assert settings(simulation(data.replace(truth={"p": data.x[:, 0]}))) == settings(simulation(data))


def test_the_layout_of_the_checkpoint_is_used_again(tmp_path):
    """What was chosen, perhaps by measurement, and not what would be chosen now."""
    sim = simulation(devices=None, algorithm=LocalOnly())
    how = {"seed": 0, "eval_every": 3, "progress": False}
    layout = {"form": "fast", "devices": 2, "blocks": [2], "evaluation_blocks": [2]}
    assert sim.trainer.layout() != layout
    # the same configuration, laid out in another way by whoever began
    begun = Trainer(sim, layout)
    loop.train(begun, 3, checkpoint=tmp_path, **how)
    run = quiet(sim, 7, checkpoint=tmp_path)
    assert run.provenance["devices"] == 2
    assert read(sorted(tmp_path.iterdir())[-1]).notes["layout"] == layout
    same(run.state, loop.train(begun, 7, **how).state)


def test_other_versions_are_a_warning(sim, whole, tmp_path, monkeypatch):
    older = {**progress.provenance(), "jax": "0.9.0", "device": "abacus"}
    monkeypatch.setattr(progress, "provenance", lambda: older)
    quiet(sim, 3, checkpoint=tmp_path)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"jax 0\.9\.0 there.*device abacus there"):
        equal_runs(quiet(sim, 7, checkpoint=tmp_path), whole)


CASES = {
    "Scaffold, option II": {"devices": 2, "block": 2, "participation": Poisson(0.6)},
    "ClusteredFL": {},
    "APFL, adaptive": {"devices": 2},
    "FedBN": {},
}


@pytest.mark.parametrize("name", CASES)
def test_states_of_many_kinds(name, tmp_path):
    """In hospitals and on the server, on several devices, in blocks, batch statistics; no second program."""
    case = CATALOGUE[name]
    sim = simulation(algorithm=case.algorithm, model=case.model, **CASES[name])
    expected = quiet(sim, 5)
    programs = engine.advance._cache_size()
    for rounds in (2, 5):
        run = quiet(sim, rounds, checkpoint=tmp_path)
    equal_runs(run, expected)
    assert engine.advance._cache_size() == programs


@pytest.fixture(scope="module")
def variables():
    """Of every model in the catalogue."""
    data, found = hospitals((4, 3)), {}
    for case in CATALOGUE.values():
        if case.model not in found:
            problem = recipe(data, model=case.model).locals[0].problem
            found[case.model] = problem.init(jax.random.key(1), jnp.asarray(data.x[:1], jnp.float32))
    return found


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_state_of_every_algorithm_is_restored(name, variables):
    """Values, types, weak types and places; random values, so that two leaves cannot change places."""
    case, key = CATALOGUE[name], jax.random.key(7)
    algorithm = recipe(hospitals((4, 3)), model=case.model, algorithm=case.algorithm).algorithm.algorithm
    server, client = algorithm.init(variables[case.model], key, 4)
    clients = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4, *jnp.shape(leaf))), client)
    like = State(jnp.zeros((), jnp.int32), key, *jax.tree.map(jnp.asarray, (server, clients)), (), ())
    draw = np.random.default_rng(0)

    def random(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        bits = draw.integers(0, 2, leaf.nbytes, np.uint8) if leaf.dtype == bool else draw.bytes(leaf.nbytes)
        return leaf.at[...].set(np.frombuffer(bits, leaf.dtype).reshape(leaf.shape))

    state = jax.tree.map(random, like)
    made = Checkpoint({}, 3, *flatten(state, "state"))
    stored = decode(b"".join(encode(made)), "file")
    found = restore(like, stored.arrays, stored.keys, "state")
    same(found, state)
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        assert (jax.typeof(new), new.sharding) == (jax.typeof(old), old.sharding)


def test_states_of_another_kind_are_refused():
    """Nothing is cast, nothing is broadcast, nothing is left out."""
    like = {"w": jnp.zeros((2, 3)), "n": jnp.zeros((), jnp.int32), "key": jax.random.key(0)}
    arrays, keys = flatten(like, "state")
    same(restore(like, arrays, keys, "state"), like)
    others = {
        "float32[2, 3] there, float32[3, 2] here": {"w": jnp.zeros((3, 2))},
        "float32[2, 3] there, bfloat16[2, 3] here": {"w": jnp.zeros((2, 3), jnp.bfloat16)},
        "int32[] there, int32[1] here": {"n": jnp.zeros(1, jnp.int32)},
        "it has [\"state['w']\"], unknown here": {"w": None},
        "lacks [\"state['more']\"]": {"more": jnp.zeros(())},
    }
    for said, change in others.items():
        with pytest.raises(CheckpointError) as error:
            restore({**like, **change}, arrays, keys, "state")
        assert said in str(error.value)
        assert error.value.reason == "shape or dtype"
    for other in (jax.random.key(0, impl="rbg"), jax.random.key(0, impl="unsafe_rbg")):
        with pytest.raises(CheckpointError, match=r"of threefry2x32 there, of .*rbg here") as error:
            restore({**like, "key": other}, arrays, keys, "state")
        assert error.value.reason == "keys"
    with pytest.raises(CheckpointError, match="no implementation there"):
        restore(like, arrays, {}, "state")


def test_keys_of_every_implementation():
    for name in ("threefry2x32", "rbg", "unsafe_rbg"):
        tree = {
            "one": jax.random.key(3, impl=name),
            "many": jax.random.split(jax.random.key(4, impl=name), 5),
        }
        same(restore(tree, *flatten(tree, "state"), "state"), tree)
