"""Random tables: a dataset and a run that have every row, or one InvalidInput; nothing else."""

import os
import warnings

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxfed
from jaxfed.core.errors import InvalidInput
from jaxfed.data import from_frame

# By hand, some minutes: JAXFED_FUZZ=2000 pytest tests/data/test_fuzz.py
EXAMPLES = int(os.environ.get("JAXFED_FUZZ", "0"))
HOW = settings(
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

WORDS = st.sampled_from(
    ["", " ", "NA", "7", "007", "7.0", "St Mary", "st mary ", "é", "e\u0301", "?", "<5", "1,5", "yes"]
)
MISSING = st.sampled_from([None, np.nan, pd.NA, pd.NaT])
NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.booleans(),
)
DATES = st.datetimes().map(pd.Timestamp)
ANY = st.one_of(
    NUMBERS, WORDS, MISSING, st.complex_numbers(allow_nan=False), DATES, st.just([1]), st.just(b"x")
)
SIZES = st.integers(1, 30)


@st.composite
def columns(draw, n, usual, strange):
    """A column that is mostly what it should be; sometimes with gaps, sometimes of another type."""
    values = draw(st.lists(usual, min_size=n, max_size=n))
    for place in draw(st.lists(st.integers(0, n - 1), max_size=3)):
        values[place] = draw(strange)
    series = pd.Series(values, dtype=object)
    kind = draw(st.sampled_from(["object", "inferred", "category", "nullable"]))
    if kind == "object":
        return series
    try:
        if kind == "category":
            return series.astype("category")
        return series.convert_dtypes() if kind == "nullable" else series.infer_objects()
    except (TypeError, ValueError, OverflowError):
        return series


@st.composite
def tables(draw):
    n = draw(SIZES)
    ids = draw(
        st.sampled_from([WORDS, st.integers(0, 3), st.floats(-2, 3), st.one_of(st.integers(0, 2), WORDS)])
    )
    labels = draw(
        st.sampled_from(
            [
                st.integers(0, 1),
                st.integers(0, 2),
                st.booleans(),
                st.sampled_from(["no", "yes"]),
                st.floats(-2, 2),
            ]
        )
    )
    frame = {
        "site": draw(columns(n, ids, MISSING | ids)),
        "died": draw(columns(n, labels, labels | ANY)),
    }
    for j in range(draw(st.integers(0, 3))):
        usual = draw(st.sampled_from([st.floats(-9, 9), st.integers(0, 5), st.booleans(), NUMBERS]))
        frame[f"f{j}"] = draw(columns(n, usual, usual | MISSING | ANY))
    if draw(st.booleans()):
        frame["mrn"] = draw(columns(n, st.integers(0, 4), MISSING | WORDS | st.integers(0, 4)))
    table = pd.DataFrame(frame)
    if draw(st.integers(0, 9)) == 0:
        table = pd.concat([table, table[["site"]]], axis=1)
    return table.iloc[draw(st.permutations(range(n)))]


@st.composite
def options(draw):
    shares = st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (1, 0, 0), (0, 0, 1), (0.5, 0.5, 0.5)])
    return {
        "impute": draw(st.sampled_from([None, "mean", "median", "zero", "flag"])),
        "task": draw(st.sampled_from([None, None, "binary", "multiclass", "regression"])),
        "classes": draw(
            st.sampled_from([None, None, ["no", "yes"], ["0", "1"], ["1", "0"], ["False", "True"]])
        ),
        "patient": draw(st.sampled_from([None, "mrn"])),
        "missing": draw(st.sampled_from([(), (), ["?"], [-9, "9"], ["NA", 0]])),
        "drop": draw(st.sampled_from([(), (), ["f0"]])),
        "split": draw(shares),
        "seed": draw(st.integers(0, 3)),
    }


def made(table, how):
    """The dataset, or None where it is refused; every row is in it, at its hospital."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        try:
            data = from_frame(table, **how)
        except InvalidInput:
            return None
    assert data.size.sum() == len(data.y) == len(data.split) == len(table)
    ids = [str(int(v)) if isinstance(v, float) and float(v).is_integer() else str(v) for v in table["site"]]
    assert dict(zip(data.hospitals, data.size, strict=True)) == pd.Series(ids).value_counts().to_dict()
    assert np.isfinite(data.x).all()
    assert data.x.shape == (len(table), len(data.features))
    if how["patient"]:
        assert pd.DataFrame({"who": data.patients, "part": data.split}).drop_duplicates()["who"].is_unique
    return data


@settings(HOW, max_examples=EXAMPLES or 150)
@given(tables(), options())
def test_any_table_is_read_whole_or_refused(table, how):
    made(table, how)


@settings(HOW, max_examples=max(EXAMPLES // 10, 6))
@given(tables(), options())
def test_any_table_is_trained_on_or_refused(table, how):
    data = made(table, how)
    if data is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            sim = jaxfed.Simulation(jaxfed.data.standardize(data), model=jaxfed.models.logistic(), devices=1)
            run = sim.run(2, progress=False)
        except InvalidInput:
            return
    assert run.history.rows.sum() == len(table)
    assert len(run.hospitals()) == len(data)
