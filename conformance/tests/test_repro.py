"""A script that shows a failure to somebody who has no kit."""

import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bn1d_conformance import cli, program
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.reports import repro
from bn1d_reference import spec

BARE = """
import runpy, sys

class NoKit:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"bn1d_conformance", "bn1d_reference"}:
            raise ImportError("there is no kit here")

sys.meta_path.insert(0, NoKit())
runpy.run_path(sys.argv[1])
"""


@pytest.fixture(scope="module")
def tracked(judge):
    """A module that tracks the biased variance."""
    return judge("modules.py:Biased", "-k", "test_momentum or test_length_counts")


@pytest.fixture(scope="module")
def shifted(judge):
    """A module whose every output is a little off."""
    return judge("modules.py:Shifted", "-k", "test_biased_variance or test_affine or test_linear")


@pytest.fixture(scope="module")
def by_hand(judge):
    """A NumPy class with other names."""
    return judge("layers.py:Biased", "-k", "test_momentum")


@pytest.fixture
def run(folder, tmp_path):
    """Run a script where the subject is, and no kit."""

    def call(text):
        (tmp_path / "script.py").write_text(text)
        (tmp_path / "bare.py").write_text(BARE)
        return subprocess.run(
            [sys.executable, tmp_path / "bare.py", tmp_path / "script.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def shown(result, ident):
    """The failure of a requirement that has a script."""
    rows = result["requirements"][ident]["failures"]
    return next(row["evidence"] for row in rows if row["evidence"].get("program"))


@pytest.mark.parametrize(
    ("which", "ident"), [("tracked", "STATS-2"), ("shifted", "TRAIN-3"), ("by_hand", "STATS-2")]
)
def test_the_script_prints_the_number_that_failed(which, ident, request, run):
    result = request.getfixturevalue(which)
    text = repro.script(result, ident)
    ran = run(text)
    assert ran.returncode == 0, ran.stderr + text
    evidence = shown(result, ident)
    name = f"{evidence['quantity']}[{', '.join(map(str, evidence['index']))}]"
    said = ran.stdout.split()
    assert ran.stdout.startswith(name)
    got = float(said[said.index("is") + 1])
    assert got == pytest.approx(evidence["got"], rel=1e-6)
    assert float(said[said.index("where") + 1]) == evidence["expected"]


ZOO = Path(__file__).parent / "zoo"
PROGRAMS = [
    ("mutants_of_programs.py:FoldsAtEval", "full"),  # found by a search
    ("mutants_of_programs.py:CumulativeForgets", "quick"),  # copied and assigned to
    ("mutants_of_programs.py:OnceNarrow", "full"),  # cast
    ("mutants_of_backward.py:BiasGradientIsAMean", "quick"),
    ("mutants_of_backward.py:EvaluationGradientWithoutWeight", "quick"),  # a second backward pass
    ("mutants_of_numpy.py:PlainUnbiased", "quick"),
]


@pytest.mark.parametrize(("target", "profile"), PROGRAMS, ids=lambda p: p.rpartition(":")[2])
def test_a_program_that_goes_wrong_has_a_script(target, profile, judge, run):
    result = judge(f"{ZOO}/{target}", "-k", "COMP-30", "--profile", profile)
    ran = run(repro.script(result, "COMP-30"))
    assert ran.returncode == 0, ran.stderr
    evidence = shown(result, "COMP-30")
    said = ran.stdout.split()
    got = float(said[said.index("is") + 1])
    assert got == pytest.approx(evidence["got"], rel=1e-6)


def test_a_script_is_short_and_says_what_it_shows(tracked):
    lines = repro.script(tracked, "STATS-2").splitlines()
    assert lines[0] == f"# STATS-2: {spec.requirements()['STATS-2'].sentence}"
    assert lines[1].startswith("# ")
    assert len(lines) <= 16
    assert "bn1d" not in "\n".join(lines)


def test_without_a_name_the_first_diagnosis_is_shown(tracked):
    first = tracked["diagnoses"][0]["requirement"]
    assert repro.script(tracked).startswith(f"# {first}: ")


def test_a_case_can_be_named(shifted):
    case = next(
        f["case"]
        for row in shifted["requirements"].values()
        for f in row["failures"]
        if f["evidence"].get("program")
    )
    assert f"# {case}: " in repro.script(shifted, case)


def test_every_failure_with_a_program_has_a_script_that_compiles(shifted, tracked, by_hand):
    for result in (shifted, tracked, by_hand):
        for ident, row in result["requirements"].items():
            if any(f["evidence"].get("program") for f in row["failures"]):
                compile(repro.script(result, ident), ident, "exec")


@pytest.mark.parametrize("wanted", ["CTOR-1", "no such case"])
def test_what_does_not_fail_has_no_script(shifted, wanted):
    with pytest.raises(repro.NothingToShowError) as caught:
        repro.script(shifted, wanted)
    assert "\n" not in str(caught.value)


def test_a_file_in_which_nothing_fails_has_no_script(shifted):
    result = copy.deepcopy(shifted)
    result["diagnoses"] = []
    for row in result["requirements"].values():
        row["failures"] = []
    with pytest.raises(repro.NothingToShowError, match="Nothing fails"):
        repro.script(result)


def test_a_function_has_a_script_that_runs_or_none(judge, folder, run):
    code = (folder / "layers.py").read_text() + FUNCTION
    (folder / "functions.py").write_text(code)
    result = judge("functions.py:wrong", "-k", "test_biased_variance")
    assert result["verdict"] == "diverges"
    try:
        text = repro.script(result)
    except repro.NothingToShowError:
        return
    ran = run(text)
    assert ran.returncode == 0, ran.stderr + text


FUNCTION = """

def wrong(x, running_mean, running_var, weight, bias, training, momentum, eps):
    y, mean, var = returns(x, running_mean, running_var, weight, bias, training, momentum, eps)
    return y + 0.25, mean, var
"""


# A file from elsewhere

EVIL = "x'\"\\\n\r\nimport os; os.system('touch pwned')\n#"


def hostile(result):
    """The same file with the statement in every string of it, one at a time."""

    def places(value, path=()):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from places(inner, (*path, key))
        elif isinstance(value, list):
            for k, inner in enumerate(value[:3]):
                yield from places(inner, (*path, k))
        elif isinstance(value, str):
            yield path

    first = result["diagnoses"][0]["requirement"]
    wanted = [("subject",), ("diagnoses", 0), ("requirements", first, "failures")]
    for start in wanted:
        part = result
        for key in start:
            part = part[key]
        for path in places(part):
            yield (*start, *path)


def changed(result, path, value):
    other = copy.deepcopy(result)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return other


def statements(text):
    """The code of a script, without its comments and the values of its strings."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Attribute, ast.Name)):
            yield getattr(node, "attr", None) or node.id


def script_or_refusal(result, wanted=""):
    """What the command prints; it refuses a file whose parts do not fit in one sentence."""
    try:
        return repro.script(result, wanted)
    except (repro.NothingToShowError, LookupError, TypeError, ValueError):
        return ""


@pytest.mark.parametrize("which", ["tracked", "by_hand"])
def test_a_hostile_file_gets_no_text_into_code(which, request):
    result = request.getfixturevalue(which)
    paths = list(hostile(result))
    assert len(paths) > 20
    for path in paths:
        text = script_or_refusal(changed(result, path, EVIL))
        assert "system" not in set(statements(text)), path


def test_a_hostile_requirement_gets_no_text_into_code(tracked):
    result = copy.deepcopy(tracked)
    first = result["diagnoses"][0]["requirement"]
    result["requirements"] = {EVIL: result["requirements"][first]}
    result["diagnoses"][0]["requirement"] = EVIL
    assert "system" not in set(statements(script_or_refusal(result)))


@pytest.mark.parametrize(
    "name", ["__import__('os').system", "a b", "a;b", "", "1x", "a.b()", "é\n"]
)
def test_only_names_become_names(tracked, name):
    result = copy.deepcopy(tracked)
    result["subject"]["names"]["running_var"] = name
    text = script_or_refusal(result, "STATS-2")
    assert "__import__" not in text


@pytest.mark.parametrize("do", ["imports", "shows", "array", "_init__", "lines", "step"])
def test_a_step_is_one_of_those_that_there_are(tracked, do):
    result = copy.deepcopy(tracked)
    shown(result, "STATS-2")["program"][0]["do"] = do
    with pytest.raises(repro.NothingToShowError):
        repro.script(result, "STATS-2")


def test_a_file_whose_parts_do_not_fit_is_refused_in_one_sentence(tracked, tmp_path):
    result = changed(tracked, ("diagnoses", 0, "requirement"), "STATS-99")
    (tmp_path / "result.json").write_text(json.dumps(result))
    ran = CliRunner().invoke(cli.app, ["repro", str(tmp_path / "result.json")])
    assert ran.exit_code == 2
    assert ran.stderr.startswith("bn1d: ")


def test_the_command_writes_the_script(bn1d, tracked, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(tracked))
    ran = bn1d("repro", tmp_path / "result.json", "STATS-2")
    assert ran.returncode == 0
    assert ran.stdout == repro.script(tracked, "STATS-2") + "\n"


# What stands in a script

SPARSE = np.zeros((2, 3, 1000), "float32")
SPARSE[1, 2, 7] = np.nan
ARRAYS = [
    *(np.array([[1, -0.0, 0.1], [np.inf, np.nan, 2]]).astype(d) for d in DTYPES.values()),
    *(np.array(values) for values in ([[3, -(2**40)]], [True, False], [1j, 2], [[], []])),
    SPARSE,
]


def written(array, adapter):
    """What the code that a script has for an array gives."""
    subject = {"target": "a:b", "name": "b", "adapter": adapter}
    code = repro.Script(subject, {"evidence": {}})._array(program.array(array))
    line = next(
        line for line in repro.Script(subject, {"evidence": {}})._imports() if "H =" in line
    )
    place = {"torch": torch, "np": np}
    exec(line, place)
    return eval(code, place)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype} {a.size}")
def test_an_array_in_a_script_is_what_it_was(array):
    got = written(array, "torch-module")
    assert got.shape == array.shape
    wide = got.double() if got.is_floating_point() else got
    floats = array.dtype.kind in "fV"
    np.testing.assert_array_equal(wide.numpy(), array.astype("float64") if floats else array)
    if array.dtype != DTYPES["bf16"]:  # NumPy has none
        np.testing.assert_array_equal(written(array, "plain-class"), array, strict=True)


def steps(*written):
    """The lines that a script has for steps of a program."""
    script = repro.Script({"target": "a:b", "adapter": "torch-module"}, {"evidence": {}})
    return [line for step in written for line in script._step(step)]


def test_steps_of_modules_in_a_script():
    reset = {"do": "reset", "name": "reset_running_stats"}
    assign = {"do": "assign", "name": "eps", "value": 0.5}
    assert steps(reset, assign) == ["bn.reset_running_stats()", "bn.eps = 0.5"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"do": "reset", "name": "__del__"}, "'__del__' resets nothing."),
        ({"do": "assign", "name": "eps", "value": "print()"}, "'print()' is no value to assign."),
        ({"do": "assign", "name": "forward", "value": 1}, "'forward' is no attribute to assign."),
        ({"do": "run"}, "'run' is no step of a program."),
    ],
)
def test_no_step_of_a_program_is_in_a_script(step, said):
    with pytest.raises(repro.NothingToShowError) as error:
        steps(step)
    assert str(error.value) == said
