"""A part of a page: what is added to it stands in it in that order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from jaxfed.pages.svg import svg
from jaxfed.pages.tables import table_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["summary", "note", "caution", "problem"]
WIDE = 8  # columns of a table that is printed small


class Section:
    """Paragraphs, lists, code, tables, figures, boxes and further sections; all text is escaped.

    Args:
        title: shown as its heading and in the table of contents.
        name: unique in the page: ``"s2"``, ``"s2-1"``. Ids of what is in it begin with it.
        level: of the heading, 2 to 6.
    """

    def __init__(self, title: str, name: str, level: int = 2) -> None:
        self.title, self.name, self.level = title, name, level
        self.sections: list[Section] = []
        self._parts: list[str | Section] = []
        self._count = 0

    def text(self, paragraph: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(paragraph)}</p>")

    def items(self, items: Iterable[str], *, numbered: bool = False) -> None:
        """A list."""
        tag = "ol" if numbered else "ul"
        rows = "".join(f"<li>{escape(item)}</li>" for item in items)
        self._parts.append(f"<{tag}>{rows}</{tag}>")

    def code(self, text: str, label: str = "") -> None:
        """Lines that can be typed; ``label`` says where, such as ``"Python"``."""
        said = f"<span>{escape(label)}</span>" if label else ""
        self._parts.append(f'<div class="code">{said}<pre><code>{escape(text)}</code></pre></div>')

    def table(self, table: Any, caption: str = "", *, formats: Mapping[str, str] | None = None) -> None:
        """A DataFrame (its index names the rows), or a ``great_tables.GT``.

        Args:
            table: what is shown; where it is too wide, it scrolls in its box.
            caption: what it shows, above it.
            formats: format specifications of columns, such as ``{"auroc": ".3f"}``.

        Raises:
            ImportError: great-tables is not installed.
        """
        html = table_html(table, self._id("t"), formats or {})
        label = f' aria-label="{escape(caption)}"' if caption else ""
        above = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        wide = " wide" if html.count('scope="col"') > WIDE else ""
        box = f'<div class="scroll{wide}" tabindex="0" role="region"{label}>{html}</div>'
        self._parts.append(f'<figure class="table">{above}{box}</figure>')

    def figure(self, figure: Figure, alt: str, caption: str = "") -> None:
        """A matplotlib figure as SVG.

        Args:
            figure: it scrolls in its box on a screen that is too narrow to read it.
            alt: what can be seen in it, for those who cannot see it.
            caption: what it shows, below it.
        """
        image = svg(figure, f"{self._id('f')}-", alt)
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._parts.append(f'<figure><div class="scroll" tabindex="0">{image}</div>{below}</figure>')

    def box(self, title: str, kind: Kind = "note") -> Section:
        """A framed part, which is not in the table of contents; add to what is returned."""
        return self._add(Box(title, self._id("b"), self.level + 1, kind))

    def section(self, title: str) -> Section:
        """A part with a heading of the next level; add to what is returned."""
        inner = self._add(Section(title, f"{self.name}-{len(self.sections) + 1}", self.level + 1))
        self.sections.append(inner)
        return inner

    def html(self) -> str:
        """The element with all that is in it."""
        return f'<section id="{self.name}">{self.heading()}{self.body()}</section>'

    def heading(self) -> str:
        """The heading."""
        level = min(self.level, 6)
        return f"<h{level}>{escape(self.title)}</h{level}>" if self.title else ""

    def body(self) -> str:
        """What has been added."""
        return "\n".join(part if isinstance(part, str) else part.html() for part in self._parts)

    def contents(self) -> str:
        """The sections in it as a list of links."""
        rows = [
            f'<li><a href="#{inner.name}">{escape(inner.title)}</a>{inner.contents()}</li>'
            for inner in self.sections
        ]
        return f"<ol>{''.join(rows)}</ol>" if rows else ""

    def _add(self, part: Section) -> Section:
        self._parts.append(part)
        return part

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{self.name}-{kind}{self._count}"


class Box(Section):
    """A part in a frame: ``"summary"``, ``"note"``, ``"caution"`` or ``"problem"``."""

    def __init__(self, title: str, name: str, level: int, kind: Kind) -> None:
        super().__init__(title, name, level)
        self.kind = kind

    def html(self) -> str:
        """The element with all that is in it."""
        return f'<div id="{self.name}" class="box {self.kind}">{self.heading()}{self.body()}</div>'
