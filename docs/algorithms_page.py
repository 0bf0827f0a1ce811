"""The page of all algorithms, ``jaxfed/algorithms/README.md``: made from docstrings, programs and one table.

    python docs/algorithms_page.py

What a hospital sends, is sent and keeps is read off each program (:mod:`jaxfed.spec.costs`) with a small
reference model; what it computes is the table below.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from types import ModuleType

import flax.linen as nn
import numpy as np
import optax
from jax import Array

from jaxfed import algorithms
from jaxfed.aggregators import WeightedMean, as_chain
from jaxfed.algorithms import mixed
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.group_algorithm import GroupAlgorithm
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.models import mlp
from jaxfed.participation import Everyone
from jaxfed.spec.costs import Costs, costs_by_hospital, costs_of_groups
from jaxfed.spec.spec import Spec

PAGE = Path(__file__).resolve().parents[1] / "jaxfed" / "algorithms" / "README.md"

# Local work of a round, beside what FedAvg does: its local steps.
COMPUTE = {
    "AFL": "one forward pass over the rows more",
    "APFL": "two gradients per step",
    "AdaptiveFedProx": "one forward pass over the rows more",
    "DSFL": "steps on public rows, predictions for them",
    "Ditto": "twice the steps",
    "FML": "steps of the meme more",
    "FedDF": "none; the server predicts for public rows with every model, and distils in every group",
    "FedMD": "steps on public rows, predictions for them",
    "FedProto": "features of a batch once more per step, of all rows once more",
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


PUBLIC = np.zeros((100, 20), np.float32)
GROUPS = {
    "ByGroup(FedAvg())": mixed.ByGroup(algorithms.FedAvg()),
    "ByGroup(LocalOnly())": mixed.ByGroup(algorithms.LocalOnly()),
    "DSFL": mixed.DSFL(PUBLIC),
    "FML": mixed.FML(mlp(8)),
    "FedDF": mixed.FedDF(PUBLIC),
    "FedMD": mixed.FedMD(PUBLIC),
    "FedProto": mixed.FedProto(),
}


REASONS = {
    "why_averaged": "Uploads of {} have to be averaged with their weights: {}.",
    "why_untransformed": "No transform may change uploads of {}: {}.",
}


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
    parts = [_head(), _table(), *_sections(algorithms), _head_of_groups(), _table_of_groups()]
    return "\n\n".join([*parts, *_sections(mixed)]) + "\n"


def _sections(package: ModuleType) -> list[str]:
    """A section for each module with algorithms."""
    by_module: dict[str, list[str]] = {}
    for name in package.__all__:
        by_module.setdefault(getattr(package, name).__module__, []).append(name)
    chapters = sorted(by_module.items(), key=lambda item: item[1][0].lower())
    return [
        _section(_document(module, package, names), [getattr(package, name) for name in names])
        for module, names in chapters
    ]


def _document(module: str, package: ModuleType, names: list[str]) -> str:
    """The docstring of a module of algorithms; of a class that lives elsewhere, its own."""
    source = sys.modules[module] if module.startswith("jaxfed.algorithms") else getattr(package, names[0])
    return inspect.getdoc(source) or ""


def _head() -> str:
    return (
        "# The algorithms\n\n"
        "Made by `python docs/algorithms_page.py` from docstrings and programs; edit those.\n\n"
        "What a hospital sends (up), is sent (down) and keeps between rounds is read off each program, in "
        "multiples of the model's bytes, with two hospitals (for slices, of an MLP's with 32 hidden units). "
        "`weights` is how uploads are weighted; "
        "`personal` algorithms give every hospital a model of its own. `rules` are those of "
        "`jaxfed.aggregators` that may stand in place of the weighted mean, and `transforms` those of "
        "`jaxfed.transforms` that may change uploads on their way; where it is not `any`, the algorithm's "
        "section has the reason."
    )


def _table() -> str:
    rows = [
        "| algorithm | up | down | kept | local work beside the local steps | weights | personal | rules | "
        "transforms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, algorithm in sorted(catalogue().items(), key=lambda item: item[0].lower()):
        found = _costs(algorithm)
        up, down, kept = (_times(b, found.model) for b in (found.upload, found.download, found.state))
        personal = "yes" if algorithm.personal else ""
        work = COMPUTE.get(name, "none")
        given = "".join(f", {key} {value}" for key, value in SETTINGS.get(name, {}).items())
        rows.append(
            f"| `{name}`{given} | {up} | {down} | {kept} | {work} | {algorithm.weighting} | {personal} | "
            f"{_road(algorithm)} |"
        )
    return "\n".join(rows)


def _head_of_groups() -> str:
    return (
        "# Algorithms for hospitals with different models\n\n"
        "In `jaxfed.algorithms.mixed`, for `Simulation(models=..., groups=...)`. Bytes in a round of a "
        "hospital with `mlp(16)` and one with `mlp(64, 16)` on 20 features and one logit, with 100 public "
        "rows; the meme of FML is `mlp(8)`."
    )


def _table_of_groups() -> str:
    rows = [
        "| algorithm | up | down | kept | local work beside the local steps | weights | personal | rules | "
        "transforms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, algorithm in GROUPS.items():
        found = _costs_of_groups(algorithm)
        up, down, kept = (
            " and ".join(f"{getattr(one, field):,}" for one in found)
            for field in ("upload", "download", "state")
        )
        personal, work = "yes" if algorithm.personal else "", COMPUTE.get(name.split("(")[0], "none")
        rows.append(
            f"| `{name}` | {up} | {down} | {kept} | {work} | {algorithm.weighting} | {personal} | "
            f"{_road(algorithm)} |"
        )
    models = " and ".join(f"{one.model:,}" for one in _costs_of_groups(mixed.ByGroup(algorithms.FedAvg())))
    return "\n".join([*rows, "", f"The models have {models} bytes."])


def _costs_of_groups(algorithm: GroupAlgorithm) -> list[Costs]:
    x, y = np.zeros((8, 20), np.float32), np.zeros(8, np.int32)
    locals = tuple(
        LocalTraining(
            Problem(None, as_model(model.clone(outputs=1)), "binary"),
            optimizer(optax.sgd, learning_rate=0.1),
            batch_size=4,
        )
        for model in (mlp(16), mlp(64, 16))
    )
    return costs_of_groups(Recipe(algorithm, locals, as_chain(WeightedMean()), Everyone()), x, y)


def _section(document: str, kinds: list[type]) -> str:
    signatures = "\n".join(f"- `{_signature(kind)}`" for kind in kinds)
    return "\n\n".join(
        [f"## {', '.join(kind.__name__ for kind in kinds)}", document, signatures, *_reasons(kinds)]
    )


def _road(algorithm: Algorithm | GroupAlgorithm) -> str:
    """Two cells: which rules it works with, and which transforms."""
    return (
        f"{'mean' if algorithm.why_averaged else 'any'} | {'none' if algorithm.why_untransformed else 'any'}"
    )


def _reasons(kinds: list[type]) -> list[str]:
    """A sentence for each thing that may not happen to the uploads, where a class has a reason."""
    found = []
    for attribute, sentence in REASONS.items():
        by_reason: dict[str, list[str]] = {}
        for kind in kinds:
            if isinstance(reason := getattr(kind, attribute), str) and reason:
                by_reason.setdefault(reason, []).append(f"`{kind.__name__}`")
        found += [sentence.format(", ".join(names), reason) for reason, names in by_reason.items()]
    return found


def _signature(kind: type) -> str:
    """The fields with their defaults; an algorithm's fields may all be given by name."""
    fields = [f for f in dataclasses.fields(kind) if f.init and f.repr]
    shown = [f.name if f.default is dataclasses.MISSING else f"{f.name}={f.default!r}" for f in fields]
    return f"{kind.__name__}({', '.join(shown)})"


def _costs(algorithm: Algorithm) -> Costs:
    x, y = np.zeros((8, 20), np.float32), np.zeros(8, np.int32)
    hospitals = Dataset(x, y, np.array([4, 4]), np.zeros(8, np.int8), ("a", "b"), "binary", ("0", "1"))
    model = mlp(32) if type(algorithm).__name__ in SETTINGS else Reference()  # no slices of a layer norm
    step = optimizer(optax.sgd, learning_rate=0.1)
    return costs_by_hospital(Spec(hospitals, model, algorithm, step, batch_size=4))[0]


def _times(part: int, model: int) -> str:
    share = part / model
    return "0" if part == 0 else f"{part} bytes" if share < 0.02 else f"{share:.2g}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
