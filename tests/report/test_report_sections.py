"""What a report says: of results with intervals, of tasks without curves, and of runs that lack something."""

import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pandas as pd
import performances
import pytest
from reported import NAMES, private, run_of

import jaxfed.core.optional
from jaxfed.core.errors import InvalidInput
from jaxfed.core.meaning import Meaning
from jaxfed.evaluation import count_life_table
from jaxfed.records.statement import PrivacyStatement
from jaxfed.results.report import material as materials
from jaxfed.results.report.checklist import NOTHING, checklist
from jaxfed.results.report.material import Material, Report, absent
from jaxfed.results.report.results import tables_of_hospitals
from jaxfed.results.report.summary import add_summary
from jaxfed.results.report.training import tidy

SUBGROUPS = {"age": performances.subgroups()}


def text_of(html):
    """The words of a page, with one space between them."""
    words = re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return " ".join(unescape(words).split())


def alts(file):
    """The alternative texts of a page's figures."""
    return unescape(" ".join(re.findall('(?:alt|aria-label)="([^"]*)"', file.read_text())))


def performance(count=4, few=1, **across):
    """The parts of a performance that the summary reads."""
    table = performances.hospitals(count, few=few)
    for name, value in {"oe": 1.3, "calibration_slope": 0.7}.items():
        table[name], table[f"{name}_low"], table[f"{name}_high"] = value, value - 0.1, value + 0.1
    numbers = {
        "hospitals": count - few,
        "left_out": few,
        "undefined": 0,
        "i2": 0.4,
        "worst_hospital": "hospital 1",
    }
    return SimpleNamespace(
        name="FedAvg", task="binary", two_classes=True, split="test", level=0.95, minimum_events=5,
        positive="ill", threshold=0.2, threshold_from="given", metrics=("auroc", "brier"), first="auroc",
        higher={"auroc"},
        labels={"auroc": "AUROC", "brier": "Brier"}, hospitals=table,
        pooled=table.iloc[:1].rename(index={"hospital 0": "(pooled)"}),
        across=pd.DataFrame({"auroc": {**performances.across(), **numbers, **across}}).T,
    )  # fmt: skip


def material(run=None, **changes):
    run = run or run_of(outputs=False)
    parts = {
        "name": run.name, "history": run.history, "personal": run.personal, "config": run.config,
        "provenance": run.provenance, "split": "test", "trouble": "", "inputs": None, "privacy": None,
        "performance": None, "without": "", "subgroups": {},
    }  # fmt: skip
    return Material(**{**parts, **changes})


def summary(p, **changes):
    page = Report("", "")
    add_summary(page, material(performance=p, **changes), SUBGROUPS)
    return text_of(page.html())


def test_the_summary_says_what_how_good_how_sure_for_whom_and_what_is_not_known():
    p = performance()
    said = summary(p)
    row, worst = p.pooled.iloc[0], p.hospitals.loc["hospital 1"]
    assert "FedAvg trained one model for all hospitals, on 58 rows of 4 hospitals, in 2 rounds" in said
    assert f"“ill”: {row['events']} of {row['rows']} test rows" in said
    assert "0.80 (0.77 to 0.83) in an average hospital (random-effects mean of 3 hospitals" in said
    assert "the higher risk 80% of the time" in said
    assert "expected between 0.68 and 0.90 (95% prediction interval)" in said
    assert "40% of the spread" in said
    assert "3 hospitals are too few to know" in said
    assert f"Where it is worst: hospital 1, AUROC {worst['auroc']:.2f}" in said
    assert "on average too low (1.30 observed for each expected, 1.20 to 1.40), but are too extreme" in said
    assert "worst for “small”, 0.70" in said
    assert "that may be chance" in said
    assert "no differential privacy" in said


def test_a_hospital_with_a_single_negative_is_named_where_its_auroc_would_stand():
    p = performance()
    auroc = p.hospitals.loc["hospital 3", "auroc"]
    assert f"hospital 3: the AUROC of {auroc:.2f}" in summary(p)
    assert f"rests on 1 row “not ill” of {p.hospitals.loc['hospital 3', 'rows']}" in summary(p)
    every = performance(40, few=20)
    assert "The AUROC of 20 hospitals: each has fewer than 5 rows of a class." in summary(every)
    p.hospitals.loc["hospital 2", "auroc"] = np.nan
    assert "where it is not defined (hospital 2): their rows are all of one class" in summary(p)


def test_a_summary_without_enough_hospitals_has_no_prediction_interval():
    nothing = dict.fromkeys((*performances.across().index, "i2"), np.nan)
    said = summary(performance(**nothing, hospitals=0, worst_hospital=""))
    assert "prediction interval" not in said
    assert "Where it is worst" not in said


def test_tables_mark_hospitals_that_do_not_count():
    p = performance()
    p.metrics, p.labels["sensitivity"] = ("auroc", "sensitivity"), "sensitivity"
    for table in (p.hospitals, p.pooled):
        table[["sensitivity", "sensitivity_low", "sensitivity_high"]] = 0.5, 0.4, 0.6
    (caption, table), (_, at) = tables_of_hospitals(p)
    assert [*table.index] == ["(pooled)", "hospital 0", "hospital 1", "hospital 2", "hospital 3 *"]
    assert "*: not counted" in caption
    assert at["sensitivity"].iloc[0] == "0.50 (0.40\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}0.60)"


def test_the_checklist_has_all_items_and_says_what_is_missing():
    items = checklist(material())
    assert [item.number for item in items] == list(range(1, 20))
    assert all(item.topic and item.asks and item.here and item.author for item in items)
    assert items[12].here == "Training: metrics without intervals"
    measured = checklist(material(performance=performance(), subgroups={"age": [1, 2]}))
    assert "prediction interval" in measured[12].here
    assert measured[8].here == "Subgroups"
    assert (items[14].author == NOTHING, measured[14].author == NOTHING) == (False, True)


def test_a_run_without_outputs_has_a_report_that_says_so(tmp_path):
    run = run_of(outputs=False)
    path = run.report(tmp_path / "report.html", title="Hospitals <i>", figures=tmp_path / "figures")
    said = text_of(path.read_text())
    assert (
        "there are no intervals, calibration, decision curves or subgroups, because the run was saved" in said
    )
    assert "Hospitals <i>" in said
    assert "Calibration" not in re.findall("<h2>(.*?)</h2>", path.read_text())
    assert "south <b>" in said
    files = {file.name for file in (tmp_path / "figures").iterdir()}
    assert files == {f"{name}.{end}" for name in ("hospitals", "convergence") for end in ("png", "svg")}
    with pytest.raises(InvalidInput, match="subgroups: the run was saved without"):
        run.report(tmp_path / "report.html", subgroups={"sex": [1]})


def test_survival_is_shown_by_predicted_risk_and_by_hospital(tmp_path):
    run = run_of("survival")
    said = text_of(run.report(tmp_path / "report.html", figures=tmp_path / "figures").read_text())
    assert "C-index in every hospital" in said
    assert "by thirds of the predicted risk" in said
    assert "Log-rank test of all groups: p < 0.001" in said  # thirds differ, and hospitals do not
    assert re.search("test rows of north, south <b>, single and west.*?: p = 0", said)
    known = run.predictions.of("test")
    risk, (time, event) = known.outputs[:, 0], known.y.T
    low = risk <= np.quantile(risk, 1 / 3)
    curve = count_life_table(time[low], event[low], intervals=10_000).curve()["kaplan_meier"]
    assert f"lowest risk {curve.dropna().iloc[-1]:.2f}" in alts(tmp_path / "report.html")
    names = {file.stem for file in (tmp_path / "figures").iterdir()}
    assert {"survival_by_risk", "survival_by_hospital"} <= names


def test_diagnostics_are_shown_where_they_were_recorded(tmp_path):
    ones = np.ones((2, 4))
    seen = {
        "update_norm": ones, "update_cosine": ones * [0.5, 0.9, 0.1, -0.2], "update_share": ones / 4,
        "mean_norm": ones * [[0.5], [0.1]],
    }  # fmt: skip
    said = text_of(run_of(outputs=False, training=seen).report(tmp_path / "report.html").read_text())
    assert "It was 3.00 in the first round and 99.0 in the last" in said  # 1 / .25 - 1, 1 / .01 - 1
    assert "the updates of west point away from the mean" in said


@pytest.mark.parametrize(("task", "label"), [("multiclass", "Accuracy"), ("regression", "R²")])
def test_tasks_without_curves(tmp_path, monkeypatch, task, label):
    monkeypatch.setattr(materials, "MANY", 3)  # tables of all hospitals at the end
    run = run_of(task)
    page = run.report(tmp_path / "report.html", subgroups={"side": ["l", "r"] * 87}).read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert f"{label} in every hospital" in headings
    assert headings[-1] == "All hospitals"
    assert not {"Calibration", "Decision curves"} & set(headings)
    assert "By side" in re.findall("<h3>(.*?)</h3>", page)
    assert (
        f"Where it is worst: {run.performance().across.loc[run.performance().first, 'worst_hospital']}"
        in text_of(page)
    )
    with pytest.raises(InvalidInput, match=r"subgroups\['sex'\].*one value for each row"):
        run.report(tmp_path / "report.html", subgroups={"sex": [1, 2]})


def test_privacy_and_what_the_rule_leaves_out(tmp_path):
    epsilon = dict.fromkeys(NAMES, 2.5)
    statement = PrivacyStatement(
        "patient", "add or remove", "Poisson", "RDP 1", 1e-5, "1.0", epsilon, epsilon, epsilon, {}, "RDP"
    )
    seen = {"influence": np.array([[0.5, 0.5, 0, 0]] * 2), "epsilon": np.array([[1.0] * 4, [2.5] * 4])}
    run = private(run_of(outputs=False, training=seen), statement)
    said = text_of(run.report(tmp_path / "report.html").read_text())
    assert "epsilon 2.5 at delta 1e-05" in said
    assert "no differential privacy" not in said
    assert (
        "the uploads of 2 hospitals had less than a tenth of an equal share in the aggregate: single and west"
        in said
    )


def test_a_task_of_the_user_says_what_it_lacks():
    assert "give report(path, metrics=" in absent(SimpleNamespace(task="odd", meaning=Meaning()), None)
    assert absent(SimpleNamespace(task="odd", meaning=Meaning()), {"mine": abs}) == ""


def test_without_great_tables_the_remedy_is_named(tmp_path, monkeypatch):
    def absent_library(name):
        raise ImportError(name)

    monkeypatch.setattr(jaxfed.core.optional.importlib, "import_module", absent_library)
    with pytest.raises(ImportError, match=r"pip install 'jaxfed\[report\]'"):
        run_of(outputs=False).report(tmp_path / "report.html")


def test_settings_are_one_line_each():
    assert (
        tidy("MLP(\n    # attributes\n    hidden = (64, 32)\n    dropout = 0.0\n)")
        == "MLP(hidden=(64, 32), dropout=0.0)"
    )
    assert tidy(0.123456) == "0.1235"
