"""``jaxfed sweep``: flags and TOML files become fields and options."""

import json

import pandas as pd
import pytest
import tyro

from jaxfed import algorithms, cli
from jaxfed.cli import toml
from jaxfed.cli.sweep import SweepOptions, fields_of
from jaxfed.core.errors import InvalidInput
from jaxfed.sweep import Sweep
from jaxfed.sweep import executor as loop

KNOWN = ("rounds", "hidden", "algorithm", "eval_every", "baselines")
STEP, MU = "client_optimizer.learning_rate", "algorithm.mu"


@pytest.fixture(autouse=True)
def results_stay_here(monkeypatch, tmp_path):
    """Where no --out is typed, results go into the present folder."""
    monkeypatch.chdir(tmp_path)


def fields(*vary, **options):
    return fields_of(SweepOptions(vary=vary, **options))


def test_fields():
    assert fields(f"{STEP}=0.01,1", f"{MU}=0, 0.1", "batch_size=16,none") == {
        STEP: [0.01, 1],
        MU: [0, 0.1],
        "batch_size": [16, None],
    }
    assert fields("l2=1e-4", seeds=3, seed=5) == {"l2": [1e-4], "seed": range(5, 8)}


def test_parts_by_name():
    found = fields("algorithm=fedprox,Scaffold", "model=mlp,logistic", hidden=(7,))
    assert {name: type(part) for name, part in found["algorithm"].items()} == {
        "fedprox": algorithms.FedProx,
        "Scaffold": algorithms.Scaffold,
    }
    assert found["model"]["mlp"].hidden == (7,)


def test_seeds_of_a_zip():
    """Every configuration with every seed."""
    found = fields(f"{STEP}=0.1,0.2", "algorithm=FedAvg,FedSGD", seeds=2, mode="zip")
    assert found[STEP] == [0.1, 0.1, 0.2, 0.2]
    assert [type(part).__name__ for part in found["algorithm"]] == ["FedAvg", "FedAvg", "FedSGD", "FedSGD"]
    assert found["seed"] == [0, 1, 0, 1]


def test_ranges_of_random_draws():
    found = fields(f"{STEP}=0.001..1:log", "epochs=1..4", f"{MU}=0,1", mode="random")
    assert found == {STEP: (0.001, 1, "log"), "epochs": (1, 4), MU: [0, 1]}


@pytest.mark.parametrize(
    ("vary", "options", "said"),
    [
        (["algorithm.mu"], {}, "give a field and its values"),
        (["algorithm.mu="], {}, "give a field and its values"),
        (["l2=1", "l2=2"], {}, "l2 is given twice"),
        (["algorithm=scafold"], {}, "did you mean Scaffold"),
        (["model=mpl"], {}, "did you mean 'mlp'"),
        (["l2=0.1..1"], {}, "--mode random"),
        (["l2=0.1..1"], {"mode": "random", "seeds": 2}, "every random draw has one seed"),
        (["seed=1,2"], {"seeds": 2}, "give one of them"),
        (["l2=1"], {"seeds": 0}, "at least 1"),
    ],
)
def test_fields_that_cannot_be_read(vary, options, said):
    with pytest.raises(InvalidInput, match=said):
        fields(*vary, **options)


TUNE = """
rounds = 4
eval-every = 2
hidden = [8, 4]
algorithm = "FedProx"
baselines = false
[vary]
"client_optimizer.learning_rate" = [0.01, 1]
algorithm.mu = [0, 0.5]
flag = [true]
l2 = "0.1..1:log"
"""


def test_a_file_becomes_flags(tmp_path):
    path = tmp_path / "tune.toml"
    path.write_text(TUNE)
    assert toml.expanded([str(path), "--rounds", "9"], KNOWN) == [
        "--rounds", "4", "--eval-every", "2", "--hidden", "8", "4", "--algorithm", "FedProx",
        "--no-baselines", "--vary", f"{STEP}=0.01,1", "--vary", f"{MU}=0,0.5", "--vary", "flag=true",
        "--vary", "l2=0.1..1:log", "--rounds", "9",
    ]  # fmt: skip


def test_flags_go_before_the_file(tmp_path):
    path = tmp_path / "tune.toml"
    path.write_text(TUNE.replace("baselines = false\n", ""))
    arguments = toml.expanded(
        [str(path), "--rounds", "9", "--vary", f"{MU}=3", "--vary=flag=false", "--hidden", "5"], KNOWN
    )
    options = tyro.cli(tyro.conf.OmitArgPrefixes[SweepOptions], args=arguments)
    assert (options.rounds, options.eval_every, options.hidden) == (9, 2, (5,))
    assert set(options.vary) == {f"{STEP}=0.01,1", f"{MU}=3", "flag=false", "l2=0.1..1:log"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("round = 4", "no option 'round': did you mean 'rounds'"),
        ("vari = 4", "did you mean 'vary'"),
        ("[varied]\na = [1]", "no option 'varied'"),
        ("[algorithm]\nmu = [1]", "only .vary. is a table"),
        ("[vary]\na = 1", "a = 1: give values in a list"),
        ("vary = 3", "vary = 3: give values"),
        ("rounds = ", "is not TOML"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "tune.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        toml.expanded([str(path)], KNOWN)


def test_which_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        toml.expanded([str(tmp_path / "tune.toml")], KNOWN)
    with pytest.raises(InvalidInput, match="give one file"):
        toml.expanded(["a.toml", "b.toml"], KNOWN)
    assert toml.expanded(["--rounds", "3"], KNOWN) == ["--rounds", "3"]


def test_a_sweep_writes_a_report(monkeypatch, tmp_path, capsys):
    path = tmp_path / "tune.toml"
    path.write_text(
        'hospitals = 4\nrounds = 2\neval_every = 1\ndevices = 4\nseeds = 2\nalgorithm = "FedProx"\n'
        f'hidden = [4]\n[vary]\n"{STEP}" = [0.01, 0.1]\nalgorithm.mu = [0, 0.1]\n'
    )
    out = tmp_path / "report"
    monkeypatch.setattr("sys.argv", ["jaxfed", "sweep", str(path), "--out", str(out)])
    cli.main()
    said = capsys.readouterr().out
    assert "8 configurations" in said
    sweep = Sweep.load(out)
    assert dict(sweep.data["diverged"].sizes) == {STEP: 2, MU: 2, "seed": 2}
    best = json.loads((out / "best.json").read_text())
    assert best["settings"] == sweep.best().settings
    assert best["test"]["auroc"] == pytest.approx(sweep.best().value("auroc"))
    ranking = pd.read_csv(out / "ranking.csv")
    assert len(ranking) == 4
    assert ranking["seeds"].tolist() == [2, 2, 2, 2]
    assert (out / "sweep.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to sweep"),
        (["--vary", "algorithm.nu=1"], "no field 'algorithm.nu'"),
        (["tune.toml"], "there is no such file"),
    ],
)
def test_wrong_sweeps_are_one_line(monkeypatch, arguments, said):
    small = ["--hospitals", "4", "--rounds", "1", "--hidden", "4", "--devices", "4"]
    monkeypatch.setattr("sys.argv", ["jaxfed", "sweep", *small, *arguments])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert str(exit.value).startswith("jaxfed: ")
    assert said in str(exit.value)


def test_a_sweep_that_was_cut_goes_on(monkeypatch, tmp_path):
    """Its options came from a file that is gone by then; only the folder is typed."""
    found = []
    monkeypatch.setattr("jaxfed.cli.sweep.report", lambda sweep, metric, out: found.append(sweep))
    file = tmp_path / "tune.toml"
    file.write_text("""
hospitals = 4
rounds = 2
model = "logistic"
[vary]
client_optimizer.learning_rate = [0.01, 0.1]
""")
    kept, call, calls = tmp_path / "kept", loop.ProgramRunner.call, []

    def crash(self):
        if len(calls) == 1:
            raise MemoryError
        calls.append(1)
        return call(self)

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["jaxfed", "sweep", *arguments])
        cli.main()

    how = [str(file), "--devices", "4", "--eval-every", "1"]
    command(*how)
    monkeypatch.setattr(loop.ProgramRunner, "call", crash)
    with pytest.raises(SystemExit, match="jaxfed: out of memory"):
        command(*how, "--checkpoint", str(kept), "--every", "1")
    monkeypatch.setattr(loop.ProgramRunner, "call", call)
    file.unlink()
    command("--resume", str(kept))
    assert found[0].data.identical(found[1].data)
    monkeypatch.setattr("sys.argv", ["jaxfed", "run", "--resume", str(kept)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert "that was jaxfed sweep, not run" in str(exit.value)
