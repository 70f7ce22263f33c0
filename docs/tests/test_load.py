"""What a page of the site weighs, what its search finds, and what its head tells others."""

import re
from html import unescape
from xml.etree import ElementTree as ET

import pytest
from conftest import PAGES, SITE, WIDE

INDEX = "search/search_index.json"
#: Bytes, uncompressed, of all that a browser with an empty cache asks for until it rests.
MOST = {"": 500_000, "results/": 1_000_000, "learn/parameters/": 500_000, "spec/stats/": 1_000_000}
ADDRESS = "https://bn1d.example/"  # that the site was built for
META = re.compile(r'<meta property="og:(\w+)" content="([^"]*)">')
ID = re.compile(r'<[a-z0-9]+\b[^>]*?\sid="?([^"\s>]+)')
STATS = "spec/stats/index.html"
WRITTEN = [path for path in PAGES if path != "404.html"]


@pytest.mark.parametrize("path", MOST)
def test_the_first_load_is_small(chromium, base, served, path):
    with chromium.new_context(base_url=base, viewport=WIDE) as context:
        context.new_page().goto(path, wait_until="networkidle")
    assert path in served
    assert any(name.endswith(".js") and "workers" in name for name in served)
    assert INDEX not in served
    assert sum(served.values()) <= MOST[path]


@pytest.mark.parametrize("key", ["/", "click"])
def test_who_searches_finds(chromium, base, served, key):
    with chromium.new_context(base_url=base, viewport=WIDE) as context:
        page = context.new_page()
        page.goto("learn/parameters/", wait_until="networkidle")
        query = page.get_by_role("textbox", name="Search")
        query.click() if key == "click" else page.keyboard.press(key)
        page.keyboard.type("num_batches_tracked")
        found = page.locator(".md-search-result__link[href*='spec/buf/']").first
        found.wait_for()
        assert INDEX in served
        found.click()
        page.wait_for_url("**/spec/buf/**")
        page.locator("main mark").first.wait_for()  # highlighted, with the index's help


def head(path):
    return (SITE / path).read_text("utf-8").partition("</head>")[0]


@pytest.mark.parametrize("path", WRITTEN)
def test_a_page_tells_who_links_to_it_what_it_is(path):
    said = {k: unescape(v) for k, v in META.findall(head(path))}
    address = ADDRESS + path.removesuffix("index.html")
    assert said.keys() == {"site_name", "type", "title", "description", "url"}
    assert len(said["title"]) > 2
    assert len(said["description"]) > 12
    assert not re.search(r"<[a-z/]|&#|¶", said["title"] + said["description"])
    assert said["url"] == address
    assert f'<link rel="canonical" href="{address}">' in head(path)


def test_the_sitemap_has_every_page():
    root = ET.parse(SITE / "sitemap.xml").getroot()
    listed = {element.text for element in root.iter() if element.tag.endswith("}loc")}
    assert listed == {ADDRESS + path.removesuffix("index.html") for path in WRITTEN}


@pytest.mark.parametrize("path", PAGES)
def test_an_anchor_is_one_place(path):
    ids = ID.findall((SITE / path).read_text("utf-8"))
    assert not {anchor for anchor in ids if ids.count(anchor) > 1}


def test_every_page_leads_to_the_feed():
    feed = (SITE / "changelog.xml").read_text("utf-8")
    assert ET.fromstring(feed).tag == "{http://www.w3.org/2005/Atom}feed"
    found = re.search(r'type="application/atom.xml"[^>]*href="([^"]+)"', head(STATS))
    assert found
    assert (SITE / STATS).parent.joinpath(found[1]).resolve() == (SITE / "changelog.xml").resolve()


def test_llms_txt_leads_to_what_is_there():
    links = re.findall(r"\]\(([^)]+)\)", (SITE / "llms.txt").read_text("utf-8"))
    assert len(links) > 50
    for link in links:
        target = SITE / link
        assert (target / "index.html" if link.endswith("/") else target).is_file(), link
