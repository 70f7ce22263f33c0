"""Vectors: what is exported is what the checks ask, and answers are judged as a live run is."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bn1d_conformance import cli
from bn1d_conformance.adapters.tensors import to_array, to_tensor
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.vectors import archive, recording, steps, tables

CONFORMS, DIVERGES, WRONG_USE, INCOMPLETE = 0, 1, 2, 3
TORCH = {"fp16": torch.half, "bf16": torch.bfloat16, "fp32": torch.float, "fp64": torch.double}
PACKAGE = Path(cli.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "vectors.md"
HALVES = ("--without", "fp16", "--without", "bf16")


def here(*words):
    ran = CliRunner().invoke(cli.app, ["vectors", *map(str, words)])
    return SimpleNamespace(returncode=ran.exit_code, stdout=ran.stdout, stderr=ran.stderr)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The quick profile in every kind, from one run of the checks."""
    tape = recording.record("quick", steps.RECORDABLE)
    folders = {}
    for kind in tables.KINDS:
        folders[kind] = folder = tmp_path_factory.mktemp("vectors") / kind
        archive.prepare(folder)
        archive.export(tape, kind, folder)
    return folders


def device(folder, answers, kind, make=torch.nn.BatchNorm1d):
    """Answer every vector of `folder` with layers of torch."""
    [table] = folder.glob("arrays.*")
    arrays, found, refused = tables.read(table), {}, {}
    for vector in archive.read_vectors(folder):
        layer, x, y = build(vector.config, make), None, None
        for k, step in enumerate(vector.steps):
            place, said = f"{vector.id}/{k}", {}
            try:
                if step["do"] == "forward":
                    x = to_tensor(arrays[step["x"]]).requires_grad_()
                    y = layer(x)
                    said = {"y": y}
                elif step["do"] == "backward":
                    layer.zero_grad(set_to_none=True)
                    y.backward(to_tensor(arrays[step["dy"]]))
                    said = {"dx": x.grad, **gradients(layer)}
                else:
                    said = other(layer, step, arrays)
            except (ValueError, RuntimeError, IndexError) as error:
                refused[place] = str(error)
            found |= {f"{place}/{q}": to_array(said[q]) for q in step.get("answers", ()) if said}
    write(answers, folder, found, refused, kind)


def gradients(layer):
    named = {"dweight": layer.weight, "dbias": layer.bias}
    return {q: p.grad for q, p in named.items() if p is not None}


def other(layer, step, arrays):
    """Switch, write or read."""
    if step["do"] == "train":
        layer.train(step["mode"])
    elif step["do"] == "load":
        load(layer, step["state"], arrays)
    return {q: getattr(layer, q) for q in step.get("answers", ())}


def build(config, make):
    options = {k: v for k, v in config.items() if k not in {"num_features", "format"}}
    options["eps"] = float.fromhex(options["eps"])
    options["momentum"] = options["momentum"] and float.fromhex(options["momentum"])
    if options["bias"]:
        del options["bias"]
    return make(config["num_features"], **options).to(TORCH[config["format"]])


def load(layer, state, arrays):
    with torch.no_grad():
        for name, value in state.items():
            tensor = to_tensor(arrays[value]) if isinstance(value, str) else value
            getattr(layer, name).copy_(torch.as_tensor(tensor))


def write(answers, folder, found, refused, kind):
    answers.mkdir()
    tables.write(found, answers / f"arrays.{kind}")
    head = {"schema_version": 1, "vectors": sha256(folder / "vectors.json"), "refused": refused}
    head["device"] = {"name": "torch", "version": torch.__version__}
    (answers / "answers.json").write_text(json.dumps(head))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def judged(bn1d, tmp_path):
    """Judge answers, and return exit code and results document."""

    def call(folder, answers, *words):
        out = tmp_path / "result.json"
        ran = bn1d("vectors", "judge", folder, "--answers", answers, "--json", out, *words)
        assert out.exists(), ran.stderr
        return ran, json.loads(out.read_text("utf-8"))

    return call


def verdicts(result):
    return {i: row["verdict"] for i, row in result["requirements"].items()}


# Round trips


@pytest.mark.parametrize("kind", ["json", "safetensors"])  # npz: the expected answers, below
def test_answers_of_torch_conform_as_torch_does(exported, judged, judge, tmp_path, kind):
    device(exported[kind], tmp_path / "answers", kind)
    ran, result = judged(exported[kind], tmp_path / "answers")
    assert ran.returncode == CONFORMS, ran.stdout + ran.stderr
    recorded, live = verdicts(result), verdicts(judge("torch.nn:BatchNorm1d"))
    assert set(recorded.values()) == {"pass", "not-applicable"}
    applies = [i for i, v in recorded.items() if v != "not-applicable"]
    assert len(applies) > 60
    assert {i: live[i] for i in applies} == {i: recorded[i] for i in applies}


def test_a_wrong_device_gets_the_diagnosis_of_a_live_run(
    exported, judged, judge, folder, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(folder)
    import modules  # noqa: PLC0415 - written by the fixture

    class Biased(modules.Biased):
        def forward(self, x):
            if self.momentum is None or not self.track_running_stats:
                return torch.nn.BatchNorm1d.forward(self, x)
            return super().forward(x)

    device(exported["json"], tmp_path / "answers", "json", Biased)
    ran, result = judged(exported["json"], tmp_path / "answers")
    live = judge("modules.py:Biased")
    assert ran.returncode == DIVERGES
    first, alive = result["diagnoses"][0], live["diagnoses"][0]
    assert (first["requirement"], first["cause"]) == ("STATS-2", alive["cause"])
    assert first["evidence"] == alive["evidence"]
    assert "biased" in ran.stdout


class TracksBiased(torch.nn.BatchNorm1d):
    """Tracks the biased variance, rounded once."""

    def forward(self, x):
        old = self.running_var if self.running_var is None else self.running_var.clone()
        y = super().forward(x)
        if self.training and self.track_running_stats:
            m = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            var = x.detach().double().transpose(0, 1).flatten(1).var(1, unbiased=False)
            self.running_var = ((1 - m) * old.double() + m * var).to(old.dtype)
        return y


def test_what_is_declared_of_the_device_deviates(exported, judged, tmp_path):
    device(exported["json"], tmp_path / "answers", "json", TracksBiased)
    words = ("--dialect", "running_var=biased")
    ran, result = judged(exported["json"], tmp_path / "answers", *words)
    assert (ran.returncode, result["verdict"]) == (CONFORMS, "conforms"), ran.stdout
    found = verdicts(result)
    assert set(found.values()) == {"pass", "deviates", "not-applicable"}
    assert (found["STATS-2"], found["STATS-1"]) == ("deviates", "pass")
    assert result["subject"]["dialect"] == {"running_var": "biased"}
    assert result["options"]["dialect"] == ["running_var=biased"]


@pytest.mark.parametrize("given", ["variance=biased", "running_var=halved"])
def test_a_convention_that_there_is_not_is_wrong_use_as_for_a_run(tmp_path, given):
    ran = here("judge", tmp_path, "--dialect", given)
    live = CliRunner().invoke(cli.app, ["run", "torch.nn:BatchNorm1d", "--dialect", given])
    assert (ran.returncode, ran.stderr) == (WRONG_USE, live.stderr)
    assert "A dialect" in ran.stderr


def test_the_expected_answers_conform_and_the_bounds_are_theirs(exported, judged):
    folder = exported["npz"]
    ran, result = judged(folder, folder / "expected")
    assert ran.returncode == CONFORMS, ran.stdout
    assert result["subject"]["adapter"] == "recorded"
    answers, bounds = (tables.read(folder / "expected" / f"{n}.npz") for n in ("arrays", "bounds"))
    assert set(bounds) <= set(answers)
    assert all(bounds[n].shape == answers[n].shape for n in bounds)
    assert not any((b < 0).any() for b in bounds.values())


def test_a_missing_answer_is_not_run_and_said(exported, judged, tmp_path):
    device(exported["json"], tmp_path / "answers", "json")
    table = tmp_path / "answers" / "arrays.json"
    rows = json.loads(table.read_text())
    vectors = archive.read_vectors(exported["json"])
    vector = next(v for v in vectors if "EVAL-8" in v.requirements)
    lost = [n for n in rows if n.startswith(vector.id) and n.endswith("/y")]
    table.write_text(json.dumps({n: r for n, r in rows.items() if n not in lost}))
    ran, result = judged(exported["json"], tmp_path / "answers")
    assert ran.returncode == INCOMPLETE
    assert verdicts(result)["EVAL-8"] == "not-run"
    assert f"No answer recorded to 1 steps, the first {lost[0]}" in ran.stdout


def test_a_device_that_does_not_repeat_itself_is_told(exported, judged, tmp_path):
    """What a check asks twice is two vectors, and two answers."""
    device(exported["json"], tmp_path / "answers", "json")
    table = tmp_path / "answers" / "arrays.json"
    rows = json.loads(table.read_text())
    twice = [v for v in archive.read_vectors(exported["json"]) if "CONC-4" in v.requirements]
    assert len(twice) == 2
    row = rows[f"{twice[1].id}/2/y"]
    row["bits"] = f"{int(row['bits'][:8], 16) + 1:08x}{row['bits'][8:]}"
    del row["values"]
    table.write_text(json.dumps(rows))
    _, result = judged(exported["json"], tmp_path / "answers")
    assert verdicts(result)["CONC-4"] == "fail"


def test_hex_floats_do_for_answers():
    row = {"format": "fp32", "shape": [3], "values": ["-0x1.8p+1", "nan", "-inf"]}
    got = tables._array(Path("arrays.json"), "v00000/0/y", row)
    assert np.array_equal(got, np.array([-3, np.nan, -np.inf], np.float32), equal_nan=True)


# What is exported


def test_exporting_twice_gives_the_same_bytes(exported, tmp_path):
    first, again = exported["npz"], tmp_path / "v"  # a zip file has room for the time of day
    ran = here("export", "--format", "npz", "--profile", "quick", again)
    assert ran.returncode == CONFORMS, ran.stderr
    assert re.match(r"\d+ vectors in ", ran.stdout)
    names = {p.relative_to(first) for p in first.rglob("*") if p.is_file()}
    assert len(names) == 6
    for name in names:
        assert (again / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.parametrize("name", ["manifest", "vectors", "answers", "arrays"])
def test_files_are_as_their_schemas_say(exported, name):
    schema = json.loads((PACKAGE / "schema" / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    folder = exported["json"] / "expected" if name == "answers" else exported["json"]
    document = json.loads((folder / f"{name}.json").read_text())
    if name == "arrays":
        document = dict(list(document.items())[:300])
    validator.validate(document)


def test_every_requirement_that_was_judged_has_vectors(exported, judged):
    _, result = judged(exported["json"], exported["json"] / "expected")
    passed = {i for i, v in verdicts(result).items() if v == "pass"}
    vectors = archive.read_vectors(exported["json"])
    assert passed <= {i for v in vectors for i in v.requirements}


@pytest.mark.parametrize("kind", tables.KINDS)
def test_tables_keep_every_bit(tmp_path, kind):
    values = np.array([[1.5, -0.0, np.inf], [np.nan, 2.0**-14, -3]])
    given = {f: values.astype(d) for f, d in DTYPES.items()}
    given |= {"count": np.array(-7), "none": np.zeros((0, 3), "float32"), "one": np.float32([[2]])}
    tables.write(given, path := tmp_path / f"arrays.{kind}")
    found = tables.read(path)
    assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in found.items()} == {
        k: (a.dtype, a.shape, a.tobytes()) for k, a in given.items()
    }


def test_what_the_device_lacks_is_not_asked(tmp_path):
    lacks = ("3d", "grad", "param-grad", "counter", "fp64")
    words = [w for c in lacks for w in ("--without", c)]
    assert here("export", "--profile", "quick", *HALVES, *words, tmp_path / "v").returncode == 0
    asked = archive.read_vectors(tmp_path / "v")
    done = [s for v in asked for s in v.steps]
    assert {s["do"] for s in done} == {"load", "train", "forward", "state"}
    assert "num_batches_tracked" not in str(done)
    arrays = tables.read(tmp_path / "v" / "arrays.json")
    assert {a.dtype.name for a in arrays.values()} == {"float32"}


def test_no_script_redoes_recorded_answers(bn1d, tmp_path, exported):
    device(exported["json"], tmp_path / "a", "json", Shifted)
    out = tmp_path / "result.json"
    bn1d("vectors", "judge", exported["json"], "--answers", tmp_path / "a", "--json", out)
    ran = bn1d("repro", out)
    assert ran.returncode == WRONG_USE
    assert "failed on recorded answers" in ran.stderr


class Shifted(torch.nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) + 0.125


# The page


def test_the_device_on_the_page(bn1d, tmp_path):
    page = PAGE.read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    export, first, second = re.findall(
        r"<!-- captured[^\n]*?: ([^\n]*) -->\n```console\n(.*?)```", page, re.DOTALL
    )
    (tmp_path / "device.py").write_text(code)
    words = export[0].split()[1:]
    assert bn1d(*words, cwd=tmp_path).returncode == 0
    for wrong, shown, status in (
        (code, first[1], CONFORMS),
        (code.replace(" n / (n - 1)", " 1"), second[1], DIVERGES),
    ):
        (tmp_path / "device.py").write_text(wrong)
        subprocess.run([sys.executable, "device.py", "questions"], cwd=tmp_path, check=True)
        ran = bn1d("vectors", "judge", "questions", cwd=tmp_path)
        assert ran.returncode == status
        lines = [line.rstrip() for line in ran.stdout.strip().splitlines()]
        assert lines[:4] == shown.splitlines()[:4]
