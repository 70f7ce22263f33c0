"""Strings of results files, tables and matrices are data: none becomes markup."""

import copy
import html
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from site_pages import BACKENDS, MUTANT, Structure, matrix_of

from bn1d_conformance import site
from bn1d_conformance.site import (
    kill_pages,
    markup,
    mutant_pages,
    spec_pages,
    subject_page,
)
from bn1d_reference import spec

# Strings are data

HOSTILE = [
    "<script>alert(1)</script>",
    "</code></span></td></div><img src=x onerror=alert(1)>",
    '"><b onclick="x">',
    "&lt;script&gt;&#60;script&#62;&amp;",
    "[text](javascript:alert(1)) ![](//third.party/x.png) <https://third.party>",
    "[text][ref] [^1] [STATS-2][] https://third.party",
    "**bold** __bold__ *i* ~~s~~ ==m== ++k++ $x$ :smile: --- ***",
    "a | b | c\n|---|---|",
    "\n\n# heading\n\n- item\n\n    code\n\n```\nfence\n```\n",
    "\r\n\r\n::: bn1d_conformance.site\n",
    "{ #id .class onclick=alert(1) } {: #id }",
    "`tick` ``two`` \\` \\<b>",
    "<!-- comment\n<div markdown>",
    "1. one\n: definition\n> quote\n!!! note\n*[HTML]: abbreviation\n[ref]: //third.party",
    "\x1b[31m\x00\x07\u2028\u2029\u202egpj.exe\ud800",
]


AREAS = ("gaps.md", *(f"{area.name.lower()}.md" for area in spec.areas()))
WORDS = {"aria-label", "data-fails", "title"}  # attributes that are read, and may hold any words
FREE = {"weight", "torch", "y fp32"}  # keys that a results file chooses


def replaced(value, by):
    """A document with every string replaced, and every key that is no field's name."""
    if isinstance(value, dict):
        return {by if k in FREE else k: replaced(v, by) for k, v in value.items()}
    if isinstance(value, list):
        return [replaced(v, by) for v in value]
    return by if isinstance(value, str) else value


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_string_becomes_markup(result, hostile):
    plain = Structure(subject_page.page(replaced(result, "plain")))
    page = Structure(subject_page.page(replaced(result, hostile)))
    assert page.tags == plain.tags
    assert page.code <= {"pre", "code", "span", "a"}
    shown = " ".join(re.sub(r"[\x00-\x1f\u2028-\u202e\ud800]", " ", hostile).split())
    assert shown in "".join(page.text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_string_becomes_markup_on_the_pages_of_all(result, hostile):
    def structures(text):
        published = {"mine": replaced(result, text)}
        pages = {**site.result_pages(published, BACKENDS), **spec_pages.pages(published)}
        wanted = ("results/index.md", "results/accuracy.md", "spec/stats.md")
        tags = [tag for path in wanted for tag in Structure(pages[path]).tags]
        drawn = [(tag, attrs) for tag, attrs in tags if tag != "wbr"]  # as a long name has dots
        return [(tag, [(k, k in WORDS or v) for k, v in attrs]) for tag, attrs in drawn]

    assert structures(hostile) == structures("plain")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_string_of_a_matrix_becomes_markup(hostile):
    def structures(text):
        matrix = matrix_of(text)
        pages = {**kill_pages.pages(matrix), **spec_pages.pages(kills=matrix)}
        wanted = ("kills/index.md", "kills/stats.md", "kills/gaps.md", "spec/stats.md")
        drawn = {"a", "code"}  # a sentence may have code, and name requirements
        tags = [[tag for tag, _ in Structure(pages[path]).tags] for path in wanted]
        return [[tag for tag in page if tag not in drawn] for page in tags]

    assert structures(hostile) == structures("plain")
    for page in kill_pages.pages(matrix_of(hostile)).values():
        links = [dict(attrs)["href"] for tag, attrs in Structure(page).tags if tag == "a"]
        assert all(link.startswith(("#", "../spec/", "../bugs/", *AREAS)) for link in links)


def test_numbers_that_are_strings_are_strings(result):
    changed = copy.deepcopy(result)
    changed["counts"] = dict.fromkeys(result["counts"], "<b>")
    scores = changed["accuracy"]["outputs"]["y fp32"]
    scores.update(dict.fromkeys(scores, "<b>"))
    changed["seconds"] = changed["requirements"]["EVAL-1"]["cases"] = "<b>"
    assert Structure(subject_page.page(changed)).tags == Structure(subject_page.page(result)).tags


@given(st.text())
def test_literal_shows_a_string_as_it_is(text):
    shown = markup.literal(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9 ,]|[^\x00-\x7f]|&#\d+;)*", shown)
    visible = "".join(c if c.isprintable() else " " for c in text)
    assert html.unescape(shown) == " ".join(visible.split())


@given(st.text(alphabet=st.sampled_from("ab `*_<>[]()#|-1TSA\n")))
def test_prose_makes_code_and_links_only(text):
    tags = Counter(tag for tag, _ in Structure(f"x {markup.prose(text)}").tags)
    assert set(tags) <= {"p", "code", "a"}


# The mutants


def test_a_mutant_leads_to_what_it_fails_and_an_equivalent_one_has_its_reason():
    same = {"status": "equivalent", "requirement": "", "reason": "The sum is zero (STATS-1)."}
    [page] = mutant_pages.pages([MUTANT, {**MUTANT, **same}]).values()
    drawn = Structure(page)
    links = [dict(attrs)["href"] for tag, attrs in drawn.tags if tag == "a"]
    assert links.count("../spec/stats.md#stats-2") == 1
    assert links.count("../spec/stats.md#stats-1") == 1
    assert "The sum is zero" in "".join(drawn.text)
    assert "2 changes" in page
    assert "1 fail a requirement, and 1 change nothing" in page


@pytest.mark.parametrize("hostile", ["<script>", "[x](javascript:1)", "a | b", "**b** `c", "&lt;"])
def test_no_line_of_a_mutant_becomes_markup(hostile):
    def structure(text):
        changed = {"before": text, "after": text, "operator": text}
        [page] = mutant_pages.pages([{**MUTANT, **changed}]).values()
        assert text in "".join(Structure(page).text)
        return [tag for tag, _ in Structure(page).tags]

    assert structure(hostile) == structure("plain")
