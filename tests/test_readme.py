"""The README's code runs as it stands, at small size."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxfed import aggregators
from jaxfed.algorithms import fedprox

README = Path(__file__).parent.parent / "README.md"


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
SMALL = {
    "jaxfed.use_cpu_devices()": "pass",
    "hospitals=200": "hospitals=8",
    "rounds=50": "rounds=5",
    "rounds=20": "rounds=2",
    "range(5)": "range(2)",
    "* 100": "* 4",
    "hospitals, 500": "hospitals, 50",
    "[0, 10, 20]": "[0, 1]",
    "f=20": "f=2",
    "f=40": "f=2",
    "malicious(hospitals, 0.2)": "malicious(hospitals, 0.25)",
}


def run(block, names):
    for shown, small in SMALL.items():
        block = block.replace(shown, small)
    exec(block, names)
    return names


def test_first_block_runs():
    names = run(BLOCKS[0], {})
    assert isinstance(names["run"].plot(), Figure)
    assert len(names["run"].hospitals()) == 8
    assert names["run"].to_frame()["round"].tolist() == [0, 0, 5, 5]


def test_a_sweep_and_different_models_run():
    names = run(BLOCKS[0].split("run = ")[0], {})
    swept, mixed = (next(b for b in BLOCKS if word in b) for word in ("prox.sweep(", "models={"))
    run(swept, names)
    assert names["sweep"].data["auroc_pooled"].shape == (3, 3, 2, 3, 2)
    assert names["tuned"].algorithm.mu in (0.0, 0.1, 1.0)
    assert len(run(mixed.replace("mixed.run(", "table = mixed.run("), names)["table"]) == 8


def test_the_algorithm_is_the_one_of_the_package():
    for part in (fedprox.tied, fedprox.FedProx):
        assert inspect.getsource(part).strip() in README.read_text()


def test_the_road_runs_and_the_aggregator_is_that_of_the_package():
    names = run(BLOCKS[0].split("run = ")[0], {})
    road, rule = (next(b for b in BLOCKS if word in b) for word in ("jaxfed.chain(", "class Krum(Rule)"))
    run(road, names)
    assert len(rule.splitlines()) < 25
    sim = names["sim"].replace(splits=("test",))
    theirs = run(rule, {})["Krum"](f=2)
    runs = [sim.replace(aggregator=a).run(2, progress=False) for a in (theirs, aggregators.Krum(f=2))]
    np.testing.assert_array_equal(*(r.history.training["selected"] for r in runs))
    np.testing.assert_array_equal(*(r.history.pooled["log_loss"] for r in runs))


def test_attacks_and_privacy_run():
    names = run(BLOCKS[0].split("run = ")[0], {})
    for word in ("jaxfed.chain(Clip", "ALIE(who)", "PatientDP("):
        run(next(b for b in BLOCKS if word in b), names)
    assert names["mistaken"].hospitals.hospitals == names["hospitals"].hospitals
    assert max(names["run"].privacy.epsilon.values()) <= 3


def test_results_one_can_publish(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    block = next(b for b in BLOCKS if "run.performance()" in b)
    block = block.replace("compare(rounds=20)", "compare(rounds=2, seeds=1, personalised=False)")
    names = run(BLOCKS[0].replace("hospitals=200", "hospitals=4"), {})
    run(block.replace('"shapley"', '"gradient-shapley"'), names)
    assert "AUROC" in repr(names["performance"])
    assert (tmp_path / "report.html").stat().st_size > 50_000
    assert {"federated", "local-only", "pooled"} <= {*names["comparison"].table.index}


def test_survival():
    df = pd.DataFrame(
        {"site": ["n", "s"] * 40, "days": range(80), "died": [0, 1, 1, 0] * 20, "age": range(80)}
    )
    names = run(BLOCKS[0].split("run = ")[0], {"df": df.assign(age=df["age"] / 40 - 1)})
    run(next(b for b in BLOCKS if "life_table" in b), names)
    for sim in (names["cox"], names["by_interval"]):
        assert sim.run(1, progress=False).history.primary == "cindex"
