"""The spec as it ships, and every way in which a spec can contradict itself."""

import runpy
import sys
from copy import deepcopy
from dataclasses import replace

import pytest

from bn1d_reference import spec
from bn1d_reference.spec import Requirement, SpecError

ROW = {
    "level": "MUST",
    "sentence": "It holds.",
    "intent": "Somebody relies on it.",
    "breaks": "Somebody is surprised.",
    "source": ["a paper"],
}
FILE = {"area": "STATS", "title": "Statistics", "about": "How they move.", "STATS-1": ROW}
ONE = Requirement("STATS-1", "MUST", "It holds.", "Why.", "What breaks.", ("a paper",))


def changed(**fields):
    """FILE with other fields in its one requirement; None takes a field away."""
    table = deepcopy(FILE)
    table["STATS-1"] |= fields
    table["STATS-1"] = {k: v for k, v in table["STATS-1"].items() if v is not None}
    return table


def test_the_shipped_spec_is_valid():
    names = [area.name for area in spec.areas()]
    assert names == [name for name in spec.AREAS if name in names]
    assert sum(len(area.requirements) for area in spec.areas()) == len(spec.requirements())


def test_requirements_are_found_by_id_in_reading_order():
    rows = spec.requirements()
    assert all(ident == row.id for ident, row in rows.items())
    places = [(spec.AREAS.index(r.area), int(r.id.rpartition("-")[2])) for r in rows.values()]
    assert places == sorted(places)


def test_sentences_are_one_sentence_each_and_said_once():
    rows = spec.requirements().values()
    assert all(row.sentence.endswith(".") and row.intent.endswith(".") for row in rows)
    assert len({row.sentence for row in rows}) == len(rows)


def test_what_a_requirement_rests_on_leads_nowhere_back_to_it():
    rows = spec.requirements()

    def visit(ident, path):
        assert ident not in path, f"{' rests on '.join((*path, ident))}"
        for parent in rows[ident].rests_on:
            visit(parent, (*path, ident))

    for ident in rows:
        visit(ident, ())


def test_a_file_becomes_an_area():
    area = spec.parse("stats.toml", FILE)
    assert (area.name, area.title, area.about) == ("STATS", "Statistics", "How they move.")
    (row,) = area.requirements
    assert row == Requirement(id="STATS-1", **{**ROW, "source": ("a paper",)})
    assert row.area == "STATS"


@pytest.mark.parametrize(
    ("level", "status", "binding"),
    [
        ("MUST", "stable", True),
        ("MUST", "provisional", False),
        ("SHOULD", "stable", False),
        ("MAY", "stable", False),
    ],
)
def test_only_a_stable_must_is_binding(level, status, binding):
    assert replace(ONE, level=level, status=status).binding is binding


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**FILE, "area": "NONSENSE"}, "expected area"),
        ({k: v for k, v in FILE.items() if k != "title"}, "title and about"),
        ({**FILE, "author": "nobody"}, "expected area"),
        ({**FILE, "TRAIN-1": ROW}, "ids must be STATS-n"),
        ({**FILE, "STATS-3": ROW, "STATS-2": ROW}, "in rising order"),
        (changed(level=None), "missing or unknown field level"),
        (changed(since="2.0", colour="red"), "missing or unknown field colour"),
        (changed(intent=None, colour="red"), "missing or unknown field colour, intent"),
    ],
)
def test_a_file_that_makes_no_area(table, said):
    with pytest.raises(SpecError, match=said) as caught:
        spec.parse("stats.toml", table)
    assert str(caught.value).startswith("stats.toml: ")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "STATS-0"}, "STATS-0: id is not AREA-n"),
        ({"id": "STATS-01"}, "id is not AREA-n"),
        ({"id": "stats-1"}, "id is not AREA-n"),
        ({"level": "must"}, "level 'must' is none of MUST, SHOULD, MAY"),
        ({"status": "done"}, "status 'done' is none of"),
        ({"status": "untested"}, "untested gives the reason"),
        ({"untested": "no time"}, "untested gives the reason"),
        ({"rests_on": ("STATS-1", "STATS-9")}, "rests_on names unknown STATS-9"),
        ({"sentence": ""}, "may not be empty"),
        ({"intent": ""}, "may not be empty"),
        ({"breaks": ""}, "may not be empty"),
        ({"source": ()}, "may not be empty"),
        ({"added": "0.1.0"}, "added '0.1.0' is no minor version"),
        ({"added": "99.0"}, "added '99.0' is no minor version up to"),
    ],
)
def test_a_requirement_that_contradicts_itself(fields, said):
    row = replace(ONE, **fields)
    with pytest.raises(SpecError, match=said) as caught:
        spec.validate([row], [])
    assert str(caught.value).startswith(row.id)


def test_an_untested_requirement_gives_its_reason():
    spec.validate([replace(ONE, status="untested", untested="It can't be seen from outside.")], [])


def test_a_retired_id_is_never_used_again():
    with pytest.raises(SpecError, match="retired id used again: STATS-1"):
        spec.validate([ONE], ["STATS-1", "STATS-2"])
    spec.validate([ONE], ["STATS-2"])


def test_an_id_is_used_once():
    with pytest.raises(SpecError, match="STATS-1"):
        spec.validate([ONE, replace(ONE, sentence="Something else holds.")], [])


TEXT = """
area = "STATS"
title = "Statistics"
about = "How they move."

[STATS-1]
level = "MUST"
sentence = "It holds."
intent = "Why."
breaks = "What breaks."
source = ["a paper"]
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder of a spec with one file, read in place of the shipped one."""
    monkeypatch.setattr(spec.resources, "files", lambda _: tmp_path)
    folder = tmp_path / "spec"
    folder.mkdir()
    (folder / "stats.toml").write_text(TEXT)
    (folder / "retired.toml").write_text("retired = []")
    return folder


def test_areas_are_read_from_files(folder):
    assert folder.is_dir()
    assert [area.requirements for area in spec._written.__wrapped__()] == [(ONE,)]


def test_retired_ids_are_read_from_their_file(folder):
    (folder / "retired.toml").write_text('retired = ["STATS-1"]')
    with pytest.raises(SpecError, match="retired id used again: STATS-1"):
        spec._written.__wrapped__()


def test_two_files_of_one_area_do_not_replace_each_other(folder):
    (folder / "more.toml").write_text(TEXT.replace("STATS-1", "STATS-2"))
    with pytest.raises(SpecError, match="one area"):
        spec._written.__wrapped__()


@pytest.mark.parametrize(("version", "parser"), [((3, 10), "tomli"), ((3, 11), "tomllib")])
def test_the_parser_is_that_of_the_python(monkeypatch, version, parser):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setitem(sys.modules, parser, spec.tomllib)
    assert runpy.run_path(spec.__file__)["tomllib"] is spec.tomllib


# Versions


def dated(*versions):
    return [replace(ONE, id=f"STATS-{k}", added=v) for k, v in enumerate(versions, 1)]


@pytest.mark.parametrize(
    ("version", "statuses"),
    [
        ("0.1", ["stable"]),
        ("0.2", ["stable", "provisional"]),
        ("0.9", ["stable", "stable"]),
        ("0.10", ["stable", "stable", "provisional"]),
        ("1.0", ["stable", "stable", "stable"]),
    ],
)
def test_a_version_has_what_came_by_then_and_its_own_as_provisional(version, statuses):
    found = spec.as_of(version, dated("0.1", "0.2", "0.10"))
    assert [r.status for r in found] == statuses


def test_what_is_provisional_or_untested_by_its_file_stays_so():
    rows = [replace(ONE, status=s, added="0.2") for s in ("provisional", "untested")]
    for version in ("0.2", "0.3"):
        assert [r.status for r in spec.as_of(version, rows)] == ["provisional", "untested"]


def test_this_version_is_the_spec_that_ships():
    assert spec.at(spec.CURRENT) == spec.requirements()
    assert spec.at(spec.FIRST).keys() <= spec.requirements().keys()


@pytest.mark.parametrize("version", ["0.0", "99.0", "0.1.0", "0", "", "a.b", "00.1"])
def test_a_version_that_there_is_not(version):
    with pytest.raises(SpecError, match="there is no spec"):
        spec.at(version)
