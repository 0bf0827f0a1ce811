"""DP-SGD as the local training of a hospital.

    each step:  B <- every row with probability q;   g <- sum_{i in B} clip(grad_i, C) + N(0, (z C)^2)
                y <- y - optimizer(g / (q n))

Abadi et al. 2016, arXiv:1607.00133. The sum is divided by the expected number of rows, q n, and never by the
number that was drawn; a step without rows gets noise all the same. The penalty (l2) depends on no row and is
added after the noise. The number n of a hospital's rows is taken to be public.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.core import keys
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import Correct, LocalTraining, Trained
from jaxfed.core.problem import Batch
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Shard, Variables
from jaxfed.privacy.gradients import clipped_sum
from jaxfed.privacy.noise import noisy
from jaxfed.privacy.sampling import draw


class Streams(NamedTuple):
    """The keys of a hospital's round: of samples, of noise, and of dropout."""

    sample: Array
    noise: Array
    dropout: Array

    @classmethod
    def of(cls, key: Array) -> Streams:
        """The streams of a hospital's key of a round."""
        return cls(*(keys.purpose(key, number) for number in (keys.SAMPLE, keys.NOISE, keys.STEP)))


@pytree
@dataclasses.dataclass(frozen=True)
class PrivateTraining(LocalTraining):
    """Local training whose steps are private; ``batch_size`` is the expected number of rows of a step.

    Attributes:
        clip: the largest norm of a row's gradient.
        noise_multiplier: standard deviation of the noise on the sum, in units of ``clip``.
        rate: the probability of a row to be in a step; None for ``batch_size`` over the hospital's rows.
        microbatch: static; rows that pass through the model side by side.
        flat: static; clip whole gradients, and not leaf by leaf.
    """

    clip: Number = 1.0
    noise_multiplier: Number = 1.0
    rate: Number | None = None
    microbatch: int = dataclasses.field(default=40, metadata={"static": True})
    flat: bool = dataclasses.field(default=True, metadata={"static": True})

    def sampling_rate(self, size: Any) -> Any:
        """The probability of a row to be in a step, in a hospital of ``size`` rows; at most 1."""
        if self.rate is not None:
            return self.rate
        if self.batch_size is None:
            return 1.0
        return jnp.minimum(1.0, self.batch_size / jnp.maximum(size, 1))

    def batches(self, size: Array) -> Array:
        """Steps of an epoch: in the mean every row is drawn once."""
        if self.rate is None:
            return super().batches(size)
        epoch = jnp.ceil(1 / jnp.asarray(self.rate) - 1e-4).astype(jnp.int32)
        return jnp.where(size > 0, epoch, 0)

    def train(
        self, variables: Variables, shard: Shard, key: Array, correct: Correct | None = None
    ) -> Trained:
        """Train on one hospital's rows from ``variables``; as :meth:`LocalTraining.train`.

        ``correct`` gets the private gradient, and cannot ask for another one of the same rows.
        """
        assert self.optimizer is not None, "validated by Simulation"
        transformation = self.optimizer.build()
        steps, streams = self.total_steps(shard.size), Streams.of(key)

        def step(t: Array, carry: tuple) -> tuple:
            params, optimizer, total = carry
            loss, grads = self.private_gradient(Variables(params, variables.stats), shard, streams, t)
            if correct is not None:
                grads = correct(grads, params, no_second_gradient)
            updates, optimizer = transformation.update(grads, optimizer, params)
            return optax.apply_updates(params, updates), optimizer, total + loss

        start = variables.params, transformation.init(variables.params), jnp.zeros((), jnp.result_type(float))
        params, _, loss = shard.loop(steps, step, start)
        return Trained(Variables(params, variables.stats), steps, self.mean_of_steps(loss, shard))

    def private_gradient(
        self, variables: Variables, shard: Shard, streams: Streams, t: Array
    ) -> tuple[Array, PyTree]:
        """The loss of step ``t`` (which is not private) and its private gradient, penalty included."""
        loss, total = self.summed(variables, shard, streams, t)
        # without noise also for an infinite bound
        deviation = jnp.where(jnp.asarray(self.noise_multiplier) > 0, self.noise_multiplier * self.clip, 0)
        total = noisy(total, deviation, streams.noise, t)
        expected = jnp.maximum(self.sampling_rate(shard.size) * shard.size, 1e-6)
        loss, grads = jax.tree.map(lambda leaf: leaf / expected.astype(leaf.dtype), (loss, total))
        if self.problem.l2 is not None:
            penalty, slope = jax.value_and_grad(self.problem.penalty)(variables.params)
            loss, grads = jax.tree.map(jnp.add, (loss, grads), (penalty, slope))
        return loss, grads

    def summed(self, variables: Variables, shard: Shard, streams: Streams, t: Array) -> tuple[Array, PyTree]:
        """The sums of losses and of clipped gradients over the sample of step ``t``."""
        rate, dropout = self.sampling_rate(shard.size), jax.random.fold_in(streams.dropout, t)

        def of_row(params: PyTree, row: tuple[PyTree, Array, Array]) -> tuple[Array, PyTree]:
            x, y, key = row

            def loss(params: PyTree) -> Array:
                rows, labels = jax.tree.map(lambda leaf: leaf[None], (x, y))
                batch = Batch(rows, labels, jnp.ones(1), key)
                return self.problem.row_losses(Variables(params, variables.stats), batch)[0][0]

            return jax.value_and_grad(loss)(params)

        def unfinished(carry: tuple) -> Array:
            left = (carry[1] < shard.size - 1) & (shard.size > 0)
            return left if shard.block is None else jax.lax.pmax(left, shard.block)

        def microbatch(carry: tuple) -> tuple:
            first, last, total = carry
            drawn = draw(streams.sample, t, rate, shard.size, last, first, self.microbatch)
            rows = jax.lax.optimization_barrier(drawn.rows)  # or XLA draws them again for every column
            x, y = shard.take(rows)
            places = first + jnp.arange(self.microbatch)
            row_keys = jax.vmap(lambda place: jax.random.fold_in(dropout, place))(places)
            clipped = clipped_sum(
                of_row, variables.params, (x, y, row_keys), drawn.counts, self.clip, flat=self.flat
            )
            return first + self.microbatch, drawn.last, jax.tree.map(jnp.add, total, (*clipped,))

        zeros = jnp.zeros((), jnp.result_type(float)), jax.tree.map(jnp.zeros_like, variables.params)
        start = jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32), zeros
        return jax.lax.while_loop(unfinished, microbatch, start)[2]


def no_second_gradient(params: PyTree) -> PyTree:
    """Refuse a second gradient of the rows of a step, which the accounting does not know of."""
    raise TypeError("a private step has one gradient")
