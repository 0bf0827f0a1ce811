"""Bad inputs, one row each: what is wrong, the call, and the words that the message must have.

This is the one place where a new one is added. Calls are Python, or lines for the command line.
"""

# ruff: noqa: E501 (a table)

import numpy as np
import pandas as pd
import pytest

import jaxfed
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
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "words"), ERRORS, ids=[row[0] for row in ERRORS])
def test_an_error_says_what_to_do(what, call, words):
    with pytest.raises((InvalidInput, jaxfed.storage.checkpoint.CheckpointError)) as caught:
        call()
    for part in words:
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 13
