"""Words that error messages share."""

import pytest

from jaxfed.core.errors import SHOWN, did_you_mean, listed


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ([], 3, ""),
        (["a", 2], 3, "'a', 2"),
        (["a", "b", "c"], 3, "'a', 'b', 'c'"),
        (["a", "b", "c", "d"], 3, "'a', 'b', 'c' and 1 more"),
    ],
)
def test_long_lists_are_cut(names, most, text):
    assert listed(names, most) == text


def test_a_near_miss_or_what_there_is():
    assert did_you_mean("midl", ("mild", "strong")) == "did you mean 'mild'?"
    assert did_you_mean(7, {"mild": 1, "strong": 2}) == "choose from ['mild', 'strong']"
    assert did_you_mean("x", map(str, range(SHOWN))).count(",") == SHOWN - 1
    assert did_you_mean("x", map(str, range(200))).endswith("'7' and 192 more")
