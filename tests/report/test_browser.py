"""A report in a browser: it fits a screen and a phone, draws all figures, complains of nothing, prints."""

import re

import chromium
import pytest
from reported import run_of

SIZES = """[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect())
    .map(box => [box.width, box.height])"""
LINKS = """[...document.querySelectorAll('nav a')].map(
    link => document.querySelector(link.hash)?.querySelector('h2, h3').innerText == link.innerText)"""


@pytest.mark.skipif(chromium.program() is None, reason="no Chromium on this machine; apt install chromium")
def test_a_report_in_a_browser(tmp_path):
    path = run_of().report(tmp_path / "report.html", subgroups={"side": ["left", "right"] * 87})
    browser = chromium.Chromium(tmp_path / "profile")
    try:
        for width in (1280, 390):
            browser.open(path, width)
            assert browser.complaints() == []
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            sizes = browser.evaluate(SIZES)
            assert len(sizes) == 9
            assert all(wide > 250 and high > 80 for wide, high in sizes), sizes
            links = browser.evaluate(LINKS)
            assert len(links) > 9
            assert all(links)
        pdf = browser.pdf()
        assert pdf.startswith(b"%PDF")
        assert 5 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
    finally:
        browser.close()
