"""What a run asks about, and what `quick` leaves to `full`: what imports a compiler."""

import json

import pytest

from bn1d_conformance import asked
from bn1d_conformance.running.run import Options, run
from bn1d_conformance.subject import TargetError
from bn1d_reference import spec

TORCH = "torch.nn:BatchNorm1d"
EXPECTED = """
[[expect]]
requirement = "COMP-24"
reason = "It is not compiled."
"""


def test_quick_leaves_out_what_imports_the_compiler_and_no_other_profile_does():
    for version in (spec.FIRST, spec.CURRENT):
        rules = spec.at(version)
        assert rules.keys() - asked.requirements(version, "quick").keys() == asked.COMPILER
        assert asked.requirements(version, "full") == asked.requirements(version, "deep") == rules


def test_a_version_that_is_none_is_refused():
    with pytest.raises(spec.SpecError):
        asked.requirements("99.0", "quick")


def test_quick_does_not_import_the_compiler(imported_by):
    assert imported_by("torch._dynamo", TORCH, "quick", "") == set()


def test_each_that_is_left_out_imports_it(imported_by):
    """Else it would have no reason to be left out."""
    some = " or ".join(asked.COMPILER)
    assert imported_by("torch._dynamo", TORCH, "full", some) == asked.COMPILER


def test_asked_for_by_name_it_is_said_where_it_is_judged():
    with pytest.raises(TargetError) as refused:
        run(Options(TORCH, profile="quick", select="COMP-24"))
    assert "--profile full asks about all of them." in refused.value.hint


def test_a_report_says_that_there_is_more(bn1d, tmp_path):
    out = tmp_path / "result.json"
    words = ("-k", "CTOR-1 or COMP-24", "--json", out)
    ran = bn1d("run", TORCH, "--profile", "quick", *words)
    assert f"--profile full asks about {len(asked.COMPILER)} more." in ran.stdout
    assert asked.COMPILER.isdisjoint(json.loads(out.read_text("utf-8"))["requirements"])
    assert "asks about" not in bn1d("run", TORCH, "-k", "CTOR-1").stdout


def test_what_does_not_apply_need_not_be_asked(bn1d, tmp_path):
    out = tmp_path / "result.json"
    words = ("-k", "CTOR-1", "--json", out)
    ran = bn1d("run", "layers.py:Right", "--profile", "quick", *words)
    rows = json.loads(out.read_text("utf-8"))["requirements"]
    assert {rows[ident]["verdict"] for ident in asked.COMPILER} == {"not-applicable"}
    assert list(rows) == list(spec.requirements())
    assert "asks about" not in ran.stdout
    assert bn1d("results", "check", out).returncode == 0


def test_what_is_expected_of_what_is_not_asked_is_not_out_of_date(bn1d, tmp_path):
    known = tmp_path / "known.toml"
    known.write_text(EXPECTED)
    ran = bn1d("run", "layers.py:Right", "--profile", "quick", "--expect", known)
    assert " diverges" in ran.stdout  # for reasons of its own
    assert "out of date" not in ran.stdout
