"""Federated averaging.

    every hospital k:  y_k <- local training from x, E epochs of mini-batch steps
    server:            x <- x + eta_g sum_k w_k (y_k - x) / sum_k w_k,   w_k = n_k

McMahan, Moore, Ramage, Hampson, Aguera y Arcas 2017, "Communication-efficient learning of deep networks
from decentralized data", arXiv:1602.05629; the server's optimiser is that of Reddi et al. 2021,
arXiv:2003.00295.

A poor choice where hospitals differ much and take many local steps: the fixed point is then biased
towards those with more steps (see FedNova, SCAFFOLD).
"""

from __future__ import annotations

import dataclasses

from jaxfed.algorithms.server import Averaging
from jaxfed.core.pytree import pytree


@pytree
@dataclasses.dataclass(frozen=True)
class FedAvg(Averaging):
    """Federated averaging."""
