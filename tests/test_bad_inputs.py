"""Bad inputs, one row each: what is wrong, the call, and the words that the message must have.

This is the one place where a new one is added. Calls are Python, or lines for the command line.
"""

# ruff: noqa: E501 (a table)

import dataclasses
import errno
import os
import shlex
import warnings
from functools import cache

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import jaxfed
from jaxfed import cli, data
from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, from_arrays, from_frame

X, Y = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32), np.arange(10) % 2


def table(n=40, **columns):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"site": np.repeat(["a", "b"], n // 2), "age": rng.normal(0, 1, n), "died": np.arange(n) % 2}
    )
    return frame.assign(**columns)


def arrays(y=Y, x=X, hospitals=2, **options):
    return from_arrays({f"h{i}": (x, y) for i in range(hospitals)}, **options)


def sim(**changes):
    return jaxfed.Simulation(arrays(), **{"model": jaxfed.models.logistic(), **changes})


@cache
def run(splits=("validation", "test"), **options):
    given = arrays(split=(0.6, 0.2, 0.2), **options)
    return jaxfed.Simulation(given, model=jaxfed.models.logistic(), splits=splits).run(1, progress=False)


ERRORS = [
    # labels
    ("text labels in 300 hospitals", lambda: arrays(np.where(Y, "yes", "no"), hospitals=300),
     ["from_arrays: hospital 'h0': y holds text ('no', 'yes'); pass classes=['no', 'yes']", "and 291 more"]),
    ("classes as a set", lambda: arrays(classes={"no", "yes"}), ["a set has no order", "give a list"]),
    ("classes as one string", lambda: arrays(classes="yes"), ["classes='yes'", "give a list"]),
    ("an unknown task with labels that it would not fit", lambda: arrays(Y + 0.5, task="regresion"),
     ["from_arrays: task='regresion': did you mean 'regression'"]),
    ("many whole numbers without a task", lambda: arrays(np.arange(40), np.zeros((40, 2))),
     ["40 different whole numbers", "task='regression'", "task='multiclass'"]),
    ("a label that no class names", lambda: arrays(Y + 1, classes=["1", "3"]), ["not among classes=['1', '3']: '2'"]),
    ("a list among the labels", lambda: from_frame(table(12, died=[[1], *["no"] * 11])), ["y holds text ('[1]', 'no')"]),
    ("complex features with a code for missing", lambda: from_frame(table(12, age=[1j] * 12), missing=[0]), ["columns 'age' are not numbers"]),
    ("negative labels", lambda: arrays(Y - 1), ["labels negative (-1)", "task='regression'"]),
    ("x and y of different lengths in 300 hospitals", lambda: arrays(Y[:9], hospitals=300),
     ["x has 10 rows and y has 9; give one label per row (also hospital 'h1'"]),
    # numbers and names of other kinds
    ("a step size as text", lambda: jaxfed.optimizer(optax.sgd, learning_rate="0.1"), ["learning_rate='0.1': give a number"]),
    ("momentum as text", lambda: jaxfed.optimizer(optax.adam, learning_rate=0.1, b1="0.9"), ["b1='0.9': give a number"]),
    ("a step size of True", lambda: jaxfed.optimizer(optax.sgd, learning_rate=True), ["learning_rate=True"]),
    ("a step size of jnp.nan", lambda: jaxfed.optimizer(optax.sgd, learning_rate=jnp.array(jnp.nan)), ["give a finite number"]),
    ("a negative step size of a hospital", lambda: jaxfed.optimizer(optax.sgd, learning_rate=jaxfed.per_hospital([0.1, -1])),
     ["learning_rate=PerHospital", "give a number >= 0"]),
    ("a negative l2 of a hospital", lambda: sim(l2=jaxfed.per_hospital([0.1, -1])), ["l2=PerHospital", "give a number >= 0"]),
    ("an l2 of jnp.nan", lambda: sim(l2=jnp.array(jnp.nan)), ["l2=", "give a number >= 0"]),
    ("an l2 as text", lambda: sim(l2="0.1"), ["l2='0.1': give a number >= 0"]),
    ("text per hospital", lambda: jaxfed.per_hospital(["1", "x"]), ["per_hospital(['1', 'x']): give a number for each"]),
    ("a hospital twice, as 1 and as '1'", lambda: jaxfed.per_hospital({1: 0.1, "1": 0.2}), ["two numbers for ['1']"]),
    ("half a hospital", lambda: data.iid(Y, 2.5), ["iid: hospitals=2.5: give a whole number"]),
    ("half a hospital of unequal size", lambda: data.zipf_sizes(Y, 2.5), ["zipf_sizes: hospitals=2.5"]),
    ("half a class", lambda: data.classes_per_hospital(Y, 2, classes=1.5), ["classes=1.5: give a whole number"]),
    ("alpha as text", lambda: data.dirichlet(Y, 2, alpha="0.5"), ["dirichlet: alpha='0.5': give a number"]),
    ("a seed that is none", lambda: data.dirichlet(Y, 2, seed="7"), ["seed='7'"]),
    ("a generator as x", lambda: arrays(x=(row for row in X)), ["x is a generator", "give a list or an array"]),
    ("the values of a dictionary as y", lambda: arrays(dict(enumerate(Y)).values()), ["y is a dict_values"]),
    ("a seed that is too large in a sweep", lambda: sim().sweep({"seed": [2**31]}, 1), ["seed=2147483648", "below 2**31"]),
    ("another word for a round", lambda: sim().run(0, progress=False).hospitals(at="beste"), ["at='beste': did you mean 'best'"]),
    ("two entries of split for one hospital", lambda: from_arrays({"1": (X, Y)}, split={1: [0] * 10, "1": [0] * 10}),
     ["split: two entries for '1'"]),
    # arguments that do not exist
    ("another word for a field", lambda: sim(modle=None), ["Simulation: no argument 'modle'; did you mean 'model'"]),
    ("another word in a copy", lambda: sim().replace(modle=None), ["no argument 'modle'; did you mean 'model'"]),
    ("another word in run", lambda: sim().run(round=3), ["run: no argument 'round'; did you mean 'rounds'"]),
    ("another word in sweep", lambda: sim().sweep({}, 1, sampels=3), ["sweep: no argument 'sampels'; did you mean 'samples'"]),
    ("another word of an algorithm", lambda: jaxfed.algorithms.FedProx(muu=0.1), ["FedProx: no argument 'muu'; did you mean 'mu'"]),
    ("another word of an optimiser", lambda: jaxfed.optimizer(optax.sgd, learning_rat=0.1),
     ["sgd has no argument learning_rat; did you mean 'learning_rate'"]),
    # optimisers that need the loss
    ("lbfgs of the hospitals", lambda: sim(client_optimizer=jaxfed.optimizer(optax.lbfgs, learning_rate=0.1)),
     ["client_optimizer=lbfgs(learning_rate=0.1): its update fails with gradients and parameters alone", "'value'", "such as optax.sgd"]),
    ("a number as the optimiser of a server", lambda: sim(algorithm=jaxfed.algorithms.FedProx(0.1)),
     ["FedProx(server_optimizer=0.1)", "server_optimizer=jaxfed.optimizer(optax.adam, learning_rate=0.01)", "name other arguments"]),
    ("polyak_sgd of the hospitals", lambda: sim(client_optimizer=jaxfed.optimizer(optax.polyak_sgd)), ["client_optimizer=polyak_sgd()", "'value'"]),
    ("reduce_on_plateau of the hospitals", lambda: sim(client_optimizer=jaxfed.optimizer(optax.contrib.reduce_on_plateau)),
     ["client_optimizer=reduce_on_plateau()", "jaxfed.schedule(...)"]),
    ("lbfgs of the server", lambda: sim(algorithm=jaxfed.FedAvg(server_optimizer=jaxfed.optimizer(optax.lbfgs, memory_size=3))),
     ["algorithm.server_optimizer=lbfgs(memory_size=3)", "'value'"]),
    ("polyak_sgd of fine-tuning", lambda: sim(algorithm=jaxfed.algorithms.FineTuned(optimizer=jaxfed.optimizer(optax.polyak_sgd))),
     ["algorithm.optimizer=polyak_sgd()"]),
    ("polyak_sgd in a sweep", lambda: sim().sweep({"client_optimizer": [jaxfed.optimizer(optax.polyak_sgd)]}, 1), ["client_optimizer=polyak_sgd()"]),
    # too much
    ("a million configurations", lambda: sim().sweep({"l2": np.linspace(0, 1, 1000), "client_optimizer.learning_rate": np.linspace(0.1, 1, 1000)}, 1),
     ["1,000,000 configurations", "takes 100,000", "mode='random' with samples=1000"]),
    ("a million draws", lambda: sim().sweep({"l2": (0.0, 1.0)}, 1, mode="random", samples=10**6), ["1,000,000 configurations"]),
    ("a million configurations without a length", lambda: sim().sweep({"l2": iter(np.linspace(0, 1, 10**6))}, 1), ["1,000,000 configurations"]),
    ("a model larger than the memory", lambda: sim(model=jaxfed.models.mlp(200000, 200000)).run(1, progress=False),
     ["a round needs more than 320 GB on each device", "and there are", "a smaller model"]),
    # runs side by side
    ("nothing to compare", lambda: jaxfed.compare({}), ["compare: no runs; give {name: run}"]),
    ("no run", lambda: jaxfed.compare({"a": 3}), ["'a' is int; give a Run"]),
    ("an unknown run to compare with", lambda: jaxfed.compare({"local": run(), "other": run()}, against="locl"),
     ["against='locl': did you mean 'local'"]),
    ("other hospitals", lambda: jaxfed.compare({"a": run(), "b": run(hospitals=3)}),
     ["runs 'a' and 'b' are of different hospitals ('h2')"]),
    ("another task", lambda: jaxfed.compare({"a": run(), "b": run(task="regression")}), ["different task ('binary', 'regression')"]),
    ("a split that one run lacks", lambda: jaxfed.compare({"a": run(), "b": run(splits=("validation",))}),
     ["split='test': run 'b' was evaluated on validation"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "words"), ERRORS, ids=[row[0] for row in ERRORS])
def test_an_error_says_what_to_do(what, call, words):
    with pytest.raises((InvalidInput, jaxfed.storage.checkpoint.CheckpointError)) as caught:
        call()
    for part in words:
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 13


def test_ids_that_are_no_text_name_hospitals_everywhere():
    hospitals = from_arrays({1: (X, Y), 2: (X, Y)}, split={1: [0] * 8 + [1, 2], 2: [0] * 8 + [1, 2]})
    assert hospitals.select([2, 1]).hospitals == ("2", "1")
    assert len(hospitals.rows(2)[1]) == 10
    how = jaxfed.Simulation(
        hospitals,
        models={"a": jaxfed.models.logistic(), "b": jaxfed.models.mlp(2)},
        groups={1: "a", 2: "b"},
        algorithm=jaxfed.algorithms.mixed.ByGroup(jaxfed.LocalOnly()),
        epochs=jaxfed.per_hospital({1: 1, 2: 2}),
    )
    assert how.groups == {1: "a", 2: "b"}


SMALL = "--hospitals 4 --rounds 1 --hidden 4 --devices 1 --no-baselines"
ROWS = "".join(
    f"{site},{i % 7},{i * 37 % 11},{i * 5 % 3 % 2}\n" for site in ("007", "7", "NA") for i in range(20)
)
GOOD = "site,age,crp,died\n" + ROWS
FILES = {
    "good.csv": GOOD,
    "semicolon.csv": GOOD.replace(",", ";"),
    "comma.csv": GOOD.replace(",", ";").replace(";1;", ";1,5;"),
    "caret.csv": GOOD.replace(",", "^"),
    "codes.csv": GOOD.replace(",5,", ",?,"),
    "text.csv": GOOD.replace(",0\n", ",no\n").replace(",1\n", ",yes\n"),
    "ward.csv": "site,ward,crp,died\n" + "".join(f"{h},{w},{i},{i % 2}\n" for h in ("007", "7", "NA") for i, w in enumerate(["icu", "er"] * 10)),
    "days.csv": "site,age,died\n" + "".join(f"{h},{i},{i}\n" for h in "ab" for i in range(40)),
    "two.csv": "site,age,died\n" + "".join(f"{h},{i},{i % 2}\n" for h in range(300) for i in range(2)),
    "alike.csv": "site,age,died\n" + "".join(f"{h},{i},{h}\n" for h in range(2) for i in range(20)),
    "one.csv": "site,age,died\na,1,0\n",
    "ragged.csv": GOOD + "7,1\n",
    "empty.csv": "",
    "header.csv": "site,age,died\n",
    "latin.csv": GOOD.replace("007", "Köln").encode("latin-1"),
    "good.xlsx": "no spreadsheet",
    "text/a.txt": "a file where a folder could be",
    "other/summary.csv": "run",
}  # fmt: skip

LINES = [
    # what is read
    ("an unknown name", "run --data eicu", ["--data eicu: give synthetic, heart, tcga-brca, breast-cancer, digits, or a table"]),
    ("no such file", "run --data nowhere.csv", ["nowhere.csv: there is no such file"]),
    ("a folder", "run --data text", ["text is a folder; give a file in it"]),
    ("another kind of file", "run --data text/a.doc", ["give a table, one of .csv, .tsv"]),
    ("an empty file", "run --data empty.csv", ["empty.csv is empty"]),
    ("column names alone", "run --data header.csv", ["no rows"]),
    ("a line that is short", "run --data ragged.csv", ["line 62 has 2 fields and the first line 4"]),
    ("another encoding", "run --data latin.csv", ["latin.csv is not UTF-8 text; pass --encoding latin-1"]),
    ("another separator", "run --data caret.csv", ["no hospital column 'site'", "read the file with the --sep"]),
    ("decimal commas", "run --data comma.csv", ["(decimal commas, as '1,5'); pass --decimal ','"]),
    ("no spreadsheet", "run --data good.xlsx", ["good.xlsx cannot be read as .xlsx"]),
    ("codes for missing", "run --data codes.csv", ["(codes, as '?'); if they mean that a value is missing, pass --missing '?'"]),
    ("a column of text", "run --data ward.csv", ["columns 'ward' are not numbers", "leave them out with --drop ward"]),
    ("labels as text", "run --data text.csv", ["y holds text ('no', 'yes'); pass --classes no yes, the names"]),
    ("amounts as labels", "run --data days.csv", ["40 different whole numbers", "pass --task regression if they are amounts"]),
    ("a column that is not there", "run --data good.csv --label dead", ["no label column 'dead'; did you mean 'died'"]),
    ("a patient column that is not there", "run --data good.csv --patient mrn", ["no patient column 'mrn'"]),
    ("a split that is none", "run --data good.csv --split 0.5 x 0.1", ["--split 0.5 x 0.1: give three fractions"]),
    ("fractions of more than 1", "run --data good.csv --split 0.5 0.5 0.5", ["three fractions (train, validation, test) that add up to 1"]),
    ("options of a table without one", "run --drop age --split 0.5 0.1 0.4", ["--drop, --split: that is for tables", "--data is synthetic"]),
    # nothing to report
    ("one row", "run --data one.csv", ["no hospital has test rows (the largest hospital has 1 rows)", "--split 0.5 0.1 0.4"]),
    ("300 hospitals of 2 rows", "run --data two.csv", ["no hospital has test rows"]),
    ("only training rows", "run --data good.csv --split 1 0 0", ["no hospital has test rows"]),
    ("hospitals of one class", "run --data alike.csv", ["no hospital has test rows of both classes"]),
    # numbers
    ("nobody trains", "run --cohort 0", ["FixedCohort(size=0): give a whole number from 1 to 4"]),
    ("nobody trains in a sweep", "sweep --cohort 0 --vary epochs=1,2", ["FixedCohort(size=0)"]),
    ("no width", "run --hidden 0", ["mlp(0): give whole numbers of at least 1"]),
    ("no channels", "run --data digits --model cnn --hidden 0", ["cnn(0, 64): give whole numbers of at least 1"]),
    ("images that are none", "run --model cnn", ["cnn takes images [height, width, channels], not rows of shape (20,)", "mlp"]),
    ("too many convolutions", "run --data digits --model cnn --hidden 4 4 4 4", ["halves images 4 times", "give fewer convolutions"]),
    ("epochs 0", "run --epochs 0", ["--epochs 0: give a whole number >= 1"]),
    # folders
    ("results in a file", "run --out text/a.txt", ["--out text/a.txt: text/a.txt is a file; give the name of a folder"]),
    ("results below a file", "run --out text/a.txt/b", ["text/a.txt is a file"]),
    ("results nowhere", "run --out=", ["--out: the name is empty"]),
    ("results that cannot be written", "run --out /proc/jaxfed", ["--out /proc/jaxfed: ", "give a folder that can be written"]),
    ("results of another run", "run --out other", ["--out other holds other results (of what, it does not say); add --overwrite, or give --out other-2"]),
    ("checkpoints in a file", "run --checkpoint text/a.txt", ["--checkpoint text/a.txt: text/a.txt is a file"]),
    ("checkpoints nowhere", "sweep --checkpoint= --vary epochs=1", ["--checkpoint: the name is empty"]),
    ("a benchmark in a file", "bench algorithms --out text/a.txt", ["text/a.txt is a file"]),
]  # fmt: skip


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "text" / "a.doc").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(monkeypatch, line):
    words = shlex.split(line)
    small = [word for word in shlex.split(SMALL) if words[0] == "run" or word != "--no-baselines"]
    given = {word.split("=")[0] for word in words}
    keep, skip = [], False
    for word in small if words[0] != "bench" else []:
        skip = word in given if word.startswith("--") else skip
        keep += [] if skip else [word]
    monkeypatch.setattr("sys.argv", ["jaxfed", words[0], *words[1:], *keep])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        cli.main()


@pytest.mark.parametrize(("what", "line", "words"), LINES, ids=[row[0] for row in LINES])
def test_the_command_line_says_what_to_type(files, monkeypatch, what, line, words):
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, line)
    message = str(caught.value)
    assert message.startswith("jaxfed: ")
    for part in words:
        assert part in message


def test_what_an_error_names_can_be_typed(files, monkeypatch, capsys):
    """Each remedy, typed, makes a run; ids are text as written; warnings are lines without code."""
    lines = [
        "run --data good.csv",
        "run --data semicolon.csv",
        "run --data comma.csv --decimal ,",
        "run --data caret.csv --sep ^",
        "run --data codes.csv --missing '?' -9",
        "run --data text.csv --classes no yes",
        "run --data ward.csv --drop ward",
        "run --data days.csv --task regression",
        "run --data latin.csv --encoding latin-1",
        "run --data good.csv --features crp --impute none --standardize local",
    ]
    for i, line in enumerate(lines):
        typed(monkeypatch, f"{line} --out out{i}")
        names = pd.read_csv(f"out{i}/fedavg/hospitals_test.csv", dtype=str, keep_default_na=False)["hospital"]
        sites = ["a", "b"] if "days" in line else ["Köln" if "latin" in line else "007", "7", "NA"]
        assert names.tolist() == sites
    warned = capsys.readouterr().err
    assert "jaxfed: warning: from_frame: '007' and '7' differ only in" in warned
    assert ".py" not in warned
    assert len(warned.splitlines()) == warned.count("jaxfed: warning: ")


def test_results_of_another_run_stay(files, monkeypatch):
    typed(monkeypatch, "run --out a")
    before = (files / "a" / "summary.csv").read_text()
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, "run --out a --learning-rate 0.5")
    assert "--out a holds other results (learning_rate 0.05 there, 0.5 here)" in str(caught.value)
    assert (files / "a" / "summary.csv").read_text() == before
    typed(monkeypatch, "run --out a")
    typed(monkeypatch, "run --out a --learning-rate 0.5 --overwrite")
    with pytest.raises(SystemExit, match=r"there, 0\.05 here"):
        typed(monkeypatch, "run --out a")


def test_a_fault_is_one_line_and_with_debug_a_traceback(monkeypatch):
    def fail(options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("jaxfed.cli.run.load", fail)
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, "run")
    assert (
        str(caught.value)
        == "jaxfed: ZeroDivisionError: division by zero; the same command with --debug shows where"
    )
    with pytest.raises(ZeroDivisionError):
        typed(monkeypatch, "run --debug")


def test_a_full_disk_leaves_the_checkpoint_before(files, monkeypatch):
    typed(monkeypatch, "run --rounds 2 --every 1 --checkpoint kept --out a")
    before = {path: path.read_bytes() for path in files.glob("kept/fedavg/*")}
    replace = os.replace

    def full(source, target):
        if "round-00000003" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, "run --rounds 4 --every 1 --checkpoint kept --out a")
    assert "No space left on device; what was saved before is as it was" in str(caught.value)
    assert {path: path.read_bytes() for path in files.glob("kept/fedavg/*")} == before
    monkeypatch.setattr("os.replace", replace)
    typed(monkeypatch, "run --rounds 4 --every 1 --checkpoint kept --out a")


def test_rejected_uploads_and_empty_rounds_are_shown(files, monkeypatch, capsys):
    data = arrays(split=(0.5, 0.2, 0.3))
    how = {"model": jaxfed.models.logistic(), "participation": jaxfed.Poisson(1e-6)}
    empty = jaxfed.Simulation(data, **how).run(3, progress=False)
    assert "; 3 rounds had no hospital; " in repr(empty)
    assert "3 rounds had no hospital" in empty._repr_html_()
    assert "rounds had" not in repr(run())
    far = from_arrays(dict.fromkeys("ab", (1e6 * X, 1e6 * X[:, 0])), task="regression")
    with pytest.warns(DataWarning, match="are far from 1"):
        diverged = jaxfed.Simulation(
            far, steps=40, client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=10.0)
        )
    assert "2 uploads were not finite and left out" in repr(diverged.run(1, progress=False))
    (files / "far.csv").write_text(GOOD.replace(",0\n", ",1e15\n"))
    typed(monkeypatch, "run --data far.csv --task regression --learning-rate 1e9 --out a --baselines")
    said = capsys.readouterr().out
    assert "FedAvg: 3 uploads were not finite and left out" in said


@pytest.mark.parametrize(
    ("hospitals", "splits", "words"),
    [
        (
            lambda: arrays(split=None),
            ("validation", "test"),
            "no hospital has validation or test rows, so that nothing",
        ),
        (lambda: arrays(Y[:1], X[:1], hospitals=40), ("test",), "no hospital has test rows"),
        (
            lambda: from_arrays({"a": (X, 0 * Y), "b": (X, 0 * Y + 1)}),
            ("test",),
            "no hospital has test rows of both classes",
        ),
    ],
)
def test_evaluations_of_nothing_are_warned_of(hospitals, splits, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = hospitals()
    how = jaxfed.Simulation(given, model=jaxfed.models.logistic(), splits=splits)
    with pytest.warns(UserWarning, match=words) as caught:
        how.run(0, progress=False)
    assert caught[0].filename == __file__


def test_rows_to_evaluate_on_must_have_the_training_numbers():
    train = data.standardize(arrays())
    own = data.standardize(arrays(x=X + 5))
    how = {"model": jaxfed.models.logistic()}
    for other in (own, arrays()):
        with pytest.warns(UserWarning, match=r"evaluate_on: .* give jaxfed\.data\.transform_like"):
            jaxfed.Simulation(train, evaluate_on=other, **how)
    jaxfed.Simulation(train, evaluate_on=data.transform_like(arrays(), train), **how)
    jaxfed.Simulation(train, **how).pooled()


def test_a_hospital_without_training_rows_has_no_model_of_its_own():
    """It is left out and counted where models are personal, and has the shared model's metrics elsewhere."""
    split = {"a": np.arange(10) // 2 % 3, "b": np.arange(10) // 2 % 3, "c": np.full(10, 2)}
    given = from_arrays({name: (X + i, Y) for i, name in enumerate(split)}, split=split)
    shared = jaxfed.Simulation(given, model=jaxfed.models.mlp(2), devices=2, splits=("test",))
    groups = {"models": dict.fromkeys("mn", shared.model), "groups": ["m", "n", "n"]}
    alone = shared.local_only()
    mixed = shared.replace(**groups, algorithm=jaxfed.algorithms.mixed.FedProto()).local_only()
    for how in (alone, mixed, shared.replace(algorithm=jaxfed.algorithms.FedRep())):
        done = how.run(1, progress=False)
        frame, last = done.hospitals(), done.summary()
        for metric in ("auroc", "log_loss"):
            assert np.isnan(frame[metric]["c"])
            values = frame[metric][["a", "b"]]
            assert values.notna().all()
            assert last[metric] == pytest.approx(values.mean())
            assert last[f"{metric}_undefined"] == 1
        assert "; 1 hospitals have no training rows, hence no model and no metrics; " in repr(done)
    two = given.select(["a", "b"])
    assert alone.replace(hospitals=two).run(1, progress=False).summary()["log_loss_pooled"] == pytest.approx(
        alone.run(1, progress=False).summary()["log_loss_pooled"], rel=1e-5
    )
    for algorithm in (jaxfed.FedAvg(), jaxfed.algorithms.FineTuned(), jaxfed.algorithms.IFCA()):
        done = shared.replace(algorithm=algorithm).run(1, progress=False)
        assert done.hospitals()["log_loss"].notna().all()
        assert "no training rows" not in repr(done)


def faded(number):
    """``number`` in the first round, then 0."""
    return jaxfed.schedule(lambda r: jnp.where(r < 1, number, 0.0))


@pytest.mark.parametrize(
    ("algorithm", "more", "remedy"),
    [
        (jaxfed.algorithms.FineTuned(), {"optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.5)}, "optimizer"),
        (
            jaxfed.algorithms.FedRep(head_epochs=2),
            {"refit_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.5)},
            "refit_optimizer",
        ),
        (jaxfed.algorithms.PerFedAvg(alpha=faded(0.5)), {"alpha_before_use": 0.5}, "alpha_before_use"),
    ],
    ids=["FineTuned", "FedRep", "PerFedAvg"],
)  # fmt: skip
def test_adapting_has_a_step_size_of_its_own(algorithm, more, remedy):
    """A round with step size 0 changes nothing, so that models adapt as after the round before."""
    given = arrays(split=(0.5, 0.2, 0.3))
    step = jaxfed.optimizer(optax.sgd, learning_rate=faded(0.5))
    how = jaxfed.Simulation(
        given, model=jaxfed.models.mlp(2), client_optimizer=step, batch_size=None, algorithm=algorithm
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = how.run(1, progress=False)
        own = how.replace(algorithm=dataclasses.replace(algorithm, **more)).run(2, progress=False)
    with pytest.warns(UserWarning, match=rf"last round, 0, which began at 0\.5: .*\({remedy}=") as caught:
        nothing = how.run(2, progress=False)
    assert caught[0].filename == __file__
    losses = [done.hospitals(at="last")["log_loss"].to_numpy() for done in (first, own, nothing)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert (np.abs(losses[0] - losses[2]) > 1e-4).all()
    with pytest.warns(UserWarning, match="adapt before use"):
        how.sweep({"seed": [0]}, 2, progress=False)


def test_a_schedule_that_starts_anew_in_every_round_is_warned_of():
    for rate in (
        optax.cosine_decay_schedule(0.1, 10),
        jaxfed.schedule(optax.cosine_decay_schedule(0.1, 10)),
        0.1,
    ):
        step = jaxfed.optimizer(optax.sgd, learning_rate=rate)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sim(client_optimizer=step)
            sim(algorithm=jaxfed.FedAvg(server_optimizer=step))
        said = [warning for warning in caught if "learning_rate=jaxfed.schedule(...)" in str(warning.message)]
        assert len(said) == callable(rate)
        assert all(warning.filename == __file__ for warning in said)
