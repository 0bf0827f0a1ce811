"""Opacus, one hospital after another: DP-SGD with its per-row gradients and its optimizer.

    python -m peers.opacus_loop

The first line on stdin names a folder of arrays (``x``, ``y``, ``size``, and ``leaf0``, ``leaf1``, ...:
kernel and bias of each dense layer); every other one asks for a round of FedAvg over the first K hospitals:
``{"threads": T, "batch": B, "epochs": E, "clip": C, "noise": z, "hospitals": K, "learning_rate": r,
"out": PATH or null}``. Rows are drawn from tensors, B of a hospital in the mean, which costs less than
Opacus' data loader.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np


class Loop:
    """A federation and the model of the server."""

    def __init__(self, folder: Path) -> None:
        import torch
        from opacus import GradSampleModule

        self.torch = torch
        x, y, size = (np.load(folder / f"{name}.npy") for name in ("x", "y", "size"))
        ends = np.cumsum(size)
        self.data = [
            (torch.from_numpy(x[end - n : end]), torch.from_numpy(y[end - n : end]).float())
            for n, end in zip(size, ends, strict=True)
        ]
        leaves = [np.load(folder / f"leaf{i}.npy") for i in range(len([*folder.glob("leaf*.npy")]))]
        layers: list[Any] = []
        for kernel in leaves[::2]:
            layers += [torch.nn.Linear(*kernel.shape), torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1])
        self.start = [torch.from_numpy(np.ascontiguousarray(leaf.T)) for leaf in leaves]
        self.model = GradSampleModule(network)
        self.loss = torch.nn.BCEWithLogitsLoss()

    def round(
        self,
        threads: int,
        batch: int,
        epochs: int,
        clip: float,
        noise: float,
        hospitals: int,
        learning_rate: float,
        out: str | None,
    ) -> dict[str, Any]:
        """One round from the initial parameters; and its seconds."""
        from opacus.optimizers import DPOptimizer

        torch = self.torch
        torch.set_num_threads(threads)
        parameters = [*self.model.parameters()]
        total, rows = [torch.zeros_like(leaf) for leaf in self.start], 0
        began = time.perf_counter()
        for x, y in self.data[:hospitals]:
            n = len(y)
            q = min(1.0, batch / n)
            with torch.no_grad():
                torch._foreach_copy_(parameters, self.start)
            optimizer = DPOptimizer(
                torch.optim.SGD(parameters, learning_rate),
                noise_multiplier=noise,
                max_grad_norm=clip,
                expected_batch_size=q * n,
            )
            for _ in range(epochs * math.ceil(n / batch)):
                drawn = torch.nonzero(torch.rand(n) < q)[:, 0] if q < 1 else slice(None)
                optimizer.zero_grad(set_to_none=True)
                self.loss(self.model(x[drawn])[:, 0], y[drawn]).backward()
                optimizer.step()
            with torch.no_grad():
                torch._foreach_add_(total, parameters, alpha=n)
            rows += n
        server = [leaf / rows for leaf in total]
        seconds = time.perf_counter() - began
        if out is not None:
            np.savez(out, *[leaf.detach().numpy().T for leaf in server])
        return {"seconds": seconds, "version": importlib.metadata.version("opacus")}


def main() -> None:
    """Answer requests until there are no more."""
    warnings.simplefilter("ignore")
    loop = Loop(Path(json.loads(sys.stdin.readline())["folder"]))
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = loop.round(**json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
