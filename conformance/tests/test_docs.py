"""Code on the pages that people read does what the page says."""

import importlib.util
import json
import posixpath
import re
from pathlib import Path

import pytest
import typer
from mkdocs.utils.yaml import yaml_load
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from bn1d_conformance import cli, results, site
from bn1d_conformance.playground.examples import EXAMPLES
from bn1d_conformance.reports import report

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = [
    path
    for path in sorted(DOCS.rglob("*.md"))
    if not {path.relative_to(DOCS).parts[0], path.name}
    & {*site.FOLDERS, "changelog.md", "dialects.md", "playground.md"}
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
README = PAGES[0].read_text("utf-8")
SYBIL = Sybil(parsers=[PythonCodeBlockParser()])


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examples(page):
    return list(SYBIL.parse(page).examples())


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda p: p.stem)
def test_code_runs(page):
    for example in examples(page):
        example.evaluate()


def test_there_is_code_to_run():
    assert examples(ROOT / "docs" / "learn" / "parameters.md")


def navigation(entry):
    """The pages of a part of mkdocs.yml's `nav`."""
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry
    return set().union(*map(navigation, parts))


def test_every_page_is_in_the_navigation_or_reached_from_there():
    drawn = site.pages(ROOT, ROOT / "conformance" / "results")
    written = {path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in WRITTEN}
    pages = {path: text for path, text in {**drawn, **written}.items() if path.endswith(".md")}
    waiting = navigation(yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert set(written) <= waiting <= set(pages)
    reached = set()
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^):#]+\.md)(?:#[^)]*)?\)", pages[page])
        near = {posixpath.normpath(posixpath.join(posixpath.dirname(page), to)) for to in links}
        waiting |= near - reached
    assert reached == set(pages)


def test_the_readme_shows_the_published_verdict(capsys):
    capture = r"captured: bn1d run torch\S+ -->\n```console\n(.*?)```"
    [shown] = re.findall(capture, README, re.DOTALL)
    file = ROOT / "conformance" / "results" / "torch.nn.BatchNorm1d.json"
    report.show(json.loads(file.read_text("utf-8")), None)
    lines = capsys.readouterr().out.strip("\n").splitlines()
    assert shown.splitlines() == [line.rstrip() for line in lines]


def test_a_page_to_learn_from_leads_to_the_playground():
    examples = {f"### {example['name']}" for example in EXAMPLES}
    known = {re.sub(r"[^a-z ]", "", head[4:].lower()).replace(" ", "-") for head in examples}
    own = {"paper-and-code"}  # about what no layer shows
    for page in (DOCS / "learn").glob("*.md"):
        led = re.findall(r"\.\./playground\.md#([a-z-]+)", page.read_text("utf-8"))
        assert set(led) <= known
        assert led or page.stem in own


def test_what_a_page_shows_of_a_published_run_is_in_its_file():
    captures = loaded(DOCS / "captures.py")
    shown = [m for page in PAGES for m in captures.CAPTURE.finditer(page.read_text("utf-8"))]
    published = [m for m in shown if m["kind"] == "published"]
    assert published
    for found in published:
        assert captures._again(found, "") == found[0]


def test_the_page_on_gpus_names_the_one_that_it_shows():
    file = ROOT / "conformance" / "results" / "torch-cuda.json"
    device = json.loads(file.read_text("utf-8"))["subject"]["device"]
    assert f"On an {device} the verdict" in (DOCS / "judge" / "cuda.md").read_text("utf-8")


def test_every_page_with_a_capture_is_run_anew_with_the_files_that_it_needs():
    captures = loaded(DOCS / "captures.py")
    showing = {p for p in PAGES if captures.CAPTURE.search(p.read_text("utf-8"))}
    assert showing == {ROOT / name for name in captures.PAGES}
    for name, files in captures.PAGES.items():
        assert len(files) <= len(examples(ROOT / name))


def test_every_option_is_on_the_page_and_no_other():
    page = (ROOT / "docs" / "judge.md").read_text("utf-8")
    table = page.partition("## Options of `bn1d run`")[2].partition("\n## ")[0]
    [command] = [c for c in typer.main.get_command(cli.app).commands.values() if c.name == "run"]
    options = {flag for p in command.params for flag in p.opts if flag.startswith("-")}
    assert set(re.findall(r"(?<=`)--?[a-z-]+", table)) == options - {"--help", "-h"}


def test_every_key_of_the_results_file_is_on_the_page():
    page = (ROOT / "docs" / "exit-codes-and-files.md").read_text("utf-8")
    schema = results.schema()["properties"]
    for key, described in schema.items():
        [row] = re.findall(rf"^\| `{key}` \| (.*) \|$", page, re.MULTILINE)
        for name in {} if key == "counts" else described.get("properties", {}):
            assert f"`{name}`" in row, (key, name)
