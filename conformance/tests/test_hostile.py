"""Layers that hang, die, raise, print and lie cost a verdict where they do it, no more."""

import importlib
import sys
import time
from pathlib import Path

import pytest

from bn1d_conformance.documents import reading

ZOO = Path(__file__).parent / "zoo"
DIVERGES, WRONG_USE, NARROWED = 1, 2, 3
LIMIT = 90  # seconds for one run, on a busy machine
SHORT, LONG = 4, 30  # seconds for an item


def from_zoo(name):
    sys.path.insert(0, str(ZOO))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ZOO))


HOSTILE = from_zoo("hostile")
NEIGHBOURS = ("CTOR-3", "CTOR-4", "STATS-9", "EVAL-10", "INPUT-12")


@pytest.fixture
def run(bn1d, tmp_path):
    """Run a target: exit code, results, what was printed."""

    def call(target, *words, cwd=ZOO, timeout=SHORT):
        out, start = tmp_path / "result.json", time.perf_counter()
        options = ("--profile", "quick", "--timeout", timeout, "--json", out)
        ran = bn1d("run", target, *options, *words, cwd=cwd)
        assert time.perf_counter() - start < LIMIT
        printed = ran.stdout + ran.stderr
        assert "Traceback" not in printed
        assert "kit itself failed" not in printed
        assert len(printed) < 20_000
        result = reading.load(out) if out.exists() else None  # true to the schema, too
        return ran.returncode, result, printed

    return call


def neighbours(requirement):
    """Checks of the one at hand, and others that must get their verdicts all the same."""
    return " or ".join((requirement, *NEIGHBOURS))


def struck(run, subject, timeout):
    """Judge it, and see that it strikes; return what its neighbours got."""
    ident = subject.requirement
    select = neighbours(ident) if subject.spares else f"{ident} or test_programs"
    target = f"hostile.py:{subject.made.__name__}"
    code, result, _ = run(target, "-k", select, timeout=timeout)
    row = result["requirements"][ident]
    assert code == DIVERGES
    assert row["verdict"] == subject.verdict, row
    assert any(subject.words in f["message"] for f in row["failures"]), row
    return {i: result["requirements"][i]["verdict"] for i in NEIGHBOURS}


@pytest.mark.parametrize("subject", HOSTILE.HOSTILE, ids=lambda s: s.made.__name__)
def test_it_costs_the_requirement_at_hand(run, subject):
    others = struck(run, subject, SHORT)
    if subject.spares and "timeout" in others.values():  # what only is slow ends in more time
        others = struck(run, subject, LONG)
    assert set(others.values()) == {"pass"} or not subject.spares, others


@pytest.mark.parametrize("subject", HOSTILE.NOISY, ids=lambda s: s.__name__)
def test_noise_costs_nothing(run, subject):
    code, result, printed = run(f"hostile.py:{subject.__name__}", "-k", neighbours("CTOR-10"))
    seen = {row["verdict"] for row in result["requirements"].values()}
    assert seen == {"pass", "not-run"}, result["diagnoses"]
    assert code == NARROWED
    assert not result["errors"]
    assert "xxxx" not in printed
    assert "\x00" not in printed


AT_IMPORT = {
    "exits": ("import sys\nsys.exit(3)", "SystemExit"),
    "dies": ("import os\nos._exit(3)", "ended the process"),
    "segfaults": ("import ctypes\nctypes.string_at(0)", "segmentation fault"),
    "raises": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "hangs": (
        "import ctypes\nctypes.PyDLL(None).sleep(10000)",
        "did not return within the time limit",
    ),
    "has_no_syntax": ("def f(:\n", "SyntaxError"),
    "needs_another": ("import there_is_no_such_module", "there_is_no_such_module"),
}


@pytest.mark.parametrize("name", AT_IMPORT)
def test_at_import_it_is_wrong_use(run, tmp_path, name):
    text, words = AT_IMPORT[name]
    (tmp_path / f"{name}.py").write_text(text + "\n")
    code, result, printed = run(f"{name}.py:Layer", cwd=tmp_path)
    assert code == WRONG_USE
    assert result is None
    said = printed[printed.index("bn1d: ") :].strip().splitlines()
    assert words in said[0], said
    assert len(said) <= 2, said
