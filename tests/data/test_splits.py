import numpy as np
import pandas as pd
import pytest

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, from_frame, resplit, standardize
from jaxfed.data.splits import split_rows

FRACTIONS = (0.7, 0.1, 0.2)


def _dataset(labels: dict) -> Dataset:
    y = np.concatenate(list(labels.values())).astype(np.int32)
    return Dataset(
        x=np.arange(len(y), dtype=np.float32)[:, None],
        y=y,
        size=np.array([len(v) for v in labels.values()]),
        split=np.zeros(len(y), np.int8),
        hospitals=tuple(labels),
        task="multiclass",
        classes=tuple("abcdefgh"),
    )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 33, 101])
def test_counts_are_the_nearest_whole_numbers(n):
    counts = np.bincount(split_rows(n, FRACTIONS, 0, "a"), minlength=3)
    assert counts.sum() == n
    assert (np.abs(counts - n * np.array(FRACTIONS)) < 1).all()
    assert counts[0] >= 1


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_within_one_row_of_its_share(seed):
    y = np.random.default_rng(seed).choice(5, 200, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    parts = split_rows(y, FRACTIONS, seed, "a")
    for c in np.unique(y):
        n = np.count_nonzero(y == c)
        counts = np.bincount(parts[y == c], minlength=3)
        if n > 1:
            assert (np.abs(counts - n * np.array(FRACTIONS)) <= 1).all()
    assert np.bincount(parts).tolist() == [140, 20, 40]


def test_two_classes_fill_the_hospitals_parts_exactly():
    y = np.repeat([0, 1], [93, 7])
    parts = split_rows(y, FRACTIONS, 3, "a")
    assert np.bincount(parts).tolist() == [70, 10, 20]


def test_a_class_with_one_row_goes_to_training():
    y = np.array([0] * 9 + [1])
    for seed in range(30):
        assert split_rows(y, (0.2, 0.4, 0.4), seed, "a")[9] == 0


def test_draws_belong_to_the_name_and_the_seed():
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, 3, 40) for name in "abc"}
    split = _parts(resplit(_dataset(labels), FRACTIONS, 5))
    turned = _parts(resplit(_dataset(dict(reversed(labels.items()))), FRACTIONS, 5))
    alone = _parts(resplit(_dataset({"b": labels["b"]}), FRACTIONS, 5))
    for name in "abc":
        np.testing.assert_array_equal(split[name], turned[name])
    np.testing.assert_array_equal(split["b"], alone["b"])
    other = _parts(resplit(_dataset(labels), FRACTIONS, 6))
    assert (split["a"] != other["a"]).any()
    same = {"a": labels["a"], "b": labels["a"]}
    twins = _parts(resplit(_dataset(same), FRACTIONS, 5))
    assert (twins["a"] != twins["b"]).any()


def _parts(dataset):
    return {name: dataset.rows(name)[2] for name in dataset.hospitals}


def test_zero_fractions_get_nothing():
    assert set(split_rows(np.arange(50) % 3, (0.5, 0.0, 0.5), 0, "a")) == {0, 2}


def test_none_means_training_rows_only_and_a_mapping_is_taken_as_given():
    data = _dataset({"a": np.zeros(2), "b": np.ones(3)})
    given = resplit(data, {"a": [0, 2], "b": ["train", "val", "Test"]})
    assert given.split.tolist() == [0, 2, 0, 1, 2]
    assert given.split.dtype == np.int8
    assert resplit(given, None).split.tolist() == [0] * 5


@pytest.mark.parametrize(
    "split", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.2, 0), (float("nan"), 0.5, 0.5), "train", 0.7]
)
def test_impossible_fractions_are_refused(split):
    with pytest.raises(InvalidInput, match="three fractions"):
        resplit(_dataset({"a": np.zeros(4)}), split)


def test_no_training_rows_are_refused():
    with pytest.raises(InvalidInput, match="no training rows"):
        resplit(_dataset({"a": np.zeros(4)}), (0, 0.5, 0.5))


def test_a_wrong_mapping_lists_everything():
    with pytest.raises(InvalidInput) as caught:
        resplit(_dataset({"a": np.zeros(2), "b": np.ones(3)}), {"a": [0, 7], "z": [1]})
    message = str(caught.value)
    assert "hospitals that have no data: 'z'" in message
    assert "no entry for hospital 'b'" in message
    assert "values 7" in message


def test_a_mapping_of_the_wrong_length_and_a_wrong_seed_are_refused():
    data = _dataset({"a": np.zeros(2)})
    with pytest.raises(InvalidInput, match="3 entries for 2 rows"):
        resplit(data, {"a": [0, 1, 2]})
    with pytest.raises(InvalidInput, match=r"seed=1\.5"):
        resplit(data, FRACTIONS, 1.5)


def test_new_parts_of_prepared_data_are_warned_of():
    """Where training rows, from which the numbers come, are measured on now."""
    data = standardize(_dataset({"a": np.array([0.0, 1, 0, 1])}))
    parts = {"a": [0, 0, 2, 2]}
    with pytest.warns(DataWarning, match=r"numbers of standardize .* of which 2 are for .* resplit before"):
        resplit(data, parts)
    resplit(resplit(_dataset({"a": np.zeros(4)}), parts), {"a": [2, 2, 0, 0]})
    resplit(standardize(resplit(_dataset({"a": np.array([0.0, 1, 0, 1])}), parts)), None)


def test_true_and_false_are_no_parts():
    frame = pd.DataFrame(
        {"site": ["a"] * 4, "x": np.arange(4.0), "died": [0, 1] * 2, "is_test": [False] * 3 + [True]}
    )
    with pytest.raises(InvalidInput, match="column 'is_test': split has the values False, True; use 0, 1, 2"):
        from_frame(frame, split="is_test")
