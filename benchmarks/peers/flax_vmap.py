"""flax as written: ``nn.Conv`` and ``nn.max_pool`` under vmap over hospitals, the local steps in a scan.

What a user would write without jaxfed: hospitals padded to the largest, ``random.permutation`` per epoch.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workloads.arrays import Federation

from peers.ours import Plain, as_leaves, as_params
from peers.protocol import Peer, serve


class FlaxVmap(Peer):
    """One jitted round of all the hospitals it is given; one batch of each, because it is slow."""

    whole: ClassVar[bool] = True
    rows: ClassVar[int | None] = 20

    def __init__(self, federation: Federation, **settings: Any) -> None:
        super().__init__(federation)
        self.model = Plain(federation.layers)
        self.params = jax.tree.map(jnp.asarray, as_params(federation.layers, federation.initial()))
        self.key = jax.random.key(0)
        self.count = 0

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """FedAvg with weights n_k."""
        seconds = []
        for cohort in cohorts:
            x, y, size = self._padded(cohort)
            self.count += 1
            key = jax.random.fold_in(self.key, self.count)
            began = time.perf_counter()
            self.params = jax.block_until_ready(self._round(self.params, x, y, size, key))
            seconds.append(time.perf_counter() - began)
        return seconds

    def parameters(self) -> list[np.ndarray]:
        """Of the server."""
        return as_leaves(self.params)

    def _padded(self, cohort: np.ndarray) -> tuple[Any, Any, Any]:
        batch = self.federation.batch
        size = np.asarray(self.federation.size)[cohort]
        longest = -(-int(size.max()) // batch) * batch
        x = np.zeros((len(cohort), longest, *self.federation.inputs), np.float32)
        y = np.zeros((len(cohort), longest), np.int32)
        for k, hospital in enumerate(cohort):
            x[k, : size[k]], y[k, : size[k]] = self.federation.rows(hospital)
        return jnp.asarray(x), jnp.asarray(y), jnp.asarray(size)

    @partial(jax.jit, static_argnums=0)
    def _round(self, params: Any, x: Any, y: Any, size: Any, key: Any) -> Any:
        keys = jax.random.split(key, len(size))
        own = jax.vmap(partial(self._train, params))(x, y, size, keys)
        return jax.tree.map(lambda leaf: jnp.tensordot(size / size.sum(), leaf, 1), own)

    def _train(self, params: Any, x: Any, y: Any, size: Any, key: Any) -> Any:
        batch = self.federation.batch

        def epoch(params: Any, key: Any) -> tuple[Any, None]:
            keys = jax.random.uniform(key, (len(y),)) + 2 * (jnp.arange(len(y)) >= size)
            batches = jnp.argsort(keys).reshape(-1, batch)
            real = (jnp.arange(len(y)) < size).reshape(-1, batch)
            return jax.lax.scan(step, params, (batches, real))[0], None

        def step(params: Any, now: Any) -> tuple[Any, None]:
            index, real = now
            grads = jax.grad(self._loss)(params, x[index], y[index], real)
            return jax.tree.map(lambda p, g: p - self.federation.rate * g, params, grads), None

        return jax.lax.scan(epoch, params, jax.random.split(key, self.federation.epochs))[0]

    def _loss(self, params: Any, x: Any, y: Any, real: Any) -> Any:
        out = self.model.apply({"params": params}, x)
        if self.federation.classes == 2:
            losses = optax.sigmoid_binary_cross_entropy(out[:, 0], y.astype(out.dtype))
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(out, y)
        return jnp.where(real, losses, 0).sum() / jnp.maximum(real.sum(), 1)


if __name__ == "__main__":
    serve(FlaxVmap)
