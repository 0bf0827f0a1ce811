"""FedJAX 0.0.17: its federated averaging with the 'jit' backend.

Its batches run on over the ends of epochs and are always full, so it takes ceil(epochs n / batch) steps.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

jax.tree_map = jax.tree_util.tree_map  # names that FedJAX uses and jax has dropped
jnp.NINF = -jnp.inf

import fedjax  # noqa: E402
from workloads.arrays import Federation  # noqa: E402

from peers.protocol import Peer, serve  # noqa: E402


def forward(federation: Federation, params: list[Any], x: Any) -> Any:
    """Outputs, with the operations that haiku's layers use."""
    leaves = iter(params)
    for kind, *numbers in federation.layers:
        if kind == "dense":
            x = x @ next(leaves) + next(leaves)
        elif kind == "conv":
            kernel, bias = next(leaves), next(leaves)
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = x + bias
        elif kind == "pool":
            window = (1, numbers[0], numbers[0], 1)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        else:
            x = jax.nn.relu(x) if kind == "relu" else x.reshape(len(x), -1)
    return x


def mean_loss(federation: Federation, params: list[Any], batch: Any) -> Any:
    """Mean log loss of a batch."""
    out, y = forward(federation, params, batch["x"]), batch["y"]
    if federation.classes == 2:
        return jnp.mean(jnp.logaddexp(0, out[:, 0]) - y * out[:, 0])
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1))


class FedJax(Peer):
    """Its ``federated_averaging`` on its ``ClientDataset``."""

    ragged: ClassVar[bool] = False

    def __init__(self, federation: Federation, **settings: Any) -> None:
        super().__init__(federation)
        fedjax.set_for_each_client_backend("jit")
        self.algorithm = fedjax.algorithms.fed_avg.federated_averaging(
            grad_fn=jax.grad(lambda params, batch, key: mean_loss(federation, params, batch)),
            client_optimizer=fedjax.optimizers.sgd(federation.rate),
            server_optimizer=fedjax.optimizers.sgd(1.0),
            client_batch_hparams=fedjax.ShuffleRepeatBatchHParams(
                batch_size=federation.batch, num_epochs=federation.epochs, seed=0
            ),
        )
        self.state = self.algorithm.init([jnp.asarray(leaf) for leaf in federation.initial()])
        self.data: dict[int, Any] = {}

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """FedAvg with weights n_k."""
        for hospital in np.unique(np.concatenate(cohorts)):
            if hospital not in self.data:
                x, y = (np.array(a) for a in self.federation.rows(hospital))
                self.data[hospital] = fedjax.ClientDataset({"x": x, "y": y})
        keys = jax.random.split(jax.random.key(0), len(self.federation.size))
        seconds = []
        for cohort in cohorts:
            clients = [(hospital, self.data[hospital], keys[hospital]) for hospital in cohort]
            began = time.perf_counter()
            self.state, _ = self.algorithm.apply(self.state, clients)
            jax.block_until_ready(self.state.params)
            seconds.append(time.perf_counter() - began)
        return seconds

    def parameters(self) -> list[np.ndarray]:
        """Of the server."""
        return [np.asarray(leaf) for leaf in self.state.params]


if __name__ == "__main__":
    serve(FedJax)
