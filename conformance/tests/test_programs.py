"""The search for programs: deterministic, tidy, and no wider than what the subject offers."""

from pathlib import Path
from textwrap import dedent

import pytest

from bn1d_conformance import machine, targets
from bn1d_conformance.records import Recorder
from bn1d_conformance.subject import Request
from bn1d_conformance.trial import Memory, Trial

ZOO = Path(__file__).parent / "zoo"


@pytest.fixture
def searched(monkeypatch):
    """The programs that a search tries, as lines."""
    made, begin = [], machine.Search.program

    def kept(self):
        made.append(begin(self))
        return made[-1]

    monkeypatch.setattr(machine.Search, "program", kept)

    def call(target, seed=0, number=0, seconds=60):
        made.clear()
        subject = targets.load(Request(target))
        trial = Trial(Memory(subject, "full", seed, Recorder(None)), ("COMP-30",))
        found = machine.search(trial, "COMP-30", number, (15, 8), seconds)
        return [tuple(p.lines) for p in made], found

    return call


def test_a_seed_gives_the_same_programs_again(searched):
    first, again = (searched("torch.nn:BatchNorm1d", seed=4)[0] for _ in range(2))
    assert first == again
    assert first != searched("torch.nn:BatchNorm1d", seed=5)[0]
    assert first != searched("torch.nn:BatchNorm1d", seed=4, number=1)[0]


def test_what_fails_is_shortened(searched):
    _, found = searched(f"{ZOO}/mutants_of_tracking.py:TracksBiased")
    assert len(found.shortest.program.lines) <= 3


def test_a_function_is_asked_for_what_functions_do(searched):
    programs, found = searched("torch.nn.functional:batch_norm")
    lines = {line for program in programs for line in program}
    assert found.shortest is None
    assert any(line.startswith("y = ") for line in lines)
    assert not any(word in line for line in lines for word in ("copy", "reset", "bn.eps", ".half"))


def test_a_subject_that_is_too_slow_ends_the_search(searched):
    _, found = searched(f"{ZOO}/mutants_of_tracking.py:TracksBiased", seconds=0)
    assert found.shortest is None


COUNTS = """
    import torch

    class EverySeventh(torch.nn.BatchNorm1d):
        calls = 0

        def forward(self, x):
            EverySeventh.calls += 1
            return super().forward(x) + (EverySeventh.calls % 7 == 0)
"""


def test_a_subject_that_does_not_repeat_itself_is_reported_all_the_same(searched, tmp_path):
    (tmp_path / "counts.py").write_text(dedent(COUNTS))
    _, found = searched(f"{tmp_path}/counts.py:EverySeventh")
    assert "where" in str(found.shortest)


RESETS_NOTHING = """
    import torch

    class Unresettable(torch.nn.BatchNorm1d):
        @property
        def reset_running_stats(self):
            raise AttributeError("there is no such thing")

        def reset_parameters(self):
            for name, value in (*self.named_parameters(), *self.named_buffers()):
                value.data.fill_(name in ("weight", "running_var"))
"""


def test_a_method_that_is_not_there_is_the_subjects_failure(searched, tmp_path):
    (tmp_path / "resets.py").write_text(dedent(RESETS_NOTHING))
    _, found = searched(f"{tmp_path}/resets.py:Unresettable")
    assert "reset_running_stats(): raises AttributeError" in str(found.shortest)


REFUSES = """
    def batch_norm(x, weight=None, bias=None, eps=1e-5):
        raise RuntimeError("not today")
"""


def test_of_one_that_takes_no_format_the_refusal_is_what_is_said(searched, tmp_path):
    (tmp_path / "refuses.py").write_text(dedent(REFUSES))
    _, found = searched(f"{tmp_path}/refuses.py:batch_norm")
    assert "raises RuntimeError: not today" in str(found.shortest)


def test_nothing_is_left_behind(bn1d, tmp_path):
    words = ("-k", "COMP-30", "--profile", "full")
    ran = bn1d("run", f"{ZOO}/mutants_of_tracking.py:TracksBiased", *words, cwd=tmp_path)
    assert "bn = TracksBiased(" in ran.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("profile", "imported"), [("quick", False), ("full", True)])
def test_hypothesis_is_imported_by_the_search_alone(imported_by, profile, imported):
    asks = imported_by("hypothesis", "layers.py:Right", profile, "COMP-30")
    assert asks == ({"COMP-30"} if imported else set())
