"""Hospitals that do not measure everything take part: filled with the mean, and flagged."""

import numpy as np
import pandas as pd
import pytest

import jaxfed
from jaxfed.algorithms import FedPer
from jaxfed.data import DataWarning, from_arrays, from_frame, impute, standardize


def tables():
    """The south has no lactate, the west no age."""
    rng = np.random.default_rng(0)
    own = {"north": ["age", "hr", "lactate"], "south": ["hr", "age"], "west": ["lactate", "hr"]}
    sizes = dict(zip(own, (40, 30, 20), strict=True))
    return {
        name: (pd.DataFrame(rng.normal(50, 9, (n, len(own[name]))), columns=own[name]), np.arange(n) % 2)
        for name, n in sizes.items()
    }


@pytest.fixture
def federation():
    with pytest.warns(DataWarning, match=r"'age', 'lactate' are not measured.* \(hospital 'south', 'west'\)"):
        return from_arrays(tables(), impute="flag")


def test_columns_are_those_of_all_hospitals(federation):
    assert federation.features == ("age", "hr", "lactate", "age missing", "lactate missing")
    for name, (table, _) in tables().items():
        x, _, _ = federation.rows(name)
        for j, column in enumerate(("age", "hr", "lactate")):
            if column in table:
                np.testing.assert_allclose(x[:, j], table[column], rtol=1e-6)
        flags = [float(column not in table) for column in ("age", "lactate")]
        np.testing.assert_array_equal(x[:, 3:], np.tile(flags, (len(x), 1)))


def test_who_lacks_a_feature_counts_as_average(federation):
    """Average over the training rows of those who measure it; 0 once standardised."""
    have = [federation.rows(name) for name in ("north", "south")]
    mean = np.concatenate([x[split == 0, 0] for x, _, split in have]).astype(float).mean()
    np.testing.assert_allclose(federation.rows("west")[0][:, 0], mean, rtol=1e-6)
    scaled = standardize(federation)
    np.testing.assert_allclose(scaled.rows("west")[0][:, 0], 0, atol=1e-6)
    flags = [scaled.rows(name)[0][:, 3] for name in ("north", "west")]
    assert np.ptp(flags[0]) == np.ptp(flags[1]) == 0
    assert (flags[1] > flags[0][0]).all()


def test_a_table_with_a_column_that_a_hospital_does_not_fill():
    parts = [table.assign(site=name, died=y) for name, (table, y) in tables().items()]
    with pytest.warns(DataWarning, match="'age'"):
        frame = from_frame(pd.concat(parts), impute="flag")
    assert frame.features == ("age", "hr", "lactate", "age missing", "lactate missing")
    with pytest.warns(DataWarning):
        np.testing.assert_array_equal(frame.x, from_arrays(tables(), impute="flag").x)


def test_values_that_only_test_rows_lack_get_no_flag():
    """What training rows do not show is not known before test rows are looked at."""
    x = np.arange(8.0).reshape(4, 2)
    x[3, 0], x[0, 1] = np.nan, np.nan
    data = from_arrays({"a": (x, [0, 1, 0, 1])}, split={"a": [0, 0, 0, 2]}, impute="flag")
    np.testing.assert_array_equal(data.x[:, 2:], [[1], [0], [0], [0]])
    assert data.x[3, 0] == 2  # the mean of the training rows


def test_single_values_are_flagged_too():
    x = np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, np.inf], [3.0, 6.0]])
    data = from_arrays({"a": (x, [0, 1, 0, 1])}, split=None, impute="flag")
    np.testing.assert_array_equal(data.x, [[1, 2, 0, 0], [3, 4, 1, 0], [5, 4, 0, 1], [3, 6, 0, 0]])
    assert data.features == ()
    complete = from_arrays({"a": (x[[0, 3]], [0, 1])}, split=None, impute="flag")
    np.testing.assert_array_equal(complete.x, x[[0, 3]])


def test_the_remedy_is_named():
    for hospitals in (tables(), {"a": (np.zeros((4, 3)), [0, 1, 0, 1]), "b": (np.zeros((2, 2)), [0, 1])}):
        with pytest.raises(jaxfed.InvalidInput, match="impute='flag'"):
            from_arrays(hospitals)
    images = from_arrays({"a": (np.zeros((4, 2, 2, 1)), [0, 1, 0, 1])}, split=None)
    with pytest.raises(jaxfed.InvalidInput, match=r"x is not one matrix \[N, d\]; give how='mean'"):
        impute(images, "flag")
    table, y = tables()["south"]
    with pytest.raises(jaxfed.InvalidInput, match=r"columns 'ward' are not numbers"):
        from_arrays({"a": (table.assign(ward="icu"), y), "b": tables()["north"]}, impute="flag")


def test_such_hospitals_train_with_a_first_layer_of_their_own(federation):
    data, model = standardize(federation), jaxfed.models.MLP((4,))
    sim = jaxfed.Simulation(data, model, FedPer(head="hidden_0"), batch_size=None, splits=("test",))
    run = sim.run(1, progress=False)
    first = run.variables.params["hidden_0"]["kernel"]
    assert first.shape == (3, 5, 4)
    assert (first[0] != first[1]).any()
    assert np.isfinite(run.hospitals()["log_loss"]).all()
