"""What a plan needs, against what XLA says and against counts by hand."""

import jax
import jax.numpy as jnp
import optax
import pytest
from federations import Lab, hospitals, recipe
from fitting import names_a_block_that_fits

import jaxfed
from jaxfed.algorithms import Scaffold
from jaxfed.core.errors import InvalidInput
from jaxfed.core.layout import memory
from jaxfed.models import mlp


def peak(function, *shapes):
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return memory.peak(jax.make_jaxpr(function)(*args).jaxpr) / 4


def test_counts_by_hand():
    assert peak(lambda a, b: a @ b, (5, 7), (7, 3)) == 35 + 21 + 15
    assert peak(lambda a: jnp.sin(jnp.sin(a)), (10,)) == 10  # in place
    assert peak(lambda a: jnp.sin(a) + a, (10,)) == 20
    assert peak(lambda a: a @ (a @ a), (4, 4)) == 48

    def loop(a):
        return jax.lax.fori_loop(0, 3, lambda i, x: x @ x, a)

    assert peak(loop, (4, 4)) == pytest.approx(32, abs=3)  # and counters


def test_near_what_xla_says():
    trainer = simulation(algorithm=Scaffold(), batch_size=16, devices=2, block=8).trainer
    given, slot = trainer.input(0), trainer.slot(0)
    needed = trainer.needed_memory(given, slot)
    exact = trainer.traced(given, slot).lower().compile().memory_analysis()
    real = exact.argument_size_in_bytes + exact.temp_size_in_bytes
    assert 0.5 < needed.total / real < 1.5
    clients = sum(leaf.nbytes for leaf in jax.tree.leaves(slot.state.clients)) / 2
    assert needed.own > clients
    train = [rows.train for rows in trainer.placed.data.train]
    assert needed.rows == sum(leaf.nbytes for leaf in jax.tree.leaves(train)) / 2


def simulation(**how):
    rate = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    data = hospitals((60,) * 16, d=20, test=2)
    how = {"model": mlp(64, 64), "client_optimizer": rate, "splits": ("test",), "devices": 1, **how}
    return jaxfed.Simulation(data, **how)


def test_a_block_that_would_fit_is_named(monkeypatch):
    names_a_block_that_fits(simulation, monkeypatch)


def test_no_block_fits(monkeypatch):
    monkeypatch.setenv("JAXFED_MEMORY", "1e5")
    with pytest.raises(InvalidInput, match=r"a round needs .* there are 100 kB; no block would fit"):
        simulation(block=2, model=mlp(64)).run(1, progress=False)


def test_rows_that_do_not_fit(monkeypatch):
    monkeypatch.setenv("JAXFED_MEMORY", "5e4")
    with pytest.raises(InvalidInput, match=r"hospitals: their rows need 80.6 kB on each device .* 50 kB"):
        simulation().run(1, progress=False)


def test_limits(monkeypatch):
    layout = Lab(recipe(hospitals()), hospitals()).plans[0]
    monkeypatch.delenv("JAXFED_MEMORY", raising=False)
    assert 1e8 < memory.limit(layout) < 1e14
    monkeypatch.setenv("JAXFED_MEMORY", "lots")
    with pytest.raises(InvalidInput, match="'lots': give a number of bytes"):
        memory.limit(layout)
    assert memory.format_bytes(1500) == "1.5 kB"
    assert memory.format_bytes(12) == "12 bytes"
