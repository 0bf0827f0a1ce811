"""Every algorithm, with small settings and the model it needs: a new one inherits the common tests here."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn

from jaxfed import algorithms
from jaxfed.core.algorithm import Algorithm
from jaxfed.models import MLP

DENSE = MLP((3,), outputs=1, activation=nn.tanh)  # has a `head` and `features`


class Normalised(nn.Module):
    """A network with batch normalisation."""

    def setup(self):
        self.body, self.norm, self.head = nn.Dense(3), nn.BatchNorm(), nn.Dense(1)

    def features(self, x, train: bool = False):
        return nn.tanh(self.norm(self.body(x), use_running_average=not train))

    def __call__(self, x, train: bool = False):
        return self.head(self.features(x, train))


@dataclasses.dataclass(frozen=True)
class Case:
    """An algorithm, the model it is tested with, and whether it can train one with batch statistics."""

    algorithm: Algorithm
    model: Any = DENSE
    statistics: bool = True


def _case(name: str, *, model: Any = DENSE, statistics: bool = True, **settings: Any) -> Case:
    return Case(getattr(algorithms, name)(**settings), model, statistics)


CATALOGUE = {
    "AFL": _case("AFL"),
    "APFL": _case("APFL"),
    "APFL, adaptive": _case("APFL", adaptive=True),
    "AdaptiveFedProx": _case("AdaptiveFedProx", patience=1),
    "ClusteredFL": _case("ClusteredFL", clusters=3, eps1=5.0, eps2=0.0),
    "Ditto": _case("Ditto"),
    "FedAdagrad": _case("FedAdagrad"),
    "FedAdam": _case("FedAdam"),
    "FedAvg": _case("FedAvg"),
    "FedAvgM": _case("FedAvgM"),
    "FedBN": _case("FedBN", model=Normalised()),
    "FedCM": _case("FedCM"),
    "FedDyn": _case("FedDyn"),
    "FedExP": _case("FedExP"),
    "FedNova": _case("FedNova"),
    "FedPer": _case("FedPer"),
    "FedProx": _case("FedProx"),
    "FedRep": _case("FedRep", head_epochs=2),
    "FedRolex": _case("FedRolex", rate=0.5),
    "FedSAM": _case("FedSAM"),
    "FedSGD": _case("FedSGD", statistics=False),
    "FedYogi": _case("FedYogi"),
    "FineTuned": _case("FineTuned", epochs=2),
    "FjORD": _case("FjORD", widths=(0.2, 0.5, 1.0)),
    "HeteroFL": _case("HeteroFL", rate=0.5),
    "IFCA": _case("IFCA", spread=0.5),
    "LocalOnly": _case("LocalOnly"),
    "MOON": _case("MOON"),
    "MRMTL": _case("MRMTL"),
    "Mime": _case("Mime"),
    "MimeLite": _case("MimeLite"),
    "PFedMe": _case("PFedMe", inner_steps=2),
    "PerFedAvg": _case("PerFedAvg"),
    "PerFedAvg, first order": _case("PerFedAvg", first_order=True),
    "QFedAvg": _case("QFedAvg"),
    "Scaffold, option I": _case("Scaffold", option="I"),
    "Scaffold, option II": _case("Scaffold"),
}


def exported() -> set[type[Algorithm]]:
    """The algorithms that users can import."""
    found = {getattr(algorithms, name) for name in algorithms.__all__}
    return {cls for cls in found if isinstance(cls, type) and issubclass(cls, Algorithm)}
