"""Local training: the inner loop of one hospital.

    for each epoch: shuffle the rows; for each batch b:  g <- grad F_k(y; b);  g <- correct(g, y);
    y <- y + optimizer(g)

(McMahan et al. 2017, arXiv:1602.05629, ClientUpdate.) Batches are drawn without replacement and
reshuffled in every epoch by keys of (seed, round, hospital, epoch). The last batch of an epoch may be
short: its padding is masked and the mean is over the real rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.core import keys
from jaxfed.core.hyperparameters import Number
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.permutation import permute
from jaxfed.core.problem import Batch, Gradient, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Variables

Correct = Callable[[PyTree, PyTree, Callable[[PyTree], PyTree]], PyTree]


class Trained(NamedTuple):
    """The result of local training: variables, number of steps taken, mean loss over the steps."""

    variables: Variables
    steps: Array
    loss: Array

    @property
    def metrics(self) -> Metrics:
        """The training loss, for the observer."""
        return {"loss": self.loss}


class _Carry(NamedTuple):
    variables: Variables
    optimizer: optax.OptState
    loss: Array
    # Row indices of the current batch. Carried in the loop, because XLA would otherwise recompute them for
    # every column of the gather.
    rows: Array


@pytree
@dataclasses.dataclass(frozen=True)
class LocalTraining:
    """How a hospital trains.

    Attributes:
        problem: model and loss.
        optimizer: the client optimiser; its state is reset in every round. None for algorithms that
            take no local steps.
        epochs: passes over the hospital's rows, None if ``steps`` is given; may be traced.
        steps: mini-batch steps, whatever the hospital's size; None if ``epochs`` is given; may be traced.
        batch_size: static; None for full batches of all rows of a hospital.
    """

    problem: Problem
    optimizer: Optimizer | None
    epochs: Number | None = 1
    steps: Number | None = None
    batch_size: int | None = dataclasses.field(default=None, metadata={"static": True})

    def batches(self, size: Array) -> Array:
        """The number of batches in an epoch of a hospital of ``size`` rows; the last one may be short."""
        return -(-size // self.batch_size) if self.batch_size else jnp.minimum(size, 1)

    def total_steps(self, size: Array) -> Array:
        """The number of steps that a hospital of ``size`` rows takes in a round; 0 without rows."""
        if self.steps is not None:
            return jnp.where(size > 0, self.steps, 0)
        return self.batches(size) * (1 if self.epochs is None else self.epochs)

    def work(self, size: Any) -> Any:
        """The cost of a round in a hospital of ``size`` rows, in any unit; used to balance devices."""
        return size if self.batch_size is None else self.total_steps(size)

    def train(
        self, variables: Variables, shard: Shard, key: Array, correct: Correct | None = None
    ) -> Trained:
        """Train on one hospital's rows from ``variables``.

        Args:
            variables: the initial variables.
            shard: the hospital's rows.
            key: the hospital's key of this round.
            correct: ``correct(grads, params, gradient) -> grads``, called in every step before the
                optimiser; ``gradient(params)`` is the gradient of the same mini-batch at another point.

        Returns:
            Trained: the new variables, the number of steps and the mean loss over them.
        """
        assert self.optimizer is not None, "validated by Simulation"
        transformation = self.optimizer.build()
        steps = self.total_steps(shard.size)

        def step(t: Array, carry: _Carry) -> _Carry:
            at = self._gradient(shard, key, t, carry.rows)
            loss, grads, stats = at(carry.variables)
            if correct is not None:
                grads = correct(
                    grads, carry.variables.params, lambda p: at(Variables(p, carry.variables.stats)).params
                )
            updates, optimizer = transformation.update(grads, carry.optimizer, carry.variables.params)
            params = optax.apply_updates(carry.variables.params, updates)
            rows = self._rows(shard, key, t + 1)
            return _Carry(Variables(params, stats), optimizer, carry.loss + loss, rows)

        start = _Carry(
            variables,
            transformation.init(variables.params),
            jnp.zeros((), jnp.result_type(float)),
            self._rows(shard, key, jnp.zeros((), jnp.int32)),
        )
        end = shard.loop(steps, step, start)
        return Trained(end.variables, steps, self.mean_of_steps(end.loss, shard))

    def mean_of_steps(self, total: Array, shard: Shard) -> Array:
        """The mean of a hospital's steps of a number whose sum is ``total``; 0 without steps."""
        return total / jnp.maximum(self.total_steps(shard.size), 1).astype(total.dtype)

    def repeat(self, shard: Shard, step: Callable[[Array, PyTree], PyTree], start: PyTree) -> PyTree:
        """Apply ``step(t, carry) -> carry`` as often as :meth:`train` steps, for steps of another kind."""
        return shard.loop(self.total_steps(shard.size), step, start)

    def gradient(self, shard: Shard, key: Array, t: Array) -> Callable[[Variables], Gradient]:
        """The gradient of the mini-batch of step ``t``, as a function of the point where it is taken."""
        # the barrier keeps XLA from recomputing the rows for every column of the gather
        return self._gradient(shard, key, t, jax.lax.optimization_barrier(self._rows(shard, key, t)))

    def _place(self, shard: Shard, t: Array) -> tuple[Array, Array]:
        """The epoch of step ``t``, and the positions of its batch in the epoch's order, ``[B]``."""
        assert self.batch_size is not None
        per_epoch = jnp.maximum(self.batches(shard.size), 1)
        return t // per_epoch, (t % per_epoch) * self.batch_size + jnp.arange(self.batch_size)

    def _rows(self, shard: Shard, key: Array, t: Array) -> Array:
        """The row indices of step ``t``, ``[B]``; index 0 fills a short batch."""
        if self.batch_size is None:
            return jnp.zeros((0,), jnp.int32)
        epoch, place = self._place(shard, t)
        order = permute(keys.purpose(key, keys.EPOCH), place, shard.size, epoch)
        return jnp.where(place < shard.size, order, 0)

    def _gradient(self, shard: Shard, key: Array, t: Array, rows: Array) -> Callable[[Variables], Gradient]:
        """The gradient of step ``t`` as a function of the point where it is taken."""
        noise = jax.random.fold_in(keys.purpose(key, keys.STEP), t)
        if self.batch_size is None:
            return lambda variables: self.problem.full_gradient(variables, shard, noise)
        mask = self._place(shard, t)[1] < shard.size
        x, y = shard.take(rows)
        batch = Batch(x, y, mask.astype(jnp.result_type(float)), noise)
        return lambda variables: self.problem.gradient(variables, batch)
