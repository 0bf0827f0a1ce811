"""Bad inputs, one row each: what is wrong, the call, and the words that the message must have.

This is the one place where a new one is added. Calls are Python, or lines for the command line.
"""

# ruff: noqa: E501 (a table)

from functools import cache

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import jaxfed
from jaxfed import data
from jaxfed.core.errors import InvalidInput
from jaxfed.data import from_arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")

X, Y = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32), np.arange(10) % 2


def table(n=40, **columns):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"site": np.repeat(["a", "b"], n // 2), "age": rng.normal(0, 1, n), "died": np.arange(n) % 2}
    )
    return frame.assign(**columns)


def arrays(y=Y, x=X, hospitals=2, **options):
    return from_arrays({f"h{i}": (x, y) for i in range(hospitals)}, **options)


def sim(**changes):
    return jaxfed.Simulation(arrays(), **{"model": jaxfed.models.logistic(), **changes})


@cache
def run(splits=("validation", "test"), **options):
    given = arrays(split=(0.6, 0.2, 0.2), **options)
    return jaxfed.Simulation(given, model=jaxfed.models.logistic(), splits=splits).run(1, progress=False)


ERRORS = [
    # labels
    ("text labels in 300 hospitals", lambda: arrays(np.where(Y, "yes", "no"), hospitals=300),
     ["from_arrays: hospital 'h0': y holds text ('no', 'yes'); pass classes=['no', 'yes']", "and 291 more"]),
    ("classes as a set", lambda: arrays(classes={"no", "yes"}), ["a set has no order", "give a list"]),
    ("classes as one string", lambda: arrays(classes="yes"), ["classes='yes'", "give a list"]),
    ("an unknown task with labels that it would not fit", lambda: arrays(Y + 0.5, task="regresion"),
     ["from_arrays: task='regresion': did you mean 'regression'"]),
    ("many whole numbers without a task", lambda: arrays(np.arange(40), np.zeros((40, 2))),
     ["40 different whole numbers", "task='regression'", "task='multiclass'"]),
    ("a label that no class names", lambda: arrays(Y + 1, classes=["1", "3"]), ["not among classes=['1', '3']: '2'"]),
    ("negative labels", lambda: arrays(Y - 1), ["labels negative (-1)", "task='regression'"]),
    ("x and y of different lengths in 300 hospitals", lambda: arrays(Y[:9], hospitals=300),
     ["x has 10 rows and y has 9; give one label per row (also hospital 'h1'"]),
    # numbers and names of other kinds
    ("a step size as text", lambda: jaxfed.optimizer(optax.sgd, learning_rate="0.1"), ["learning_rate='0.1': give a number"]),
    ("momentum as text", lambda: jaxfed.optimizer(optax.adam, learning_rate=0.1, b1="0.9"), ["b1='0.9': give a number"]),
    ("a step size of True", lambda: jaxfed.optimizer(optax.sgd, learning_rate=True), ["learning_rate=True"]),
    ("a step size of jnp.nan", lambda: jaxfed.optimizer(optax.sgd, learning_rate=jnp.array(jnp.nan)), ["give a finite number"]),
    ("a negative step size of a hospital", lambda: jaxfed.optimizer(optax.sgd, learning_rate=jaxfed.per_hospital([0.1, -1])),
     ["learning_rate=PerHospital", "give a number >= 0"]),
    ("a negative l2 of a hospital", lambda: sim(l2=jaxfed.per_hospital([0.1, -1])), ["l2=PerHospital", "give a number >= 0"]),
    ("an l2 of jnp.nan", lambda: sim(l2=jnp.array(jnp.nan)), ["l2=", "give a number >= 0"]),
    ("an l2 as text", lambda: sim(l2="0.1"), ["l2='0.1': give a number >= 0"]),
    ("text per hospital", lambda: jaxfed.per_hospital(["1", "x"]), ["per_hospital(['1', 'x']): give a number for each"]),
    ("a hospital twice, as 1 and as '1'", lambda: jaxfed.per_hospital({1: 0.1, "1": 0.2}), ["two numbers for ['1']"]),
    ("half a hospital", lambda: data.iid(Y, 2.5), ["iid: hospitals=2.5: give a whole number"]),
    ("half a hospital of unequal size", lambda: data.zipf_sizes(Y, 2.5), ["zipf_sizes: hospitals=2.5"]),
    ("half a class", lambda: data.classes_per_hospital(Y, 2, classes=1.5), ["classes=1.5: give a whole number"]),
    ("alpha as text", lambda: data.dirichlet(Y, 2, alpha="0.5"), ["dirichlet: alpha='0.5': give a number"]),
    ("a seed that is none", lambda: data.dirichlet(Y, 2, seed="7"), ["seed='7'"]),
    ("a generator as x", lambda: arrays(x=(row for row in X)), ["x is a generator", "give a list or an array"]),
    ("the values of a dictionary as y", lambda: arrays(dict(enumerate(Y)).values()), ["y is a dict_values"]),
    ("a seed that is too large in a sweep", lambda: sim().sweep({"seed": [2**31]}, 1), ["seed=2147483648", "below 2**31"]),
    ("another word for a round", lambda: sim().run(0, progress=False).hospitals(at="beste"), ["at='beste': did you mean 'best'"]),
    ("two entries of split for one hospital", lambda: from_arrays({"1": (X, Y)}, split={1: [0] * 10, "1": [0] * 10}),
     ["split: two entries for '1'"]),
    # runs side by side
    ("nothing to compare", lambda: jaxfed.compare({}), ["compare: no runs; give {name: run}"]),
    ("no run", lambda: jaxfed.compare({"a": 3}), ["'a' is int; give a Run"]),
    ("an unknown run to compare with", lambda: jaxfed.compare({"local": run(), "other": run()}, against="locl"),
     ["against='locl': did you mean 'local'"]),
    ("other hospitals", lambda: jaxfed.compare({"a": run(), "b": run(hospitals=3)}),
     ["runs 'a' and 'b' are of different hospitals ('h2')"]),
    ("another task", lambda: jaxfed.compare({"a": run(), "b": run(task="regression")}), ["different task ('binary', 'regression')"]),
    ("a split that one run lacks", lambda: jaxfed.compare({"a": run(), "b": run(splits=("validation",))}),
     ["split='test': run 'b' was evaluated on validation"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "words"), ERRORS, ids=[row[0] for row in ERRORS])
def test_an_error_says_what_to_do(what, call, words):
    with pytest.raises((InvalidInput, jaxfed.storage.checkpoint.CheckpointError)) as caught:
        call()
    for part in words:
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 13


def test_ids_that_are_no_text_name_hospitals_everywhere():
    hospitals = from_arrays({1: (X, Y), 2: (X, Y)}, split={1: [0] * 8 + [1, 2], 2: [0] * 8 + [1, 2]})
    assert hospitals.select([2, 1]).hospitals == ("2", "1")
    assert len(hospitals.rows(2)[1]) == 10
    how = jaxfed.Simulation(
        hospitals,
        models={"a": jaxfed.models.logistic(), "b": jaxfed.models.mlp(2)},
        groups={1: "a", 2: "b"},
        algorithm=jaxfed.algorithms.mixed.ByGroup(jaxfed.LocalOnly()),
        epochs=jaxfed.per_hospital({1: 1, 2: 2}),
    )
    assert how.groups == {1: "a", 2: "b"}
