"""A results file may hold anything: it is as it should be, or refused in one sentence."""

import copy
import json
from pathlib import Path

import pytest
from fuzzing import ANYTHING, FUZZ, a_results_file
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bn1d_conformance import cli, parts, results
from bn1d_conformance.documents import reading
from bn1d_conformance.running.run import Options
from bn1d_reference import SPEC_VERSION, spec

WRONG_USE = 2
ROOT = Path(__file__).resolve().parents[2]
FAILURE = {"case": "c", "message": "It is wrong.", "cause": "", "says": "", "evidence": {}}


def event(ident, *, passed):
    failures = [] if passed else [{**FAILURE, "requirement": ident}]
    about = {"requirement": ident, "case": "c", "format": "fp32", "deviates": []}
    return {"e": "judged", **about, "passed": passed, "failures": failures}


def document(failing=(), **options):
    """A results file of a whole run in which some requirements fail."""
    events = [event(i, passed=i not in failing) for i in spec.requirements()]
    asked = vars(Options("mine.py:Layer", **options))
    whole = results.build(results.Tally(events), asked, complete=True, seconds=1.0)
    return json.loads(json.dumps(whole))


RIGHT, WRONG = document(), document(["STATS-2"])


@pytest.fixture
def read(tmp_path):
    """Load what a file holds: a document, or the text itself."""

    def call(content):
        path = tmp_path / "result.json"
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(text)
        return reading.load(path)

    return call


@pytest.fixture
def refused(read):
    """The sentence with which a content is refused."""

    def call(content):
        with pytest.raises(reading.ResultsError) as caught:
            read(content)
        said = str(caught.value)
        assert "result.json" in said
        assert said.isprintable()
        assert len(said) < 700
        return said

    return call


@pytest.mark.parametrize("content", [RIGHT, WRONG], ids=["conforms", "diverges"])
def test_what_a_run_writes_is_read(read, content):
    assert read(content) == content


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("conformance/results/*.json")), ids=lambda f: f.stem
)
def test_every_published_file_is_right(file):
    reading.load_any(file)


# What is no JSON, or more than a reader can bear


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "can't be read as JSON"),
        (b"{", "can't be read as JSON"),
        (b"\xff\xfe", "can't be read as JSON"),
        (b"[]", "holds [], where a JSON object is right"),
        (b"null", "holds null"),
        (b"{}", "schema_version is null, where 1 is read"),
        (b'{"schema_version": "1"}', 'schema_version is "1"'),
        (b'{"schema_version": 2}', "schema_version is 2"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": [-Infinity]}', "-Infinity is no number"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"9" * 400 + b"}", "is too large"),
        (b'{"a": ' + b"9" * 9000 + b"}", "can't be read as JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'an object has the key "c" twice'),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b'{"\\ud800": 1}', "surrogates not allowed"),
        (b"[" * 33 + b"]" * 33, "nested more than 32 deep"),
        (b"[" * 200_000, "nested more than 32 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 32 deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[:12]),
)
def test_what_can_not_be_read(refused, content, words):
    assert words in refused(content)


def test_a_file_that_is_too_large(refused, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 1000)
    assert "more than 1000 bytes" in refused(RIGHT)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(reading.ResultsError, match="can't be read"):
        reading.load(tmp_path / "missing.json")
    with pytest.raises(reading.ResultsError, match="can't be read"):
        reading.load(tmp_path)


def test_a_message_of_ten_megabytes_is_data(read):
    content = copy.deepcopy(WRONG)
    content["requirements"]["STATS-2"]["failures"][0]["message"] = "x" * 10_000_000
    assert read(content) == content


# What is not as the schema says


def changed(content, path, value):
    """A copy with one value in another's place."""
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["extra"], 1, 'the document has "extra", which is unknown'),
        (["verdict"], "<script>", 'verdict is "<script>", which breaks enum'),
        (["verdict"], [["pass"]], "verdict is"),
        (["kit"], "me", 'kit is "me", which breaks type "object"'),
        (["kit"], {}, "kit lacks name"),
        (["counts", "pass"], True, "counts.pass is true"),
        (["counts", "pass"], -1, "counts.pass is -1"),
        (["requirements"], [], "requirements is []"),
        (["requirements", "../../etc/passwd"], {}, "requirements"),
        (["requirements", "STATS-1", "failures"], "no", 'failures is "no"'),
        (["subject", "target"], "", 'subject.target is ""'),
        (["options", "shard"], "1/x", 'options.shard is "1/x"'),
        (["date"], "\x1b[31m2026", "date is"),
        (["seconds"], "\u202e3", "seconds is"),
    ],
)
def test_what_breaks_the_schema(refused, path, value, words):
    assert words in refused(changed(RIGHT, path, value))


# What contradicts itself


def row(**values):
    return {**RIGHT["requirements"]["STATS-1"], **values}


@pytest.mark.parametrize(
    ("base", "path", "value", "words"),
    [
        (RIGHT, ["counts", "pass"], 3, "counts.pass is 3, where the requirements make"),
        (RIGHT, ["counts", "total"], 3, "counts.total is 3, where the requirements make"),
        (RIGHT, ["requirements", "STATS-999"], row(), "requirements has STATS-999, which its"),
        (RIGHT, ["requirements", "STATS-1", "level"], "MAY", "STATS-1.level is MAY, where MUST"),
        (RIGHT, ["requirements", "STATS-1", "cases"], 0, "STATS-1.verdict is pass, where 0 of 0"),
        (RIGHT, ["requirements", "STATS-1", "failed"], 2, "STATS-1.failed is 2, more than its 1"),
        (WRONG, ["requirements", "STATS-2", "failures"], [], "STATS-2 has 0 failures, and says"),
        (RIGHT, ["verdict"], "diverges", "verdict is diverges, and no binding requirement fails"),
        (WRONG, ["verdict"], "conforms", "verdict is conforms, and a binding requirement fails"),
        (WRONG, ["verdict"], "incomplete", "verdict is incomplete, and a binding requirement"),
        (RIGHT, ["errors"], [{"nodeid": "n", "said": "s"}], "and not everything was judged"),
        (WRONG, ["diagnoses", 0, "folded"], ["STATS-1"], "diagnoses[0] names STATS-1, which does"),
        (RIGHT, ["options", "shard"], "1/2", 'options.shard is "1/2", and part says otherwise'),
    ],
)
def test_what_contradicts_itself(refused, base, path, value, words):
    assert words in refused(changed(base, path, value))


def test_a_verdict_without_a_failure(refused):
    content = changed(WRONG, ["requirements", "STATS-2"], row(verdict="fail"))
    assert "STATS-2.verdict is fail, and no case failed" in refused(content)


def test_a_deviation_without_a_convention(refused):
    content = changed(RIGHT, ["requirements", "STATS-1"], row(verdict="deviates"))
    content["counts"] |= {"pass": content["counts"]["pass"] - 1, "deviates": 1}
    assert "STATS-1.verdict is deviates, and its deviates says otherwise" in refused(content)


@pytest.mark.parametrize(
    "step",
    [
        {"do": "assign", "name": "momentum", "value": None},
        {"do": "assign", "name": "track_running_stats", "value": False},
        {"do": "reset", "name": "reset_running_stats"},
        {"do": "cast", "format": "bf16"},
        {"do": "copy"},
    ],
    ids=lambda step: step["do"],
)
def test_every_step_of_a_program_can_be_read(read, step):
    content = copy.deepcopy(WRONG)
    [failure] = content["requirements"]["STATS-2"]["failures"]
    failure["evidence"] = {"program": [{"do": "build", "config": {"num_features": 3}}, step]}
    assert read(content)


def test_a_requirement_that_the_suite_has_is_not_left_out(read, refused):
    content = copy.deepcopy(RIGHT)
    del content["requirements"]["STATS-1"]
    for name in ("pass", "total"):
        content["counts"][name] -= 1
    assert "requirements lacks STATS-1, which its suite has" in refused(content)
    content["kit"]["suite_hash"] = "0" * 16
    assert read(content) == content  # another suite may have had fewer


def test_ids_of_another_version_are_its_own(read):
    other = {**RIGHT["kit"], "suite_hash": "0" * 16, "spec_version": SPEC_VERSION + "9"}
    content = changed(changed(RIGHT, ["kit"], other), ["requirements", "STATS-999"], row())
    for name in ("pass", "total"):
        content["counts"][name] += 1
    assert read(content) == content


PART = {"shard": "2/3", "verdict": "conforms", "requirements": {}}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({**PART, "shard": "3/2"}, "part.shard is 3/2, which is no part"),
        (
            {**PART, "requirements": {"STATS-999": {"marks": [], "held": None, "failures": []}}},
            "part.requirements has STATS-999, which requirements lacks",
        ),
        ({**PART, "shard": "1/1" * 40}, "options.shard is"),
    ],
)
def test_a_part_that_is_none(refused, part, words):
    content = changed({**RIGHT, "part": part}, ["options", "shard"], part["shard"])
    assert words in refused({**content, "verdict": "incomplete"})


# Anything at all


def is_refused_or_read(content, path):
    """A command that reads a results file ends in a code of its own, and in few words."""
    path.write_bytes(content)
    a_results_file(path)
    ran = CliRunner().invoke(cli.app, ["results", "check", str(path)])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert ran.exit_code in {0, WRONG_USE}
    assert ran.output.count("\n") == 1


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path, content):
    is_refused_or_read(content, tmp_path / "any.json")


@FUZZ
@given(value=ANYTHING)
def test_any_json(tmp_path, value):
    content = {"schema_version": 1, "verdict": "diverges", "x": value}
    is_refused_or_read(json.dumps(content).encode(), tmp_path / "any.json")


def places(value, path=()):
    """The path to each value of a document; of long tables a few."""
    yield path
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in [*inner][:12]:
            yield from places(below, (*path, key))


WRONG_ROW = ("requirements", "STATS-2")
PLACES = [p for p in [*places(WRONG), *places(WRONG["requirements"]["STATS-2"], WRONG_ROW)] if p]


@FUZZ
@given(path=st.sampled_from(PLACES), value=ANYTHING)
def test_any_value_in_any_place(tmp_path, path, value):
    content = json.dumps(changed(WRONG, path, value)).encode()
    is_refused_or_read(content, tmp_path / "any.json")


@FUZZ
@given(path=st.sampled_from(PLACES), data=st.data())
def test_any_field_left_out_or_added(tmp_path, path, data):
    content = copy.deepcopy(WRONG)
    place = content
    for key in path[:-1]:
        place = place[key]
    if data.draw(st.booleans()):
        del place[path[-1]]
    elif isinstance(place, dict):
        place[data.draw(st.text())] = data.draw(ANYTHING)
    is_refused_or_read(json.dumps(content).encode(), tmp_path / "any.json")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1/9999", "¹/2"])
def test_a_shard_that_is_none(text):
    with pytest.raises(ValueError, match=r".*"):
        parts.shard(text)
