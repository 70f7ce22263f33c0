"""The check of a site without a browser: it tells what is fetched from what is only told."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from check_site import Fetches, faults

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
    assert not list(faults(tmp_path))
    (tmp_path / "index.html").write_text('<img src="a.png">', "utf-8")
    (tmp_path / "a.png").write_bytes(bytes(500_000))
    [fault] = faults(tmp_path)
    assert fault.startswith("index.html loads 500,0")
