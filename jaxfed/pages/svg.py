"""A matplotlib figure as SVG inside an HTML page.

Text stays text: the page can be searched and read aloud, it is small, and the browser has the letters that
matplotlib's font lacks (Arabic, emoji). Ids are prefixed, because one page holds several figures.
"""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINT = 96 / 72  # CSS pixels
READABLE = 560  # pixels; a wider figure is not made narrower than this on a screen, it scrolls
REFERENCE = re.compile(r"""(\bid="|\bhref="\#|url\(\#)""")


def svg(figure: Figure, prefix: str, alt: str) -> str:
    """The ``<svg>`` element.

    Args:
        figure: any figure; its fonts are those of the viewer, of about the same width.
        prefix: of all ids in it; each figure of a page needs another.
        alt: what the figure shows, for those who do not see it.
    """
    import matplotlib as mpl

    stream = io.StringIO()
    # With a fixed salt, ids are the same in every process.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxfed"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = REFERENCE.sub(lambda match: f"{match[0]}{prefix}", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    width = round(figure.get_figwidth() * 72 * POINT)
    head = (
        f'<svg role="img" aria-label="{escape(alt)}" '
        f'style="width: {width}px; min-width: min({width}px, {READABLE}px)"'
    )
    opening, rest = text.split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening)
    return opening.replace("<svg", head, 1) + ">" + rest
