"""The table of real bugs is whole, and says what the spec and the zoo say."""

import copy
import re

import pytest

from bn1d_conformance.site import bugs
from bn1d_conformance.site.bugs import BugError, caught_by, parse, reports
from bn1d_reference import spec

FIRST = {f"B{n:03}" for n in range(1, 231)}  # never fewer


def test_every_row_is_there():
    assert set(bugs.bugs()) >= FIRST


def test_a_row_says_what_is_asked():
    for bug in bugs.bugs().values():
        assert bug.wrong.endswith("."), bug.id
        assert re.search(r"[.?!:] [A-Z]", bug.wrong) is None, f"{bug.id} has two sentences"
        assert len(bug.wrong) <= 160, bug.id
        assert len(set(bug.requirements)) == len(bug.requirements) <= 3, bug.id


def test_a_place_is_a_report_an_address_or_a_measurement():
    for bug in bugs.bugs().values():
        for text in bug.where:
            known = reports(text) or text.startswith(("https://", "torch 2.13.0"))
            assert known, f"{bug.id}: {text}"


def test_most_are_caught():
    caught = [b for b in bugs.bugs().values() if b.requirements]
    assert len(caught) >= 0.8 * len(bugs.bugs())


def test_a_requirement_knows_its_bugs():
    assert [b.id for b in caught_by("STATS-4")] == ["B031", "B032"]
    assert caught_by("STATS-0") == ()


def test_reports():
    assert reports("pytorch/pytorch #12, PR 3, #4") == [
        ("pytorch/pytorch", "issues", 12),
        ("pytorch/pytorch", "pull", 3),
        ("pytorch/pytorch", "issues", 4),
    ]
    for text in ("pytorch #12", "pytorch/pytorch", "a/b #1 and more", "a/b #0", "a/b/c #1", "x"):
        assert reports(text) == []


# What the loader refuses

GOOD = {
    "reasons": {"size": "It is too large."},
    "B001": {"wrong": "It is wrong.", "where": ["a/b #1"], "requirements": ["STATS-1"]},
    "B002": {"wrong": "It is large.", "where": ["a/b PR 2"], "untested": "size"},
}


def changed(**rows):
    return {**copy.deepcopy(GOOD), **rows}


def row(**fields):
    return {"wrong": "It is wrong.", "where": ["a/b #1"], **fields}


def test_a_good_table_is_read():
    one, two = parse(GOOD).values()
    assert (one.requirements, one.untested) == (("STATS-1",), "")
    assert (two.requirements, two.untested) == ((), "It is too large.")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (changed(B1=row(requirements=["STATS-1"])), "ids must be"),
        (dict(reversed(GOOD.items())), "rising order"),
        (changed(B003=row()), "B003: either"),
        (changed(B003=row(requirements=["STATS-1"], untested="size")), "B003: either"),
        (
            changed(B003=row(requirements=["STATS-1"], untested="")),
            "B003: wrong, where, and one of",
        ),
        (changed(B003=row(requirements=[])), "B003: wrong, where, and one of"),
        (changed(B003=row(where=[], untested="size")), "B003: wrong, where, and one of"),
        (changed(B003=row(untested="size", note="x")), "B003: wrong, where, and one of"),
        (changed(B003=row(untested="because")), "B003: no reason is called because"),
        (changed(B003=row(requirements=["STATS-99"])), "no requirement STATS-99"),
        (changed(B003=row(requirements=["INPUT-9"])), "no requirement INPUT-9"),  # retired
        (changed(reasons={**GOOD["reasons"], "idle": "Idle."}), "no row gives: Idle."),
    ],
)
def test_a_contradiction_is_refused(table, said):
    with pytest.raises(BugError, match=re.escape(said)):
        parse(table)


def test_a_requirement_that_nothing_tests_catches_nothing(monkeypatch):
    untested = spec.requirements()["STATS-1"].__class__(
        "STATS-1", "MUST", "s", "i", "b", ("s",), status="untested", untested="Too slow."
    )
    monkeypatch.setattr(spec, "requirements", lambda: {"STATS-1": untested})
    with pytest.raises(BugError, match="B001: nothing tests STATS-1"):
        parse(GOOD)
