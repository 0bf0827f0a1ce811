"""Flower's simulation: a ServerApp with its FedAvg, ClientApps in Ray's workers, one per core.

A simulation cannot be stopped between two rounds, so all repeats are one simulation and do not alternate
with the others'; a round lasts from when it is configured until the next one is.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0")

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from workloads import arrays
from workloads.arrays import Federation

from peers.protocol import Peer, peak_bytes, serve
from peers.torch_peer import build, load, objective, save, tensors, threads

client = ClientApp()
cache: dict[Any, Any] = {}  # of a worker: federation, model, rows of hospitals


class Timed(FedAvg):
    """FedAvg that notes when a round begins."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(fraction_evaluate=0.0, **arguments)
        self.began: list[float] = []
        self.arrays: list[ArrayRecord] = []

    def configure_train(self, server_round: int, arrays: ArrayRecord, *rest: Any) -> Any:
        """As FedAvg's."""
        self.began.append(time.perf_counter())
        self.arrays.append(arrays)
        return super().configure_train(server_round, arrays, *rest)


@client.train()
def train(message: Message, context: Context) -> Message:
    """Local SGD of one hospital; its rows stay in the worker."""
    config = message.content["config"]
    torch.set_num_threads(1)
    folder = str(config["folder"])
    if cache.get("folder") != folder:
        federation = arrays.read(Path(folder))
        cache.clear()
        cache.update(folder=folder, federation=federation, model=build(federation))
    federation, model = cache["federation"], cache["model"]
    hospital = list(config["hospitals"])[int(context.node_config["partition-id"])]
    if hospital not in cache:
        cache[hospital] = tensors(federation, hospital)
    x, y = cache[hospital]
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, loss = torch.optim.SGD(model.parameters(), federation.rate), objective(federation)
    for _ in range(federation.epochs):
        order = torch.randperm(len(y))
        for xs, ys in zip(x[order].split(federation.batch), y[order].split(federation.batch), strict=True):
            optimizer.zero_grad(set_to_none=True)
            loss(model(xs), ys).backward()
            optimizer.step()
    content = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": len(y)}),
    }
    return Message(content=RecordDict(content), reply_to=message)


class Flower(Peer):
    """One simulation for all rounds; each hospital is a node."""

    at_once: ClassVar[bool] = True

    @classmethod
    def hospitals(cls, federation: Federation) -> int:
        """Without a pilot, because each simulation takes some seconds to start."""
        return cls.affordable(federation, 20_000, 2e11)

    def __init__(self, federation: Federation, **settings: Any) -> None:
        super().__init__(federation)
        self.model = build(federation)
        load(self.model, federation, federation.initial())

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """FedAvg with weights n_k and the first cohort in every round, after one that is not timed."""
        nodes = len(cohorts[0])
        strategy = Timed(min_available_nodes=nodes, min_train_nodes=nodes)  # wait for all of them
        found: dict[str, Any] = {}
        app = ServerApp()
        config = {"folder": str(self.federation.folder), "hospitals": [int(h) for h in cohorts[0]]}

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            from flwr.app import ConfigRecord

            found["result"] = strategy.start(
                grid=grid,
                initial_arrays=ArrayRecord(self.model.state_dict()),
                num_rounds=len(cohorts) + 1,
                train_config=ConfigRecord(config),
            )
            found["ended"] = time.perf_counter()
            self.peak = peak_bytes()  # while the workers are there

        resources = {"num_cpus": 1, "num_gpus": 0.0}
        run_simulation(
            app,
            client,
            num_supernodes=nodes,
            backend_config={
                "client_resources": resources,
                "init_args": {"num_cpus": threads()[-1]},
            },
        )
        self.model.load_state_dict(strategy.arrays[-1].to_torch_state_dict())
        return np.diff([*strategy.began, found["ended"]]).tolist()[1:]

    def notes(self) -> dict[str, Any]:
        """Memory of the workers too."""
        return {"peak_bytes": self.peak}

    def parameters(self) -> list[np.ndarray]:
        """Of the server."""
        return save(self.federation, list(self.model.parameters()))


if __name__ == "__main__":
    serve(Flower)
