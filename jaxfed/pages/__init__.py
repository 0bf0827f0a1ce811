"""Self-contained HTML pages of text, tables and figures, and the canvas that figures are drawn on."""

from jaxfed.pages.page import Page as Page
from jaxfed.pages.section import Section as Section
