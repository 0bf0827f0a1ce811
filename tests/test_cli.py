"""The command line, at small size."""

import json
from collections import Counter

import pandas as pd
import pytest
from federations import same

from jaxfed import cli
from jaxfed.training.trainer import Trainer

SMALL = ["--hospitals", "4", "--rounds", "2", "--eval-every", "1", "--hidden", "4", "--devices", "4"]


@pytest.fixture(autouse=True)
def results_stay_here(monkeypatch, tmp_path):
    """Where no --out is typed, results go into the present folder."""
    monkeypatch.chdir(tmp_path)


def command(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["jaxfed", *arguments])
    cli.main()


def test_run_writes_a_report(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("jaxfed.Run.report", lambda run, path: f"{path}, {run.name}")
    command(monkeypatch, "run", *SMALL, "--out", str(tmp_path), "--report")
    said = capsys.readouterr().out
    assert "FedAvg" in said
    assert f"Report: {tmp_path / 'report.html'}, FedAvg" in said
    assert "local-only" in said
    assert "Knowing the true risks" in said
    table = pd.read_csv(tmp_path / "summary.csv", index_col="run")
    assert table.index.tolist() == ["FedAvg", "local-only", "pooled"]
    for name in (
        "report.png",
        "convergence.png",
        "hospitals.png",
        "fedavg/rounds.csv",
        "fedavg/parameters.npz",
    ):
        assert (tmp_path / name).stat().st_size > 0
    assert json.loads((tmp_path / "fedavg" / "run.json").read_text())["config"]["rounds"] == 2


def test_a_table_of_ones_own(monkeypatch, tmp_path, capsys):
    frame = pd.DataFrame(
        {
            "ward": ["a", "b"] * 30,
            "ill": [0, 0, 1, 1] * 15,
            "age": [20 + i // 2 for i in range(60)],
            "pulse": [60.0 + i % 7 for i in range(60)],
        }
    )
    frame.to_csv(tmp_path / "patients.csv", index=False)
    columns = ["--data", str(tmp_path / "patients.csv"), "--hospital", "ward", "--label", "ill"]
    command(
        monkeypatch,
        "run",
        *SMALL,
        *columns,
        "--no-baselines",
        "--algorithm",
        "fedper",
        "--out",
        str(tmp_path),
    )
    assert "FedPer" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "fedper" / "hospitals_test.csv")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--algorithm", "scafold"], "did you mean Scaffold"),
        (["--data", "nowhere.csv"], "there is no such file"),
        (["--data", "eicu"], "give synthetic, heart"),
        (["--epochs", "0"], "--epochs 0"),
        (["--preset", "ici-mortality"], "icu-mortality"),
        (["--cohort", "9"], "FixedCohort(size=9)"),
    ],
)
def test_wrong_values_are_one_line(monkeypatch, tmp_path, arguments, said):
    with pytest.raises(SystemExit) as exit:
        command(monkeypatch, "run", *SMALL, *arguments, "--out", str(tmp_path))
    assert said in str(exit.value)
    assert str(exit.value).startswith("jaxfed: ")


@pytest.fixture
def trained(monkeypatch):
    """How many rounds are trained, by name of the algorithm."""
    rounds, advance = Counter(), Trainer.advance

    def counted(self, given, slot, stretch, *, fresh):
        rounds[self.spec.name] += int(stretch.rounds.sum())
        return advance(self, given, slot, stretch, fresh=fresh)

    monkeypatch.setattr(Trainer, "advance", counted)
    return rounds


def test_a_command_that_was_cut_goes_on(monkeypatch, tmp_path, trained):
    """Cut in the second of three runs; the folder is moved, and only it is typed."""
    begun, moved = tmp_path / "begun", tmp_path / "moved"
    found = []
    monkeypatch.setattr("jaxfed.cli.run.report", lambda runs, hospitals, out: found.append(runs))
    options = [*SMALL, "--seed", "3", "--eval-every", "2", "--rounds", "4"]
    command(monkeypatch, "run", *options)
    trained.clear()
    advance = Trainer.advance

    def crash(self, given, slot, stretch, *, fresh):
        if self.spec.name == "LocalOnly" and trained["LocalOnly"] >= 2:
            raise MemoryError
        return advance(self, given, slot, stretch, fresh=fresh)

    monkeypatch.setattr(Trainer, "advance", crash)
    with pytest.raises(SystemExit, match="jaxfed: out of memory"):
        command(monkeypatch, "run", *options, f"--checkpoint={begun}", "--every", "1")
    assert trained == {"FedAvg": 4, "LocalOnly": 2}
    monkeypatch.setattr(Trainer, "advance", advance)
    begun.rename(moved)
    trained.clear()
    command(monkeypatch, "run", "--resume", str(moved))
    assert trained == {"LocalOnly": 2, "FedAvg": 4}  # the pooled baseline is a FedAvg, too
    whole, cut = found
    assert list(whole) == list(cut) == ["FedAvg", "local-only", "pooled"]
    for name, run in whole.items():
        same(run.state, cut[name].state)
        same(run.history.arrays(), cut[name].history.arrays())
    trained.clear()
    command(monkeypatch, "run", "--resume", str(moved))  # nothing is left to do but the report
    assert sum(trained.values()) == 0
    more = [*options, "--rounds", "5", "--no-baselines", "--checkpoint", str(moved)]
    command(monkeypatch, "run", *more)
    assert trained == {"FedAvg": 1}
    with pytest.raises(SystemExit) as exit:
        command(monkeypatch, "run", *more, "--learning-rate", "0.2")
    assert "learning_rate: 0.05 there, 0.2 here" in str(exit.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--resume", "nowhere"],
            "there is no command.checkpoint; give the folder of jaxfed run --checkpoint",
        ),
        (
            ["--resume", "nowhere", "--rounds", "9"],
            "--resume takes all options from the command that was cut",
        ),
        (["--rounds", "9", "--resume=nowhere"], "leave the others out"),
        (["--every", "2"], "give --checkpoint folder too"),
    ],
)
def test_what_cannot_go_on(monkeypatch, arguments, said):
    with pytest.raises(SystemExit) as exit:
        command(monkeypatch, "run", *(arguments if "--resume" in str(arguments) else [*SMALL, *arguments]))
    assert said in str(exit.value)
