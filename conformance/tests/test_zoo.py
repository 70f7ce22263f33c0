"""Each mutant is caught by the requirement that it breaks; each benign variant conforms."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from bn1d_conformance import plugin, records, results
from bn1d_conformance.bugs import bugs
from bn1d_reference import spec

ZOO = Path(__file__).parent / "zoo"
CONFORMS, DIVERGES = 0, 1
FAILING = ("fail", "crash", "timeout")


def from_zoo(*names):
    """Import modules of the zoo, which find each other as scripts in one folder do."""
    sys.path.insert(0, str(ZOO))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(ZOO))


def mutants():
    from_zoo(*sorted(path.stem for path in ZOO.glob("mutants_of_*.py")))
    (register,) = from_zoo("register")
    return tuple(register.MUTANTS)


def benign():
    modules = from_zoo("benign", "benign_ways", "benign_numpy")
    return [f"{m.__name__}.py:{made.__name__}" for m in modules for made in m.BENIGN]


MUTANTS, BENIGN = mutants(), benign()
COMMANDED = {m.requirement.partition("-")[0]: m for m in reversed(MUTANTS)}.values()


class Listener(records.Recorder):
    """Keeps the events of a run in this process, where a worker would write them to a file."""

    def __init__(self):
        super().__init__(None)
        self.events = []

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config):
        config.stash[plugin.RECORDER] = self

    def write(self, event, **values):
        self.events.append({"e": event, **values})


def tallied(target, select="", profile="quick"):
    """What the checks that match find, run in this process to spare its start."""
    listener = Listener()
    checks = Path(plugin.__file__).parent / "checks"
    options = f"--pyargs bn1d_conformance.checks -c {checks / 'pytest.ini'} --rootdir {checks}"
    quiet = "-p no:terminal -p no:faulthandler -p no:xdist -p no:logging -s -W ignore"
    subject = ("--bn1d-profile", profile, "--bn1d-subject", target, "-k", select)
    pytest.main([*options.split(), *quiet.split(), *subject], plugins=[listener])
    return results.Tally(listener.events)


def here(target, select="", profile="quick"):
    """The results document of the checks that match."""
    tally = tallied(target, select, profile)
    return results.build(tally, {"target": target}, complete=True, seconds=0.0)


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
    for mutant in MUTANTS:
        assert named(mutant.seen) <= known, (mutant.made.__name__, named(mutant.seen) - known)


def test_every_requirement_has_a_mutant():
    caught = {m.requirement for m in MUTANTS}
    assert caught <= set(spec.requirements())
    rows = [r for r in spec.requirements().values() if not r.untested]
    assert {r.id for r in rows} <= caught, "a requirement that no mutant breaks"
    assert len(MUTANTS) >= 100
    assert len(BENIGN) >= 22
