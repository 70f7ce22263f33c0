"""Code on the pages that people read does what the page says."""

import json
import re
from pathlib import Path

import pytest
import typer
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from bn1d_conformance import cli, report, results

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = PAGES[0].read_text("utf-8")
SYBIL = Sybil(parsers=[PythonCodeBlockParser()])


def examples(page):
    return list(SYBIL.parse(page).examples())


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda p: p.stem)
def test_code_runs(page):
    for example in examples(page):
        example.evaluate()


def test_there_is_code_to_run():
    assert examples(ROOT / "docs" / "learn" / "parameters.md")


def test_the_readme_shows_the_published_verdict(capsys):
    capture = r"captured: bn1d run torch\S+ -->\n```console\n(.*?)```"
    [shown] = re.findall(capture, README, re.DOTALL)
    file = ROOT / "conformance" / "results" / "torch.nn.BatchNorm1d.json"
    report.show(json.loads(file.read_text("utf-8")), None)
    lines = capsys.readouterr().out.strip("\n").splitlines()
    assert shown.splitlines() == [line.rstrip() for line in lines]


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
