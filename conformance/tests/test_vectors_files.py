"""Files of vectors and answers from elsewhere: refused in one sentence, nothing believed."""

import json
import os
import shutil
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save
from typer.testing import CliRunner

from bn1d_conformance import cli
from bn1d_conformance.subject import TargetError
from bn1d_conformance.vectors import archive, recording, tables

WRONG_USE = 2


def here(*words):
    ran = CliRunner().invoke(cli.app, ["vectors", *map(str, words)])
    return SimpleNamespace(returncode=ran.exit_code, stdout=ran.stdout, stderr=ran.stderr)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small folder: evaluation in single precision."""
    has = frozenset({"eval", "weights", "statistics", "fp32"})
    archive.prepare(folder := tmp_path_factory.mktemp("small") / "v")
    archive.export(recording.record("quick", has), "json", folder)
    return folder


@pytest.fixture
def folder(small, tmp_path):
    """A copy that may be damaged, with right answers in it."""
    shutil.copytree(small, tmp_path / "v")
    shutil.copytree(small / "expected", tmp_path / "v" / "answers")
    (tmp_path / "v" / "answers" / "bounds.json").unlink()
    return tmp_path / "v"


def refused(folder, *words):
    """Exit code 2, one sentence, no traceback, nothing run."""
    ran = here("judge", folder)
    assert ran.returncode == WRONG_USE, ran.stdout + ran.stderr
    assert ran.stderr.startswith("bn1d: ")
    assert ran.stderr.count("\n") <= 2
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr, ran.stderr


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# The folder of vectors


def test_a_folder_that_is_none(tmp_path):
    refused(tmp_path, "manifest.json", "no such file")


@pytest.mark.parametrize("name", ["vectors.json", "arrays.json", "expected/arrays.json"])
def test_one_byte_more(folder, name):
    with (folder / name).open("a") as file:
        file.write(" ")
    refused(folder, name, "its sha256 is ", "where the manifest says")


def test_a_file_that_is_missing(folder):
    (folder / "arrays.json").unlink()
    refused(folder, "arrays.json", "no such file")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "expected/../../x.json", "arrays.pkl", "x/vectors.json"]
)
def test_a_name_that_leads_elsewhere(folder, name):
    edit(folder / "manifest.json", lambda m: m["files"].update({name: {"sha256": "0" * 64}}))
    refused(folder, "manifest.json", f"files names {name!r}")


@pytest.mark.parametrize("name", ["manifest.json", "vectors.json", "answers/answers.json"])
def test_a_link_that_leads_elsewhere(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, name, "no such file in this folder")


def test_a_pipe(folder):
    (folder / "answers" / "answers.json").unlink()
    os.mkfifo(folder / "answers" / "answers.json")
    refused(folder, "answers.json", "no such file")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schema_version", 2, "schema_version is 2, where 1 is read"),
        ("profile", "deep", "profile is 'deep'"),
        ("profile", None, "profile is null, where a JSON str is right"),
        ("capabilities", ["torch-module"], "'torch-module', which can't be recorded"),
        ("capabilities", [[]], "capabilities holds []"),
        ("files", [], "files is []"),
        ("files", {}, "no vectors.json"),
    ],
)
def test_a_manifest_that_is_none(folder, field, value, said):
    edit(folder / "manifest.json", lambda m: m.update({field: value}))
    refused(folder, "manifest.json", said)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\xff", '{"a":1e999'])
def test_json_that_is_none(folder, text):
    (folder / "manifest.json").write_text(text, "latin-1")
    refused(folder, "manifest.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(vectors={}), "vectors is {}"),
        (lambda v: v["vectors"][3].update(id="../3"), "vectors[3] has no id"),
        (lambda v: v["vectors"].insert(0, 7), "vectors[0] has no id"),
        (lambda v: v["vectors"][0].pop("steps"), "steps is null"),
        (
            lambda v: v["vectors"][0]["steps"].insert(0, {"do": "exec"}),
            'step 0 of v00000 is {"do"',
        ),
        (lambda v: v["vectors"][0]["steps"][0].update(answers=["z"]), "which is no step"),
        (lambda v: v["vectors"][0]["steps"][0].update(answers=7), "which is no step"),
        (lambda v: v["vectors"][0].update(requirements=[7]), "requirements"),
    ],
)
def test_programs_that_are_none(folder, change, said):
    """Even where somebody made the hashes right."""
    edit(folder / "vectors.json", change)
    row = archive._row(folder / "vectors.json")
    edit(folder / "manifest.json", lambda m: m["files"].update({"vectors.json": row}))
    refused(folder, "vectors.json", said)


# The answers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(vectors="0" * 64), "Answer the vectors of the folder"),
        (lambda a: a.update(refused=[]), "refused is []"),
        (lambda a: a.update(refused={"v00000/99": ""}), "refused names 'v00000/99'"),
        (lambda a: a.update(device={"name": 7}), "name is 7"),
        (lambda a: a.update(sha256="0" * 64), "where answers.json says"),
        (lambda a: a.update(schema_version="1"), 'schema_version is "1"'),
    ],
)
def test_answers_that_are_none(folder, change, said):
    edit(folder / "answers" / "answers.json", change)
    refused(folder, "answers", said)


def test_no_table_and_two_tables(folder):
    shutil.copy(folder / "answers" / "arrays.json", folder / "answers" / "arrays.npz")
    refused(folder, "there is arrays.json, arrays.npz")
    for name in ("arrays.json", "arrays.npz"):
        (folder / "answers" / name).unlink()
    refused(folder, "there is none")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (7, "the format is 7"),
        ({"format": "fp8"}, 'the format is "fp8"'),
        ({"format": ["fp32"]}, "the format is"),
        ({"format": "fp32", "shape": [-1]}, "the shape is [-1]"),
        ({"format": "fp32", "shape": [2**40, 0.5]}, "the shape is [1099511627776, 0.5]"),
        ({"format": "fp32", "shape": [2**40]}, "the shape is [1099511627776]"),
        ({"format": "fp32", "shape": [1] * 9}, "the shape is"),
        ({"format": "fp32", "shape": [True]}, "the shape is [true]"),
        ({"format": "fp32", "shape": [2], "bits": "3f800000"}, "8 digits, where 16"),
        ({"format": "fp32", "shape": [1], "bits": "3f80000g"}, "more than hex digits"),
        ({"format": "fp32", "shape": [1], "bits": " 3f8000 "}, "more than hex digits"),
        ({"format": "fp32", "shape": [1], "bits": 7}, "bits has a int"),
        ({"format": "fp32", "shape": [1]}, "neither bits nor values"),
        ({"format": "fp32", "shape": [1], "values": ["0.1", "1"]}, "2 values, where 1"),
        ({"format": "fp16", "shape": [1], "values": ["0x1.001p+0"]}, "no number of fp16"),
        ({"format": "fp32", "shape": [1], "values": ["0x1p+5000"]}, "no number of fp32"),
        ({"format": "fp32", "shape": [1], "values": [1.5]}, "no number of fp32"),
        ({"format": "int64", "shape": [1], "values": ["9" * 30]}, "no number of int64"),
        ({"format": "int64", "shape": [1], "values": ["7"]}, "its format is int64"),
    ],
)
def test_rows_that_are_none(folder, row, said):
    table = folder / "answers" / "arrays.json"
    name = next(n for n in json.loads(table.read_text()) if n.endswith("/y"))
    edit(table, lambda t: t.update({name: row}))
    refused(folder, "arrays.json", f"{name!r}", said)


@pytest.mark.parametrize("name", ["v99999/0/y", "v00000/2/z", "../../x", "", "v00000/2/y/../y"])
def test_an_answer_that_nobody_asked_for(folder, name):
    row = {"format": "fp32", "shape": [1], "bits": "00000000"}
    edit(folder / "answers" / "arrays.json", lambda t: t.update({name: row}))
    refused(folder, "arrays.json", f"{name!r} answers nothing")


def test_a_file_that_is_too_large(folder, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 2000)
    refused(folder, "more than the 2000 that are read")


def test_a_table_of_too_many(folder, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ARRAYS", 3)
    refused(folder, "arrays, more than the 3 that are read")


# npz and safetensors


def rejects(path, *words):
    with pytest.raises(TargetError) as caught:
        tables.read(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_npz_unpickles_nothing(tmp_path):
    np.savez(path := tmp_path / "arrays.npz", a=np.array([{}], object))
    rejects(path, "'a.npy'", "the dtype is object")


@pytest.mark.parametrize("dtype", ["complex64", "S3", "bool", "float128", "M8[s]"])
def test_npz_of_other_dtypes(tmp_path, dtype):
    np.savez(path := tmp_path / "arrays.npz", a=np.zeros(2, dtype))
    rejects(path, "'a.npy'", "the dtype is")


def test_npz_that_unpacks_to_more(tmp_path, monkeypatch):
    np.savez_compressed(path := tmp_path / "arrays.npz", a=np.zeros(10**6))
    monkeypatch.setattr(tables, "MOST_BYTES", 10**6)
    rejects(path, "it unpacks to 8000128 bytes")


def npz(path, shape, data=b""):
    """An npz whose only member claims a shape."""
    head = str({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)
    return path


@pytest.mark.parametrize("shape", [(2**60,), (-1,), (1,), "(1,)", (2,) * 40])
def test_npz_whose_header_lies(tmp_path, shape):
    rejects(npz(tmp_path / "arrays.npz", shape))


def test_npz_whose_members_are_no_arrays(tmp_path):
    with zipfile.ZipFile(path := tmp_path / "arrays.npz", "w") as file:
        file.writestr("../../evil.sh", b"#!")
    rejects(path, "'../../evil.sh' is no array")


def test_npz_that_is_cut_or_damaged(tmp_path):
    np.savez(path := tmp_path / "arrays.npz", a=np.arange(100.0))
    whole = path.read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole.replace(b"\xf0?", b"\xf1?", 1)):
        path.write_bytes(damaged)
        rejects(path, "can't be read as npz")


def test_npz_in_other_orders_of_bytes_and_axes(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.savez(path := tmp_path / "arrays.npz", a=np.asfortranarray(values), b=values.astype(">f4"))
    found = tables.read(path)
    assert (found["a"] == values).all()
    assert (found["b"] == values).all()
    assert found["b"].dtype == np.float32


def test_safetensors_that_is_damaged(tmp_path):
    path = tmp_path / "arrays.safetensors"
    whole = save({"a": np.arange(4.0)})
    lies = whole.replace(b'"shape":[4]', b'"shape":[9]')
    for damaged in (b"", b"\0" * 30, whole[:-1], lies, whole + b"0"):
        path.write_bytes(damaged)
        rejects(path, "can't be read as safetensors")
    path.write_bytes(save({"a": np.zeros(2, "int8")}))
    rejects(path, "'a'", "the dtype is I8")


# Export


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "pickle"], "no format 'pickle'"),
        (["--profile", "deep"], "no profile 'deep'"),
        (["--without", "torch-module"], "no capability 'torch-module'"),
    ],
)
def test_options_that_are_none(tmp_path, words, said):
    ran = here("export", *words, tmp_path / "v")
    assert ran.returncode == WRONG_USE
    assert said in ran.stderr
    assert not (tmp_path / "v").exists()


def test_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        ran = here("export", folder)
        assert ran.returncode == WRONG_USE
        assert "is no empty folder" in ran.stderr
    assert not (tmp_path / "expected").exists()


def test_without_the_extra_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    ran = here("export", "--format", "safetensors", tmp_path / "v")
    assert ran.returncode == WRONG_USE
    assert "bn1d-conformance[vectors]" in ran.stderr
