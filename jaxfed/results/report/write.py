"""The whole report of a run."""

from __future__ import annotations

from jaxfed.core.errors import InvalidInput
from jaxfed.core.optional import needs
from jaxfed.results.report.checklist import add_checklist
from jaxfed.results.report.hospitals import add_hospitals
from jaxfed.results.report.material import Material, Report, data_name
from jaxfed.results.report.results import (
    add_calibration,
    add_decisions,
    add_performance,
    add_subgroups,
    tables_of_hospitals,
)
from jaxfed.results.report.summary import add_summary
from jaxfed.results.report.survival import add_survival
from jaxfed.results.report.training import (
    add_detection,
    add_diagnostics,
    add_privacy,
    add_settings,
    add_training,
)

SIZE, LARGE = "hospital size", "large"  # thirds of the hospitals, and the one that others are compared with


def run_report(material: Material, title: str | None = None) -> Report:
    """The page, with its figures.

    Raises:
        ImportError: great-tables is not installed.
        InvalidInput: a group does not fit the rows.
    """
    needs("great_tables", "report", "a report")
    p, history = material.performance, material.history
    page = Report(
        title or f"{material.name}: {data_name(material.config) or f'{len(history.hospitals)} hospitals'}",
        f"{len(history.hospitals):,} hospitals; jaxfed {material.provenance.get('jaxfed', '')}, "
        f"{str(material.provenance.get('created', ''))[:10]}",
    )
    groups = {}
    if p is not None:
        for heading, by in material.subgroups.items():
            try:
                groups[heading] = p.subgroups(by, LARGE if isinstance(by, str) else None)
            except InvalidInput as error:
                raise InvalidInput(f"subgroups[{heading!r}]: {error}") from None
    add_summary(page, material, groups)
    add_hospitals(page, material)
    add_training(page, material)
    if p is not None:
        add_performance(page, p, material.many)
        add_survival(page, p)
        if material.two_classes:
            add_calibration(page, material, p)
            add_decisions(page, p)
        add_subgroups(page, p, groups)
    add_privacy(page, material)
    add_diagnostics(page, material)
    add_detection(page, material)
    add_settings(page, material)
    add_checklist(page, material)
    if p is not None and material.many:
        part = page.section("All hospitals")
        caption, table = tables_of_hospitals(p)[0]
        part.table(table, caption)
    return page
