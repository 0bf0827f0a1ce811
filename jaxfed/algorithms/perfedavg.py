"""A global model that is good after one gradient step in the hospital (model-agnostic meta-learning).

    every hospital k:  w <- w - beta (I - alpha H(w; D'')) g(w - alpha g(w; D); D'),   D, D', D'' independent
    server:            x <- mean of w_k;   before use  v_k <- x - alpha grad F_k(x)

Fallah, Mokhtari, Ozdaglar 2020, "Personalized federated learning: a meta-learning approach",
arXiv:2002.07948. beta is the hospitals' step size (0.001 in the paper; any optimiser), and the mean has
equal weights. With ``first_order`` the Hessian is left out (their FO variant); without, its product with a
vector is exact, where their HF variant takes a difference of gradients.

Departures: with full batches D, D' and D'' are the same rows. The step before use is over all of the
hospital's training rows, with ``alpha_before_use``, or the alpha of the last round that was trained.

A poor choice where one gradient step cannot adapt a model; a step costs three gradients (two if
``first_order``).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class PerFedAvg(Averaging):
    """A model that adapts in one step.

    Attributes:
        alpha: step size of that step.
        first_order: static; leave the Hessian out.
        alpha_before_use: step size of the step before use; None for alpha, that of the last round.
    """

    weighting: Literal["samples", "uniform"] = dataclasses.field(default="uniform", metadata={"static": True})
    alpha: Number = 0.01
    first_order: bool = dataclasses.field(default=False, metadata={"static": True})
    alpha_before_use: Number | None = None
    personal: ClassVar[bool] = True
    adapts: ClassVar[bool] = True

    def client_update(
        self, local: LocalTraining, server: Server, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload w_k - x."""
        assert local.optimizer is not None, "validated by Simulation"
        transformation = local.optimizer.build()
        streams = jax.random.split(key, 3)

        def step(t: Array, carry: tuple) -> tuple:
            (w, stats), optimizer, total = carry
            inner, outer, curved = (local.gradient(shard, stream, t) for stream in streams)

            def slope(w: PyTree) -> PyTree:
                return curved(Variables(w, stats)).params

            adapted = tree.axpy(-self.alpha, inner(Variables(w, stats)).params, w)
            loss, grads, stats_after = outer(Variables(adapted, stats))
            if not self.first_order:
                _, product = jax.jvp(slope, (w,), (grads,))
                grads = tree.axpy(-self.alpha, product, grads)
            updates, optimizer = transformation.update(grads, optimizer, w)
            return Variables(optax.apply_updates(w, updates), stats_after), optimizer, total + loss

        x = server.variables
        start = (x, transformation.init(x.params), jnp.zeros((), jnp.result_type(float)))
        trained, _, total = local.repeat(shard, step, start)
        metrics = {"loss": local.mean_of_steps(total, shard)}
        return Upload(tree.subtract(trained, x)), client, metrics

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """One gradient step on the hospital's training rows."""
        grads = local.problem.full_gradient(variables, shard, key).params
        rate = jnp.where(shard.size > 0, self._last_alpha, 0)
        return variables._replace(params=tree.axpy(-rate, grads, variables.params))

    @property
    def _last_alpha(self) -> Number:
        return self.alpha if self.alpha_before_use is None else self.alpha_before_use

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The step size before use."""
        return self._last_alpha, "PerFedAvg(alpha_before_use=0.01)"

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the step sizes make sense."""
        last = self.alpha_before_use
        found = [] if last is None else checks.number("alpha_before_use", last)
        return checks.number("alpha", self.alpha) + found
