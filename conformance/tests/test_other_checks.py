"""What the site says of other checks is what they see, of the mutants that there are."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from bn1d_conformance.documents import kills
from bn1d_conformance.site import other_checks

FOLDER = Path(__file__).resolve().parents[1]
FOUND = json.loads((FOLDER / "benchmarks" / "other_checks.json").read_text("utf-8"))
KILLS = kills.read(FOLDER / "tests" / "zoo")
SEEN = {row["name"]: row["seen_by"] for row in (*FOUND["mutants"], *FOUND["right"])}
#: One that each check sees, alone or with others, one that none sees, and two right ones.
SAMPLE = (
    "ClipsOutliers", "UnbiasedNormalises", "Constants", "SquaresOfTheMean",
    "ZeroIsFalse", "Welford", "FromScratch",
)  # fmt: skip


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER / "benchmarks"))
    try:
        return importlib.import_module("other_checks")
    finally:
        sys.path.remove(str(FOLDER / "benchmarks"))


@pytest.fixture(scope="module")
def zoo(script):
    mutants, right = script.zoo()
    return {made.__name__: made for made in (*(m.made for m in mutants), *right)}


def test_they_were_shown_the_mutants_that_there_are(script, zoo):
    assert set(SEEN) == set(zoo)
    assert list(FOUND["checks"]) == list(script.CHECKS)
    assert {m.name for m in KILLS.mutants} >= {row["name"] for row in FOUND["mutants"]}


@pytest.mark.parametrize("name", SAMPLE)
def test_they_see_what_is_said(script, zoo, name):
    assert script.apart(zoo[name]) == SEEN[name]


def test_no_right_variant_is_an_alarm_of_theirs():
    assert not [row for row in FOUND["right"] if row["seen_by"]]


def test_the_table_counts_what_is_in_the_file():
    lines = other_checks.summary(FOUND, KILLS).splitlines()
    head, rows = lines[0], lines[2:]
    assert len(rows) == len(FOUND["checks"]) + 1
    assert f"of {len(FOUND['mutants'])}" in head
    for line, check in zip(rows, FOUND["checks"], strict=False):
        through = sum(check not in row["seen_by"] for row in FOUND["mutants"])
        assert line.split(" | ")[1] == str(through)
    assert "| 0 | 0 | 0 |" in rows[-1]  # of the right variants test_zoo.py knows


def test_what_none_sees_is_listed_with_its_report():
    listed = other_checks.missed(FOUND, KILLS)
    for mutant in KILLS.mutants:
        unseen = SEEN.get(mutant.name) == [] and bool(mutant.seen)
        assert (f"| {mutant.name} |" in listed) == unseen
