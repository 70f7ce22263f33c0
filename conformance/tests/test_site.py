"""The pages hold what the spec and the results say, and nothing that a string smuggles in."""

import copy
import html
import json
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mkdocs.utils import meta
from mkdocs.utils.yaml import yaml_load
from typer.testing import CliRunner

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from bn1d_conformance import bugs, cli, kills, site
from bn1d_conformance.site import (
    bug_pages,
    find_page,
    kill_pages,
    markup,
    mutant_pages,
    spec_pages,
    subject_page,
)
from bn1d_reference import SPEC_VERSION, spec

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FILES = ROOT.glob("conformance/results/*.json")
PUBLISHED = {file.stem: json.loads(file.read_text("utf-8")) for file in FILES}
TABLE = tomllib.loads((ROOT / "conformance" / "backends.toml").read_text("utf-8"))
BACKENDS = {row["name"]: row for row in TABLE["backend"]}
JUDGED = [i for i, r in spec.requirements().items() if r.area in ("STATS", "EVAL")]
QUICK = {"torch-compile"}  # every configuration of which goes through a C++ compiler
SAID = "running_var[0] is 1, where 2 is right."
WRONG = {"case": "A1/fp32", "message": SAID, "cause": "", "evidence": {}}

MUTANT = {
    "id": "plain:per_channel:Sub->Add:1", "source": "plain", "operator": "Sub->Add",
    "before": "n - 1", "after": "n + 1", "status": "killed", "verdict": "fail",
    "requirement": "STATS-2", "profile": "quick", "reason": "",
}  # fmt: skip


def row(ident):
    wrong = ident == "STATS-2"
    return {
        "level": spec.requirements()[ident].level,
        "verdict": "fail" if wrong else "pass",
        "cases": 12,
        "failed": 3 if wrong else 0,
        "failures": [WRONG] if wrong else [],
        "seconds": 0.25,
    }


@pytest.fixture
def result():
    """A results file of two areas with one failure."""
    rows = {ident: row(ident) for ident in JUDGED}
    return {
        "schema_version": 1,
        "kit": {"name": "kit", "version": "1", "spec_version": SPEC_VERSION, "suite_hash": "0abc"},
        "subject": {
            "target": "mine.py:Layer",
            "name": "mine.Layer",
            "version": "2.0",
            "adapter": "torch-module",
            "dialect": {},
            "capabilities": ["train", "eval"],
            "names": {"weight": "gamma"},
        },
        "environment": {"python": "3.14.0", "packages": {"torch": "2.13.0"}},
        "options": {
            "target": "mine.py:Layer",
            "device": "cpu",
            "profile": "full",
            "fail_fast": False,
            "jobs": 1,
            "select": "",
            "names": ["weight=gamma"],
            "seed": 0,
            "timeout": 30.0,
            "expect": "known.toml",
        },
        "verdict": "diverges",
        "counts": {"total": len(rows), "pass": len(rows) - 1, "fail": 1, "deviates": 0},
        "requirements": rows,
        "expectations": [
            {
                "requirement": "EVAL-1",
                "case": "A1/*",
                "reason": "It is known.",
                "url": "https://example.org/known",
                "outcome": "not-asked",
            }
        ],
        "diagnoses": [
            {
                "requirement": "STATS-2",
                "cause": "The biased variance is tracked.",
                "identified": True,
                "evidence": "A1/fp32: running_var[0] is 1, where 2 is right.",
                "folded": ["STATS-9"],
            }
        ],
        "accuracy": {
            "grade": "blocked",
            "outputs": {"y fp32": {"ulp": 1.5, "worst": 8542.3, "bound_fraction": 0.165}},
        },
        "errors": [],
        "timings": {},
        "seconds": 12.5,
    }


def renderer():
    """Markdown with the extensions that the site is built with."""
    settings = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["markdown_extensions"]
    named = [{e: {}} if isinstance(e, str) else e for e in settings]
    options = {name: values for extension in named for name, values in extension.items()}
    return markdown.Markdown(extensions=list(options), extension_configs=options)


MARKDOWN = renderer()
CODE = re.compile(r"^(```|~~~).*?^\1$", re.DOTALL | re.MULTILINE)


class Structure(HTMLParser):
    """The tags of a page with their attributes; those of highlighted code apart, text apart."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.code, self.text, self.inside = [], set(), [], False
        self.feed(MARKDOWN.reset().convert(meta.get_data(page)[0]))

    def handle_starttag(self, tag, attrs):
        self.inside |= tag == "pre"
        if self.inside:
            self.code.add(tag)
        else:
            self.tags.append((tag, attrs))

    def handle_endtag(self, tag):
        self.inside &= tag != "pre"

    def handle_data(self, data):
        self.text.append(data)


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


# The mutants


def matrix_of(text):
    """A kill matrix, all of whose words are this text."""
    row = dict.fromkeys(("name", "file", "sentence", "seen", "profile", "cause", "lost"), text)
    failing = ["STATS-1", "STATS-2", "STATS-3", "STATS-4", text]
    mutant = {**row, "requirement": "STATS-1", "failing": failing, "home": text}
    quick = {**mutant, "failing": ["STATS-5", text], "home": "STATS-5", "lost": ""}
    gap = {**row, "failing": [], "why": text, "would": text}
    kit = {"version": text, "spec_version": text, "suite_hash": text}
    document = {"kit": kit, "mutants": [mutant, quick], "gaps": [gap]}
    return kills.parse(document, {"STATS-1": text})


# The results


def test_a_page_says_what_the_file_says(result):
    text = "".join(Structure(subject_page.page(result)).text)
    count = len(JUDGED)
    assert f"1 diverge, 0 not covered, {count - 1} pass, of {count} requirements." in text
    for said in (
        "mine.py:Layer",
        "diverges",
        "STATS-2: The biased variance is tracked.",
        "The same explains STATS-9.",
        "Grade: blocked",
        "8,542",
        "16.5 %",
        "3.14.0",
        "torch: 2.13.0",
        "weight: gamma",
        "3 of 12 cases fail",
        SAID,
    ):
        assert said in text


def test_what_was_not_judged_is_counted_apart(result):
    rows = result["requirements"]
    rows["EVAL-1"]["verdict"] = "not-applicable"
    rows["EVAL-2"]["verdict"] = "not-run"
    rows["EVAL-3"]["verdict"] = "error"
    assert "1 diverge, 3 not covered" in subject_page.page(result)


def test_the_command_makes_the_same_run(result):
    result["options"].update(target="my file.py:Layer", profile="deep", seed=7, select="a and b")
    [command] = re.findall(r"^\$ (.*)$", subject_page.page(result), re.MULTILINE)
    assert shlex.split(command) == [
        *("bn1d", "run", "my file.py:Layer", "--device", "cpu", "--profile", "deep"),
        *("--timeout", "30.0", "--seed", "7", "--map", "weight=gamma", "-k", "a and b"),
        *("--expect", "known.toml"),
    ]


@pytest.mark.parametrize(
    "name", set(PUBLISHED) & {row["name"] for row in BACKENDS if "target" in row}
)
def test_published_results_of_pytorch_are_of_this_spec(name):
    result = PUBLISHED[name]
    assert result["kit"]["spec_version"] == SPEC_VERSION
    assert list(result["requirements"]) == list(spec.requirements())
    assert result["options"]["profile"] == ("quick" if name in QUICK else "full")
    assert result["options"]["target"].replace(":", ".") == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_file_has_a_page_and_a_session(name):
    assert subject_page.page(PUBLISHED[name])
    assert name in BACKENDS


def test_known_deviations_are_of_a_backend():
    known = {file.stem for file in ROOT.glob("conformance/results/expectations/*.toml")}
    assert known <= set(BACKENDS)


def test_what_deviates_stands_under_its_convention(result):
    result["requirements"]["STATS-3"] |= {"verdict": "deviates", "deviates": {"<momentum>": 2}}
    result["counts"]["deviates"] = 1
    page = subject_page.page(result)
    assert "1 deviate, " in page
    [line] = [line for line in page.splitlines() if "momentum&#62;" in line]
    assert "(../spec/stats.md#stats-3)" in line


def test_known_deviations_stand_on_the_page_with_their_reasons(result):
    result["requirements"]["EVAL-1"]["verdict"] = "expected-fail"
    page = subject_page.page(result)
    text = "".join(Structure(page).text)
    assert "1 diverge, 1 diverge as declared, 0 not covered" in text
    assert "## Known to fail" in page
    assert "It is known." in text
    links = [dict(attrs)["href"] for tag, attrs in Structure(page).tags if tag == "a"]
    assert "https://example.org/known" in links
    assert shlex.join(["--expect", "known.toml"]) in page
    row = next(
        r
        for r in site.result_pages({"mine": result}, BACKENDS)["results/index.md"].splitlines()
        if "mine.md" in r
    )
    assert [cell.strip() for cell in row.split("|")][4:7] == ["1", "0", "1"]


def test_the_results_stand_by_verdict(result):
    result["subject"]["name"] = "a layer"
    right = json.loads(json.dumps(result))
    right.update(verdict="conforms", diagnoses=[])
    right["requirements"]["STATS-2"] |= {"verdict": "deviates", "deviates": {"counter=none": 1}}
    right["options"]["worker"] = True
    page = site.result_pages({"mine": result, "right": right}, BACKENDS)["results/index.md"]
    conform, diverge = page.index("{ #conforms }"), page.index("{ #diverges }")
    lines = page[conform:diverge].splitlines()
    [row] = [[c.strip() for c in line.split("|")] for line in lines if "right.md" in line]
    assert row[2:7] == ["a layer", "2&#46;0", "0", "1", "0"]
    assert "[STATS-2](../spec/stats.md#stats-2)" in page[diverge:]


def test_a_worker_is_judged_again_as_a_worker(result):
    result["options"].update(target="python serve.py", worker=True)
    assert "bn1d run --worker 'python serve.py'" in subject_page.page(result)


def test_a_run_that_pinned_the_spec_is_made_again_with_the_pin(result):
    result["options"]["spec"] = "0.0"
    assert " --spec 0.0\n" in subject_page.page(result)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a.b/(c)", "https://a b", "x"])
def test_an_address_that_is_not_plain_is_no_link(url):
    assert "](" not in markup.web(url)


def test_the_result_of_pytorch_is_published_and_listed():
    assert PUBLISHED["torch.nn.BatchNorm1d"]["verdict"] == "conforms"
    index = site.result_pages(PUBLISHED, BACKENDS)["results/index.md"]
    assert "[<code>torch&#46;nn&#46;BatchNorm1d</code>](torch.nn.BatchNorm1d.md)" in index


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


# The rooms


def test_the_site_imports_nothing_that_runs_a_subject():
    script = "import bn1d_conformance.site, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)
    names = {name.partition(".")[0] for name in loaded.split()}
    assert not names & {"numpy", "torch", "ml_dtypes", "pytest", "typer", "rich"}
