"""Numbers in sentences and beside figures."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float, beside: float = 0.0) -> str:
    """Two decimals, fewer of large numbers and more of small ones; a dash if it is not defined.

    >>> number(0.8449), number(1234.5), number(-0.0031), number(float("nan"))
    ('0.84', '1,234', '-0.0031', '–')

    Args:
        value: the number.
        beside: a larger number that stands beside it, and has the same decimals.
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    size = max(abs(value), abs(beside) if math.isfinite(beside) else 0.0)
    if 0 < size < 1e-4:
        return f"{value:.2g}"
    places = 2 if size < 10 else int(size < 100)
    if 0 < size < 0.01:
        places = 1 - math.floor(math.log10(size))
    text = f"{value:,.{places}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def interval(value: float, low: float, high: float) -> str:
    """A number with its interval; without the interval where that is not defined.

    >>> interval(0.8449, 0.791, 0.888), interval(0.5, 7e-7, 0.9)
    ('0.84 (0.79 to 0.89)', '0.50 (0.00 to 0.90)')
    """
    if math.isnan(low) or math.isnan(high):
        return number(value)
    return f"{number(value, max(abs(low), abs(high)))} ({span(low, high)})"


def span(low: float, high: float) -> str:
    """From one number to another."""
    return f"{number(low, high)} to {number(high, low)}"


def count(number: int, what: str, many: str = "") -> str:
    """A number of things.

    >>> count(1, "hospital"), count(1200, "hospital"), count(0, "hospital")
    ('1 hospital', '1,200 hospitals', 'no hospital')
    """
    if number == 0:
        return f"no {what}"
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def together(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence; of many, the first and the number of the others.

    >>> together(["north", "south", "west"]), together(["north", "south", "west"], most=1)
    ('north, south and west', 'north and 2 others')
    """
    names = list(names)
    if len(names) > most:
        rest = len(names) - most
        return f"{', '.join(names[:most])} and {rest:,} other{'s' if rest > 1 else ''}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def capital(text: str) -> str:
    """A text that begins with a capital letter, and else is as it is."""
    return text[:1].upper() + text[1:]


def shortened(name: object, most: int) -> str:
    """A name cut to a number of letters."""
    text = str(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
