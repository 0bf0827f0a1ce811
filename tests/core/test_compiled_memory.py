"""The memory of compiled programs: rows are not copied, and room for results is bounded."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxfed
from jaxfed.data import from_arrays
from jaxfed.models import logistic

IMAGES = """
import numpy as np
import jaxfed
from jaxfed.data import from_arrays

for count in (100, 2_000):
    images = np.random.default_rng(0).random((count, 16, 16, 1), np.float32)
    splits = {"a": (np.arange(count) < 20) * 2}
    data = from_arrays({"a": (images, np.arange(count) % 3)}, split=splits, task="multiclass")
    model = jaxfed.models.cnn(2, 2)
    trainer = jaxfed.Simulation(data, model=model, batch_size=2, splits=("test",), devices=1).trainer
    compiled = trainer.traced(trainer.input(0), trainer.slot(0)).lower().compile()
    print(compiled.memory_analysis().temp_size_in_bytes, images.nbytes)
"""


def test_images_of_one_channel_are_not_copied():
    """XLA reorders ``[N, H, W, 1]``, which it would copy, if the program takes off an axis before N.

    In a process of its own, because without fusion emitters, as in these tests, XLA does not.
    """
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    answer = subprocess.run([sys.executable, "-c", IMAGES], env=plain, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    (few, small), (many, large) = (map(int, line.split()) for line in answer.stdout.splitlines())
    assert many - few < 0.1 * (large - small)


@pytest.mark.parametrize(("hospitals", "rounds", "evaluations"), [(500, 64, 8), (50_000, 5, 2)])
def test_room_for_metrics_is_bounded(hospitals, rounds, evaluations):
    """With very many hospitals a call has room for the metrics of few rounds and evaluations."""
    rows = np.ones((2, 1), np.float32), np.array([0, 1])
    data = from_arrays(dict.fromkeys(range(hospitals), rows), split=None)
    sim = jaxfed.Simulation(data, model=logistic(), batch_size=1, splits=("train",), devices=1, block=2)
    traced = sim.trainer.traced(sim.trainer.input(0), sim.trainer.slot(0))
    results = traced.out_info[1]
    assert results.rounds.present.shape == (1, rounds, hospitals)
    assert {leaf.shape[1] for leaf in jax.tree.leaves((results.single, results.pooled))} == {evaluations}
