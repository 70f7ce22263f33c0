"""The checks of a built site without a browser: what it would fetch, and what a build lacks."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from check_site import Fetches, addresses, faults
from compare import losses

THERE = "https://bn1d.example/"


@pytest.mark.parametrize(
    "tag",
    [
        f'<script src="{THERE}a.js"></script>',
        f'<img src="{THERE}a.png">',
        f'<img srcset="{THERE}a.png 2x">',
        f'<link rel="stylesheet" href="{THERE}a.css">',
        f'<link rel="preconnect" href="{THERE}">',
        f'<link href="{THERE}">',
        f'<svg><use href="{THERE}a.svg#b"></use></svg>',
        '<script src="//bn1d.example/a.js"></script>',
    ],
)
def test_what_is_fetched_elsewhere_is_a_fault(tag):
    assert Fetches(tag).elsewhere


@pytest.mark.parametrize(
    "tag",
    [
        f'<a href="{THERE}">there</a>',
        f'<link rel="canonical" href="{THERE}">',
        f'<link rel="next" href="{THERE}2/">',
        f'<meta property="og:url" content="{THERE}">',
        '<script src="a.js"></script>',
    ],
)
def test_what_is_only_told_is_none(tag):
    assert not Fetches(tag).elsewhere


def test_a_heavy_page_is_a_fault(tmp_path):
    for page in ("index.html", "results/index.html"):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("<p>Nothing.</p>", "utf-8")
    (tmp_path / "sitemap.xml").write_text("<urlset></urlset>", "utf-8")
    assert not list(faults(tmp_path))
    (tmp_path / "index.html").write_text('<img src="a.png">', "utf-8")
    (tmp_path / "a.png").write_bytes(bytes(500_000))
    [fault] = faults(tmp_path)
    assert fault.startswith("index.html loads 500,0")


def placed(folder, told, shared, listed):
    """A site of one page below its home, whose head and sitemap say this."""
    (folder / "wire").mkdir()
    link = f'<link rel="canonical" href="{told}">' if told else ""
    graph = f'<meta property="og:url" content="{shared}">' if shared else ""
    (folder / "wire" / "index.html").write_text(f"{link}{graph}</head>", "utf-8")
    places = f"<loc>{listed}</loc>" if listed else ""
    (folder / "sitemap.xml").write_text(f"<urlset>{places}</urlset>", "utf-8")
    return list(addresses(folder))


@pytest.mark.parametrize(
    ("told", "shared", "listed", "wrong"),
    [
        (None, None, None, 0),
        (f"{THERE}wire/", f"{THERE}wire/", f"{THERE}wire/", 0),
        (f"{THERE}wire/", None, f"{THERE}wire/", 1),
        (f"{THERE}wire/", f"{THERE}other/", f"{THERE}wire/", 2),
        (THERE, THERE, THERE, 1),
        (f"{THERE}wire/", f"{THERE}wire/", None, 1),
        (None, None, f"{THERE}wire/", 1),
    ],
)
def test_an_address_is_the_same_wherever_it_is_said(tmp_path, told, shared, listed, wrong):
    assert len(placed(tmp_path, told, shared, listed)) == wrong


HEAD = '<link rel="canonical" href="x"></head>'
WHOLE = '<article><h1 id="a">One word</h1><svg></svg></article>'


def built(folder, **pages):
    folder.mkdir()
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        (HEAD + WHOLE, None),
        (WHOLE, "b.html lacks in its head: ['canonical']"),
        (HEAD + WHOLE.replace(' id="a"', ""), "b.html lacks anchors: ['a']"),
        (HEAD + WHOLE.replace("<svg></svg>", ""), "b.html lacks elements: ['svg']"),
        (HEAD + WHOLE.replace("word", ""), "b.html lacks words: ['word']"),
    ],
)
def test_what_a_build_lacks_is_said(tmp_path, text, loss):
    site = built(tmp_path / "site", a=WHOLE, b=HEAD + WHOLE)
    assert list(losses(site, built(tmp_path / "other", a=WHOLE, b=text))) == [loss] * bool(loss)


def test_a_page_that_is_missing_is_said(tmp_path):
    site = built(tmp_path / "site", a=WHOLE, b=WHOLE)
    assert list(losses(site, built(tmp_path / "other", a=WHOLE))) == ["b.html is missing"]
