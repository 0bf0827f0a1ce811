"""The page of all algorithms, ``jaxfed/algorithms/README.md``: made from docstrings, programs and one table.

    python -m jaxfed.report.algorithms_page

What a hospital sends, is sent and keeps is read off each program (:mod:`jaxfed.report.costs`) with a small
reference model; what it computes is the table below.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path

import flax.linen as nn
import numpy as np
import optax
from jax import Array

from jaxfed import algorithms
from jaxfed.aggregators import WeightedMean
from jaxfed.core.engine import Recipe
from jaxfed.core.local import LocalTraining
from jaxfed.core.modules import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import Algorithm
from jaxfed.models import mlp
from jaxfed.participation import Everyone
from jaxfed.report.costs import Costs, costs

PAGE = Path(algorithms.__file__).parent / "README.md"

# Local work of a round, beside what FedAvg does: its local steps.
COMPUTE = {
    "AFL": "one forward pass over the rows more",
    "APFL": "two gradients per step",
    "AdaptiveFedProx": "one forward pass over the rows more",
    "Ditto": "twice the steps",
    "FedRep": "head epochs, then body epochs",
    "FedSAM": "two gradients per step",
    "FedSGD": "one gradient over all rows, no local steps",
    "FjORD": "none; with `distil` two forward passes per step",
    "FineTuned": "as FedAvg; fine-tuning before the model is used",
    "IFCA": "one forward pass over the rows per cluster more",
    "MOON": "forward passes of three models per step",
    "Mime": "two gradients per step, one gradient over all rows",
    "MimeLite": "one gradient over all rows more",
    "PFedMe": "K inner gradients per step",
    "PerFedAvg": "two gradients per step (exact: and a Hessian-vector product)",
    "QFedAvg": "one forward pass over the rows more",
    "Scaffold": "option I: one gradient over all rows more",
}


# Slices of the whole model would say nothing of what a slice costs.
SETTINGS = {name: {"rate": 0.5} for name in ("FedRolex", "FjORD", "HeteroFL")}


class Reference(nn.Module):
    """A model that almost every algorithm works with: it has a head, features and normalisation."""

    def setup(self) -> None:
        """The layers."""
        self.hidden, self.norm, self.head = nn.Dense(32), nn.LayerNorm(), nn.Dense(1)

    def features(self, x: Array) -> Array:
        """A normalised hidden layer."""
        return nn.relu(self.norm(self.hidden(x)))

    def __call__(self, x: Array) -> Array:
        """One logit."""
        return self.head(self.features(x))


def catalogue() -> dict[str, Algorithm]:
    """Every exported algorithm with its defaults; the head stays at home where a part must be named."""
    found = {}
    for name in algorithms.__all__:
        kind = getattr(algorithms, name)
        named = {
            field.name: ("head",)
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        found[name] = kind(**named, **SETTINGS.get(name, {}))
    return found


def page() -> str:
    """The whole page as Markdown."""
    by_module: dict[str, list[str]] = {}
    for name in algorithms.__all__:
        by_module.setdefault(getattr(algorithms, name).__module__, []).append(name)
    chapters = sorted(by_module.items(), key=lambda item: item[1][0].lower())
    sections = [_section(inspect.getdoc(sys.modules[module]) or "", names) for module, names in chapters]
    return "\n\n".join([_head(), _table(), *sections]) + "\n"


def _head() -> str:
    return (
        "# The algorithms\n\n"
        "Made by `python -m jaxfed.report.algorithms_page` from docstrings and programs; edit those.\n\n"
        "What a hospital sends (up), is sent (down) and keeps between rounds is read off each program, in "
        "multiples of the model's bytes, with two hospitals (for slices, of an MLP's with 32 hidden units). "
        "`weights` is how uploads are weighted; "
        "`personal` algorithms give every hospital a model of its own."
    )


def _table() -> str:
    rows = [
        "| algorithm | up | down | kept | local work beside the local steps | weights | personal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, algorithm in sorted(catalogue().items(), key=lambda item: item[0].lower()):
        found = _costs(algorithm)
        up, down, kept = (_times(b, found.model) for b in (found.upload, found.download, found.state))
        personal = "yes" if algorithm.personal else ""
        work = COMPUTE.get(name, "none")
        given = "".join(f", {key} {value}" for key, value in SETTINGS.get(name, {}).items())
        rows.append(
            f"| `{name}`{given} | {up} | {down} | {kept} | {work} | {algorithm.weighting} | {personal} |"
        )
    return "\n".join(rows)


def _section(document: str, names: list[str]) -> str:
    signatures = "\n".join(f"- `{_signature(getattr(algorithms, name))}`" for name in names)
    return f"## {', '.join(names)}\n\n{document}\n\n{signatures}"


def _signature(kind: type) -> str:
    """The fields with their defaults; an algorithm's fields may all be given by name."""
    fields = [f for f in dataclasses.fields(kind) if f.init and f.repr]
    shown = [f.name if f.default is dataclasses.MISSING else f"{f.name}={f.default!r}" for f in fields]
    return f"{kind.__name__}({', '.join(shown)})"


def _costs(algorithm: Algorithm) -> Costs:
    x, y = np.zeros((8, 20), np.float32), np.zeros(8, np.int32)
    model = mlp(32) if type(algorithm).__name__ in SETTINGS else Reference()  # no slices of a layer norm
    problem = Problem(None, as_model(model), "binary")
    local = LocalTraining(problem, optimizer(optax.sgd, learning_rate=0.1), batch_size=4)
    recipe = Recipe(algorithm.for_model(local, x), local, WeightedMean(), Everyone())
    return costs(recipe, x, y)


def _times(part: int, model: int) -> str:
    share = part / model
    return "0" if part == 0 else f"{part} bytes" if share < 0.02 else f"{share:.2g}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
