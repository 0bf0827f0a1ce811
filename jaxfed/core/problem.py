"""A model with its loss: the objective that a hospital minimises.

F_k(w) = 1/n_k sum_i r_i loss(model(w, x_i), y_i) + l2/2 ||W||^2, where W are the leaves of ``params`` with
two or more axes (kernels, not biases), and r_i are the weights of rows, whose mean in a hospital is 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.hyperparameters import Number
from jaxfed.core.nn.base import FlaxModel
from jaxfed.core.nn.rewrite import Form
from jaxfed.core.pytree import pytree
from jaxfed.core.task import Task
from jaxfed.core.tasks import as_task
from jaxfed.core.types import PyTree, Shard, Variables, Weighted

Kind = TypeVar("Kind", bound="Problem")
Loss = Callable[[Array, Array], Array]  # (outputs [B, ...], y [B, ...]) -> [B]


class Batch(NamedTuple):
    """Rows of one hospital: ``x [B, ...]``, ``y [B, ...]``, ``mask [B]`` (0 for padding), a random key."""

    x: PyTree
    y: Array | Weighted
    mask: Array
    key: Array


class Gradient(NamedTuple):
    """Loss and gradient of a batch at some point, and the ``stats`` after it."""

    loss: Array
    params: PyTree
    stats: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Problem:
    """A model, its loss and its penalty.

    Attributes:
        l2: strength of the penalty, may be traced; None for none.
        model: static; a flax model as pure functions.
        task: static; gives the loss if ``loss`` is None.
        loss: static; per example, ``(outputs, y) -> [B]``.
        chunk: static; rows per chunk when all rows of a hospital are passed through the model. Where the
            task's loss is not by row, it must hold the largest hospital.
    """

    l2: Number | None
    model: FlaxModel = dataclasses.field(metadata={"static": True})
    task: Task = dataclasses.field(metadata={"static": True})
    loss: Loss | None = dataclasses.field(default=None, metadata={"static": True})
    chunk: int = dataclasses.field(default=128, metadata={"static": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", as_task(self.task))

    @property
    def by_row(self) -> bool:
        """Whether the loss of a row depends on that row alone, as that of users is taken to."""
        return self.loss is not None or self.task.by_row

    def extended(self, kind: type[Kind], **more: Any) -> Kind:
        """Rebuild this problem as the subclass ``kind``, whose additional fields are ``more``."""
        return kind(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(Problem)}, **more
        )

    def plain(self) -> Problem:
        """A copy that runs the model's own operations.

        The rewritten ones hide how axes correspond and have no forward-mode derivative.
        """
        return self.in_form("native")

    def in_form(self, form: Form | None) -> Problem:
        """A copy with the model's operations in a form, see :func:`jaxfed.core.nn.rewrite.routed`."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, form=form))

    def init(self, key: Array, x: PyTree) -> Variables:
        """Initial variables in jax's default float type; ``x`` is a batch."""
        default = jnp.result_type(float)
        return jax.tree.map(
            lambda leaf: leaf.astype(default) if leaf.dtype == jnp.float32 else leaf,
            self.model.init(key, x),
        )

    def predict(self, variables: Variables, x: PyTree) -> Array:
        """Outputs ``[B, ...]`` in evaluation mode."""
        return self.model.apply(variables, x, train=False, key=None, mask=None)[0]

    def features(self, variables: Variables, x: PyTree) -> Array:
        """The result of the model's ``features`` method, ``[B, d]``, in evaluation mode."""
        return self.model.features(variables, x)

    def losses(self, outputs: Array, y: Array | Weighted, mask: Array | None = None) -> Array:
        """The weighted loss of each example, ``[B]``, without the penalty; ``mask [B]`` is 0 for padding."""
        if isinstance(y, Weighted):
            losses = self.losses(outputs, y.y, mask)
            return losses * y.weight.astype(losses.dtype)
        return self.task.losses(outputs, y, mask) if self.loss is None else self.loss(outputs, y)

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """The loss of each row in training mode, ``[B]``, and the ``stats`` after it.

        Algorithms with a loss of their own per row (a term on features, a second model) override this.
        """
        outputs, stats = self.model.apply(variables, batch.x, train=True, key=batch.key, mask=batch.mask)
        return self.losses(outputs, batch.y, batch.mask), stats

    def penalty(self, params: PyTree) -> Array:
        """``l2 / 2 ||kernels||^2``."""
        kernels = [w for w in jax.tree.leaves(params) if w.ndim > 1]
        strength = 0.0 if self.l2 is None else self.l2
        return 0.5 * strength * sum((jnp.vdot(w, w) for w in kernels), jnp.zeros(()))

    def gradient(self, variables: Variables, batch: Batch) -> Gradient:
        """The gradient of the mean loss over the real rows of a batch, penalty included."""
        total = self._sum_gradient(variables, batch)
        count = jnp.maximum(batch.mask.sum(), 1)
        return self._mean(variables, total, count)

    def full_loss(self, variables: Variables, shard: Shard) -> Array:
        """F_k over all of a hospital's rows in evaluation mode, penalty included."""

        def add(total: Array, x: PyTree, y: Array, mask: Array, c: Array) -> Array:
            losses = self.losses(self.predict(variables, x), y, mask)
            return total + jnp.where(mask, losses, 0).sum()

        nothing = jnp.zeros((), jnp.result_type(float))
        total = shard.fold(self.chunk, add, nothing) / jnp.maximum(shard.size, 1).astype(nothing.dtype)
        return total if self.l2 is None else total + self.penalty(variables.params)

    def full_gradient(self, variables: Variables, shard: Shard, key: Array) -> Gradient:
        """The gradient of F_k over all of a hospital's rows, in chunks, at constant memory.

        Batch statistics are those of the last chunk: models with batch norm need mini-batches.
        """

        def add(total: Gradient, x: PyTree, y: Array, mask: Array, c: Array) -> Gradient:
            batch = Batch(x, y, mask.astype(total.loss.dtype), jax.random.fold_in(key, c))
            new = self._sum_gradient(variables, batch)
            loss, params = jax.tree.map(jnp.add, (total.loss, total.params), (new.loss, new.params))
            return Gradient(loss, params, new.stats)

        zeros = jax.tree.map(jnp.zeros_like, variables.params)
        nothing = Gradient(jnp.zeros((), jnp.result_type(float)), zeros, variables.stats)
        total = shard.fold(self.chunk, add, nothing)
        return self._mean(variables, total, jnp.maximum(shard.size, 1))

    def _sum_gradient(self, variables: Variables, batch: Batch) -> Gradient:
        def objective(params: PyTree) -> tuple[Array, PyTree]:
            losses, stats = self.row_losses(Variables(params, variables.stats), batch)
            # jnp.where and not a product, because a padded row may hold NaN
            return jnp.where(batch.mask > 0, losses, 0).sum(), stats

        (loss, stats), grads = jax.value_and_grad(objective, has_aux=True)(variables.params)
        return Gradient(loss, grads, stats)

    def _mean(self, variables: Variables, total: Gradient, count: Array) -> Gradient:
        loss, params = jax.tree.map(lambda leaf: leaf / count.astype(leaf.dtype), (total.loss, total.params))
        if self.l2 is not None:
            penalty, slope = jax.value_and_grad(self.penalty)(variables.params)
            loss, params = jax.tree.map(jnp.add, (loss, params), (penalty, slope))
        return Gradient(loss, params, total.stats)
