"""The same seed, suite and subject give the same file; a suite is what decides a verdict."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import bn1d_conformance
import bn1d_reference
from bn1d_conformance import suite

ROOTS = [Path(package.__file__).parent for package in (bn1d_reference, bn1d_conformance)]
MODULES = [path for root in ROOTS for path in sorted(root.rglob("*.py"))]
SOME = ("--profile", "quick", "-k", "test_stats or test_programs or test_conc")


# Two runs


def without_times(path):
    """The bytes of a results file but for what is a time in it."""
    times = rb'"(seconds|import|collection|subject|oracle|judging|recording|reporting)": [0-9.e-]+'
    return re.sub(rb'"date": "[0-9-]+"', b"", re.sub(times, b"", path.read_bytes()))


def test_two_runs_write_the_same_file_but_for_times(bn1d, tmp_path, monkeypatch):
    files = [tmp_path / name for name in ("one.json", "two.json")]
    for file, order in zip(files, ("1", "2"), strict=True):
        monkeypatch.setenv("PYTHONHASHSEED", order)  # sets and their order are other ones
        bn1d("run", "layers.py:Biased", *SOME, "--json", file)
    one, two = map(without_times, files)
    assert b'"seconds": ' not in one
    assert one == two
    assert json.loads(files[0].read_text("utf-8"))["verdict"] == "diverges"


SHUFFLED = """
import random
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    yield
    random.Random(7).shuffle(items)
"""
SHUFFLES = """
import sys
from bn1d_conformance import cli
from bn1d_conformance.running import run

in_order = run.call_pytest
run.call_pytest = lambda words, own: in_order([*words, "-p", "shuffled"], own)
cli.main()
"""


def test_no_order_and_no_split_changes_a_byte(bn1d, folder, tmp_path, monkeypatch):
    (tmp_path / "shuffled.py").write_text(SHUFFLED)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    files = [tmp_path / name for name in ("one.json", "two.json")]
    words = ["run", "layers.py:Biased", *SOME, "--json"]
    bn1d(*words, files[0])
    command = [sys.executable, "-c", SHUFFLES, *words, str(files[1]), "-j", "2"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    one, two = map(without_times, files)
    assert re.sub(rb'"jobs": 1', b'"jobs": 2', one) == two, ran.stderr


# What the hash of the suite is of


@pytest.fixture(scope="module")
def files():
    """The suite's files, by their names."""
    return suite.files()


#: What a check sees of a subject: how it is called decides nothing that is asked of it.
INTERFACE = {"guard", "subject"}


def test_the_suite_is_all_that_a_check_asks_and_judges_by(files):
    imported = set()
    for path in Path(bn1d_conformance.__file__).parent.glob("checks/*.py"):
        text = path.read_text("utf-8")
        imported |= set(re.findall(r"^from bn1d_conformance\.(\w+)", text, re.MULTILINE))
        for names in re.findall(r"^from bn1d_conformance import (.+)", text, re.MULTILINE):
            imported |= set(names.split(", "))
    within = {Path(name).parts[1].partition(".")[0] for name in files if "conformance" in name}
    assert {"cases", "checks", "judge"} < imported
    assert imported - within == INTERFACE
    assert within == {name.partition(".")[0] for name in suite.ASKS | suite.JUDGES}


@pytest.mark.parametrize(
    "name", ["running/run.py", "plugin/__init__.py", "results.py", "adapters/wire.py"]
)
def test_what_brings_a_subject_to_its_cases_is_no_part_of_it(files, name):
    assert f"bn1d_conformance/{name}" not in files
    assert not suite.is_within(Path("bn1d_conformance", name))


#: By what is changed: the file, a pattern that is there once or more, and what is put there.
DECIDING = {
    "a sentence": ("bn1d_reference/spec/stats.toml", r'sentence = "A ', 'sentence = "One '),
    "a level": ("bn1d_reference/spec/stats.toml", r'level = "MUST"', 'level = "MAY"'),
    "what is needed": ("bn1d_reference/spec/stats.toml", r'needs = \["', 'needs = ["grad", "'),
    "what it rests on": (
        "bn1d_reference/spec/stats.toml",
        r'rests_on = \["',
        'rests_on = ["X", "',
    ),
    "an id": ("bn1d_reference/spec/stats.toml", r"\[STATS-2\]", "[STATS-999]"),
    "a bound": ("bn1d_reference/bounds.py", r"return ", "return 2 * "),
    "the oracle": ("bn1d_reference/oracle.py", r" \+ ", " - "),
    "a case": ("bn1d_conformance/cases.py", r"\b3\b", "4"),
    "a string": ("bn1d_conformance/judge.py", r'"([a-z ]+)"', r'"\1."'),
    "a check": ("bn1d_conformance/checks/test_stats.py", r"@requirement\(", "@needs("),
    "an indent": ("bn1d_conformance/judge.py", r"\n    return", "\n        return"),
}
SAID = {
    "why": ("bn1d_reference/spec/stats.toml", r'intent = "', 'intent = "Well: '),
    "what breaks": ("bn1d_reference/spec/stats.toml", r'breaks = "', 'breaks = "Well: '),
    "a source": ("bn1d_reference/spec/stats.toml", r'source = \["', 'source = ["", "'),
    "a comment of the spec": ("bn1d_reference/spec/stats.toml", r"\n\n", "\n# A comment.\n\n"),
    "a comment": ("bn1d_conformance/judge.py", r"\n\n", "\n\n# A comment, with 'quotes\".\n"),
    "a comment in a line": ("bn1d_conformance/judge.py", r":\n", ":  # why\n"),
    "a module's docstring": ("bn1d_conformance/judge.py", r'\A"""', '"""Well: '),
    "docstrings": ("bn1d_conformance/judge.py", r':\n( +)"""', r':\n\1"""Well: '),
    "blank lines": ("bn1d_conformance/judge.py", r"\n\n", "\n\n\n"),
    "ends of lines": ("bn1d_conformance/judge.py", r"\n", "\r\n"),
}


def changed(files, name, pattern, by):
    text, times = re.subn(pattern, by, files[name].decode())
    assert times, name
    return {**files, name: text.encode()}


@pytest.mark.parametrize("what", DECIDING)
def test_the_hash_changes_with_what_decides(files, what):
    assert suite.digest(changed(files, *DECIDING[what])) != suite.digest(files)


@pytest.mark.parametrize("what", SAID)
def test_the_hash_does_not_change_with_what_is_said(files, what):
    assert suite.digest(changed(files, *SAID[what])) == suite.digest(files)


def test_the_hash_changes_with_a_file_more_or_less(files):
    more = {**files, "bn1d_conformance/checks/test_new.py": b"x = 1\n"}
    less = {k: v for k, v in files.items() if not k.endswith("/test_stats.py")}
    assert len({suite.digest(each) for each in (files, more, less)}) == 3


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_what_is_left_is_all_that_python_reads_but_for_docstrings(path):
    text = path.read_text("utf-8")
    said = docstrings(ast.parse(text))
    read = [word.replace("\n", "\\n") for word, start in words(text) if start not in said]
    assert [word for word, _ in words(suite.code(text))] == read


def words(text):
    """What Python reads, without layout and comments, each with its place."""
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            yield token.string, token.start


def docstrings(tree):
    """The places of docstrings."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    first = [node.body[0] for node in nodes if ast.get_docstring(node) is not None]
    return {(node.lineno, node.col_offset) for node in first}
