"""What peers with PyTorch share: a workload's model, its parameters and rows as tensors, timed rounds."""

from __future__ import annotations

import abc
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from workloads.arrays import Federation
from workloads.models import walk

from peers.protocol import Peer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build(federation: Federation) -> nn.Sequential:
    """The layers as modules; the images are ``[channels, height, width]``."""
    modules: list[nn.Module] = []
    for (kind, *numbers), before, _ in walk(federation.layers, federation.inputs):
        if kind == "dense":
            modules.append(nn.Linear(before[0], numbers[0]))
        elif kind == "conv":
            modules.append(nn.Conv2d(before[2], numbers[0], numbers[1]))
        elif kind == "pool":
            modules.append(nn.MaxPool2d(numbers[0]))
        else:
            modules.append(nn.ReLU() if kind == "relu" else nn.Flatten())
    return nn.Sequential(*modules).to(DEVICE)


def load(model: nn.Module, federation: Federation, leaves: Sequence[np.ndarray]) -> None:
    """Put the flat list of parameters into a model."""
    with torch.no_grad():
        for own, leaf in zip(model.parameters(), _to_torch(federation, leaves), strict=True):
            own.copy_(torch.from_numpy(np.ascontiguousarray(leaf)))


def save(federation: Federation, leaves: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Tensors in the order of a model's parameters as the flat list."""
    found = []
    for leaf, flattened in zip(leaves, _flattened(federation), strict=True):
        array = leaf.detach().cpu().numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            if flattened:
                h, w, c = flattened
                array = array.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(array), -1)
            array = array.T
        found.append(array)
    return found


def _to_torch(federation: Federation, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
    found = []
    for leaf, flattened in zip(leaves, _flattened(federation), strict=True):
        if leaf.ndim == 4:
            leaf = leaf.transpose(3, 2, 0, 1)
        elif leaf.ndim == 2:
            leaf = leaf.T
            if flattened:
                leaf = leaf.reshape(-1, *flattened).transpose(0, 3, 1, 2).reshape(len(leaf), -1)
        found.append(leaf)
    return found


def _flattened(federation: Federation) -> list[Any]:
    """For each parameter: the shape of the images that its layer gets flattened, or None."""
    found: list[Any] = []
    images = None
    for (kind, *_), before, _ in walk(federation.layers, federation.inputs):
        if kind == "flatten":
            images = before
        elif kind in ("dense", "conv"):
            found += [images if kind == "dense" else None, None]
            images = None
    return found


def tensors(federation: Federation, hospital: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A hospital's rows; images as ``[n, channels, height, width]``."""
    x, y = (torch.from_numpy(np.array(a)) for a in federation.rows(hospital))
    x = x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x
    return x.to(DEVICE), (y.float() if federation.classes == 2 else y.long()).to(DEVICE)


def objective(federation: Federation) -> Any:
    """Mean loss of a batch."""
    if federation.classes == 2:
        return lambda out, y: functional.binary_cross_entropy_with_logits(out[:, 0], y)
    return functional.cross_entropy


def synchronize() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def threads() -> list[int]:
    """Intra-operation threads to try."""
    return sorted(
        {1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    )


class TorchPeer(Peer):
    """A round of its own; rows stay on the device as tensors.

    Attributes:
        model: at its initial parameters, in a memory format.
        server: the global parameters.
        data: rows of the hospitals that were there so far.
    """

    def __init__(
        self,
        federation: Federation,
        threads: int,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__(federation)
        torch.set_num_threads(threads)
        self.threads, self.format = threads, memory_format
        self.model = build(federation)
        load(self.model, federation, federation.initial())
        self.model = self.model.to(memory_format=memory_format)
        self.server = [leaf.detach().clone() for leaf in self.model.parameters()]
        self.data: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @abc.abstractmethod
    def one_round(self, cohort: np.ndarray) -> None:
        """FedAvg with weights n_k, of ``server``."""

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """One after another; reading rows for the first time is not timed."""
        torch.set_num_threads(self.threads)
        for hospital in np.unique(np.concatenate(cohorts)):
            if hospital not in self.data:
                x, y = tensors(self.federation, hospital)
                self.data[hospital] = x.contiguous(memory_format=self.format) if x.ndim == 4 else x, y
        seconds = []
        for cohort in cohorts:
            began = time.perf_counter()
            self.one_round(cohort)
            synchronize()
            seconds.append(time.perf_counter() - began)
        return seconds

    def parameters(self) -> list[np.ndarray]:
        """Of the server."""
        return save(self.federation, self.server)
