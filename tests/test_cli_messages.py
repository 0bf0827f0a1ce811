"""Errors and warnings on the command line name options as they are typed, not arguments of Python."""

import warnings

import pytest

from jaxfed import cli
from jaxfed.cli.messages import as_flags

SMALL = ["--hospitals", "4", "--rounds", "2", "--hidden", "4"]
OPTIONS = {
    "batch_size", "categories", "checkpoint", "classes", "data", "dates", "delta", "drop", "epsilon",
    "features", "folder", "head", "hospitals", "learning_rate", "missing", "noise", "rate", "report",
    "rounds", "row_weights", "samples", "seed", "sep", "split",
}  # fmt: skip


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What a command says when it ends, without ``jaxfed: ``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxfed.use_cpu_devices", lambda *_: None)

    def say(*arguments):
        monkeypatch.setattr("sys.argv", ["jaxfed", *arguments])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        return str(exit.value).removeprefix("jaxfed: ")

    return say


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--batch-size -4", "--batch-size -4: give a whole number >= 1, or leave it out"),
        (
            "--epochs 0 --batch-size=0",
            "  - --epochs 0: give a whole number >= 1, or leave it out\n  - --batch",
        ),
        ("--seed -1", "--seed -1: give a whole number, 0 or more"),
        ("--learning-rate -1e-7", "--learning-rate -1e-07: give a number >= 0"),
        ("--epsilon -3 --delta 1", "  - --epsilon -3.0: give a number > 0\n  - --delta 1.0: give"),
        ("--noise -1", "--noise -1.0: give"),
        ("--every 2", "--every 2: give --checkpoint folder too"),
        ("--head nope", "--head nope: with FedAvg no part of the model stays in the hospital; leave it out"),
        (
            "--algorithm FedPer --head nope",
            "--head nope: the model has no part 'nope'; give some of head, hidd",
        ),
        ("--generator split=0.5", "split=0.5: give three fractions"),  # as it was typed
        ("--generator seed=3", "seed=3: give --seed 3"),
    ],
)
def test_wrong_numbers_of_run(said, arguments, words):
    assert words in said("run", *SMALL, *arguments.split())


def test_wrong_numbers_are_said_before_the_folder_is_taken(said, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "options.json").write_text("{}")
    for command in ("run", "sweep"):
        words = said(command, *SMALL, "--rounds", "-3", "--eval-every", "0", "--out", str(tmp_path / "taken"))
        assert "  - --rounds -3: give a whole number >= 0\n  - --eval-every 0: give" in words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sweep --mode random --vary algorithm.mu=0..1", "no --samples: give the number of random"),
        ("sweep --vary batch_size=16,-4", "batch_size=-4: give a whole number >= 1"),  # as it was typed
        ("bench aggregators --malicious 2", "--malicious 2.0 of 20 hospitals: give a share below 0.5"),
        (
            "bench aggregators --steps 0 --hidden -1",
            "  - --steps 0: give a whole number >= 1\n  - --hidden -1:",
        ),
        ("bench algorithms --rounds 0 --seeds 0", "  - --rounds 0: give a whole number >= 2\n  - --seeds 0"),
        ("bench algorithms --rounds 3", "--rounds 3: give an even number"),
        ("privacy --noise -1", "--noise -1.0: give a finite number >= 0"),
        ("privacy --noise 1 --rate 2", "--rate 2.0: give a finite number >= 0 and <= 1"),
        (
            "privacy --epsilon 1 --rounds 0 --steps -1",
            "  - --rounds 0: give a whole number >= 1\n  - --steps -1",
        ),
    ],
)
def test_wrong_numbers_of_other_commands(said, command, words):
    name, *arguments = command.split()
    assert words in said(name, *(SMALL if name == "sweep" else []), *arguments)


def test_warnings(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["jaxfed", "privacy"])

    def run():
        warnings.simplefilter("always")
        warnings.warn("rate=0.5, seed=3: look", stacklevel=1)

    monkeypatch.setattr("jaxfed.cli._run", run)
    cli.main()
    assert capsys.readouterr().err == "jaxfed: warning: --rate 0.5, seed=3: look\n"


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("rate=0.5.", "--rate 0.5."),
        ("learning_rate=1e-05, rate=-2.5E+3;", "--learning-rate 1e-05, --rate -2.5E+3;"),
        ("epsilon=inf, delta=nan", "--epsilon inf, --delta nan"),
        ("(seed=3)", "(--seed 3)"),
        ("batch_size=None: give it", "no --batch-size: give it"),
        ("report=True or report=False", "--report or --no-report"),
        ("split=2: give fractions, as (.7, .1, .2)", "--split 2: give fractions, as .7 .1 .2"),
        ("pass sep=','", "pass --sep ','"),
        ("sep=';' or sep=''", "--sep ';' or --sep ''"),
        ('drop=["it\'s", \'a b\', \'c,d\', \'age\']', "--drop 'it'\"'\"'s' 'a b' c,d age"),
        ("missing=['?', -9]", "--missing '?' -9"),
        ("head=('head',): no", "--head head: no"),
        ("split=(0.5, 0.6)", "--split 0.5 0.6"),
        ("categories={'diag': [...]}, or min=3", "--categories diag=..., or min=3"),
        ("dates={'a': 'first', 'b c': 'a'}", "--dates a=first 'b c=a'"),
        ("categories={'cp': [1, 2]}", "--categories cp=1,2"),
        ("give folder=..., or checkpoint=folder", "give --folder ..., or --checkpoint folder"),
        ("of classes= the last, seed=.", "of --classes the last, --seed."),
        ("noise_multiplier=-1.0", "--noise -1.0"),
        ("rounds=0: give 1 or more, or None", "--rounds 0: give 1 or more, or leave it out"),
        ("two:\n  - l2=-1: 0, or None\n  - rounds=0: 1", "two:\n  - l2=-1: 0, or None\n  - --rounds 0: 1"),
    ],
)  # fmt: skip
def test_values_as_they_are_typed(text, typed):
    assert as_flags(text, OPTIONS) == typed


@pytest.mark.parametrize(
    "text",
    [
        "epochs=3",  # an option of another command
        "give jaxfed.optimizer(optax.sgd, learning_rate=0.05)",
        "give hospitals=hospitals.replace(row_weights=None)",
        "HospitalDP(AdaptiveClip(0.1), epsilon=3.0, rounds=50)",
        "rounds=list(given), my_seed=3, sim.seed=3, 'seed=3'",
        "learning_rate=jaxfed.schedule(...) counts rounds",
        "drop=['a', 'b' and 3 more]",
        "pass data=f",  # a function in Python
    ],
)
def test_what_is_no_option_stays(text):
    assert as_flags(text, OPTIONS) == text
