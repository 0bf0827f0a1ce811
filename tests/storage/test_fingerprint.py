"""The text of a configuration: the same for the same in every process, another one for anything else."""

import json
import os
import subprocess
import sys
import textwrap
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from federations import hospitals

import jaxfed
from jaxfed import CheckpointError, Simulation
from jaxfed.models import logistic, mlp
from jaxfed.storage.fingerprint import canonical_text, digest, settings


class Rule:
    """A class whose repr is an address."""

    def __init__(self, rate):
        self.rate = rate

    def apply(self, x):
        return self.rate * x


def scaled(by):
    return lambda outputs, y: by * jnp.square(outputs[:, 0] - y)


def itself():
    def again(n):
        return again(n - 1) if n else 0

    return again


def test_words_are_the_same_for_the_same_and_differ_for_others():
    pairs = [
        (lambda: scaled(2.0), lambda: scaled(3.0)),
        (lambda: Rule(1), lambda: Rule(2)),
        (lambda: Rule(1).apply, lambda: Rule(2).apply),
        (lambda: np.arange(3000), lambda: np.arange(3000)[::-1]),
        (lambda: np.zeros(2, np.int32), lambda: np.zeros(2, np.int64)),
        (lambda: jax.random.key(1), lambda: jax.random.key(2)),
        (lambda: {"a": 1, "b": [2.0]}, lambda: {"a": 1, "b": [2.5]}),
        (lambda: {3, 4}, lambda: {3, 5}),
        (lambda: nn.Dense(3, param_dtype=jnp.bfloat16), lambda: nn.Dense(3)),
        (lambda: mlp(3), lambda: mlp(3).clone(activation=nn.tanh)),
        (lambda: jaxfed.schedule(optax.exponential_decay(0.1, 1, 0.9)),
         lambda: jaxfed.schedule(optax.exponential_decay(0.2, 1, 0.9))),
        (lambda: jaxfed.per_hospital({"a": 1.0}), lambda: jaxfed.per_hospital({"b": 1.0})),
        (itself, lambda: lambda n: 0),
        (lambda: pd.Series(range(300)), lambda: pd.Series([*range(299), 0])),
        (lambda: np.array([1, 'a'], object), lambda: np.array([1, 'b'], object)),
    ]  # fmt: skip
    for one, other in pairs:
        assert canonical_text(one()) == canonical_text(one())
        assert digest(one()) == digest(one())
        assert canonical_text(one()) != canonical_text(other())
        assert " at 0x" not in canonical_text((one(), other()))


def test_a_config_is_text():
    sim = Simulation(
        hospitals(),
        model=mlp(3).clone(activation=lambda x: nn.relu(x) ** 2),
        loss=scaled(2.0),
        l2=jaxfed.per_hospital([0.1] * len(hospitals())),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=jaxfed.schedule(lambda r: 0.1)),
    )
    text = json.dumps(settings(sim))
    assert "0x" not in text
    assert json.loads(text) == settings(sim.replace())


USERS = """
    import dataclasses
    import functools
    from collections.abc import Callable

    import flax.linen as nn
    import jax.numpy as jnp
    import optax
    from flax import nnx

    import beside
    import jaxfed
    from jaxfed.algorithms import FedProx

    SCALE = 2.0
    NAMES = {"b", "a", "c"}

    def twice(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            return 2 * function(*arguments)
        return wrapper

    def helper(x):
        return SCALE * x if "a" in {"a", "b", "c"} else x

    def loss(outputs, y, power=2):
        return jnp.abs(helper(outputs[:, 0]) - y) ** power

    def loss_from_a_module(outputs, y):
        import beside as late
        return beside.error(outputs, y) + late.other(y)

    @twice
    def decorated(outputs, y):
        return outputs[:, 0] - y

    class Helper:
        width = 3
        __slots__ = ("depth",)
        def __init__(self, depth):
            self.depth = depth
        def __repr__(self):
            return "Helper"
        @property
        def size(self):
            return self.width * self.depth
        @staticmethod
        def start():
            return 0.5

    class Linen(nn.Module):
        outputs: int | None = None
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(self.outputs)(nn.tanh(helper(x)))

    class Nnx(nnx.Module):
        def __init__(self, outputs, rngs):
            super().__init__()
            self.dense = nnx.Linear(3, outputs, rngs=rngs)
        def __call__(self, x):
            return self.dense(x + Helper.width)

    def nnx_model(rngs):
        return Nnx(1, rngs)

    @dataclasses.dataclass(frozen=True)
    class Proximal(FedProx):
        power: float = 2.0
        def proximal(self, x):
            return super().proximal(x) ** self.power

    examples = {
        "loss": loss, "module": loss_from_a_module, "decorated": decorated, "helper": Helper(2),
        "linen": Linen(),
        "nnx": nnx_model, "algorithm": Proximal(), "class": Proximal, "lambda": lambda r: helper(r),
        "schedule": jaxfed.schedule(lambda r: SCALE * r), "partial": functools.partial(loss, power=3),
        "optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.1), "library": (FedProx(), nn.Dense(3)),
    }
"""
BESIDE = """
    def error(outputs, y):
        return outputs[:, 0] - y

    def other(y):
        return 0 * y

    def unused(y):
        return y
"""


def load(name, source):
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(textwrap.dedent(source), vars(module))
    return module


@pytest.fixture
def texts(monkeypatch):
    """``texts(users, beside)``: the texts of the values that two modules of a user have."""

    def texts(users=USERS, beside=BESIDE):
        load("beside", beside)
        found = load("users", users)
        return {name: canonical_text(value) for name, value in found.examples.items()}

    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return texts


EDITS = {
    "body": (
        "jnp.abs(helper(outputs[:, 0]) - y)",
        "jnp.square(helper(outputs[:, 0]) - y)",
        {"loss", "partial"},
    ),
    "default": ("power=2)", "power=4)", {"loss", "partial"}),
    "global": (
        "SCALE = 2.0",
        "SCALE = 3.0",
        {"loss", "partial", "linen", "lambda", "schedule"},
    ),
    "helper": ("return SCALE * x", "return SCALE + x", {"loss", "partial", "linen", "lambda"}),
    "decorator": ("return 2 * function", "return 3 * function", {"decorated"}),
    "under a decorator": ("return outputs[:, 0] - y", "return outputs[:, 0] + y", {"decorated"}),
    "class attribute": ("width = 3", "width = 4", {"helper", "nnx"}),
    "property": ("self.width * self.depth", "self.width + self.depth", {"helper", "nnx"}),
    "static method": ("return 0.5", "return 0.25", {"helper", "nnx"}),
    "slot": ("Helper(2)", "Helper(3)", {"helper"}),
    "linen": ("nn.tanh(", "nn.relu(", {"linen"}),
    "nnx": ("self.dense(x +", "self.dense(x -", {"nnx"}),
    "algorithm": ("** self.power", "* self.power", {"algorithm", "class"}),
    "field": ("power: float = 2.0", "power: float = 3.0", {"algorithm", "class"}),
    "comment": ("SCALE = 2.0", "SCALE = 2.0  # larger", set()),
}


def changed(first, second):
    return {name for name in first if first[name] != second[name]}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_code_is_other_code(texts, edit):
    """A notebook's cell or a file of the user, edited; what does not refer to it stays as it was."""
    before, after, names = EDITS[edit]
    assert before in USERS
    assert changed(texts(), texts(USERS.replace(before, after))) == names


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("[:, 0] - y", "[:, 0] + y", {"module"}),
        ("0 * y", "1 * y", {"module"}),
        ("return y", "return 2 * y", set()),
    ],
)
def test_code_of_another_module_of_the_user(texts, before, after, names):
    assert before in BESIDE
    assert changed(texts(), texts(beside=BESIDE.replace(before, after))) == names


def test_code_is_the_same_in_every_process(texts, tmp_path):
    expected = texts()
    (tmp_path / "beside.py").write_text(textwrap.dedent(BESIDE))
    (tmp_path / "users.py").write_text(textwrap.dedent(USERS))
    script = (
        "import json, users; from jaxfed.storage.fingerprint import canonical_text as text;"
        "print(json.dumps({name: text(value) for name, value in users.examples.items()}))"
    )
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert changed(expected, json.loads(done.stdout)) == set()


def test_a_run_does_not_go_on_with_edited_code(tmp_path):
    """As in a notebook, where a cell is executed again: the module is the same, and the name too."""

    def run(source, rounds):
        cell = {"__name__": "__main__", "jnp": jnp}
        exec(source, cell)
        sim = Simulation(hospitals(test=6), model=logistic(), loss=cell["loss"])
        return sim.run(rounds, checkpoint=tmp_path, every=1, progress=False)

    cell = "def loss(outputs, y):\n    return jnp.square(outputs[:, 0] - y)"
    run(cell, 2)
    assert run(cell, 3).config["rounds"] == 3
    with pytest.raises(CheckpointError) as error:
        run(cell.replace("square", "abs"), 3)
    assert error.value.reason == "configuration"
    assert "loss: the code of loss, or a value that it refers to, has been edited since" in str(error.value)
