"""From what was seen to verdicts, grades and a document; and that document on the disk."""

import json
from pathlib import Path

import jsonschema
import pytest

from bn1d_conformance import records, results
from bn1d_conformance.bounded import printable
from bn1d_conformance.documents import reading
from bn1d_conformance.running.run import Options
from bn1d_reference import spec


def tally(*events):
    return results.Tally({"e": name, **values} for name, values in events)


FAILURE = {"case": "c", "message": "m", "cause": "", "says": "", "evidence": {}}


def judged(*, passed, ident="STATS-1"):
    failures = [] if passed else [{**FAILURE, "requirement": ident}]
    about = {"requirement": ident, "case": "c", "format": "fp32", "deviates": []}
    return ("judged", {**about, "passed": passed, "failures": failures})


def skipped(verdict):
    return ("skip", {"requirements": ["STATS-1"], "verdict": verdict})


def died(verdict):
    words = {"case": "c", "message": "m", "cause": "c", "says": "s"}
    return ("died", {"requirements": ["STATS-1"], "verdict": verdict, **words})


ERROR = ("error", {"nodeid": "n", "said": "s", "requirements": ["STATS-1"]})
BAD = judged(passed=False)
GOOD = judged(passed=True)


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([], "not-run"),
        ([GOOD], "pass"),
        ([GOOD, BAD], "fail"),
        ([skipped("not-applicable")], "not-applicable"),
        ([GOOD, skipped("not-applicable")], "pass"),
        ([GOOD, skipped("not-run")], "not-run"),
        ([GOOD, ERROR], "error"),
        ([BAD, ERROR], "fail"),
        ([BAD, died("crash")], "crash"),
        ([GOOD, died("timeout")], "timeout"),
        ([died("timeout"), died("crash")], "crash"),
        ([("unheard-of", {})], "not-run"),
    ],
)
def test_the_worst_that_was_seen_is_the_verdict(events, verdict):
    assert tally(*events).verdict("STATS-1") == verdict


def run_of(*events, complete=True):
    """The document of a run that passed every requirement, and then saw these events."""
    good = [judged(passed=True, ident=ident) for ident in spec.requirements()]
    options = vars(Options("x:y"))
    return results.build(tally(*good, *events), options, complete=complete, seconds=1.0)


@pytest.mark.parametrize(
    ("events", "complete", "verdict"),
    [
        ([], True, "conforms"),
        ([], False, "incomplete"),
        ([BAD], True, "diverges"),
        ([BAD], False, "diverges"),
        ([ERROR], True, "incomplete"),
        ([BAD, ERROR], True, "diverges"),
        ([skipped("not-run")], True, "incomplete"),
        ([died("crash")], True, "diverges"),
        ([died("timeout")], True, "diverges"),
    ],
)
def test_the_verdict_of_the_run(events, complete, verdict):
    assert run_of(*events, complete=complete)["verdict"] == verdict


LOOSE = next(r.id for r in spec.requirements().values() if not r.binding)


def test_only_a_binding_requirement_makes_a_subject_diverge():
    found = run_of(judged(passed=False, ident=LOOSE))
    assert found["requirements"][LOOSE]["verdict"] == "fail"
    assert found["verdict"] == "conforms"


def test_an_error_of_the_kits_own_is_never_conformance():
    event = ("error", {"nodeid": "n", "said": "s", "requirements": [LOOSE]})
    assert run_of(event)["verdict"] == "incomplete"


def test_at_most_five_failures_are_kept_and_all_are_counted():
    row = run_of(*[BAD] * 9)["requirements"]["STATS-1"]
    assert (row["cases"], row["failed"], len(row["failures"])) == (10, 9, 5)


def scored(**changes):
    """The event of a graded comparison."""
    base = {"quantity": "y", "format": "fp32", "condition": 0, "grade": "accurate"}
    return {**base, "ulp": 1.0, "worst": 2.0, "fraction": 0.5, **changes}


def test_the_grade_is_that_of_the_worst_comparison():
    rows = [scored(grade=g) for g in ("accurate", "blocked", "accurate")]
    assert results.accuracy(rows)["grade"] == "blocked"
    assert results.accuracy([])["grade"] is None


def test_scores_are_the_worst_of_an_output_and_of_each_condition():
    rows = [scored(condition=3, grade="blocked"), scored(), scored(worst=7.0)]
    best = {"ulp": 1.0, "worst": 2.0, "bound_fraction": 0.5, "grade": "blocked"}
    conditions = {"1": {**best, "worst": 7.0, "grade": "accurate"}, "1000": best}
    found = results.accuracy(rows)["outputs"]
    assert found == {"y fp32": {**best, "worst": 7.0, "conditions": conditions}}
    assert list(found["y fp32"]["conditions"]) == ["1", "1000"]
    assert results.accuracy([scored(ulp=1.23456)])["outputs"]["y fp32"]["ulp"] == 1.2346


def test_an_item_shares_its_seconds_among_what_it_judges():
    seen = tally(("end", {"requirements": ["STATS-1", "STATS-2"], "seconds": 3.0}))
    assert seen.seconds == {"STATS-1": 1.5, "STATS-2": 1.5}


def test_a_format_is_held_where_a_case_of_it_passes():
    assert tally(GOOD).held == {"STATS-1": {"fp32"}}
    assert tally(BAD).held == {"STATS-1": set()}


def test_a_process_that_died_is_a_failure_of_its_case():
    seen = tally(("item", {"place": 4}), BAD, died("crash"))
    *_, last = seen.failures["STATS-1"]
    assert last == {**FAILURE, "cause": "c", "says": "s", "requirement": "STATS-1", "place": 4}
    assert seen.seen == tally(died("crash")).seen == {"STATS-1": {"c": False}}
    assert seen.cases == seen.failed == {"STATS-1": 2}


def test_what_says_itself_that_it_is_lost_has_its_verdict():
    assert (
        tally(BAD, ("lost", {"requirements": ["STATS-1"], "verdict": "crash"})).verdict("STATS-1")
        == "crash"
    )


def test_a_run_begins_with_its_first_item():
    assert [tally(*events).begun for events in ([], [("item", {"place": 0})])] == [False, True]
    (failure,) = tally(died("crash")).failures["STATS-1"]  # before any
    assert failure["place"] == 0


def test_what_strays_fails_where_anything_deviates_in_its_place():
    def case(name, **found):
        _, row = judged(passed=not found.get("failures"))
        return ("judged", {**row, "case": name, **found})

    stray = {**FAILURE, "case": "b"}
    events = [
        ("item", {"place": 1}), case("a", deviates=["x"]),
        ("item", {"place": 3}), case("c", failures=[{**FAILURE, "case": "c"}]),
        ("item", {"place": 2}), case("b", strays=[stray]),
    ]  # fmt: skip
    seen = tally(*events)
    assert [f["case"] for f in seen.failures["STATS-1"]] == ["b", "c"]
    assert seen.seen["STATS-1"] == {"a": True, "b": False, "c": False}
    assert seen.failed["STATS-1"] == 2
    alone = tally(*events[2:])
    assert alone.seen["STATS-1"] == {"b": True, "c": False}


@pytest.mark.parametrize(
    ("halted", "adapter", "gave_up"),
    [
        (["forward"], "wire", True),
        ([], "wire", False),
        (["forward"], "plain-class", False),
        (["forward"], "zzz", False),
        ([], "", False),
    ],
)
def test_a_worker_that_was_lost_too_often(halted, adapter, gave_up):
    assert results.gave_up(halted, {"adapter": adapter}) is gave_up


@pytest.mark.parametrize("verdict", ["pass", "deviates", "expected-fail", "not-applicable"])
def test_what_leaves_nothing_open_conforms(verdict):
    rows = {ident: {"verdict": verdict} for ident in spec.requirements()}
    assert results.overall(rows, complete=True, halted=False) == "conforms"
    assert results.overall(rows, complete=True, halted=True) == "incomplete"


def test_where_a_worker_gave_up_only_a_wrong_answer_diverges():
    rows = {ident: {"verdict": "pass"} for ident in spec.requirements()}
    for verdict, found in {"crash": "incomplete", "fail": "diverges"}.items():
        rows["STATS-1"] = {"verdict": verdict}
        assert results.overall(rows, complete=True, halted=True) == found


def test_times_are_rounded():
    end = ("end", {"requirements": ["STATS-1"], "seconds": 0.123456})
    seen = tally(end, ("spent", {"seconds": {"oracle": 1.23456}}))
    found = results.build(seen, vars(Options("x:y")), complete=True, seconds=2.34567)
    assert (found["timings"], found["seconds"]) == ({"oracle": 1.235}, 2.346)
    assert found["requirements"]["STATS-1"]["seconds"] == 0.1235
    assert results.build(seen, vars(Options("x:y")), complete=True)["seconds"] == 0


def test_the_environment_has_the_versions_that_decide():
    assert {"torch", "numpy", "pytest"} <= set(minimal()["environment"]["packages"])


# Writing and reading


def minimal():
    """A document that says little."""
    options = vars(Options("nothing:at_all"))
    return results.build(results.Tally([]), options, complete=False, seconds=0.0)


def test_a_run_that_saw_nothing_is_incomplete_and_true_to_the_schema():
    document = json.loads(json.dumps(minimal()))
    assert document["verdict"] == "incomplete"
    assert document["counts"]["not_run"] == document["counts"]["total"]
    jsonschema.validate(document, results.schema())


def test_what_is_written_is_what_is_read(tmp_path):
    path = tmp_path / "new" / "result.json"
    document = json.loads(json.dumps(minimal()))
    results.write(document, path)
    assert reading.load(path) == document
    assert path.read_text("utf-8").startswith('{\n "schema_version"')
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize("spoil", [float("nan"), {1, 2}, "\ud800"])
def test_a_document_that_can_not_be_written_leaves_the_old_one(tmp_path, spoil):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        results.write({"schema_version": 1, "x": spoil}, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_write_that_fails_half_way_leaves_no_part(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        results.write(minimal(), tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


# Records of a run that was cut short


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    (tmp_path / "gw0.jsonl").write_text('{"e": "item"}\n{"e": "jud')
    assert [event["e"] for event in records.read(tmp_path)] == ["item"]


def test_every_process_has_its_own_records(tmp_path):
    for name in ("gw0", "gw1"):
        (tmp_path / f"{name}.jsonl").write_text('{"e": "item"}\n')
    assert {event["process"] for event in records.read(tmp_path)} == {"gw0", "gw1"}


@pytest.mark.parametrize("text", ["plain", "a\x1b[31mred", "a\nb", "a\u202eb", "\x00"])
def test_what_is_printed_controls_no_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
