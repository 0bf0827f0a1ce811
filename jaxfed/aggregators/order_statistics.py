"""Order statistics over hospitals, coordinate by coordinate; XLA's sort on a CPU would be scalar code.

Columns of few hospitals are sorted by a network of minima and maxima of whole rows (Batcher 1968, "Sorting
networks and their applications", doi:10.1145/1468075.1468121, the bitonic sorter). In longer columns the
element of rank r is found by bisection on the ordered integers behind the floats: at most as many passes as a
float has bits, each counting how many elements are not above a threshold. Both work on a block of columns
that stays in cache.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

FEW = 128  # hospitals up to which a network is faster than bisection, measured on a CPU
_CACHED, _CACHED_BY_NETWORK = 2**17, 2**15  # numbers of a block: half of a second-level cache, or less


def median(x: Array, present: Array) -> Array:
    """The median of every column over the rows that are present.

    Args:
        x: ``[K, P]`` floats without NaN.
        present: ``[K]`` bool, may be traced.

    Returns:
        ``[P]``: exactly an element for an odd number of rows, the mean of the two middle ones for an even
        number, 0 for none.
    """
    count = present.sum(dtype=jnp.int32)

    return _by_blocks(lambda block: _middle(block, count), x, present, count)


def trimmed_mean(x: Array, present: Array, trim: Array | float) -> Array:
    """The mean of every column over the rows that are present, without the ends.

    Args:
        x: ``[K, P]`` floats without NaN.
        present: ``[K]`` bool, may be traced.
        trim: share of the rows left out at each end, in [0, 0.5), rounded down to whole rows; may be traced.

    Returns:
        ``[P]``; 0 where no row is present.
    """
    count = present.sum(dtype=jnp.int32)
    out = trimmed(count, trim)

    def inner(block: Array) -> Array:
        ranked = _ranks(block)
        low, high = ranked(out), ranked(count - 1 - out)
        between = jnp.where((block > low) & (block < high), block, 0).sum(axis=0)
        lows = _count(block <= low) - out
        highs = count - out - _count(block < high)
        lows, highs, middle = (n.astype(between.dtype) for n in (lows, highs, count - 2 * out))
        mean = (between + lows * low + highs * high) / jnp.maximum(middle, 1)
        return jnp.where(low == high, low, mean)

    return _by_blocks(inner, x, present, count)


def trimmed(count: Array, trim: Array | float) -> Array:
    """How many of ``count`` (int32) numbers are left out at each end for the share ``trim``."""
    # 0.29 * 100 is 28.999999 in float32
    out = jnp.floor(trim * count.astype(jnp.result_type(trim, float)) + 1e-4).astype(jnp.int32)
    return jnp.minimum(out, (count - 1) // 2)


def mean_near_median(x: Array, present: Array, count: Array | int) -> Array:
    """The mean of those ``count`` numbers of every column that are nearest to its median.

    Args:
        x: ``[K, P]`` floats without NaN.
        present: ``[K]`` bool, may be traced.
        count: at most the number of rows that are present; may be traced. Of equally near numbers those in
            the first rows are taken.

    Returns:
        ``[P]``; 0 where no row is present or ``count`` is less than 1.
    """
    everyone, count = present.sum(dtype=jnp.int32), jnp.asarray(count, jnp.int32)

    def near(block: Array) -> Array:
        far = jnp.abs(block - _middle(block, everyone))
        used = _first_least(far, _ranks(far)(count - 1), count)
        return jnp.where(used, block, 0).sum(axis=0) / jnp.maximum(count, 1).astype(block.dtype)

    return _by_blocks(near, x, present, jnp.minimum(everyone, count))


def element(x: Array, present: Array, rank: Array | int) -> Array:
    """``[P]``: the number of ``rank`` (from 0, may be traced) of every column over the rows present."""
    return _by_blocks(lambda block: _ranks(block)(jnp.asarray(rank, jnp.int32)), x, present, present.sum())


def least(x: Array, count: Array | int) -> Array:
    """Where the ``count`` least numbers of every column are; of equal ones those in the first rows.

    Args:
        x: ``[K, P]`` floats without NaN.
        count: at least 1 and at most K; may be traced.

    Returns:
        ``[K, P]`` bool with ``count`` True in every column.
    """
    everyone, rank = jnp.ones(len(x), bool), jnp.asarray(count, jnp.int32) - 1
    bound = _by_blocks(lambda block: _ranks(block)(rank), x, everyone, rank + 1)
    return _first_least(x, bound, rank + 1)


def _first_least(x: Array, bound: Array, count: Array) -> Array:
    """Where the ``count`` least numbers of every column are, of which ``bound [P]`` is the last."""
    below, equal = x < bound, x == bound
    room = count - _count(below)

    def first() -> Array:
        return below | (equal & (jnp.cumsum(equal, axis=0, dtype=jnp.int32) <= room))

    return lax.cond((_count(equal) > room).any(), first, lambda: below | equal)


def _middle(block: Array, count: Array) -> Array:
    """The median of every column, of which ``count`` numbers are finite."""
    low = _ranks(block)((count - 1) // 2)
    even = _count(block <= low) > count // 2  # the next rank is equal to this one
    high = jnp.where(even, low, jnp.min(jnp.where(block > low, block, jnp.inf), axis=0))
    return jnp.where(count % 2 == 1, low, (low + high) / 2)


def _by_blocks(rule: Callable[[Array], Array], x: Array, present: Array, count: Array) -> Array:
    """``rule`` on some columns at a time; rows that are absent are infinite there."""
    rows, columns = x.shape
    if columns == 0:
        return jnp.zeros(0, x.dtype)
    width = columns
    if jax.default_backend() == "cpu":
        cached = _CACHED_BY_NETWORK if rows <= FEW else _CACHED
        width = min(columns, max(32, cached // rows // 16 * 16))

    def block(i: Array, results: Array) -> Array:
        first = jnp.minimum(i * width, columns - width)  # the last one overlaps the one before
        part = lax.dynamic_slice(x, (0, first), (rows, width))
        # one copy of the block, for all passes over it
        part = lax.optimization_barrier(jnp.where(present[:, None], part, jnp.inf))
        return lax.dynamic_update_slice(results, rule(part), (first,))

    results = lax.fori_loop(0, -(-columns // width), block, jnp.zeros(columns, x.dtype))
    return jnp.where(count > 0, results, 0)


def _ranks(block: Array) -> Callable[[Array], Array]:
    """The element of a rank (from 0) of every column of ``[K, W]``, as a function of the rank."""
    if len(block) > FEW:
        return lambda rank: _bisected(block, rank)
    ordered = _ascending(block)
    return lambda rank: lax.dynamic_index_in_dim(ordered, rank, keepdims=False)


def _ascending(block: Array) -> Array:
    """``[K', W]``: every column in ascending order, with infinities up to a power of two."""
    count = 1 << max(len(block) - 1, 0).bit_length()
    block = jnp.pad(block, ((0, count - len(block)), (0, 0)), constant_values=jnp.inf)
    for halves in range(count.bit_length() - 1):  # merge sorted runs of 2^halves rows
        for step in range(halves, -1, -1):
            pairs = block.reshape(-1, 2, 2**step, block.shape[1])
            first, second = pairs[:, 0], pairs[:, 1]
            if step == halves:  # the second run is read backwards, so that both make a bitonic sequence
                second = second[:, ::-1]
            low, high = jnp.minimum(first, second), jnp.maximum(first, second)
            if step == halves:
                high = high[:, ::-1]
            block = jnp.stack([low, high], axis=1).reshape(block.shape)
    return block


def _bisected(block: Array, rank: Array) -> Array:
    """The element of ``rank`` (from 0) of every column of ``[K, W]``, by bisection."""
    integer = jnp.dtype(f"int{8 * block.dtype.itemsize}")

    def ordered(number: Array) -> Array:
        word = lax.bitcast_convert_type(number, integer)
        return word ^ ((word >> (8 * integer.itemsize - 1)) & jnp.iinfo(integer).max)

    def real(word: Array) -> Array:
        word = word ^ ((word >> (8 * integer.itemsize - 1)) & jnp.iinfo(integer).max)
        return lax.bitcast_convert_type(word, block.dtype)

    def searching(state: tuple[Array, Array, Array]) -> Array:
        low, high, counted = state
        return ((low < high) & (counted > rank + 1)).any()

    def halve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, counted = state
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        below = _count(block <= real(middle))
        enough = below > rank
        return (
            jnp.where(enough, low, middle + 1),
            jnp.where(enough, middle, high),
            jnp.where(enough, below, counted),
        )

    width = block.shape[1]
    low, high = (jnp.full(width, ordered(jnp.asarray(end, block.dtype))) for end in (-jnp.inf, jnp.inf))
    _, high, _ = lax.while_loop(searching, halve, (low, high, jnp.full(width, len(block) + 1)))
    # the largest element up to `high`: that of the rank, whether `high` or the number below it is exact
    return jnp.max(jnp.where(block <= real(high), block, -jnp.inf), axis=0)


def _count(condition: Array) -> Array:
    return condition.sum(axis=0, dtype=jnp.int32)
