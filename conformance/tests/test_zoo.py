"""Each mutant is caught by the requirement that it breaks; each benign variant conforms."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from bn1d_conformance.site.bugs import bugs
from bn1d_reference import spec

ZOO = Path(__file__).parent / "zoo"
CONFORMS, DIVERGES = 0, 1
FAILING = ("fail", "crash", "timeout")

sys.path.insert(0, str(ZOO))
try:
    import register
    from runs import from_zoo, here
finally:
    sys.path.remove(str(ZOO))

from_zoo("mutants_*", "gaps")
MUTANTS, GAPS = tuple(register.MUTANTS), tuple(register.GAPS)  # a target registers once more


def benign():
    return [f"{m.__name__}.py:{made.__name__}" for m in from_zoo("benign*") for made in m.BENIGN]


BENIGN = benign()
COMMANDED = {m.requirement.partition("-")[0]: m for m in reversed(MUTANTS)}.values()


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small cases, as in `bn1d run`: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def judged(bn1d, tmp_path):
    """The exit code and the results document of a quick run on a target in the zoo."""

    def call(target, *words):
        out = tmp_path / "result.json"
        ran = bn1d("run", target, "--profile", "quick", "--json", out, *words, cwd=ZOO)
        assert "Traceback" not in ran.stdout + ran.stderr
        return ran.returncode, json.loads(out.read_text("utf-8"))

    return call


def caught(mutant, result):
    """Whether the requirement fails, and says so in the words of the mutant."""
    row = result["requirements"][mutant.requirement]
    assert row["verdict"] in FAILING, f"{mutant.made.__name__} survives {mutant.requirement}"
    said = [failure["message"] for failure in row["failures"]]
    said += [d["cause"] for d in result["diagnoses"] if d["requirement"] == mutant.requirement]
    assert any(mutant.says.lower() in text.lower() for text in said), said


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.requirement}-{m.made.__name__}")
def test_mutant_is_caught(mutant):
    result = here(f"{ZOO}/{mutant.target}", mutant.requirement, mutant.profile)
    caught(mutant, result)
    binding = spec.requirements()[mutant.requirement].binding
    assert result["verdict"] == ("diverges" if binding else "incomplete")
    assert not result["errors"]


@pytest.mark.parametrize("mutant", COMMANDED, ids=lambda m: f"{m.requirement}-{m.made.__name__}")
def test_the_command_catches_it_too(judged, mutant):
    code, result = judged(mutant.target, "-k", mutant.requirement)
    caught(mutant, result)
    assert code == DIVERGES


@pytest.mark.parametrize("target", BENIGN)
def test_benign_variant_conforms(target):
    result = here(f"{ZOO}/{target}")
    failing = {i: r for i, r in result["requirements"].items() if r["verdict"] in FAILING}
    assert not failing
    assert result["verdict"] == "conforms"
    assert not result["errors"]


@pytest.mark.parametrize("target", BENIGN)
def test_benign_variant_conforms_in_full_where_numbers_are_large(target):
    result = here(f"{ZOO}/{target}", "NUM or DTYPE-12 or LAYOUT-6", "full")
    failing = {i: r for i, r in result["requirements"].items() if r["verdict"] in FAILING}
    assert not failing
    assert not result["errors"]


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.made.__name__)
def test_a_gap_is_open(gap):
    result = here(f"{ZOO}/{gap.target}")
    caught = [i for i, row in result["requirements"].items() if row["verdict"] in FAILING]
    assert not caught, f"{gap.made.__name__} is no gap any more: move it to the mutants"
    assert result["verdict"] == "conforms"


@pytest.mark.parametrize("target", ["benign.py:FromScratch", "benign_numpy.py:PlainTwoPass"])
def test_the_command_says_that_it_conforms(judged, target):
    code, result = judged(target)
    assert code == CONFORMS, result["diagnoses"]


def named(text):
    """The reports that a text names, by the repository's last name, kind and number."""
    found = re.findall(r"([\w.-]+) ((?:#|PR )\d+(?:, (?:#|PR )\d+)*)", text)
    return {(name.lower(), kind) for name, kinds in found for kind in kinds.split(", ")}


def test_what_a_mutant_repeats_is_in_the_table_of_bugs():
    known = set().union(*(named(text) for bug in bugs().values() for text in bug.where))
    for wrong in (*MUTANTS, *GAPS):
        assert named(wrong.seen) <= known, (wrong.made.__name__, named(wrong.seen) - known)


def test_every_requirement_has_a_mutant():
    caught = {m.requirement for m in MUTANTS}
    assert caught <= set(spec.requirements())
    rows = [r for r in spec.requirements().values() if not r.untested]
    assert {r.id for r in rows} <= caught, "a requirement that no mutant breaks"
    assert len(MUTANTS) >= 100
    assert len(BENIGN) >= 22
