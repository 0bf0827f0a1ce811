"""How a sweep is cut so that it fits."""

import numpy as np
import pytest

from jaxfed import InvalidInput
from jaxfed.core.layout.memory import format_bytes
from jaxfed.sweep.packing import COPIES, side_by_side, size_of

RUN, ROWS = COPIES * 100, 1000  # bytes; cores share the rows
ONE = RUN + ROWS


@pytest.mark.parametrize(
    ("runs", "devices", "wanted", "memory", "expected"),
    [
        (8, 4, None, 10 * ONE, (4, 1)),
        (3, 4, None, 10 * ONE, (3, 1)),  # never more groups than runs
        (8, 4, None, ROWS + 2 * RUN, (2, 1)),
        (8, 4, None, ONE, (1, 1)),
        (8, 1, 5, 10 * ONE, (1, 5)),
        (8, 2, 8, 10 * ONE, (2, 4)),  # never more slots than runs
        (8, 1, 8, ROWS + 3 * RUN, (1, 3)),
    ],
)
def test_runs_at_a_time(runs, devices, wanted, memory, expected):
    assert side_by_side(runs, devices, wanted, 100, ROWS, memory) == expected


def test_not_even_one():
    with pytest.raises(InvalidInput, match=r"one run needs 400 bytes .* hospitals 1 kB, .* 1.2 kB"):
        side_by_side(8, 4, None, 100, ROWS, 1200)


def test_sizes():
    assert size_of({"a": np.zeros((3, 5), np.float32), "b": np.zeros((), np.int64)}) == 68
    assert [format_bytes(n) for n in (0, 999, 1000, 12.3e6, 5e9, 7e15)] == [
        "0 bytes", "999 bytes", "1 kB", "12.3 MB", "5 GB", "7e+03 TB",
    ]  # fmt: skip
