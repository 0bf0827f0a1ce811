"""What a report is made of, and the page that it is written on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxfed.core.errors import InvalidInput
from jaxfed.evaluation.tables import table_of
from jaxfed.pages import Page, Section
from jaxfed.records.history import History
from jaxfed.records.predictions import Predictions
from jaxfed.records.statement import PrivacyStatement
from jaxfed.results.performance import Performance
from jaxfed.results.prediction import Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 60  # hospitals from which on a table of all of them stands at the end


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """The parts of a run that its report shows.

    Attributes:
        name: of the run.
        history: its metrics over rounds.
        personal: whether every hospital has its own model.
        config, provenance: settings, versions, device, times.
        split: which rows the results are of.
        trouble: what went wrong, or "".
        inputs: what the model expects.
        privacy: what the run guarantees.
        performance: of that split, or None.
        without: why there is none, and what to do; "" if there is one.
        subgroups: ``{title: by}``, what patients or hospitals are grouped by.
    """

    name: str
    history: History
    personal: bool
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    split: str
    trouble: str
    inputs: Inputs | None
    privacy: PrivacyStatement | None
    performance: Performance | None
    without: str
    subgroups: Mapping[str, Any]

    @property
    def many(self) -> bool:
        """Whether there are too many hospitals for a table in the middle of the page."""
        return len(self.history.hospitals) > MANY

    @property
    def two_classes(self) -> bool:
        """Whether there are curves for two classes."""
        return self.performance is not None and self.performance.task == "binary"

    @property
    def subgroups_of_patients(self) -> bool:
        """Whether any grouping is not of whole hospitals."""
        return any(not isinstance(by, str | Mapping) for by in self.subgroups.values())


def absent(predictions: Predictions | None, metrics: object) -> str:
    """Why a run has no intervals, and what to do; "" if it has them."""
    if predictions is None:
        return (
            "the run was saved without the outputs behind its metrics; report it before it is saved, or save "
            "it with run.save(folder, predictions=True)"
        )
    if not table_of(predictions.task, predictions.meaning).labels and not metrics:
        return (
            f"the task {predictions.task!r} has no metrics with intervals; give report(path, metrics={{name: "
            "function of outputs, y and mask})"
        )
    return ""


def data_name(config: Mapping[str, Any]) -> str:
    """What the data are called, or ""."""
    parts = str(config.get("hospitals", "")).split("'")
    return parts[1] if len(parts) > 2 else ""


class Report(Page):
    """A page whose figures have numbers, and can be saved as files as well."""

    def __init__(self, title: str, subtitle: str) -> None:
        super().__init__(title, subtitle)
        self.figures: dict[str, Figure] = {}

    def draw(self, part: Section, name: str, figure: Figure, alt: str, caption: str) -> None:
        """Add a figure to a part of the page; ``name`` is that of its files."""
        self.figures[name] = figure
        part.figure(figure, alt, f"Figure {len(self.figures)}. {caption}")

    def save_figures(self, folder: str | Path) -> Path:
        """Write every figure as PNG and SVG.

        Raises:
            InvalidInput: the folder cannot be written.
        """
        import matplotlib as mpl

        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"figures={str(folder)!r}: {error.strerror}; give another folder") from None
        for name, figure in self.figures.items():
            figure.savefig(target / f"{name}.png", dpi=150)
            with mpl.rc_context({"svg.hashsalt": "jaxfed"}):  # the same bytes in every process
                figure.savefig(target / f"{name}.svg", metadata={"Date": None})
        return target
