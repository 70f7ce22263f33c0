"""The pages hold what the spec and the results say, and nothing that a string smuggles in."""

import copy
import os
import posixpath
import re
import shutil
import subprocess
import sys

import pytest
from site_pages import (
    BACKENDS,
    CODE,
    DOCS,
    JUDGED,
    MUTANT,
    ROOT,
    Structure,
)
from typer.testing import CliRunner

from bn1d_conformance import cli, site
from bn1d_conformance.documents import kills
from bn1d_conformance.site import (
    bug_pages,
    bugs,
    find_page,
    kill_pages,
    mutant_pages,
    spec_pages,
    subject_page,
)
from bn1d_reference import spec

# The spec


def test_one_page_an_area_and_an_index():
    pages = spec_pages.pages()
    assert list(pages) == ["spec/index.md", *(f"spec/{a.name.lower()}.md" for a in spec.areas())]


@pytest.mark.parametrize("area", spec.areas(), ids=lambda a: a.name)
def test_a_requirement_is_a_heading_and_every_word_of_it_is_there(area):
    page = Structure(spec_pages.pages()[f"spec/{area.name.lower()}.md"])
    anchors = [dict(attrs)["id"] for tag, attrs in page.tags if tag == "h2"]
    assert anchors == [r.id.lower() for r in area.requirements]
    text = "".join(page.text)
    for r in area.requirements:
        for said in (r.sentence, r.intent, r.breaks, r.untested, *r.source, *r.needs, *r.rests_on):
            assert said.replace("`", "") in text


def test_a_verdict_stands_beside_its_requirement_and_leads_to_the_result(result):
    pages = spec_pages.pages({"mine": result})
    passing = sum(ident.startswith("STATS-") for ident in JUDGED) - 1
    link = "[<code>mine</code>](../results/mine.md#stats-2)"
    assert f'<span class="verdict bad">fail</span> {link}' in pages["spec/stats.md"]
    assert pages["spec/stats.md"].count('<span class="verdict good">pass</span>') == passing


def test_a_requirement_that_a_file_does_not_know_was_not_run(result):
    del result["requirements"]["STATS-2"]
    page = spec_pages.pages({"mine": result})["spec/stats.md"]
    link = "[<code>mine</code>](../results/mine.md)"
    assert f'<span class="verdict open">not&#45;run</span> {link}' in page


def test_of_those_that_a_requirement_does_not_apply_to_the_number_is_enough(result):
    result["requirements"]["STATS-2"]["verdict"] = "not-applicable"
    page = spec_pages.pages(dict.fromkeys("ab", result))["spec/stats.md"]
    assert '<span class="verdict open">not&#45;applicable</span> 2' in page
    subject_page.page(result)


def test_every_link_leads_to_a_page_and_an_anchor(result):
    published = {"mine": result}
    matrix = kills.read(ROOT / "conformance" / "tests" / "zoo")
    drawn = {
        **spec_pages.pages(published, matrix),
        **site.result_pages(published, BACKENDS),
        **bug_pages.pages(),
        **kill_pages.pages(matrix),
        **mutant_pages.pages([MUTANT]),
    }
    finds = ROOT / "conformance" / "finds"
    drawn |= find_page.page(find_page.read(finds), finds)
    written = {f.relative_to(DOCS).as_posix(): f.read_text("utf-8") for f in DOCS.rglob("*.md")}
    pages = {path: CODE.sub("", page) for path, page in {**written, **drawn}.items()}
    anchors = {path: anchors_of(page) for path, page in pages.items()}
    for path in drawn:
        page = pages[path]
        for target, anchor in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", page):
            name = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            found = anchors[name if target else path]
            assert not anchor or anchor in found, (path, target, anchor)


def anchors_of(page):
    return {dict(attrs).get("id") for _, attrs in Structure(page).tags}


# The bugs


def test_every_bug_is_on_one_of_the_two_pages():
    pages = bug_pages.pages()
    assert list(pages) == ["bugs/index.md", "bugs/not-tested.md"]
    found, silent = (Structure(page) for page in pages.values())
    for bug in bugs.bugs().values():
        page, other = (found, silent) if bug.requirements else (silent, found)
        anchors = [dict(attrs).get("id") for _, attrs in page.tags]
        assert anchors.count(bug.id.lower()) == 1
        assert bug.id.lower() not in [dict(attrs).get("id") for _, attrs in other.tags]
        assert bug.wrong in "".join(page.text)


def test_a_bug_leads_to_its_reports_its_requirements_and_their_checks():
    [row] = [r for r in bug_pages.pages()["bugs/index.md"].splitlines() if "[B230]" in r]
    page = Structure(f"| a | b | c | d | e |\n|---|---|---|---|---|\n{row}")
    links = [dict(attrs)["href"] for tag, attrs in page.tags if tag == "a"]
    reports = [f"https://github.com/torch/nn/pull/{n}" for n in (434, 577)]
    assert links == ["#b230", *reports, "../spec/param.md#param-9"]
    assert "torch/nn PR 434, PR 577" in "".join(page.text)
    assert "test_param.py::test_reset_parameters" in "".join(page.text)


def test_a_reason_stands_above_the_bugs_that_give_it():
    page = Structure(bug_pages.pages()["bugs/not-tested.md"])
    text = "".join(page.text)
    for bug in (b for b in bugs.bugs().values() if b.untested):
        for part in bug.untested.split(". "):
            assert part in text
    assert sum(tag == "h2" for tag, _ in page.tags) == 1 + len(
        {b.untested for b in bugs.bugs().values()} - {""}
    )


def test_a_requirement_without_a_check_is_listed_with_its_reason(monkeypatch):
    told = copy.copy(spec.requirements()["BUF-1"])
    object.__setattr__(told, "untested", "Nobody has a way.")
    monkeypatch.setattr(spec, "requirements", lambda: {told.id: told})
    shown = Structure(bug_pages._without_check())
    assert "Nobody has a way." in "".join(shown.text)
    assert told.sentence.replace("`", "") in "".join(shown.text)


def test_a_requirement_names_the_bugs_that_it_would_have_caught():
    page = spec_pages.pages()["spec/param.md"]
    assert "[B230](../bugs/index.md#b230)" in page


@pytest.mark.parametrize("hostile", ["<script>", "[x](javascript:1)", "a | b", "**b** `c", "&lt;"])
def test_no_string_of_the_table_becomes_markup(monkeypatch, hostile):
    def structures(text):
        rows = [
            bugs.Bug("B001", text, (text,), ("STATS-1",)),
            bugs.Bug("B002", text, (text,), (), f"{text}. {text}."),
        ]
        monkeypatch.setattr(bug_pages, "bugs", lambda: {b.id: b for b in rows})
        drawn = [Structure(page) for page in bug_pages.pages().values()]
        assert all(" ".join(text.split()) in "".join(page.text) for page in drawn)
        return [[tag for tag, _ in page.tags] for page in drawn]  # a heading's id is its words

    assert structures(hostile) == structures("plain")


# The command


@pytest.fixture
def clone(tmp_path):
    """The project with empty documentation, and beside it a folder with one results file."""
    (tmp_path / "clone" / "docs").mkdir(parents=True)
    (tmp_path / "clone" / "conformance").symlink_to(ROOT / "conformance")
    (tmp_path / "clone" / "mkdocs.yml").write_text("site_name: x\nsite_description: y\nnav: []")
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path / "clone")
    (tmp_path / "results").mkdir()
    name = "torch.nn.BatchNorm1d.json"
    shutil.copy(ROOT / "conformance" / "results" / name, tmp_path / "results" / name)
    return tmp_path


def drawing(clone):
    words = ["site", str(clone / "clone"), "--results", str(clone / "results")]
    return CliRunner().invoke(cli.app, words)


def test_what_is_drawn_is_there_and_what_is_drawn_no_longer_is_not(clone):
    docs = clone / "clone" / "docs"
    stale = docs / "results" / "gone.md"
    stale.parent.mkdir()
    stale.touch()
    (docs / "mine.md").touch()
    answer = drawing(clone)
    assert answer.exit_code == 0, answer.output
    drawn = {f.relative_to(docs).as_posix() for f in docs.rglob("*") if f.is_file()}
    assert drawn >= {"results/index.md", "results/torch.nn.BatchNorm1d.md", "spec/stats.md"}
    assert drawn >= {"dialects.md", "bugs/found-by-the-kit.md", "kills/gaps.md", "mine.md"}
    assert "results/gone.md" not in drawn
    assert {path.partition("/")[0] for path in drawn if "/" in path} == set(site.FOLDERS)


def test_a_page_that_stays_keeps_its_time(tmp_path):
    site.write({"spec/a.md": "a", "spec/b.md": "b"}, tmp_path)
    for name in "ab":
        os.utime(tmp_path / "spec" / f"{name}.md", (1, 1))
    site.write({"spec/a.md": "a", "spec/b.md": "new"}, tmp_path)
    times = [(tmp_path / "spec" / f"{name}.md").stat().st_mtime for name in "ab"]
    assert times[0] == 1 < times[1]
    assert (tmp_path / "spec" / "b.md").read_text("utf-8") == "new"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("index", "{}", "can't be a page"),
        ("[x](y)", "{}", "can't be a page"),
        ("broken", "{", "can't be read as JSON"),
        ("other", "{}", "schema_version"),
    ],
)
def test_what_is_no_results_file_is_refused_in_a_sentence(clone, name, text, said):
    (clone / "results" / f"{name}.json").write_text(text, "utf-8")
    answer = drawing(clone)
    assert answer.exit_code == 2
    assert said in answer.output
    assert not list((clone / "clone" / "docs").iterdir())


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    answer = CliRunner().invoke(cli.app, ["site", str(tmp_path)])
    assert answer.exit_code == 2
    assert "no clone" in answer.output


# The rooms


def test_the_site_imports_nothing_that_runs_a_subject():
    script = "import bn1d_conformance.site, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)
    names = {name.partition(".")[0] for name in loaded.split()}
    assert not names & {"numpy", "torch", "ml_dtypes", "pytest", "typer", "rich"}
