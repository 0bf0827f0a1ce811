"""The benchmark of hospitals with different models: what counts as a gain, and what the page says of it."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("model_aggregation"), importlib.import_module("aggregation_page")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", ["strong", "digits"])
def test_every_method_fits_the_hospitals(benchmark, name):
    """Built and checked, not run."""
    script, _ = benchmark
    setting = script.SETTINGS[name]()
    assert (len(setting.hospitals), set(setting.groups.values())) == (
        {"strong": 60, "digits": 30}[name],
        set(setting.models),
    )
    for method in script.METHODS.values():
        reached = [h for federation in method(setting) for h in federation.hospitals.hospitals]
        assert len(set(reached)) == len(reached)
        assert {setting.groups[h] for h in reached} <= set(setting.models)


def test_gains_are_paired_and_hospitals_without_a_score_left_out(benchmark):
    script, page = benchmark
    setting = script.strong()
    logistic = list(setting.members(["logistic"]).hospitals)
    mlps = list(setting.members(["MLP"]).hospitals)

    def measured(score, up):
        return script.Measured(np.array([score, score + 0.1]), up, up, (0.1, 4))

    alone = {h: measured(0.6, 0) for h in setting.hospitals.hospitals}
    alone[logistic[0]] = measured(np.nan, 0)
    some = {h: measured(0.7 if i % 4 else 0.5, 1000) for i, h in enumerate(mlps)}
    every = {h: measured(0.65, 500) for h in alone} | {logistic[0]: measured(np.nan, 500)}
    found = {script.ALONE: alone, "HeteroFL": some, "FedMD": every}
    rows = [row for name in found for row in script.summary(setting, name, found)]
    (own,) = (row for row in rows if row["method"] == "HeteroFL")
    assert own["share"] == 0.75
    assert own["gain"] == pytest.approx(0.75 * 0.1 - 0.25 * 0.1)
    assert next(row for row in rows if row["group"] == "logistic")["hospitals"] == len(logistic) - 1
    record = {"rounds": 4, "seeds": 2, "step sizes": [0.1], "public rows": 9, "rows": rows, "provenance": {}}
    lines = page.section({"strong": record}, lambda provenance: "here").splitlines()
    assert "| HeteroFL | - | 0.700 (+0.050, 75 %) | - | MLP | 2.0 |" in lines
    assert any(line.startswith("| FedMD |") and "| **every group** | 1.0 |" in line for line in lines)
