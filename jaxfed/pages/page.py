"""One HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from jaxfed.core.errors import InvalidInput
from jaxfed.pages.section import Section
from jaxfed.pages.style import STYLE

# What a browser may load: nothing, but styles in the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Page(Section):
    """A page, to which text, tables, figures, boxes and sections are added.

    >>> page = Page("Four hospitals", "920 patients")
    >>> page.box("In short", "summary").text("Prevalence differs: 0.38 to 0.98.")
    >>> page.section("Labels").text("Switzerland has few patients without the disease.")
    >>> "Switzerland" in page.html()
    True

    Args:
        title: of the page and of its window.
        subtitle: a line below it.
        contents: whether the sections are listed before the first of them.
    """

    def __init__(self, title: str, subtitle: str = "", *, contents: bool = True) -> None:
        super().__init__(title, "s", level=1)
        self.subtitle, self._listed = subtitle, contents

    def html(self) -> str:
        """The whole file."""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            f"<title>{escape(self.title)}</title>\n</head>\n<body style='margin: 0'>\n"
            f"{self.fragment()}\n</body>\n</html>\n"
        )

    def fragment(self) -> str:
        """The same inside of another page, such as a notebook: its style is for nothing else there."""
        below = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            f'<div class="jaxfed-page">\n<style>{STYLE}</style>\n<main>\n'
            f"<header>{self.heading()}{below}</header>\n{self.body()}\n</main>\n</div>"
        )

    def body(self) -> str:
        """What has been added, with the table of contents before the first section."""
        parts = [part if isinstance(part, str) else part.html() for part in self._parts]
        if self._listed and len(self.sections) > 1:
            links = f'<nav aria-label="Contents">{self.contents()}</nav>'
            parts.insert(self._parts.index(self.sections[0]), links)
        return "\n".join(parts)

    def save(self, path: str | Path) -> Path:
        """Write the file, UTF-8.

        Raises:
            InvalidInput: it cannot be written there.
        """
        file = Path(path)
        try:
            file.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{file} cannot be written: {error.strerror}; give another name") from None
        return file
