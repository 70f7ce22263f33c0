"""The kill matrix is today's register's, explains itself, and its pages hold what it says."""

import dataclasses
import inspect
import sys
from pathlib import Path

import pytest

from bn1d_conformance.documents import kills
from bn1d_conformance.documents.kills import KillsError
from bn1d_conformance.site import bugs, kill_pages, markup, spec_pages
from bn1d_reference import spec

ZOO = Path(__file__).parent / "zoo"

sys.path.insert(0, str(ZOO))
try:
    import register
    from runs import from_zoo
finally:
    sys.path.remove(str(ZOO))

from_zoo("mutants_*", "gaps")
REGISTER = {w.made.__name__: w for w in (*register.MUTANTS, *register.GAPS)}
MATRIX = kills.read(ZOO)
AGAIN = "run `nox -s kills`, and commit what it writes"


def said(wrong):
    """What the register says, in the words of the file."""
    file = Path(inspect.getfile(wrong.made)).name
    own = {"file": file, "sentence": wrong.sentence, "seen": wrong.seen, "profile": wrong.profile}
    for name in ("requirement", "why", "would"):
        if hasattr(wrong, name):
            own[name] = getattr(wrong, name)
    return own


def test_every_mutant_has_a_name_of_its_own():
    assert len(REGISTER) == len(register.MUTANTS) + len(register.GAPS)


def test_the_matrix_is_of_the_mutants_that_there_are():
    rows = {row.name: row for row in (*MATRIX.mutants, *MATRIX.gaps)}
    assert list(rows) == list(REGISTER), AGAIN
    for name, wrong in REGISTER.items():
        want = said(wrong)
        assert {key: getattr(rows[name], key) for key in want} == want, f"{name}: {AGAIN}"


def test_the_matrix_is_of_the_requirements_that_there_are():
    assert MATRIX.kit["spec_version"]
    assert set(MATRIX.killed) <= set(spec.requirements()), AGAIN


def test_every_mutant_is_caught_and_every_gap_is_open():
    assert not MATRIX.survivors, "give them a gap, or the kit a check"
    assert not MATRIX.closed, "move them to the mutants"
    assert not [row.name for row in (*MATRIX.mutants, *MATRIX.gaps) if row.lost]


def test_a_requirement_kills_alone_or_says_why_not():
    assert not MATRIX.unexplained, "write a mutant that it alone kills, or a reason"
    assert not MATRIX.stale, "the reason in shadowed.toml has become idle"
    for reason in MATRIX.shadowed.values():
        assert reason.endswith(".")


def test_most_requirements_kill_alone():
    alone = [i for i in kills.owing() if MATRIX.alone(i)]
    assert len(alone) >= 0.6 * len(kills.owing())


def test_a_gap_says_why_and_what_would_help():
    assert len(MATRIX.gaps) >= 3
    for gap in MATRIX.gaps:
        assert all(text.endswith(".") for text in (gap.sentence, gap.why, gap.would))


# A matrix of three mutants

ROW = {"file": "mutants.py", "sentence": "It is wrong.", "seen": "", "profile": "quick"}
BOTH, ONE = ["STATS-1", "STATS-2"], ["STATS-2"]


def document(**text):
    """A small matrix; `text` replaces what a mutant says of itself."""
    row = {**ROW, **text}
    mutants = [
        {
            **row,
            "name": name,
            "requirement": ident,
            "failing": failing,
            "home": ident,
            "cause": "X.",
        }
        for name, ident, failing in (
            ("Shows", "STATS-1", BOTH),
            ("Alone", "STATS-2", ONE),
            ("Hidden", "EVAL-1", []),
        )
    ]
    gap = {**row, "name": "Far", "why": "It is far.", "would": "A walk.", "failing": []}
    kit = {"name": "kit", "version": "1", "spec_version": "2", "suite_hash": "0abc"}
    return {"kit": kit, "mutants": mutants, "gaps": [gap]}


def small(reasons=None, **text):
    return kills.parse(document(**text), reasons or {})


def test_what_a_matrix_knows():
    matrix = small({"STATS-1": "Both fail.", "STATS-2": "Idle.", "CTOR-13": "It is no MUST."})
    assert [m.name for m in matrix.killed["STATS-2"]] == ["Shows", "Alone"]
    assert [m.name for m in matrix.alone("STATS-2")] == ["Alone"]
    assert matrix.alone("STATS-1") == matrix.alone("EVAL-1") == []
    assert matrix.survivors == ["Hidden"]
    assert matrix.stale == ["STATS-2", "CTOR-13"]
    assert set(matrix.unexplained) == set(kills.owing()) - {"STATS-1", "STATS-2"}


def test_a_gap_that_something_fails_on_is_closed():
    changed = document()
    changed["gaps"][0]["failing"] = ONE
    assert kills.parse(changed, {}).closed == ["Far"]
    changed["gaps"][0].update(failing=[], lost="crash")
    assert kills.parse(changed, {}).closed == ["Far"]


@pytest.mark.parametrize("change", ["cause", "kit", "name"])
def test_another_form_is_refused(change):
    changed = document()
    changed.pop(change, None)
    changed["mutants"][0].pop(change, None)
    if change == "cause":
        changed["mutants"][0]["more"] = ""
    with pytest.raises(KillsError, match="not the form"):
        kills.parse(changed, {})


def test_a_folder_without_a_matrix_is_refused(tmp_path):
    with pytest.raises(KillsError, match="holds no kill matrix"):
        kills.read(tmp_path)
    (tmp_path / "kills.json").write_text("{", "utf-8")
    with pytest.raises(KillsError, match="holds no kill matrix"):
        kills.read(tmp_path)


# The pages


def test_one_page_an_area_an_index_and_the_gaps():
    areas = [f"kills/{a.name.lower()}.md" for a in spec.areas()]
    pages = kill_pages.pages(MATRIX)
    assert list(pages) == ["kills/index.md", *areas, "kills/gaps.md"]
    for row in MATRIX.mutants:
        page = pages[f"kills/{row.requirement.rpartition('-')[0].lower()}.md"]
        assert page.count(f"{{ #{kill_pages._anchor(row.name)} }}") == 1
    for reason in MATRIX.shadowed.values():
        assert sum(markup.prose(reason, "../spec/") in page for page in pages.values()) >= 1


def test_a_page_says_what_fails():
    page = kill_pages.pages(small({"STATS-1": "Both fail."}))["kills/stats.md"]
    stats = "[{0}](../spec/stats.md#{1})"
    one, two = (stats.format(i, i.lower()) for i in BOTH)
    assert f"| {one}, {two} | {one} X&#46; |" in page
    assert f"| {two} alone | {two} X&#46; |" in page
    assert "Both fail&#46;" in page
    hidden = kill_pages.pages(small())["kills/eval.md"]
    assert "does not fail" in hidden


def test_many_failures_are_folded():
    changed = document()
    changed["mutants"][0]["failing"] = ["STATS-1", "STATS-2", "STATS-3", "STATS-4", "STATS-5"]
    page = kill_pages.pages(kills.parse(changed, {}))["kills/stats.md"]
    assert "<details><summary>and 4 more</summary>[STATS-2]" in page


def test_a_report_leads_to_the_bugs_that_have_it():
    assert [b.id for b in bugs.seen_in("tenstorrent/tt-metal #55438")] == ["B002"]
    assert [b.id for b in bugs.seen_in("tt-metal #55438")] == ["B002"]
    assert bugs.seen_in("") == bugs.seen_in("tt-metal #1") == []
    page = kill_pages.pages(small(seen="tt-metal #55438"))["kills/stats.md"]
    assert "[B002](../bugs/index.md#b002)" in page


def test_the_spec_names_the_mutants_of_a_requirement():
    page = spec_pages.pages(kills=small())["spec/stats.md"]
    assert "[Shows](../kills/stats.md#mutant-shows)" in page
    assert "[1 more](../kills/stats.md#stats-2)" in page
    assert "../kills/" not in spec_pages.pages()["spec/stats.md"]


def test_a_report_of_a_bug_that_nothing_tests_leads_to_its_page():
    silent = next(b for b in bugs.bugs().values() if b.untested and bugs.reports(b.where[0]))
    page = kill_pages.pages(small(seen=silent.where[0]))["kills/gaps.md"]
    assert f"[{silent.id}](../bugs/not-tested.md#{silent.id.lower()})" in page


def test_a_name_in_words_where_no_sentence_is():
    row = small(sentence="").mutants[0]
    assert kill_pages._sentence(row) == "Shows&#46;"
    for name, words in {
        "BiasHasAPosition": "Bias has a position&#46;",
        "batchnorm_biased": "Batchnorm biased&#46;",
    }.items():
        assert kill_pages._sentence(dataclasses.replace(row, name=name)) == words
