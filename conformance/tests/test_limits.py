"""Files from elsewhere hold no more than is read: neither memory, nor time, nor other files."""

import ast
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import bn1d_conformance
from bn1d_conformance import bounded, expectations, guard, records
from bn1d_conformance.documents import reading
from bn1d_conformance.expectations import ExpectationsError
from bn1d_conformance.subject import TargetError
from bn1d_conformance.vectors import archive, tables

GIGABYTE = 2**30
WRONG_USE = 2
PACKAGE = Path(bn1d_conformance.__file__).parent


# No more memory than is stated


def within(*words, most):
    """Run the command with no more memory than that, address space and all."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return subprocess.run(
        [sys.executable, "-m", "bn1d_conformance", *map(str, words)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each would claim its stack
    )


#: What begins a results file, and what fills the rest: small in the file, large in memory.
BOMBS = {
    "lists": (b'{"x": [', b"[],"),
    "objects": (b'{"x": [', b'{"a":{}},'),
    "depth": (b"", b"["),
    "keys": (b"{", b'"k":1,'),
    "a string": (b'{"x": "', b"x"),
    "digits": (b'{"x": ', b"7"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_results_file_of_64_megabytes(tmp_path, name):
    head, filling = BOMBS[name]
    text = head + filling * (reading.MOST_BYTES // len(filling))
    (tmp_path / "bomb.json").write_bytes(text[: reading.MOST_BYTES])
    ran = within("results", "check", tmp_path / "bomb.json", most=GIGABYTE)
    assert ran.returncode == WRONG_USE, ran.stderr
    assert "bomb.json can't be read as JSON" in ran.stderr.replace(
        "is nested", "can't be read as JSON"
    )
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("filling", [b"[],", b'{"a":1},', b'"ab",', b"1.5,"], ids=repr)
def test_as_many_values_as_are_read_stay_within_a_gigabyte(tmp_path, filling):
    each = sum(map(filling.count, bounded.BEFORE))
    count = min(reading.MOST_VALUES // each - 4, reading.MOST_BYTES // len(filling) - 40)
    text = b'{"schema_version": 1, "x": [' + filling * count + b"1]}"
    (tmp_path / "bomb.json").write_bytes(text)
    ran = within("results", "check", tmp_path / "bomb.json", most=GIGABYTE)
    assert ran.returncode == WRONG_USE
    assert 'has "x", which is unknown' in ran.stderr


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no file without an end")
@pytest.mark.parametrize("words", [["results", "check"], ["run", "torch.nn:Linear", "--expect"]])
def test_a_file_without_an_end(words):
    ran = within(*words, "/dev/zero", most=GIGABYTE)
    assert ran.returncode == WRONG_USE, ran.stderr
    assert "/dev/zero can't be read as" in ran.stderr
    assert " bytes" in ran.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 100_000, "nested too deep"),
        ("x" * 2**21, "it has more than 1048576 bytes"),
        ("[[expect]]\n" * 1001, "has 1001 entries, more than the 1000 that are read"),
        ("x = " + "9" * 100_000, "can't be read as TOML"),
        (f'[[expect]]\n"{"k" * 10**6}" = 1', 'has "kkk'),
        (f'[[expect]]\nrequirement = "{"R" * 10**6}"', 'no requirement "RRR'),
    ],
    ids=["depth", "bytes", "entries", "digits", "a key", "a value"],
)
def test_an_expectations_file_of_too_much(tmp_path, text, words):
    (tmp_path / "known.toml").write_text(text)
    with pytest.raises(ExpectationsError) as caught:
        expectations.load(tmp_path / "known.toml")
    assert words in str(caught.value)
    assert "known.toml" in str(caught.value)
    assert len(str(caught.value)) < 500


# Vectors and answers


def rejects(path, *words):
    with pytest.raises(TargetError) as caught:
        tables.read(path)
    said = str(caught.value)
    for word in (str(path), *words):
        assert word in said
    assert said.isprintable()
    assert len(said) <= bounded.LONG + len(" ...")


def test_json_of_too_many_values(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_PARTS", 1000)
    (tmp_path / "arrays.json").write_text(json.dumps({"a": [[]] * 2000}))
    rejects(tmp_path / "arrays.json", "it has more than 1000 values")


def test_a_name_without_an_end_is_quoted_in_part(tmp_path):
    (tmp_path / "arrays.json").write_text(json.dumps({"\x1b[31m" + "x" * 10**6: 7}))
    rejects(tmp_path / "arrays.json", "\\x1b[31mxxx")


def test_npz_of_too_many_members_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ARRAYS", 10)
    with zipfile.ZipFile(path := tmp_path / "arrays.npz", "w") as file:
        for k in range(11):
            file.writestr(f"{k}.npy", b"")
    monkeypatch.setattr(zipfile, "ZipFile", lambda _: pytest.fail("opened"))
    rejects(path, "it holds 11 arrays, more than the 10 that are read")


def test_npz_that_says_less_than_it_unpacks_to(tmp_path):
    """A member's size is believed, and no byte beyond it is unpacked."""
    np.savez_compressed(path := tmp_path / "arrays.npz", a=np.zeros(10**6))
    head, told, tail = path.read_bytes().rpartition(struct.pack("<I", 8_000_128))
    assert told  # in the list of members, which is what is read
    path.write_bytes(head + struct.pack("<I", 64) + tail)
    rejects(path, "can't be read as npz")


@pytest.mark.parametrize("inner", ["(" * 5000, "-" * 9000 + "1", "[" * 9000, "{" * 150])
def test_npz_whose_header_nests(tmp_path, inner):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {inner}}}".encode()
    with zipfile.ZipFile(path := tmp_path / "arrays.npz", "w") as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    rejects(path, "can't be read as npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h["a"].update(shape=[2**63, 2**63]), "can't be read as safetensors"),
        (lambda h: h["a"].update(data_offsets=[0, 2**62]), "can't be read as safetensors"),
        (lambda h: h["a"].update(data_offsets=[4, 0]), "can't be read as safetensors"),
        (lambda h: h["a"].update(shape=[-1]), "can't be read as safetensors"),
        (lambda h: h.update({f"{k}": h["a"] for k in range(99)}), "can't be read as safetensors"),
        (lambda h: h["a"].update(dtype="F8_E4M3", shape=[16]), "the dtype is F8_E4M3"),
    ],
)
def test_safetensors_whose_header_lies(tmp_path, change, words):
    whole = save({"a": np.zeros(4, "float32")})
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size :])
    rejects(path, words)


@pytest.mark.parametrize("size", [2**24 + 1, 2**40, 2**64 - 1])
def test_safetensors_of_a_large_header(tmp_path, size):
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(struct.pack("<Q", size) + b"{" * 100)
    rejects(path, f"its header has {size} bytes, more than the {2**24} of a table")


# No other file


def test_a_folder_of_vectors_that_is_a_link(tmp_path):
    inside, outside = tmp_path / "v", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (outside / "answers.json").write_text("secret")
    (inside / "expected").symlink_to(outside)
    (inside / "vectors.json").write_text("{}")
    names = ("vectors.json", "expected/answers.json")
    rows = {name: archive._row(inside / name) for name in names}
    manifest = {"schema_version": 1, "kit": {}, "profile": "quick", "capabilities": []}
    (inside / "manifest.json").write_text(json.dumps({**manifest, "files": rows}))
    with pytest.raises(TargetError, match=r"expected/answers\.json: there is no such file"):
        archive.read_manifest(inside)


# What a subject says


def test_half_a_character_of_a_subjects_goes_no_further(tmp_path):
    said = guard.describe(ValueError("half \ud800 and \x1b[31m"))
    assert said == "raises ValueError: half   and  [31m"
    recorder = records.Recorder(tmp_path / "gw0.jsonl")
    recorder.write("loaded", name="half \ud800", version="whole \U0001f600")
    recorder._file.close()
    [event] = records.read(tmp_path)
    assert (event["name"], event["version"]) == ("half ?", "whole \U0001f600")


def test_an_argument_that_is_no_utf_8():
    ran = subprocess.run(
        [sys.executable, "-m", "bn1d_conformance", "run", b"\xff.py:Layer"],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == WRONG_USE
    assert ran.stderr.startswith(b"bn1d: An argument is no UTF-8.")


# Nothing is run

#: Where a requirement's check pickles the subject itself, which runs as it likes anyway.
PICKLES = {"checks/test_state_copies.py", "adapters/torch_module.py"}
FORBIDDEN = {"eval", "exec", "compile", "__import__"}


def calls(tree):
    """Each call of a module: its name as it is written, and the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_nothing_that_is_read_is_run(path):
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    own = path.relative_to(PACKAGE).as_posix()
    assert not imported & {"marshal", "shelve", "dill", "cloudpickle", "yaml"}
    assert "pickle" not in imported or own in PICKLES
    for name, call in calls(tree):
        assert name not in FORBIDDEN, name
        assert name not in {"np.load", "numpy.load", "torch.jit.load"}, name
        if name == "torch.load":
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert options.get("weights_only") == "True"
