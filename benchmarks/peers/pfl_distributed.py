"""pfl-research in one process per core: workers that meet in torch.distributed once per round."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from workloads.arrays import Federation

from peers.pfl_simulated import Simulated
from peers.protocol import serve
from peers.torch_peer import threads


class Distributed(Simulated):
    """All workers must take the same hospitals, so there is no pilot."""

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """One thread each."""
        return [{"threads": 1}]

    @classmethod
    def hospitals(cls, federation: Federation) -> int:
        """About a second's."""
        return cls.affordable(federation, 150_000, 2e11)

    def notes(self) -> dict[str, Any]:
        """Workers."""
        return {"processes": threads()[-1]}


def workers() -> list[Any]:
    """The other workers' pipes; this process becomes worker 0."""
    count = threads()[-1]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ["PFL_WORKER_ADDRESSES"] = ",".join(f"localhost:{port + c}" for c in range(count))
    os.environ["PFL_WORKER_RANK"] = "0"
    command = [sys.executable, "-m", "peers.pfl_distributed"]
    pipes = []
    for rank in range(1, count):
        own = {**os.environ, "PFL_WORKER_RANK": str(rank)}
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=own, text=True
        )
        pipes.append(started.stdin)
    return pipes


if __name__ == "__main__":
    leads = "PFL_WORKER_RANK" not in os.environ
    serve(Distributed, workers() if leads else [], leads)
