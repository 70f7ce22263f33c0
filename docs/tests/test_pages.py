"""Every page loads from the site alone, without a complaint, and fits its screen."""

import pytest
from conftest import KINDS, NARROW, PAGES, WIDE

#: What asks for a page at both widths: the width of a page is that of its widest part.
WIDTH = "document.documentElement.scrollWidth"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_and_fits(reader_of, path):
    reader = reader_of(viewport=WIDE)
    page = reader.open(path)
    assert page.locator("main h1").count() == 1
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert page.evaluate(WIDTH) <= size["width"]
    page.set_viewport_size(WIDE)
    assert not reader.wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_whole_without_javascript(reader_of, kind):
    reader = reader_of(viewport=NARROW, java_script_enabled=False)
    page = reader.open(KINDS[kind])
    assert page.locator("main h1").is_visible()
    assert page.locator("main").inner_text().strip()
    assert not reader.wrong
