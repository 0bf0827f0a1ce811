"""Tables of a made-up run of three hospitals, with numbers that can be checked by hand."""

import numpy as np
import pytest
from federations import hospitals

from jaxfed.core.tasks import BINARY
from jaxfed.records.columns import across_hospitals
from jaxfed.records.history import History

NAN = float("nan")
SCORING = BINARY.scoring


def test_across_hospitals():
    values = np.array([0.5, 0.9, NAN, 0.7, 0.1])
    found = across_hospitals("auroc", values, np.array([1, 2, 5, 1, 0]), SCORING)  # the last has no rows
    assert found["auroc"] == pytest.approx(0.7)
    assert found["auroc_weighted"] == pytest.approx((0.5 + 1.8 + 0.7) / 4)
    assert found["auroc_sd"] == pytest.approx(np.sqrt(0.08 / 3))
    assert found["auroc_worst"] == 0.5
    assert found["auroc_best"] == 0.9
    assert found["auroc_worst_decile"] == pytest.approx(0.54)
    assert found["auroc_undefined"] == 2


def test_hospitals_with_few_rows_of_a_class_are_no_end():
    values, weight, rarer = np.array([0.1, 0.6, 0.7, 1.0, NAN]), np.full(5, 20), np.array([4, 5, 9, 1, 7])
    found = across_hospitals("auroc", values, weight, SCORING, rarer)
    assert (found["auroc_worst"], found["auroc_best"]) == (0.6, 0.7)
    assert found["auroc_worst_decile"] == pytest.approx(0.61)
    assert found["auroc"] == pytest.approx(0.6)
    assert found["auroc_undefined"] == 1
    alone = across_hospitals("auroc", values, weight, SCORING, np.array([4, 3, 2, 1, 7]))
    assert (alone["auroc_worst"], alone["auroc_best"]) == (0.1, 1.0)  # none has enough


def test_across_hospitals_where_less_is_better():
    found = across_hospitals("log_loss", np.array([0.5, 0.9, 0.7]), np.ones(3), SCORING)
    assert (found["log_loss_worst"], found["log_loss_best"]) == (0.9, 0.5)
    assert found["log_loss_worst_decile"] == pytest.approx(0.86)


def test_across_hospitals_without_any():
    found = across_hospitals("auroc", np.array([NAN, NAN]), np.ones(2), SCORING)
    assert found.pop("auroc_undefined") == 2
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("name", ["auroc", "mse"])
def test_across_hospitals_of_many_at_once(name):
    """Row by row, with NumPy's functions."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40, 7)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = NAN
    values[0, 0] = NAN
    values[0, 1, :6] = NAN
    weight = np.array([3, 1, 0, 2, 5, 4, 1])
    found = across_hospitals(name, values, weight, SCORING)
    bad, good, percent = (np.nanmin, np.nanmax, 10) if name == "auroc" else (np.nanmax, np.nanmin, 90)
    for place in np.ndindex(3, 40):
        row = np.where(weight > 0, values[place], NAN).astype(float)
        own = {column: numbers[place] for column, numbers in found.items()}
        known = ~np.isnan(row)
        assert own.pop(f"{name}_undefined") == 7 - known.sum()
        if not known.any():
            assert np.isnan(list(own.values())).all()
            continue
        expected = (np.nanmean(row), np.average(row[known], weights=weight[known]), np.nanstd(row))
        ends = (bad(row), np.nanpercentile(row, percent), good(row))
        np.testing.assert_allclose(list(own.values()), [*expected, *ends], rtol=1e-12)


def evaluated(history, round, single, pooled):
    """With another evaluation, ``name: [C, S]`` and ``name: [S]``."""
    both = ({name: values[None] for name, values in part.items()} for part in (single, pooled))
    return history.evaluations(np.array([round]), *both)


@pytest.fixture
def history():
    """Evaluated at 0 and 2; then two rounds: in the second nobody took part."""
    empty = History.empty(hospitals((3, 2, 0), test=2), ("test",))
    single = {"auroc": np.array([[0.5], [NAN], [NAN]])}
    first = evaluated(empty, 0, single, {"auroc": np.array([0.4])})
    loss = np.array([[0.6, NAN, NAN], [NAN, NAN, NAN]])
    present = np.array([[True, True, False], [False, False, False]])
    rejected = np.array([[False, True, False], [False, False, False]])
    training = {"loss": loss, "present": present, "rejected": rejected}
    trained = first.trained(training, np.array([True, False]))
    better = {"auroc": np.array([[0.8], [0.6], [NAN]])}
    return evaluated(trained, 2, better, {"auroc": np.array([0.7])})


def test_rounds_frame(history):
    frame = history.rounds_frame().set_index("round")
    assert frame["auroc"].tolist() == pytest.approx([0.5, 0.7])
    assert frame["auroc_pooled"].tolist() == [0.4, 0.7]
    assert frame["auroc_undefined"].tolist() == [2, 1]
    last = frame.loc[2]
    assert last["present_per_round"] == 1.0
    assert last["rejected_uploads"] == 1
    assert last["rejected_rounds"] == 1
    assert last["empty_rounds"] == 1
    assert last["train_loss"] == pytest.approx(0.6)


def test_hospitals_frame(history):
    frame = history.hospitals_frame()
    assert frame.index.tolist() == ["hospital 0", "hospital 1", "hospital 2"]
    assert frame["train_rows"].tolist() == [3, 2, 0]
    assert frame["test_rows"].tolist() == [2, 2, 0]
    data = hospitals((3, 2, 0), test=2)
    rates = [data.rows(name)[1][data.rows(name)[2] == 2].mean() for name in data.hospitals[:2]]
    np.testing.assert_allclose(frame["prevalence"], [*rates, NAN])
    np.testing.assert_array_equal(frame["auroc"], [0.8, 0.6, NAN])


def test_a_hospital_that_was_refused_can_be_named(history):
    refused = history.training["rejected"].any(axis=0)
    assert [name for name, bad in zip(history.hospitals, refused, strict=True) if bad] == ["hospital 1"]


def test_the_evaluation_that_validation_rows_like_best():
    empty = History.empty(hospitals((3, 2), test=2), ("validation", "test"))
    single = {"log_loss": np.zeros((2, 2))}
    history = empty
    for done, loss in enumerate([NAN, 0.5, 0.3, 0.4]):
        history = evaluated(history, done, single, {"log_loss": np.array([loss, 0.0])})
    assert (history.chosen("best"), history.chosen("last")) == (2, 3)


def test_an_unknown_split(history):
    with pytest.raises(ValueError, match=r"'validation'.*there are test"):
        history.hospitals_frame("validation")


def test_files_of_earlier_versions_have_another_name_for_refused_models():
    empty = History.empty(hospitals((3, 2), test=2), ("test",))
    arrays = {name: values for name, values in empty.arrays().items() if name != "refused"}
    loaded = empty.filled({**arrays, "kept": np.array([True, False])})
    assert loaded.refused.tolist() == [True, False]
