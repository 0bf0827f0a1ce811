"""PyTorch, one hospital after another: the plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from workloads.arrays import Federation

from peers.protocol import serve
from peers.torch_peer import DEVICE, TorchPeer, objective, threads


class Loop(TorchPeer):
    """Rows stay on the device as tensors; SGD is torch.optim's fused one; nothing is logged."""

    def __init__(self, federation: Federation, threads: int = 1, channels_last: bool = False) -> None:
        order = torch.channels_last if channels_last else torch.contiguous_format
        super().__init__(federation, threads, order)
        self.optimizer = torch.optim.SGD(self.model.parameters(), federation.rate, fused=True)
        self.loss = objective(federation)

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """One thread or all, and for images the channels first or last."""
        orders = [False, True] if len(federation.inputs) == 3 else [False]
        return [{"threads": t, "channels_last": last} for t in threads() for last in orders]

    def one_round(self, cohort: np.ndarray) -> None:
        """Every hospital starts from the server's parameters."""
        own = list(self.model.parameters())
        total = [torch.zeros_like(leaf) for leaf in self.server]
        rows = 0
        for hospital in cohort:
            x, y = self.data[hospital]
            with torch.no_grad():
                torch._foreach_copy_(own, self.server)
            self._train(x, y)
            with torch.no_grad():
                torch._foreach_add_(total, own, alpha=len(y))
            rows += len(y)
        self.server = [leaf / rows for leaf in total]

    def _train(self, x: torch.Tensor, y: torch.Tensor) -> None:
        batch = self.federation.batch
        for _ in range(self.federation.epochs):
            order = torch.randperm(len(y), device=DEVICE)
            for xs, ys in zip(x[order].split(batch), y[order].split(batch), strict=True):
                self.optimizer.zero_grad(set_to_none=True)
                self.loss(self.model(xs), ys).backward()
                self.optimizer.step()


if __name__ == "__main__":
    serve(Loop)
