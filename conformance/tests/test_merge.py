"""The parts of a run say together what one run says, and nothing else can be joined."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bn1d_conformance import cli, parts, results
from bn1d_conformance.documents import merge, reading
from bn1d_conformance.running.run import Options
from bn1d_reference import spec

CONFORMS, DIVERGES, WRONG_USE, INCOMPLETE = 0, 1, 2, 3


def read(path):
    return json.loads(path.read_text("utf-8"))


def content(result):
    """What a run found, without its times, and with nothing of how it was shared out."""
    rows = result["requirements"].items()
    timeless = {i: {k: v for k, v in row.items() if k != "seconds"} for i, row in rows}
    options = {**result["options"], "jobs": None}
    changes = {"requirements": timeless, "options": options, "timings": None, "seconds": None}
    return {**result, **changes}


# Splitting


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_parts_are_the_whole_each_group_in_one(items, n):
    found = [parts.split(items, lambda item: item, k, n) for k in range(1, n + 1)]
    assert Counter(item for part in found for item in part) == Counter(items)
    assert sum(len(set(part)) for part in found) == len(set(items))


def test_parts_are_of_a_size():
    sizes = [len(parts.split(range(100), lambda item: item // 3, k, 4)) for k in range(1, 5)]
    assert max(sizes) - min(sizes) <= 3


# A run in parts


@pytest.fixture(scope="module")
def in_parts(bn1d, tmp_path_factory):
    """The results of one run, and what its parts are merged into."""

    def call(target, n, *words):
        folder = tmp_path_factory.mktemp("parts")
        files = [folder / f"{k}.json" for k in range(1, n + 1)]
        options = (target, "--profile", "quick", *words)
        bn1d("run", *options, "--json", folder / "whole.json")
        for k, file in enumerate(files, 1):
            bn1d("run", *options, "--shard", f"{k}/{n}", "--json", file, "--jobs", 1 + k % 2)
        merged = bn1d("results", "merge", folder / "merged.json", *reversed(files))
        return merged, folder / "whole.json", folder / "merged.json", files

    return call


DIES = """
import os
import layers

class Dies(layers.Biased):
    def backward(self, dy):
        if self.training and len(dy) == 5:
            os._exit(3)
        return super().backward(dy)
"""


@pytest.mark.parametrize(
    ("target", "n", "words"),
    [
        ("layers.py:Biased", 2, ("-k", "test_stats or test_eval")),
        ("layers.py:Right", 3, ()),
        ("modules.py:Shifted", 2, ("-k", "test_momentum or test_affine or test_state")),
        ("dies.py:Dies", 2, ("-k", "test_grad or test_stats")),
    ],
)
def test_parts_say_together_what_one_run_says(in_parts, folder, target, n, words):
    (folder / "dies.py").write_text(DIES)
    merged, whole, joined, files = in_parts(target, n, *words)
    assert content(read(joined)) == content(read(whole)), merged.stderr
    assert merged.returncode == DIVERGES
    assert read(whole)["diagnoses"]
    for file in [whole, joined, *files]:
        reading.load(file)
    seen = [Counter(cases(file)) for file in files]
    assert all(seen)
    assert sum(seen, Counter()) == Counter(cases(joined))


BY_SIZE = """
import layers

class BySize(layers.Biased):
    def track(self, mean, var, n):
        (layers.Biased if n != 5 else layers.Right).track(self, mean, var, n)
"""


@pytest.mark.parametrize(
    ("target", "verdict"), [("layers.py:Biased", "deviates"), ("by_size.py:BySize", "fail")]
)
def test_parts_of_a_subject_with_a_dialect(in_parts, folder, target, verdict):
    (folder / "by_size.py").write_text(BY_SIZE)
    words = ("-k", "test_stats or test_eval", "--dialect", "running_var=biased")
    _, whole, joined, files = in_parts(target, 3, *words)
    assert content(read(joined)) == content(read(whole))
    assert read(whole)["requirements"]["STATS-2"]["verdict"] == verdict
    for file in [whole, joined, *files]:
        reading.load(file)


def stray(k, n, said):
    """A part with one case of STATS-2, about which its dialect has this to say."""
    failure = {"case": f"{k}", "message": "m", "cause": "two", "says": "two", "evidence": {}}
    about = dict.fromkeys(results.DESCRIBED, "") | {"dialect": {"running_var": "biased"}}
    event = {
        "requirement": "STATS-2",
        "case": f"{k}",
        "format": "",
        "passed": True,
        "failures": [],
    }
    found = {"deviates": ["running_var=biased"]} if said == "deviates" else {"strays": [failure]}
    item = {"e": "item", "place": k}
    tally = results.Tally([{"e": "loaded", **about}, item, {"e": "judged", **event, **found}])
    asked = vars(Options("m:Layer", shard=f"{k}/{n}"))
    document = results.build(tally, asked, complete=False)
    document["part"] = merge.summary(tally, document["requirements"], f"{k}/{n}", complete=True)
    return json.loads(json.dumps(document))


def test_what_strays_in_one_part_fails_where_another_deviates():
    parts_of = [stray(1, 2, "strays"), stray(2, 2, "deviates")]
    found = [d["requirements"]["STATS-2"]["verdict"] for d in parts_of]
    assert found == ["pass", "deviates"]
    whole = merge.merge(named(*parts_of))
    row = whole["requirements"]["STATS-2"]
    assert (row["verdict"], row["cases"], row["failed"]) == ("fail", 2, 1)
    assert [f["case"] for f in row["failures"]] == ["1"]
    assert list(reading.contradictions(whole)) == []
    alone = merge.merge(named(stray(1, 2, "strays"), stray(2, 2, "strays")))
    assert alone["requirements"]["STATS-2"]["verdict"] == "pass"


def cases(file):
    return {ident: row["cases"] for ident, row in read(file)["requirements"].items()}


def test_a_part_that_finds_nothing_wrong_exits_with_0_and_conforms_to_nothing(bn1d, tmp_path):
    out = tmp_path / "part.json"
    words = ("-k", "test_momentum or test_affine", "--shard", "1/2", "--json", out)
    ran = bn1d("run", "layers.py:Right", "--profile", "quick", *words)
    assert ran.returncode == CONFORMS, ran.stdout + ran.stderr
    assert read(out)["verdict"] == "incomplete"
    assert read(out)["part"]["verdict"] == "conforms"
    assert "part 1/2 of a run" in ran.stdout


@pytest.mark.parametrize("text", ["2", "0/2", "3/2", "one/two"])
def test_a_shard_that_is_none(text):
    ran = CliRunner().invoke(cli.app, ["run", "layers.py:Right", "--shard", text])
    assert ran.exit_code == WRONG_USE
    assert f"--shard '{text}' is no part." in ran.stderr


# What belongs together


def part(k, n, *, failing=(), complete=True, **options):
    """A part's document; it has judged every requirement once."""
    failure = {"message": "m", "cause": "", "says": "", "evidence": {}}
    about = dict.fromkeys(results.DESCRIBED, "") | {"name": "Layer", "version": "1", "dialect": {}}
    events = [{"e": "loaded", **about}]
    for place, ident in enumerate(spec.requirements()):
        failures = [{**failure, "case": f"{k}"}] if ident in failing else []
        seen = {"requirement": ident, "case": "c", "format": "fp32", "deviates": []}
        events += [
            {"e": "item", "place": place * n + k},
            {"e": "judged", **seen, "passed": not failures, "failures": failures},
        ]
    asked = vars(Options("m:Layer", shard=f"{k}/{n}", **options))
    tally = results.Tally(events)
    found = results.build(tally, asked, complete=False)
    rows = found["requirements"]
    found["part"] = merge.summary(tally, rows, asked["shard"], complete=complete)
    return json.loads(json.dumps(found))


def named(*documents):
    return [(f"{k}.json", document) for k, document in enumerate(documents)]


def test_parts_without_a_failure_conform():
    whole = merge.merge(named(part(2, 2), part(1, 2, jobs=4)))
    assert whole["verdict"] == "conforms"
    assert whole["options"]["shard"] == ""
    assert "part" not in whole
    assert whole["requirements"]["STATS-1"]["cases"] == 2


def test_one_part_that_fails_decides():
    whole = merge.merge(named(part(1, 2), part(2, 2, failing=["STATS-2"])))
    assert whole["verdict"] == "diverges"
    assert [d["requirement"] for d in whole["diagnoses"]] == ["STATS-2"]


def test_a_part_that_is_incomplete_leaves_the_whole_so():
    assert merge.merge(named(part(1, 2), part(2, 2, complete=False)))["verdict"] == "incomplete"


def test_failures_come_in_the_order_of_one_run():
    parts_of = [part(k, 7, failing=["STATS-2"]) for k in (4, 7, 1, 3, 2, 6, 5)]
    row = merge.merge(named(*parts_of))["requirements"]["STATS-2"]
    assert [f["case"] for f in row["failures"]] == ["1", "2", "3", "4", "5"]
    assert row["failed"] == 7


def test_failures_that_a_part_only_counts_decide_the_cause():
    """Five failures of one cause, then nine of another, which is the leading one."""
    causes = ["raises A"] * 5 + ["raises B"] * 9
    rows = [
        {"case": f"{k}", "message": "m", "cause": c, "says": c, "evidence": {}, "place": k}
        for k, c in enumerate(causes)
    ]
    tally = results.Tally([])
    tally.failures["STATS-2"] = rows
    tally.marks["STATS-2"].add("error")
    row = merge.summary(tally, {"STATS-2": {"verdict": "fail"}}, "1/1", complete=True)
    kept = row["requirements"]["STATS-2"]["failures"]
    assert [f["times"] for f in kept] == [1, 1, 1, 1, 1, 9]
    document = part(1, 1)
    document["part"] = row
    found = merge.tally([document]).failures["STATS-2"]
    assert [f["cause"] for f in found] == causes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["kit"].update(suite_hash="0" * 16), "kit.suite_hash is"),
        (lambda d: d["kit"].update(spec_version="9"), "kit.spec_version is"),
        (lambda d: d["subject"].update(version="2"), 'subject.version is "1", and "2"'),
        (lambda d: d["subject"]["capabilities"].append("grad"), "subject.capabilities is"),
        (lambda d: d["options"].update(profile="quick"), "options.profile is"),
        (lambda d: d["options"].update(seed=1), "options.seed is 0, and 1"),
        (lambda d: d["environment"].update(python="2.7"), "environment.python is"),
        (lambda d: d["part"].update(shard="2/4"), 'parts is "2", and "4"'),
        (lambda d: d["part"].update(shard="1/2"), "are both part 1/2"),
        (lambda d: d.pop("part"), "1.json is no part of a run"),
    ],
)
def test_what_does_not_belong_together(change, words):
    other = part(2, 2)
    change(other)
    with pytest.raises(reading.ResultsError, match=re.escape(words)) as caught:
        merge.merge(named(part(1, 2), other))
    assert "1.json" in str(caught.value)


def test_a_part_that_is_missing():
    with pytest.raises(reading.ResultsError, match="has 3 parts, and not given: 1/3, 3/3"):
        merge.merge(named(part(2, 3)))


def test_parts_of_another_suite_than_this_one(monkeypatch):
    documents = named(part(1, 2), part(2, 2))
    monkeypatch.setattr(merge, "suite_hash", lambda: "0" * 16)
    with pytest.raises(reading.ResultsError, match="another suite"):
        merge.merge(documents)


def test_merge_writes_nothing_where_it_refuses(tmp_path):
    file = tmp_path / "part.json"
    results.write(part(1, 2), file)
    ran = CliRunner().invoke(cli.app, ["results", "merge", str(tmp_path / "out.json"), str(file)])
    assert ran.exit_code == WRONG_USE
    assert ran.stderr == "bn1d: The run has 2 parts, and not given: 2/2.\n"
    assert [Path(p).name for p in tmp_path.iterdir()] == ["part.json"]
