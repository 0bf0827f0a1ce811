"""A pandas table in an HTML page, written by great-tables (extra ``report``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from jaxfed.core.optional import needs

ABSENT = "–"
INDEX = "index of the table"
NUMBER = re.compile(
    rf"{ABSENT}|[<>]?[-+]?[\d,.]+(e[-+]\d+)?%?|-?inf"
)  # a cell of a column aligned to the right
LONG = 100  # rows; great-tables takes a millisecond for each cell of more


def table_html(table: Any, name: str, formats: Mapping[str, str]) -> str:
    """The ``<table>`` element, which has the page's style.

    Args:
        table: a DataFrame, whose index names the rows, or a ``great_tables.GT`` as it is.
        name: unique in the page; ids of cells begin with it.
        formats: format specifications of columns, such as ``{"auroc": ".3f"}``; others have four significant
            digits, and whole numbers a comma between thousands. Missing values are dashes.

    Raises:
        ImportError: great-tables is not installed; the message gives the command that installs it.
    """
    library = needs("great_tables", "report", "a page with tables")
    if not isinstance(table, pd.DataFrame):
        return _table(table)
    rows = [" · ".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in table.index]
    cells = {str(column): _cells(table[column], formats.get(str(column))) for column in table.columns}
    texts = pd.DataFrame({INDEX: rows, **cells})
    numbers = [column for column, column_texts in cells.items() if all(map(NUMBER.fullmatch, column_texts))]
    written = library.GT(texts.head(LONG), rowname_col=INDEX, id=name)
    written = written.cols_align("left", [*cells]).cols_align("right", numbers) if cells else written
    label = " · ".join(str(level) for level in table.index.names if level is not None)
    html = _table(written.tab_stubhead(label) if label else written)
    more = "".join(
        _row(row, [column in numbers for column in cells]) for row in texts[LONG:].to_numpy().tolist()
    )
    return html.replace("</tbody>", f"{more}</tbody>")


def _table(table: Any) -> str:
    text = table.as_raw_html()
    return text[text.index("<table") : text.rindex("</table>") + len("</table>")]


def _row(texts: Sequence[str], right: Sequence[bool]) -> str:
    """A row as great-tables writes it."""
    cells = "".join(
        f'<td class="gt_row gt_{"right" if side else "left"}">{escape(text)}</td>'
        for text, side in zip(texts[1:], right, strict=True)
    )
    return f'<tr><th scope="row" class="gt_row gt_left gt_stub">{escape(texts[0])}</th>{cells}</tr>\n'


def _cells(values: pd.Series, given: str | None) -> list[str]:
    whole = pd.api.types.is_integer_dtype(values.dtype)
    form = given or ((",d" if whole else ",.4g") if _is_number(values) else "")
    return [ABSENT if pd.isna(value) else format(value, form) if form else str(value) for value in values]


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
