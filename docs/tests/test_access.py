"""Nobody is kept out: axe-core finds nothing on any kind of page, light, dark or narrow."""

import markdown
import pytest
from conftest import KINDS, NARROW, PAGES, PAPER, ROOT, WIDE
from mkdocs.utils import meta
from mkdocs.utils.yaml import yaml_load

from bn1d_conformance.documents.unavailable import no_result
from bn1d_conformance.site import subject_page

#: The rules that look at colours. They are half of the work: a dark page is held to them alone,
#: being the light one in all else, and a narrow page, whose colours are the wide one's, is not.
COLOURS = ["color-contrast", "link-in-text-block"]


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(reader_of, kind):
    reader = reader_of(viewport=WIDE, color_scheme="light")
    page = reader.open(KINDS[kind])
    reader.picture(f"{kind}-light")
    assert not reader.violations()
    page.set_viewport_size(NARROW)
    reader.picture(f"{kind}-light-narrow")
    assert not reader.violations(without=COLOURS)
    page.set_viewport_size(WIDE)
    assert not reader.wrong


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_in_the_dark(reader_of, kind):
    reader = reader_of(viewport=WIDE, color_scheme="dark")
    page = reader.open(KINDS[kind])
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
    reader.picture(f"{kind}-dark")
    assert not reader.violations(only=COLOURS)
    page.set_viewport_size(NARROW)
    reader.picture(f"{kind}-dark-narrow")
    page.set_viewport_size(WIDE)
    assert not reader.wrong


def test_every_kind_is_there():
    assert set(KINDS.values()) <= set(PAGES)


# A kind that is not there while every subject has a result


def drawn(text):
    """A page in HTML, read as the site reads it, without what stands around it."""
    settings = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["markdown_extensions"]
    options = dict((e, {}) if isinstance(e, str) else next(iter(e.items())) for e in settings)
    reads = markdown.Markdown(extensions=list(options), extension_configs=options)
    return reads.convert(meta.get_data(text)[0])


#: Puts it into the place of another page, and has the link over the navigation lead to it.
SHOW = """(article, html) => {
  article.innerHTML = html;
  document.querySelector(".md-skip").href = `#${article.querySelector("h1").id}`;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("last", ["torch-1.0", "none"])
def test_axe_finds_nothing_where_there_is_no_result(reader_of, scheme, last):
    path = ROOT / "conformance" / "results" / f"{last}.json"
    absent = no_result(path, "torch.nn:BatchNorm1d", "It could not be installed or started.")
    reader = reader_of(viewport=WIDE, color_scheme=scheme)
    page = reader.open(KINDS["diverges"])
    html = drawn(subject_page.page(absent))
    page.eval_on_selector("main article", SHOW, html)
    assert page.locator("main h1").count() == 1
    assert not reader.violations()
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    reader.picture(f"no-result-{last}-{scheme}-narrow")
    page.set_viewport_size(WIDE)


# What a page becomes in a reader's hands


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_search(reader_of, scheme):
    reader = reader_of(viewport=WIDE, color_scheme=scheme)
    page = reader.open(KINDS["learn"])
    page.keyboard.press("/")
    page.keyboard.type("momentum")
    page.locator(".md-search-result__link").first.wait_for()
    assert not reader.violations()


def test_axe_finds_nothing_in_the_navigation_of_a_narrow_page(reader_of):
    reader = reader_of(viewport=NARROW)
    page = reader.open(KINDS["learn"])
    page.locator("header label[for=__drawer]").click()
    page.get_by_role("link", name="Published results").wait_for()
    assert not reader.violations()


# By the keyboard


def test_who_has_only_a_keyboard_passes_over_the_navigation(reader_of):
    reader = reader_of(viewport=WIDE)
    page = reader.open(KINDS["spec"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main article') !== null")


# On paper


@pytest.mark.parametrize("kind", KINDS)
def test_paper_has_the_page_and_nothing_for_hands(reader_of, kind):
    reader = reader_of(viewport=PAPER, color_scheme="light")
    page = reader.open(KINDS[kind])
    page.emulate_media(media="print")
    try:
        assert page.locator("main h1").is_visible()
        for control in ("header", ".md-sidebar", "main form", "main button", ".headerlink"):
            assert not page.locator(control).locator("visible=true").count(), control
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
        for table in page.locator("main table:visible").all():
            assert table.evaluate("(table) => table.getBoundingClientRect().right") <= 794
    finally:
        page.emulate_media(media="screen")
