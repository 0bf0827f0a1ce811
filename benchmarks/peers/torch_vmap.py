"""PyTorch with hospitals side by side: torch.func.vmap over stacked parameters.

Hospitals run in chunks, sorted by size; a chunk is as long as its largest, and steps that a hospital does not
have are masked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from workloads.arrays import Federation

from peers.protocol import serve
from peers.torch_peer import DEVICE, TorchPeer, threads


class Vmap(TorchPeer):
    """One gradient of a chunk of hospitals per step."""

    def __init__(self, federation: Federation, threads: int = 1, chunk: int = 10) -> None:
        super().__init__(federation, threads)
        self.chunk = chunk
        self.names = [name for name, _ in self.model.named_parameters()]
        self.gradient = vmap(grad(self._loss))

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """All threads; chunks of some sizes."""
        chunks = (10, 50) if cls.pilot(federation) == 50 else (10,)
        return [{"threads": threads()[-1], "chunk": chunk} for chunk in chunks]

    @classmethod
    def pilot(cls, federation: Federation) -> int:
        """Some hospitals of images, more tables."""
        return 4 if len(federation.inputs) == 3 else 50

    def one_round(self, cohort: np.ndarray) -> None:
        """Chunk after chunk, the largest hospitals first."""
        ordered = cohort[np.argsort(-self.federation.size[cohort], kind="stable")]
        total = [torch.zeros_like(leaf) for leaf in self.server]
        for first in range(0, len(ordered), self.chunk):
            members = ordered[first : first + self.chunk]
            weight = torch.tensor(self.federation.size[members], dtype=torch.float32, device=DEVICE)
            for t, leaf in zip(total, self._train(members), strict=True):
                t += torch.tensordot(weight, leaf, 1)
        rows = float(self.federation.size[cohort].sum())
        self.server = [leaf / rows for leaf in total]

    def _train(self, members: np.ndarray) -> list[torch.Tensor]:
        """Stacked parameters of a chunk after local training."""
        size, batch = self.federation.size[members], self.federation.batch
        steps = -(-int(size.max()) // batch)
        x, y = zip(*(self.data[hospital] for hospital in members), strict=True)
        x, y = (torch.nn.utils.rnn.pad_sequence(rows, batch_first=True) for rows in (x, y))
        sizes = torch.tensor(size, device=DEVICE)
        short = steps * batch - x.shape[1]
        which = torch.arange(len(members), device=DEVICE)[:, None]
        params = [leaf.expand(len(members), *leaf.shape).clone() for leaf in self.server]
        for _ in range(self.federation.epochs):
            # real rows in a random order, then padding
            keys = torch.rand(x.shape[:2], device=DEVICE)
            keys += 2.0 * (torch.arange(x.shape[1], device=DEVICE) >= sizes[:, None])
            order = functional.pad(keys.argsort(1), (0, short))
            for step in range(steps):
                at = slice(step * batch, step * batch + batch)
                mask = (torch.arange(at.start, at.stop, device=DEVICE) < sizes[:, None]).float()
                index = order[:, at]
                named = dict(zip(self.names, params, strict=True))
                grads = self.gradient(named, x[which, index], y[which, index], mask)
                torch._foreach_add_(params, [grads[n] for n in self.names], alpha=-self.federation.rate)
        return params

    def _loss(self, params: Any, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        out = functional_call(self.model, params, (x,))
        if self.federation.classes == 2:
            losses = functional.binary_cross_entropy_with_logits(out[:, 0], y, reduction="none")
        else:
            losses = functional.cross_entropy(out, y, reduction="none")
        return (losses * mask).sum() / mask.sum().clamp(min=1)


if __name__ == "__main__":
    serve(Vmap)
