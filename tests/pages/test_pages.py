import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import jaxfed.core.optional
from jaxfed.core.errors import InvalidInput
from jaxfed.pages import Page
from jaxfed.pages.axes import subplots
from jaxfed.pages.tables import LONG, table_html

NAME = "<script>alert('مستشفى 😀')</script> & \"co\""
VOID = {"meta", "path", "use", "line", "rect", "br", "circle"}


class Elements(HTMLParser):
    """Tags, ids and references of a page; elements must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.references, self.open, self.words = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        for name, value in attrs:
            self.ids += [value] if name == "id" else []
            self.references += re.findall(r"url\(#(.*?)\)", value or "")
            self.references += [value[1:]] if name in ("href", "xlink:href") else []

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def figure():
    drawn, (left, right) = subplots(2)
    left.plot([0, 1, 2], [3, 1, 2], marker="o", label=NAME)
    left.legend()
    right.bar([0, 1], [1, 2])
    right.set_xticks([0, 1], [NAME, "2"])
    return drawn


@pytest.fixture(scope="module")
def page():
    made = Page(NAME, NAME)
    made.box(NAME, "summary").text(NAME)
    for _ in range(2):
        section = made.section(NAME)
        section.items([NAME])
        section.code(NAME, NAME)
        table = pd.DataFrame({NAME: [NAME, None], "n": [1234, 5]}, index=pd.Index([NAME, "b"], name=NAME))
        section.table(table, NAME)
        section.section("inner").figure(figure(), NAME, NAME)
    return made


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page.html())


def test_a_page_runs_and_loads_nothing(page, elements):
    assert "script" not in elements.tags
    assert not {"link", "img", "iframe", "object"} & set(elements.tags)
    addresses = set(re.findall(r"https?://[^\"' )]*", page.html()))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert all(address in elements.ids for address in elements.references)


def test_ids_of_figures_tables_and_sections_differ(elements):
    assert len(elements.ids) > 50
    assert len(set(elements.ids)) == len(elements.ids)


def test_text_of_users_stays_text_in_tables_and_figures(elements):
    whole = [words.strip() for words in elements.words if NAME in words]
    # titles (2), subtitle, box (2), and in each section: contents, heading, item, code (2), caption, head of
    # the table, its row, its cell, the legend, the tick, the caption of the figure
    assert len(whole) == 5 + 2 * 13


def test_a_page_is_the_same_in_every_process(page):
    again = Page("t")
    again.figure(figure(), "a")
    other = Page("t")
    other.figure(figure(), "a")
    assert again.html() == other.html()


def test_a_table_shows_numbers_as_asked():
    page = Page("t")
    page.table(
        pd.DataFrame({"n": [1234], "rate": [0.5], "x": [np.pi], "none": [np.nan]}), formats={"rate": ".0%"}
    )
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page.html())
    assert cells == ["1,234", "50%", "3.142", "–"]


def test_contents_list_sections_and_what_is_in_them(page):
    links = re.findall(r'<a href="#(.*?)">', page.html())
    assert links == ["s-1", "s-1-1", "s-2", "s-2-1"]


def test_a_page_is_saved_as_utf8_or_says_why_not(page, tmp_path):
    assert "😀" in page.save(tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"cannot be written: .*give another name"):
        page.save(tmp_path / "none" / "page.html")


def test_without_the_library_of_tables_the_command_that_installs_it_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(jaxfed.core.optional.importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'jaxfed\[report\]'"):
        Page("t").table(pd.DataFrame({"n": [1]}))


def test_rows_of_a_long_table_are_written_as_those_of_a_short_one():
    table = pd.DataFrame({"n": range(LONG + 2), "name": NAME})
    short, long = (
        [
            re.sub(r' (id|headers)="[^"]*"', "", row)
            for row in re.findall(r"<tr>\s*(.*?)\s*</tr>", html, re.DOTALL)
        ]
        for html in (table_html(table[:2], "a", {}), table_html(table, "a", {}))
    )
    tidy = [re.sub(r">\s+<", "><", row) for row in long]
    assert len(tidy) == LONG + 2
    assert tidy[:2] == [re.sub(r">\s+<", "><", row) for row in short]
    assert tidy[-1] == tidy[1].replace(">1<", f">{LONG + 1}<")
