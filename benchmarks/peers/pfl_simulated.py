"""pfl-research 0.6.0: FederatedAveraging on its SimulatedBackend, as its CIFAR10 benchmark sets it up.

One process with one thread or all, or one process per core as its documentation of distributed simulations
says. It takes a hospital's batches in the same order in every epoch.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from workloads.arrays import Federation

from peers.protocol import Peer, serve


class Simulated(Peer):
    """A hospital is a pfl Dataset of tensors."""

    def __init__(self, federation: Federation, threads: int = 1) -> None:
        super().__init__(federation)
        import torch
        from pfl.data.dataset import Dataset
        from pfl.model.pytorch import PyTorchModel
        from torch import nn

        from peers import torch_peer

        self.torch, self.threads, self.peer = torch, threads, torch_peer
        torch.set_num_threads(threads)
        loss = torch_peer.objective(federation)

        class Model(nn.Module):
            """What PyTorchModel asks for."""

            def __init__(self) -> None:
                super().__init__()
                self.net = torch_peer.build(federation)

            def forward(self, x: Any) -> Any:
                return self.net(x)

            def loss(self, x: Any, y: Any) -> Any:
                return loss(self(x), y)

            def metrics(self, x: Any, y: Any) -> Any:
                return {}

        module = Model()
        torch_peer.load(module, federation, federation.initial())
        self.model = PyTorchModel(
            model=module,
            local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(module.parameters(), 1.0),
        )
        self.data: dict[int, Any] = {}
        self.dataset = Dataset

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """One thread or all."""
        from peers.torch_peer import threads

        return [{"threads": t} for t in threads()]

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """FedAvg with weights n_k; one run of the algorithm per round."""
        from pfl.aggregate.simulate import SimulatedBackend
        from pfl.aggregate.weighting import WeightByDatapoints
        from pfl.algorithm.base import NNAlgorithmParams
        from pfl.algorithm.federated_averaging import FederatedAveraging
        from pfl.data.federated_dataset import FederatedDataset
        from pfl.data.sampling import MinimizeReuseUserSampler
        from pfl.hyperparam import NNTrainHyperParams

        self.torch.set_num_threads(self.threads)
        for hospital in np.unique(np.concatenate(cohorts)):
            if hospital not in self.data:
                self.data[hospital] = self.dataset(self.peer.tensors(self.federation, hospital))
        seconds = []
        for cohort in cohorts:
            sampler = MinimizeReuseUserSampler(cohort.tolist())
            users = FederatedDataset(self.data.__getitem__, sampler)
            backend = SimulatedBackend(users, users, postprocessors=[WeightByDatapoints()])
            began = time.perf_counter()
            FederatedAveraging().run(
                NNAlgorithmParams(
                    central_num_iterations=1,
                    evaluation_frequency=2,
                    train_cohort_size=len(cohort),
                    val_cohort_size=0,
                ),
                backend,
                self.model,
                NNTrainHyperParams(
                    local_learning_rate=self.federation.rate,
                    local_num_epochs=self.federation.epochs,
                    local_batch_size=self.federation.batch,
                ),
                send_metrics_to_platform=False,
            )
            seconds.append(time.perf_counter() - began)
        return seconds

    def parameters(self) -> list[np.ndarray]:
        """Of the server."""
        return self.peer.save(self.federation, list(self.model.pytorch_model.parameters()))


if __name__ == "__main__":
    serve(Simulated)
