"""What is declared to fail: the file, what it covers, and what a run says of it."""

import json
import re

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, expectations, results
from bn1d_conformance.expectations import Applied, Expectation, ExpectationsError
from bn1d_conformance.running.run import Options
from bn1d_reference import spec

CONFORMS, DIVERGES, WRONG_USE, KIT_ERROR = 0, 1, 2, 3
FACTS = {
    "device": "cuda:0", "profile": "full", "version": "2.13.0+cpu",
    "system": "Linux", "machine": "x86_64", "python": "3.14.0",
}  # fmt: skip
WHOLE = """# Why these are known.
# A second line.

[[expect]]
requirement = "STATS-2"
case = "momentum/*"
reason = "Says \\"why\\": at n = 2, √2."
url = "https://example.org/1"
when = { profile = ["full", "deep"], device = ["cuda*"] }

[[expect]]
case = "A6/*"
reason = "Known."
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "known.toml"
        path.write_text(text, "utf-8")
        return path

    return write


# The file


def test_a_file_is_read_with_every_key(file):
    first, second = expectations.load(file(WHOLE))
    assert first.requirement == "STATS-2"
    assert first.reason == 'Says "why": at n = 2, √2.'
    assert first.when == {"profile": ("full", "deep"), "device": ("cuda*",)}
    assert second == Expectation(case="A6/*", reason="Known.")


def test_what_is_written_is_what_was_read(file):
    path = file(WHOLE)
    expectations.write(expectations.load(path), path)
    assert path.read_text("utf-8") == WHOLE


def test_every_string_survives_writing(file):
    path = file("")
    odd = Expectation("STATS-1", "x", "\x7f \x01 \t \" \\ ' \U0001f600 # [[expect]]\nend", "u")
    expectations.write([odd], path)
    assert expectations.load(path) == [odd]


def test_no_entry_is_a_file_too(file):
    assert expectations.load(file("# nothing is known to fail\n")) == []


ENTRY = '[[expect]]\nrequirement = "STATS-2"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[expect", "can't be read as TOML"),
        ("\xff", "can't be read as TOML"),
        ("x = 1", "something else than tables"),
        ("expect = 3", "something else than tables"),
        ("[expect]\nrequirement = 'STATS-2'", "something else than tables"),
        ("expect = [1]", "entry 1 is 1, where a table is right"),
        ("[[expect]]\nreason = 'r'", "names neither a requirement nor a case"),
        ("[[expect]]\nrequirement = 'STATS-99'\nreason = 'r'", 'no requirement "STATS-99"'),
        ("[[expect]]\nrequirement = 'stats-2'\nreason = 'r'", 'no requirement "stats-2"'),
        ("[[expect]]\nrequirement = 2\nreason = 'r'", "requirement is 2, where a string is right"),
        (ENTRY, "gives no reason"),
        (ENTRY + "reason = ' '", "gives no reason"),
        (ENTRY + "reason = 'r'\nurl = 3", "url is 3, where a string is right"),
        (ENTRY + "reason = 'r'\nwhy = 'w'", 'has "why", which is none of requirement, case'),
        (ENTRY + "reason = 'r'\nwhen = 'cuda'", 'when is "cuda", where a table is right'),
        (
            ENTRY + "reason = 'r'\nwhen = { moon = 'full' }",
            'has "moon", which is none of device, profile',
        ),
        (ENTRY + "reason = 'r'\nwhen = { device = 3 }", "device is 3, where a string or strings"),
        (
            ENTRY + "reason = 'r'\nwhen = { device = [] }",
            "device is [], where a string or strings",
        ),
        (2 * (ENTRY + "reason = 'r'\n"), 'entry 2: "STATS-2" is there twice'),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(file, text, words):
    path = file("")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ExpectationsError, match=re.escape(words)) as caught:
        expectations.load(path)
    said = str(caught.value)
    assert "known.toml" in said
    assert said.endswith(".")
    ran = CliRunner().invoke(cli.app, ["run", "torch.nn:BatchNorm1d", "--expect", str(path)])
    assert ran.exit_code == WRONG_USE
    assert "".join(said.split()) in "".join(ran.stderr.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--expect", "missing.toml"], "missing.toml can't be read"),
        (["--update-expectations"], "--update-expectations has no file"),
        (["--expect", "no/such/known.toml", "--update-expectations"], "can't be written"),
    ],
)
def test_options_that_are_none(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(cli.app, ["run", "torch.nn:BatchNorm1d", *options])
    assert ran.exit_code == WRONG_USE
    assert words in ran.stderr


def test_two_entries_may_differ_by_their_condition(file):
    other = "when = { device = 'cpu' }\n"
    entries = expectations.load(file(ENTRY + "reason = 'r'\n" + ENTRY + "reason = 'r'\n" + other))
    assert len(entries) == 2


# What an entry is about


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"device": ("cuda*",)}, True),
        ({"device": ("cpu",)}, False),
        ({"profile": ("quick", "full")}, True),
        ({"profile": ("FULL",)}, False),
        ({"version": ("2.13.*",), "system": ("Linux",)}, True),
        ({"version": ("2.13.*",), "system": ("Darwin",)}, False),
        ({"machine": ("x86*",), "python": ("3.14.?",)}, True),
    ],
)
def test_a_condition_holds_if_each_of_its_names_matches_one_pattern(when, holds):
    assert Expectation("STATS-2", when=when).holds(FACTS) is holds


def test_every_condition_is_a_fact_of_a_run():
    facts = expectations.facts(vars(Options("x:y", device="cuda")), "2.0")
    assert set(facts) == set(expectations.CONDITIONS) == set(FACTS)
    assert (facts["device"], facts["profile"], facts["version"]) == ("cuda", "full", "2.0")


@pytest.mark.parametrize(
    ("entry", "covers"),
    [
        (Expectation("STATS-2"), {"STATS-2 a/1", "STATS-2 b/1"}),
        (Expectation("STATS-2", "a/*"), {"STATS-2 a/1"}),
        (Expectation(case="a/*"), {"STATS-2 a/1", "EVAL-1 a/1"}),
        (Expectation("EVAL-1", "b/*"), set()),
    ],
)
def test_an_entry_is_about_a_requirement_a_case_or_both(entry, covers):
    every = [("STATS-2", "a/1"), ("STATS-2", "b/1"), ("EVAL-1", "a/1")]
    assert {" ".join(pair) for pair in every if entry.covers(*pair)} == covers


# From events to verdicts


def judged(ident, case, *, passed):
    failure = {"requirement": ident, "case": case, "message": "m", "cause": "", "says": ""}
    failures = [] if passed else [{**failure, "evidence": {}}]
    about = {"requirement": ident, "case": case, "format": "fp32", "deviates": []}
    return {"e": "judged", **about, "passed": passed, "failures": failures}


def document(*entries, bad=(), whole=True, died=None):
    """A run that passes everything in cases a and b, but for `bad`."""
    events = [
        judged(ident, case, passed=(ident, case) not in bad)
        for ident in spec.requirements()
        for case in ("a", "b")
    ]
    if died:
        words = {"case": "c", "message": "m", "cause": "c", "says": "s"}
        events.append({"e": "died", "requirements": [died], "verdict": "crash", **words})
    tally = results.Tally(events)
    applied = Applied(entries, tally.seen, whole)
    return results.build(tally, vars(Options("x:y")), complete=True, expected=applied)


def found(result, ident="STATS-2"):
    outcomes = [row["outcome"] for row in result["expectations"]]
    return result["requirements"][ident]["verdict"], result["verdict"], outcomes


BOTH = [("STATS-2", "a"), ("STATS-2", "b")]
EITHER = Expectation("STATS-2")
FIRST = Expectation("STATS-2", "a")


@pytest.mark.parametrize(
    ("entries", "bad", "says"),
    [
        ([], BOTH, ("fail", "diverges", [])),
        ([EITHER], BOTH, ("expected-fail", "conforms", ["met"])),
        ([EITHER], BOTH[:1], ("expected-fail", "conforms", ["met"])),
        ([EITHER], [], ("unexpected-pass", "conforms", ["passes"])),
        ([FIRST], BOTH[:1], ("expected-fail", "conforms", ["met"])),
        ([FIRST], BOTH, ("fail", "diverges", ["met"])),
        ([FIRST], BOTH[1:], ("fail", "diverges", ["passes"])),
        ([FIRST], [], ("unexpected-pass", "conforms", ["passes"])),
        ([Expectation(case="a")], [("EVAL-1", "a")], ("pass", "conforms", ["met"])),
        ([Expectation(case="a*")], [], ("unexpected-pass", "conforms", ["passes"])),
        ([Expectation("STATS-2", "z")], [], ("pass", "conforms", ["no-match"])),
        ([FIRST, EITHER], BOTH[1:], ("expected-fail", "conforms", ["passes", "met"])),
    ],
)
def test_a_requirement_is_expected_to_fail_if_every_failing_case_is(entries, bad, says):
    assert found(document(*entries, bad=bad)) == says


def test_what_deviates_needs_no_entry():
    events = [{**judged("STATS-2", "a", passed=True), "deviates": ["running_var=biased"]}]
    tally = results.Tally(events)
    applied = Applied([EITHER], tally.seen)
    result = results.build(tally, vars(Options("x:y")), complete=True, expected=applied)
    verdict, _, outcomes = found(result)
    assert (verdict, outcomes) == ("deviates", ["passes"])


def test_what_strays_beside_what_deviates_can_be_expected():
    one, other = (judged("STATS-2", case, passed=True) for case in "ab")
    [failure] = judged("STATS-2", "b", passed=False)["failures"]
    events = [{**one, "deviates": ["running_var=biased"]}, {**other, "strays": [failure]}]
    tally = results.Tally(events)
    applied = Applied([Expectation("STATS-2", "b")], tally.seen)
    result = results.build(tally, vars(Options("x:y")), complete=True, expected=applied)
    assert found(result)[0] == "expected-fail"
    assert not result["diagnoses"]


def test_a_crash_can_be_expected():
    assert found(document(died="STATS-2"))[:2] == ("crash", "diverges")
    assert found(document(EITHER, died="STATS-2"))[:2] == ("expected-fail", "conforms")
    assert found(document(FIRST, died="STATS-2"))[:2] == ("crash", "diverges")


def test_a_run_of_a_part_says_of_no_entry_that_it_is_out_of_date():
    for entry in (EITHER, Expectation("STATS-2", "z")):
        assert found(document(entry, whole=False)) == ("pass", "conforms", ["not-asked"])
    assert found(document(EITHER, bad=BOTH, whole=False))[2] == ["met"]


def test_what_is_expected_is_not_diagnosed():
    assert document(EITHER, bad=BOTH)["diagnoses"] == []
    (row,) = document(FIRST, bad=BOTH)["diagnoses"]
    assert row["evidence"].startswith("b: ")


# A file that is brought up to date


def test_an_update_drops_what_is_out_of_date_and_adds_what_fails():
    seen = {"STATS-1": {"a": False}, "STATS-2": {"a": True}, "EVAL-1": {"a": False, "b": False}}
    met = Expectation("EVAL-1", "a", "A reason.")
    passes, unheard = Expectation("STATS-2", reason="r"), Expectation(case="z", reason="r")
    elsewhere = Expectation("STATS-2", reason="r", when={"device": ("cpu",)})
    entries = [met, passes, unheard, elsewhere]
    active = Applied.of(entries, FACTS, seen, spec.requirements(), whole=True)
    assert active.entries == (met, passes, unheard)
    assert expectations.refreshed(entries, active) == [
        met,
        elsewhere,
        Expectation("STATS-1", reason=expectations.TODO),
        Expectation("EVAL-1", reason=expectations.TODO),
    ]
    part = Applied.of(entries, FACTS, seen, spec.requirements(), whole=False)
    assert expectations.refreshed(entries, part)[:4] == entries


@pytest.fixture(scope="module")
def updated(bn1d, tmp_path_factory):
    """A wrong layer, the file that an update wrote for it, and what the run printed."""
    path = tmp_path_factory.mktemp("expect") / "known.toml"
    options = ("--profile", "quick", "--expect", path)
    ran = bn1d("run", "layers.py:Biased", *options, "--update-expectations")
    return ran, path, options


def test_an_update_writes_a_file_under_which_the_subject_conforms(updated):
    ran, path, _ = updated
    assert ran.returncode == CONFORMS, ran.stdout + ran.stderr
    entries = expectations.load(path)
    assert "STATS-2" in {entry.requirement for entry in entries}
    assert {entry.reason for entry in entries} == {expectations.TODO}
    assert f"{len(entries)} expected to fail" in ran.stdout
    assert "does not say why of" in ran.stdout


def test_a_file_that_is_out_of_date_exits_with_1_and_says_so(updated, bn1d, tmp_path):
    _, path, (*options, _) = updated
    known, out = tmp_path / "known.toml", tmp_path / "out.json"
    more = "\n[[expect]]\nrequirement = '{}'\nreason = 'r'\n"
    text = path.read_text("utf-8").replace(expectations.TODO, "It is known.")
    known.write_text(text + more.format("STATS-1") + more.format("COMP-8"))
    ran = bn1d("run", "layers.py:Biased", *options, known, "--json", out)
    assert ran.returncode == DIVERGES, ran.stdout + ran.stderr
    said = " ".join(ran.stdout.split())
    assert "known.toml is out of date: STATS-1 passes." in said
    assert "known.toml is out of date: COMP-8 names nothing that was judged." in said
    assert "does not say why" not in said
    result = json.loads(out.read_text("utf-8"))
    assert result["requirements"]["STATS-1"]["verdict"] == "unexpected-pass"
    assert result["requirements"]["STATS-2"]["verdict"] == "expected-fail"
    assert result["options"]["expect"] == str(known)


def test_a_new_failure_beside_known_ones_diverges(bn1d, file):
    known = file("[[expect]]\nrequirement = 'STATS-3'\nreason = 'r'\n")
    options = ("--profile", "quick", "-k", "test_momentum", "--expect", known)
    ran = bn1d("run", "layers.py:Biased", *options)
    assert ran.returncode == DIVERGES
    assert "1. STATS-2 (MUST)" in ran.stdout
    assert "out of date" not in ran.stdout
