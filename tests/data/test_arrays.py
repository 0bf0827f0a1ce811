import warnings

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, from_arrays


def _pair(n=10, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), (np.arange(n) % 2).astype(np.int32)


def _error(hospitals, **options) -> str:
    with pytest.raises(InvalidInput) as caught:
        from_arrays(hospitals, **options)
    return str(caught.value)


def test_rows_stay_with_their_hospital():
    a, b = _pair(10, seed=1), _pair(20, seed=2)
    data = from_arrays({"a": a, "b": b}, features=["u", "v", "w"], name="two")
    np.testing.assert_array_equal(data.rows("b")[0], b[0])
    np.testing.assert_array_equal(data.rows("a")[1], a[1])
    assert data.size.tolist() == [10, 20]
    assert data.features == ("u", "v", "w")
    assert (data.task, data.classes, data.name) == ("binary", ("0", "1"), "two")
    assert data.counts.tolist() == [[7, 1, 2], [14, 2, 4]]
    assert (data.x.dtype, data.y.dtype, data.split.dtype) == (np.float32, np.int32, np.int8)


def test_problems_of_all_hospitals_come_together():
    x, y = _pair()
    holes = x.copy()
    holes[:4, 1] = np.nan
    holes[5, 2] = np.inf
    message = _error(
        {"a": (holes, y), "b": (x, y - 1), "c": (x, y[:9]), "d": (x, y[:, None])},
        features=["age", "chol", "hr"],
    )
    assert "hospital 'a': feature 'chol' has 4 missing (NaN) values; pass impute=" in message
    assert "hospital 'a': feature 'hr' has 1 infinite values" in message
    assert "hospital 'b': y has 5 labels negative (-1)" in message
    assert "hospital 'c': x has 10 rows and y has 9" in message
    assert "hospital 'd': y has shape (10, 1)" in message
    assert "5 problems" in message


@pytest.mark.parametrize(
    ("how", "value"),
    [("mean", 4.0), ("median", 3.0), ("zero", 0.0)],
    ids=["mean", "median", "zero"],
)
def test_impute_is_fitted_on_all_hospitals_training_rows(how, value):
    nan, inf = np.nan, np.inf
    x = {"a": [[1.0], [3.0], [nan], [100.0]], "b": [[8.0], [inf], [nan], [900.0]]}
    split = {"a": [0, 0, 0, 2], "b": [0, 0, 1, 1]}
    hospitals = {h: (np.array(x[h], np.float32), [0, 1, 0, 1]) for h in x}
    data = from_arrays(hospitals, split=split, impute=how)
    assert data.x[:, 0].tolist() == [1, 3, value, 100, 8, value, value, 900]


def test_impute_needs_a_known_method_and_some_value():
    x, y = _pair()
    assert "did you mean 'median'" in _error({"a": (x, y)}, impute="medain")
    x[:, 1] = np.nan
    assert "feature 'q' has no value" in _error({"a": (x, y)}, impute="mean", features=list("pqr"))
    with pytest.warns(DataWarning, match=r"1 are not measured everywhere; they are filled in .*'a'"):
        assert (from_arrays({"a": (x, y)}, impute="zero").x[:, 1] == 0).all()


def test_feature_counts_that_differ_are_listed():
    message = _error({"a": _pair(), "b": _pair(d=4), "c": _pair()})
    assert "hospital 'b': x has 4 features, most hospitals have 3 features" in message
    images = np.zeros((4, 8, 8, 1), np.float32)
    message = _error({"a": (images, [0, 1, 0, 1]), "b": (images[:, :7], [0, 1, 0, 1])})
    assert "shape (7, 8, 1)" in message or "shape (8, 8, 1)" in message


def test_tables_are_matched_by_column_name():
    x, y = _pair()
    table = pd.DataFrame(x, columns=["age", "hr", "bp"])
    data = from_arrays({"a": (table, y), "b": (table[["bp", "age", "hr"]], y)})
    np.testing.assert_array_equal(data.rows("a")[0], data.rows("b")[0])
    assert data.features == ("age", "hr", "bp")
    chosen = from_arrays({"a": (table, y)}, features=["bp", "age"])
    np.testing.assert_array_equal(chosen.x, x[:, [2, 0]])
    message = _error({"a": (table, y), "b": (table.rename(columns={"bp": "bpp"}), y)})
    assert "hospital 'b': x lacks 'bp' and has also 'bpp'; did you mean 'bpp'?" in message


def test_text_columns_of_tables_are_named():
    table = pd.DataFrame({"age": [50, 60], "ward": ["icu", "er"]})
    assert "columns 'ward' are not numbers" in _error({"a": (table, [0, 1])})


def test_nullable_and_boolean_columns_become_numbers():
    table = pd.DataFrame({"age": pd.array([50, None], dtype="Int64"), "male": [True, False]})
    data = from_arrays({"a": (table, [0, 1])}, impute="zero")
    assert data.x.tolist() == [[50, 1], [0, 0]]
    assert data.x.dtype == np.float32


@pytest.mark.parametrize(
    ("y", "part"),
    [
        ([0, 1, -1, 1], "1 labels negative (-1)"),
        ([0, 1, 2, 9], "2 labels above 1 (2, 9)"),
        ([0, 0.5, 1, 1], "1 labels that are no whole numbers (as 0.5)"),
        ([0, np.nan, 1, 1], "1 missing or infinite labels"),
        (["0", "1", "0", "1"], "4 labels that are not among classes"),
        (np.eye(4)[:, :2], "one-hot: y.argmax(1)"),
        (np.zeros((4, 1)), "shape (4, 1)"),
        (np.zeros((4, 2, 2)), "one label per row"),
        (3, "shape ()"),
        (None, "is None"),
        ([0, 1, None, 1], "1 missing or infinite labels"),
        (scipy.sparse.csr_matrix(np.eye(4)), "is sparse"),
        ([0, 1, 2**40, 0], "above 1"),
    ],
)
def test_labels_that_cannot_be_used(y, part):
    message = _error({"va": (_pair(4)[0], y)}, classes=["no", "yes"])
    assert "hospital 'va'" in message
    assert part in message


def test_labels_as_text_need_classes_and_use_their_order():
    x, _ = _pair(4)
    y = ["died", "alive", "alive", "died"]
    message = _error({"a": (x, y)})
    assert "holds text ('alive', 'died'); pass classes=" in message
    for kind in (list, np.array, pd.Series, pd.Categorical):
        data = from_arrays({"a": (x, kind(y))}, classes=["alive", "died"])
        assert data.y.tolist() == [1, 0, 0, 1]
    message = _error({"a": (x, ["dead", "alive", None, "died"])}, classes=["alive", "died"])
    assert "1 labels that are not among" in message
    assert "did you mean 'died'" in message
    assert "1 missing labels" in message


def test_whole_floats_and_booleans_are_cast_with_one_warning_per_kind():
    x, y = _pair()
    hospitals = {"a": (x, y.astype(float)), "b": (x, y == 1), "c": (x, y.astype(float))}
    with pytest.warns(DataWarning) as caught:
        data = from_arrays(hospitals)
    messages = [str(w.message) for w in caught]
    assert len(messages) == 2
    assert any("floats" in m and "'a', 'c'" in m for m in messages)
    assert any("true/false" in m and "'b'" in m for m in messages)
    assert caught[0].filename == __file__
    assert data.y.dtype == np.int32
    np.testing.assert_array_equal(data.y, np.tile(y, 3))


def test_task_follows_labels_or_is_given():
    x, y = _pair()
    three = np.arange(10) % 3
    assert from_arrays({"a": (x, three)}).task == "multiclass"
    assert from_arrays({"a": (x, three)}).outputs == 3
    two = from_arrays({"a": (x, y)}, task="multiclass")
    assert (two.task, two.outputs) == ("multiclass", 2)
    named = from_arrays({"a": (x, y)}, classes=["a", "b", "c"])
    assert (named.task, named.outputs) == ("multiclass", 3)
    real = from_arrays({"a": (x, y + 0.25)}, task="regression")
    assert (real.task, real.y.dtype, real.classes) == ("regression", np.float32, ())
    assert from_arrays({"a": (x, np.c_[y, y])}, task="regression").outputs == 2
    assert "did you mean 'binary'" in _error({"a": (x, y)}, task="binray")
    assert "2 labels above 1" in _error({"a": (x[:6], three[:6])}, task="binary")
    assert "shape (10, 1)" in _error({"a": (x, y[:, None] + 0.5)}, task="regression")
    assert "no meaning" in _error({"a": (x, y + 0.5)}, task="regression", classes=["a", "b"])


def test_ids_as_labels_are_refused():
    assert "above 9999" in _error({"a": (_pair(4)[0], [0, 1, 1, 123456])})


def test_class_numbers_from_one_deserve_a_look():
    with pytest.warns(DataWarning, match="classes 0 never occur"):
        from_arrays({"a": (_pair()[0], np.arange(10) % 2 + 1)})


def test_one_class_hospitals_share_one_warning():
    x, y = _pair()
    with pytest.warns(DataWarning, match="one class; AUROC") as caught:
        from_arrays({"a": (x, y), "b": (x, y * 0), "c": (x, y * 0 + 1)})
    assert len(caught) == 1
    assert "'b', 'c'" in str(caught[0].message)


def test_one_dominating_hospital_is_noticed():
    with pytest.warns(DataWarning, match=r"has 1000 of 1010 rows.*'big'"):
        from_arrays({"big": _pair(1000), "small": _pair(10)})


def test_hospitals_without_rows_are_kept_unless_all_are():
    data = from_arrays({"a": ([], []), "b": _pair(), "c": (np.zeros((0, 3)), np.zeros(0, int))})
    assert data.size.tolist() == [0, 10, 0]
    assert data.x.shape == (10, 3)
    assert "no hospital has rows" in _error({"a": ([], []), "b": ([], [])})
    assert "x has 0 rows and y has 2" in _error({"a": ([], [0, 1]), "b": _pair()})


@pytest.mark.parametrize("hospitals", [{}, None, [_pair()]])
def test_no_mapping_of_hospitals(hospitals):
    assert "at least one hospital" in _error(hospitals)


def test_a_hospital_is_a_pair():
    message = _error({"a": _pair()[0], "b": _pair()})
    assert "hospital 'a': got ndarray; give a pair (x, y)" in message


def test_ids_become_text_and_must_stay_apart():
    data = from_arrays({10**30: _pair(), -4: _pair(), np.int64(7): _pair(), "Öst": _pair()})
    assert data.hospitals == (str(10**30), "-4", "7", "Öst")
    assert "hospitals 1, '1' are all called '1'" in _error({1: _pair(), "1": _pair()})


@pytest.mark.parametrize(
    ("x", "part"),
    [
        (np.array([["a", "b"], ["c", "d"]]), "holds text"),
        (np.array([[1, "high"], [2, 3]], object), "column 1 (value 'high')"),
        (np.zeros((2, 3), complex), "complex"),
        (np.zeros((2, 3), "datetime64[s]"), "dates"),
        (scipy.sparse.csr_matrix(np.eye(2)), ".toarray()"),
        ([[1.0, 2.0], [3.0]], "cannot be read as one array"),
        (np.zeros(2), "give [rows, features]"),
        (None, "is None"),
        (5.0, "shape ()"),
    ],
)
def test_features_that_cannot_be_used(x, part):
    message = _error({"va": (x, [0, 1])})
    assert "hospital 'va': x" in message
    assert part in message


class Tensor:
    """What torch tensors offer: detach, cpu and __array__."""

    def __init__(self, array, attached=True):
        self.array, self.attached = array, attached

    def detach(self):
        return Tensor(self.array, False)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if self.attached:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.array, dtype=dtype)


def test_lists_tensors_objects_and_masks_are_converted():
    x, y = _pair(4, 2)
    expected = from_arrays({"a": (x, y)}).x
    for given in [x.tolist(), Tensor(x), x.astype(object), jax.numpy.asarray(x), list(x)]:
        np.testing.assert_array_equal(from_arrays({"a": (given, y)}).x, expected)
    assert from_arrays({"a": (x, Tensor(y))}).y.tolist() == [0, 1, 0, 1]
    masked = np.ma.masked_array(x, mask=np.eye(4, 2))
    assert "1 missing" in _error({"a": (masked, y)})
    np.testing.assert_array_equal(from_arrays({"a": (np.ma.masked_array(x), y)}).x, expected)


def test_trees_of_arrays():
    n = 6
    x = {"labs": np.ones((n, 3)), "scan": np.ones((n, 4, 4, 1), np.uint8), "age": np.arange(n)}
    y = [0, 1] * 3
    data = from_arrays({"a": (x, y), "b": (x, y)})
    assert data.x["scan"].shape == (12, 4, 4, 1)
    assert data.x["scan"].dtype == np.uint8
    assert data.x["labs"].dtype == np.float32
    assert data.x["age"].dtype == np.int32
    x["labs"] = np.full((n, 3), np.nan)
    assert "x/labs feature 2 has 6 missing" in _error({"a": (x, y)})
    x["labs"] = np.ones((5, 3))
    assert "the arrays of x have [5, 6] rows" in _error({"a": (x, y)})
    x["labs"] = np.ones((n, 3))
    other = {"labs": np.ones((n, 3))}
    assert "hospital 'c': x is built as" in _error({"a": (other, y), "b": (other, y), "c": (x, y)})
    pair = from_arrays({"a": ((np.ones((n, 2)), np.zeros((n, 1))), y)}).x
    assert isinstance(pair, tuple)
    assert pair[1].shape == (n, 1)


def test_missing_pixels_are_counted_together():
    x = np.zeros((4, 2, 2, 1), np.float32)
    x[1] = np.nan
    assert "x has 4 missing" in _error({"a": (x, [0, 1, 0, 1])})


def test_double_precision_is_cast_silently_where_nothing_is_lost():
    x, y = _pair()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = from_arrays({"a": (x.astype(float) * np.pi, y.astype(np.int64))})
        counts = from_arrays({"a": (np.arange(30).reshape(10, 3), y)})
    assert data.x.dtype == np.float32
    assert counts.x.dtype == np.int32


def test_double_precision_that_matters_is_noticed_or_refused():
    x, y = _pair()
    x = x.astype(float)
    x[:, 1] = 1.7e9 + np.arange(10)
    with pytest.warns(DataWarning, match="'time': rounding to float32"):
        from_arrays({"a": (x, y)}, features=["age", "time", "hr"])
    x[3, 1] = 1e300
    assert "feature 1 has 1 values outside float32" in _error({"a": (x, y)})
    ids = np.full((10, 2), 2**40)
    assert "feature 0 has 10 values outside int32" in _error({"a": (ids, y)})


def test_double_precision_is_kept_with_x64():
    x, y = _pair()
    with jax.enable_x64(True):
        data = from_arrays({"a": (x.astype(float) + 1.7e9, y)})
    assert data.x.dtype == np.float64


def test_features_must_name_every_column_once():
    assert "features names 2 columns, but x is x [n, 3" in _error({"a": _pair()}, features=["u", "v"])
    assert "features named twice: 'u'" in _error({"a": _pair()}, features=["u", "u", "v"])


def test_split_can_be_given_or_left_out():
    x, y = _pair(4)
    data = from_arrays({7: (x, y), 8: (x, y)}, split={7: [0, 0, 1, 2], 8: [2, 0, 0, 0]})
    assert data.split.tolist() == [0, 0, 1, 2, 2, 0, 0, 0]
    assert from_arrays({7: (x, y)}, split=None).split.tolist() == [0] * 4
    assert "three fractions" in _error({7: (x, y)}, split=(0.5, 0.5))


def test_the_users_arrays_are_not_shared():
    x, y = _pair()
    data = from_arrays({"a": (x, y)})
    before = data.x.copy()
    x[:] = 5
    np.testing.assert_array_equal(data.x, before)


def test_numbers_as_classes_name_the_values_of_the_labels():
    x, y = _pair()
    assert from_arrays({"a": (x, y + 1)}, classes=["1", "2"]).y.tolist() == y.tolist()
    assert from_arrays({"a": (x, y)}, classes=["1", "0"]).y.tolist() == (1 - y).tolist()
    assert from_arrays({"a": (x, y + 1.0)}, classes=[1, 2]).classes == ("1", "2")
    assert from_arrays({"a": (x, y == 1)}, classes=["True", "False"]).y.tolist() == (1 - y).tolist()


def test_problems_of_one_kind_are_one_line():
    x, y = _pair()
    holes = x.copy()
    holes[3, 1] = np.nan
    more = holes.copy()
    more[4, 1] = np.nan
    message = _error(
        {"a": (holes, y), "b": (more, y), "c": (x, y), **{f"h{i}": (x, y - 1) for i in range(50)}}
    )
    assert message.splitlines()[0] == "from_arrays: 2 problems"
    assert "hospital 'a': feature 1 has 1 missing (NaN) values" in message
    assert "(also hospital 'b')" in message
    assert "(also hospital 'h1'" in message
    assert "and 41 more" in message
