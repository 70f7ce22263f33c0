"""The generated mutants: the same ones every time, and each killed or explained."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bn1d_reference import spec

FOLDER = Path(__file__).resolve().parents[1] / "mutants"


def from_folder(name):
    """Import a module of the folder, which find each other as scripts in one folder do."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


operators, population, run = map(from_folder, ("operators", "population", "run"))
ROWS = json.loads((FOLDER / "results.json").read_text("utf-8"))["mutants"]
BY_ID = {row["id"]: row for row in ROWS}
#: One of each kind: arithmetic, axis, condition, constant, name, format, statement, backward pass.
SAMPLE = (
    "plain:BatchNorm1d.batch_statistics:Sub->Add:2",
    "plain:BatchNorm1d.batch_statistics:int-1:2",
    "plain:BatchNorm1d.check:if->False:1",
    "plain:BatchNorm1d.__init__:float*2:1",
    "plain:BatchNorm1d.forward:weight->bias:2",
    "plain:per_channel:double->float:1",
    "handwritten:BatchNorm1d.moments:drop-statement:2",
    "handwritten:Normalise.backward:Sub->left:1",
)


def test_the_results_are_of_the_mutants_that_are_generated():
    born = population.population()
    said = [{k: row[k] for k in ("id", "source", "operator", "before", "after")} for row in ROWS]
    made = [{k: getattr(m, k) for k in said[0]} for m in born.values()]
    assert said == made
    assert len(BY_ID) == len(ROWS) >= 250
    assert len({m.text for m in born.values()}) == len(ROWS)


def test_each_is_killed_by_a_requirement_or_has_a_reason():
    reasons = run.reasons()
    assert set(reasons) == {row["id"] for row in ROWS if row["status"] == "equivalent"}
    for row in ROWS:
        if row["status"] == "killed":
            assert row["requirement"] in spec.requirements(), row
            assert row["verdict"] in ("fail", "crash", "timeout"), row
        else:
            assert row["status"] == "equivalent", row
            assert row["reason"] == reasons[row["id"]]
            assert row["reason"].strip()


def test_both_sources_conform_and_a_sample_is_killed():
    words = [sys.executable, "run.py", "--only", *SAMPLE, "--quick"]
    ran = subprocess.run(
        words, cwd=FOLDER, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr  # nor do the sources fail anything
    lines = {words[1]: words[2:5] for line in ran.stdout.splitlines() if (words := line.split())}
    for ident in SAMPLE:
        assert lines[ident] == [BY_ID[ident][k] for k in ("verdict", "requirement", "profile")]


SOURCE = """
def f(x, n):
    if n > 1:
        x = x / (n - 1)
    return x, n
"""


def changes(tmp_path, text):
    path = tmp_path / "small.py"
    path.write_text(text)
    return {m.id: m.after for m in operators.mutants(path)}


def test_what_the_operators_make_of_a_function(tmp_path):
    made = changes(tmp_path, SOURCE)
    assert made["small:f:Gt->GtE:1"] == "if n >= 1:"
    assert made["small:f:if->False:1"] == "if False:"
    assert made["small:f:Div-swapped:1"] == "x = (n - 1) / x"
    assert made["small:f:Sub->right:1"] == "x = x / (1)"
    assert made["small:f:int+1:2"] == "x = x / (n - 2)"
    assert made["small:f:drop-statement:1"] == "pass"
    assert made["small:f:swap-elements:1"] == "return (n, x)"


def test_an_id_outlives_what_is_edited_elsewhere(tmp_path):
    before = changes(tmp_path, SOURCE)
    after = changes(tmp_path, f"def g(x):\n    return x - 1\n\n{SOURCE}")
    assert before == {k: v for k, v in after.items() if k.startswith("small:f:")}
    assert len(after) > len(before)


@pytest.mark.parametrize(
    ("change", "known", "said"),
    [
        ({"status": "survived", "verdict": "alive"}, {}, "m survives"),
        ({"reason": "none"}, {"m": "none"}, "its reason is not needed"),
        ({"verdict": "error"}, {}, "an error of the kit"),
        ({}, {"gone": "none"}, "gone is in the manifest"),
    ],
)
def test_a_run_complains_of(change, known, said):
    row = {"id": "m", "status": "killed", "verdict": "fail", "requirement": "STATS-1"}
    row |= {"reason": "", "after": "n", **change}
    [complaint] = run.complaints([row], known, complete=True)
    assert said in complaint


def test_a_run_that_is_as_it_should_be_has_no_complaint():
    row = {
        "id": "m",
        "status": "killed",
        "verdict": "fail",
        "requirement": "STATS-1",
        "reason": "",
    }
    alive = {"id": "n", "status": "equivalent", "verdict": "alive", "reason": "no sum is left"}
    assert run.complaints([row, alive], {"n": alive["reason"]}, complete=True) == []
