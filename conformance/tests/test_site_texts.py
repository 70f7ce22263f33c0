"""What the site has for programs: `llms.txt`, the feed of the changelog, what is searched."""

import re
import sys
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from mkdocs.utils.meta import get_data
from mkdocs.utils.yaml import yaml_load
from typer.testing import CliRunner

from bn1d_conformance import cli, site
from bn1d_conformance.site import changes, llms

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^- \[(.+)\]\((.+?)\): (.+)$", re.MULTILINE)
NAV = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
WRITTEN = datetime(2026, 5, 17, 12, 30, tzinfo=timezone.utc)
CHANGELOG = """# Changelog

See [the page](docs/judge.md), and [others](https://example.org).

## [Unreleased]

- A `<script>` & [a link](docs/judge.md).

## [0.2.0] - 2026-03-04

### Added

- Something.

## [0.1.0] - 2026-01-02

The first.
"""
ATOM = {"atom": changes.ATOM}


@pytest.fixture(scope="module")
def drawn():
    return site.pages(ROOT, ROOT / "conformance" / "results")


# llms.txt


def test_it_has_a_line_for_every_page_of_the_navigation(drawn):
    entries = chain.from_iterable(entry.values() for entry in NAV)
    lists = ([entry] if isinstance(entry, str) else entry for entry in entries)
    paths = [p if isinstance(p, str) else next(iter(p.values())) for p in chain(*lists)]
    lines = LINE.findall(drawn[llms.PAGE])
    assert len(paths) > 50
    assert len(lines) == len(paths) + len(llms.FILES)
    addresses = {"./" if p == "index.md" else re.sub("(index)?[.]md$", "/", p) for p in paths}
    assert {address.replace("//", "/") for address in addresses} | {*llms.FILES} == {
        address for _, address, _ in lines
    }


def test_a_line_says_something_and_leads_nowhere_else(drawn):
    for title, address, about in LINE.findall(drawn[llms.PAGE]):
        assert len(title) > 2, address
        assert len(about) > 12, address
        assert not re.search(r"\]\(|</?[a-z]+|&#", title + about), address


def page(text, tmp_path):
    nav = "site_name: x\nsite_description: y\nnav: [{Home: a/b.md}]"
    (tmp_path / "mkdocs.yml").write_text(nav, "utf-8")
    [line, *_] = LINE.findall(llms.text(tmp_path, {"a/b.md": text}))
    return line


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("---\ndescription: It says.\n---\n\n# T\n\nOther.\n", "It says."),
        ("# T { #t }\n\nOne\nsentence\\.\nTwo.\n", "One sentence\\."),
        ("# T\n\n```console\n$ it\n```\n\n**Bold** words\n\nmore.", "**Bold** words"),
        ("# T\n\n| a |\n|---|\n\n- x\n\n[Linked](x.md) &#60;b&#62;. <b>x</b>", "Linked <b>. x"),
        ("# T\n\n::: bn1d_conformance.site.llms\n", (llms.__doc__ or "").strip()),
    ],
)
def test_a_page_is_described_by_its_head_or_its_first_sentence(text, about, tmp_path):
    assert page(text, tmp_path) == ("T", "a/b/", about)


def test_without_mkdocs_the_command_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "mkdocs.utils.yaml", None)
    answer = CliRunner().invoke(cli.app, ["site", str(ROOT)])
    assert answer.exit_code == 2
    assert "mkdocs" in answer.output


# The feed


def entries(changelog):
    root = ET.fromstring(changes.feed(changelog, WRITTEN))
    return root, root.findall("atom:entry", ATOM)


def said(element, name):
    return element.findtext(f"atom:{name}", namespaces=ATOM)


def test_a_version_is_an_entry_with_its_day():
    root, found = entries(CHANGELOG)
    assert [said(e, "title").split()[-1] for e in found] == ["Unreleased", "0.2.0", "0.1.0"]
    days = [datetime.fromisoformat(said(e, "updated")) for e in found]
    assert days[0] == WRITTEN
    assert [str(day.date()) for day in days[1:]] == ["2026-03-04", "2026-01-02"]
    assert datetime.fromisoformat(said(root, "updated")) == WRITTEN


def test_what_is_written_is_shown_as_it_stands():
    _, [first, second, _] = entries(CHANGELOG)
    assert "".join(first.itertext()).count("- A `<script>` & [a link](docs/judge.md).") == 1
    assert "### Added\n\n- Something." in "".join(second.itertext())
    assert "0.1.0" not in "".join(second.itertext())


def test_an_entry_has_what_atom_asks_for_and_keeps_its_id():
    root, found = entries(CHANGELOG)
    _, later = entries(CHANGELOG.replace("[Unreleased]", "[0.3.0] - 2026-06-01"))
    for element in (root, *found):
        assert {"id", "title", "updated"} <= {child.tag.partition("}")[2] for child in element}
    assert said(root.find("atom:author", ATOM), "name")
    ids = [said(e, "id") for e in found]
    assert len({*ids, said(root, "id")}) == 4
    assert [said(e, "id") for e in later[1:]] == ids[1:]


def test_a_changelog_without_a_version_makes_a_feed_without_an_entry():
    root, found = entries("# Changelog\n")
    assert not found
    assert datetime.fromisoformat(said(root, "updated")) == WRITTEN


def test_the_page_has_the_changelog_with_links_of_the_documentation(drawn):
    assert "[the page](judge.md)" in changes.page(CHANGELOG)
    assert "(https://example.org)" in changes.page(CHANGELOG)
    assert drawn[changes.PAGE].startswith("# Changelog\n")
    assert len(entries(drawn[changes.PAGE])[1]) >= 1


# The search


def test_what_says_again_what_other_pages_say_is_not_searched(drawn):
    left_out = {
        path
        for path, text in drawn.items()
        if path.endswith(".md") and get_data(text)[1].get("search", {}).get("exclude")
    }
    subjects = {f"results/{f.stem}.md" for f in (ROOT / "conformance/results").glob("*.json")}
    assert left_out == {"mutants/generated.md", *subjects}


def test_a_script_of_one_page_is_loaded_there_alone(drawn):
    everywhere = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["extra_javascript"]
    assert everywhere == ["js/access.js"]
    for page, script in {"results/index.md": "results", "playground.md": "playground"}.items():
        assert [path for path, text in drawn.items() if f"js/{script}.js" in text] == [page]
