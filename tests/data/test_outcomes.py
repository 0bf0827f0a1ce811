"""Times and events from arrays, tables, the command line and TCGA-BRCA."""

import numpy as np
import pandas as pd
import pytest
from survival_oracles import draw, hospitals

import jaxfed
from jaxfed.cli.tables import TableOptions, check_evaluation, read
from jaxfed.core.errors import InvalidInput
from jaxfed.core.tasks import SURVIVAL_EFRON
from jaxfed.data import from_arrays, from_frame, tcga_brca
from jaxfed.data.tcga import FILES, PLACES, URL
from jaxfed.evaluation import discrete_hazard


def table(n=40, **columns):
    x, time, event = draw(n)
    frame = pd.DataFrame(x, columns=["age", "stage", "grade"])
    return frame.assign(site=np.arange(n) % 2, days=time, died=event, **columns)


NAMES = {"hospital": "site", "time": "days", "event": "died"}


def test_a_table_with_time_and_event():
    df = table()
    data = from_frame(df, **NAMES, split=None)
    assert data.task == "survival"
    assert data.features == ("age", "stage", "grade")
    assert data.y.dtype == np.float32
    np.testing.assert_array_equal(data.rows("1")[1], df.loc[df["site"] == 1, ["days", "died"]])
    assert data.outputs == 1
    assert from_frame(df, **NAMES, task="survival-efron").task == SURVIVAL_EFRON
    assert from_frame(df, **NAMES, task=discrete_hazard([1, 2])).outputs == 2


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ((False, True), None),
        (("no", "Yes"), None),
        (("alive", "dead"), ["alive", "dead"]),
        ((2, 1), ["2", "1"]),
    ],
)
def test_events_may_be_flags_words_and_other_numbers(values, classes):
    df = table()
    expected = from_frame(df, **NAMES, split=None).y
    df["died"] = [values[int(event)] for event in df["died"]]
    data = from_frame(df, **NAMES, classes=classes, split=None)
    np.testing.assert_array_equal(data.y, expected)
    assert data.classes == ()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"days": -1.0}, {}, r"negative times \(as -1\); give the time since entry"),
        ({"days": np.nan}, {}, "missing time or event; drop these rows"),
        ({"died": np.nan}, {}, "missing time or event"),
        ({"died": 2}, {}, r"neither 0 nor 1 \(as 2\); give 1 for an event"),
        ({"died": "dead"}, {}, r"event column 'died' holds 'dead'; give 1 .* or classes="),
        ({"died": "dead"}, {"classes": ["a", "b", "c"]}, "give the two values of event column 'died'"),
        ({"died": "dead"}, {"classes": ["alive", "died"]}, "holds 'dead'"),
        ({"days": "soon"}, {}, "time column 'days' holds 'soon', which are no numbers"),
        ({"days": pd.Timestamp("2020-01-01")}, {}, r"holds dates; give the time since entry"),
        ({}, {"event": None}, "event=None: time and event belong together"),
        ({}, {"event": "dead"}, "no event column 'dead'; did you mean 'died'"),
        ({}, {"task": "binary"}, "time and event are for survival, and not for task='binary'"),
        ({}, {"time": None, "event": None, "task": "survival"}, "give time= and event="),
        ({}, {"features": ["age", "days"]}, "feature 'days' is also the"),
    ],
)
def test_what_is_wrong_with_a_table(change, options, message):
    df = table().assign(**change)
    with pytest.raises(InvalidInput, match=message):
        from_frame(df, **NAMES | options)


def test_codes_for_missing_are_missing():
    df = table()
    df.loc[3, "days"] = -9
    with pytest.raises(InvalidInput, match="1 rows with a missing time or event"):
        from_frame(df, **NAMES, missing=[-9])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(5), r"give \(time, event\) for each row, shape \[n, 2\]"),
        (np.ones((5, 3)), r"give \(time, event\)"),
        (np.array([[1, 10.0]] * 5), r"neither 0 nor 1 .*\(time, event\) in this order"),
    ],
)
def test_what_is_wrong_with_arrays(y, message):
    with pytest.raises(InvalidInput, match=message):
        from_arrays({"north": (np.zeros((5, 2)), y)}, task="survival")


def test_splits_spread_the_events():
    data = hospitals((100, 50), split=(0.5, 0.25, 0.25))
    for c in range(2):
        own = data.owner == c
        for part, share in enumerate((0.5, 0.25, 0.25)):
            inside = own & (data.split == part)
            assert inside.sum() == pytest.approx(share * own.sum(), abs=1)
            assert data.y[inside, 1].sum() == pytest.approx(share * data.y[own, 1].sum(), abs=1.01)
    again = jaxfed.data.resplit(data, (0.5, 0.25, 0.25))
    np.testing.assert_array_equal(again.split, data.split)
    ids = {"patient": [f"p{i // 2}" for i in range(40)]}
    visits = from_frame(table().assign(site="one", **ids), **NAMES, patient="patient")
    assert (visits.split.reshape(-1, 2) == visits.split.reshape(-1, 2)[:, :1]).all()


def test_times_are_no_scale_to_warn_of():
    df = table().assign(days=lambda df: 1000 * df["days"])
    jaxfed.Simulation(from_frame(df, **NAMES), model=jaxfed.models.logistic())


def test_the_command_line_reads_a_table(tmp_path):
    path = tmp_path / "patients.csv"
    df = table()
    df["died"] = np.where(df["died"] > 0, "dead", "alive")
    df.to_csv(path, index=False)
    options = TableOptions(data=str(path), time="days", event="died", classes=("alive", "dead"))
    data = read(options)
    assert data.task == "survival"
    assert len(data) == 2
    check_evaluation(data)
    data.y[data.split == 2, 1] = 0
    with pytest.raises(
        InvalidInput, match=r"no hospital has an event in its test rows .*--split 0\.5 0 0\.5"
    ):
        check_evaluation(data)
    with pytest.raises(InvalidInput, match="event=None"):
        read(TableOptions(data=str(path), time="days"))


@pytest.fixture(scope="session")
def tcga_folder(heart_folder):
    for folder in (
        heart_folder,
        heart_folder.parent,
        heart_folder / "tcga_brca",
        heart_folder.parent / "tcga_brca",
    ):
        if (folder / "brca.csv").is_file() or (folder / "tcga_brca" / "brca.csv").is_file():
            return folder
    pytest.skip(
        "no TCGA-BRCA files: put brca.csv, centers.csv and train_test_split.csv in JAXFED_DATA/tcga_brca"
    )


def test_tcga_brca_by_region(tcga_folder):
    data = tcga_brca(tcga_folder)
    assert data.hospitals == ("Northeast", "South", "West", "Midwest", "Europe", "Canada")
    expected = [[248, 0, 63], [156, 0, 40], [164, 0, 42], [129, 0, 33], [129, 0, 33], [40, 0, 11]]
    assert data.counts.tolist() == expected
    assert len(data.features) == data.x.shape[1] == 39
    assert data.features[0] == "age_at_index"
    events = [int(data.rows(name)[1][:, 1].sum()) for name in data.hospitals]
    assert events == [59, 39, 22, 19, 9, 3]
    train = data.x[data.split == 0]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    raw = tcga_brca(tcga_folder, standardize="none", split=(0.5, 0.2, 0.3), seed=1)
    assert raw.x[:, 0].min() == 26
    assert set(np.unique(raw.x[:, 1:])) == {0, 1}
    np.testing.assert_array_equal(raw.y, data.y)
    assert raw.counts.sum(0).tolist() == pytest.approx([544, 218, 326], abs=3)
    assert tcga_brca(tcga_folder, task=discrete_hazard([365])).outputs == 1


def test_tcga_brca_refuses_what_it_cannot_do(tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match=r"no brca.csv, centers.csv, train_test_split.csv"):
        tcga_brca(tmp_path)
    with pytest.raises(InvalidInput, match="did you mean 'federated'"):
        tcga_brca(standardize="fedrated")
    with pytest.raises(InvalidInput, match="give 'default' or three fractions"):
        tcga_brca(split="random")
    with pytest.raises(InvalidInput, match="give a task of time and event"):
        tcga_brca(task="binary")
    for name in FILES:
        (tmp_path / name).write_text("changed")
    with pytest.raises(InvalidInput, match="differ from the published files"):
        tcga_brca(tmp_path)
    asked = []

    def refuse(url, timeout):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.delenv("JAXFED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("jaxfed.data.tcga.FILES", {name: FILES[name] for name in reversed(FILES)})
    with pytest.raises(InvalidInput, match=r"cannot fetch .*JAXFED_DATA"):
        tcga_brca()
    assert asked == [URL + PLACES["train_test_split.csv"]]
