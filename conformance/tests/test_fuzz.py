"""Anything at all, where something is read: it is taken, or refused in one sentence.

BN1D_FUZZ says how many examples each test draws; `nox -s fuzz` draws many.
"""

import base64
import json
import string
import struct
import sys
import zipfile
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from typer.testing import CliRunner

from bn1d_conformance import cli, console, expectations, targets
from bn1d_conformance.adapters.recorded import RecordedSubject
from bn1d_conformance.expectations import Expectation, ExpectationsError
from bn1d_conformance.subject import Request, TargetError
from bn1d_conformance.vectors import archive, tables
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.process import LostError
from bn1d_conformance.wire.session import Hello, RefusedError, Session, misfit
from bn1d_reference import spec

FUZZ = settings.get_profile("fuzz")
WRONG_USE = 2
LONGEST = 800  # characters of a sentence, without the name that the user gave

WORDS = st.text(max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def is_a_sentence(said, *names):
    """One line that ends, that a terminal can be given, and that names what it is about."""
    assert said.isprintable(), said
    assert len(said) < LONGEST + sum(map(len, names)), said
    assert said.endswith("."), said
    for name in names:
        assert name in said, said


def replaced(document, data):
    """A copy of a document with anything at one of its places, or without what is there."""
    copy = json.loads(json.dumps(document))
    place, key = copy, data.draw(st.sampled_from(sorted(copy)))
    while isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
        place = place[key]
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
    if data.draw(st.integers(0, 4)):
        place[key] = data.draw(ANYTHING)
    else:
        del place[key]
    return copy


def damaged(whole, data):
    """Bytes that were right: some changed, some left out, some more."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    return bytes(damaged)


# The command line

PIECES = [
    ":", "::", ".", "..", "/", ".py", "\0", "\n", "\x1b[31m", " ", "é", "\ud800", "~", "-", "--",
    "layers", "layers.py", "Right", "json", "decoder", "__class__", "__init__", "no_such", "-c",
    "%s", "{0}", "a" * 300, "manifest.json",
]  # fmt: skip
TARGETS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    """Work in the subjects' folder, and forget what was imported."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("layers", "bn1d_subject")):
            del sys.modules[name]


@FUZZ
@given(target=TARGETS)
@example("layers.py:" + "a" * 5000)
@example("\0:a")
@example(("a" * 300) + ".py:b")
@example("\ud800.py:b")
@example(".:b")
@example("..:b")
@example("a..b:c")
def test_any_target(target):
    before = list(sys.path)  # of thousands of loads, each would make it longer
    try:
        targets.load(Request(target))
    except TargetError as error:
        is_a_sentence(str(error))
        is_a_sentence(error.hint or ".")
    finally:
        sys.path[:] = before


OPTIONS = ["--map", "--dialect", "-k", "--shard", "--seed", "--timeout", "--profile", "--jobs"]
VALUES = TARGETS | st.sampled_from(
    ["weight=gamma", "=", "weight=", "1/3", "0/0", "running_var=biased", "not (", "a or", "-1"]
)


@FUZZ
@given(words=st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), max_size=4))
def test_any_options(words):
    given_ = [word for pair in words for word in pair if "\0" not in word]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "judge", lambda options, *_, **__: asdict(options))
        patch.setattr(console, "exit_code", lambda _: 0)
        ran = CliRunner().invoke(cli.app, ["run", "layers.py:Right", *given_])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert ran.exit_code in {0, WRONG_USE}


# The expectations file

TOML = st.lists(
    st.sampled_from(["[[expect]]", "\n", " = ", "'", '"', '"""', "[", "]", "{", "}", ",", "#"])
    | st.sampled_from(["requirement", "case", "reason", "when", "STATS-2", "1", "1e400", "nan"])
    | st.sampled_from(["2026-11-26", "true", ".", "\\u0000", "\\ud800", "\r", "\x00", "device"])
    | WORDS,
    max_size=24,
).map("".join)


def refused_or_read(path):
    try:
        entries = expectations.load(path)
    except ExpectationsError as error:
        is_a_sentence(str(error), str(path))
    else:
        assert all(isinstance(entry, Expectation) for entry in entries)


@FUZZ
@given(text=TOML.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary())
def test_any_expectations(tmp_path, text):
    path = tmp_path / "known.toml"
    path.write_bytes(text)
    refused_or_read(path)


@FUZZ
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(expectations.KEYS) | WORDS, ANYTHING, max_size=5),
        max_size=3,
    )
)
def test_any_values_of_expectations(tmp_path, rows):
    """What can stand in a TOML file, whatever its kind."""
    path = tmp_path / "known.toml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectations.tomllib, "loads", lambda _: {"expect": rows})
        path.write_text("")
        refused_or_read(path)


PATTERNS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@FUZZ
@given(
    entries=st.lists(
        st.builds(
            Expectation,
            requirement=st.sampled_from(["", *spec.requirements()]),
            case=PATTERNS.filter(bool),
            reason=PATTERNS.map("why: {}".format),
            url=PATTERNS,
            when=st.dictionaries(
                st.sampled_from(expectations.CONDITIONS),
                st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
                max_size=2,
            ),
        ),
        max_size=3,
        unique_by=lambda entry: entry.place,
    )
)
def test_any_expectations_survive_writing(tmp_path, entries):
    path = tmp_path / "known.toml"
    expectations.write(entries, path)
    assert expectations.load(path) == entries


# Vectors and answers

CONFIG = {
    "num_features": 2, "eps": "0x1p-10", "momentum": None, "affine": True, "bias": True,
    "track_running_stats": True, "format": "fp32",
}  # fmt: skip
STEPS = [
    {"do": "train", "mode": True},
    {"do": "forward", "x": "a0", "grad": False, "answers": ["y"]},
    {"do": "state", "answers": ["running_mean", "num_batches_tracked"]},
]
VECTORS = {
    "schema_version": 1,
    "vectors": [
        {
            "id": "v00000",
            "case": "c",
            "requirements": ["STATS-1"],
            "config": CONFIG,
            "steps": STEPS,
        }
    ],
}
MANIFEST = {
    "schema_version": 1,
    "kit": {},
    "profile": "quick",
    "seed": 0,
    "capabilities": ["train"],
    "vectors": 1,
    "files": {"vectors.json": {"sha256": "", "bytes": 0}},
}
ANSWERS = {
    "schema_version": 1,
    "vectors": "",
    "device": {"name": "d", "version": "1"},
    "refused": {},
}
ARRAYS = {
    "v00000/1/y": {"format": "fp32", "shape": [1, 2], "bits": "3f80000040000000"},
    "v00000/2/running_mean": {"format": "fp32", "shape": [2], "values": ["0x1p+0", "nan"]},
    "v00000/2/num_batches_tracked": {"format": "int64", "shape": [], "values": ["1"]},
}


def folder_of(place, documents):
    """Write a folder of vectors and one of answers, with the right hashes where they were."""
    manifest, vectors, answers, arrays = documents
    place.mkdir(exist_ok=True)
    (place / "vectors.json").write_text(json.dumps(vectors))
    row = archive._row(place / "vectors.json")
    if manifest == MANIFEST:
        manifest = {**manifest, "files": {"vectors.json": row}}
    if answers == ANSWERS:
        answers = {**answers, "vectors": row["sha256"]}
    for name, document in {"manifest": manifest, "answers": answers, "arrays": arrays}.items():
        (place / f"{name}.json").write_text(json.dumps(document))
    return place


def recorded(place):
    return RecordedSubject(place, place, Request("v:a"))


def test_a_folder_that_nothing_is_changed_of_is_read(tmp_path):
    documents = (MANIFEST, VECTORS, ANSWERS, ARRAYS)
    assert recorded(folder_of(tmp_path / "v", documents)).recorded.arrays.keys() == ARRAYS.keys()


@FUZZ
@given(which=st.integers(0, 3), data=st.data())
def test_any_value_in_any_place_of_vectors(tmp_path, which, data):
    documents = [MANIFEST, VECTORS, ANSWERS, ARRAYS]
    documents[which] = replaced(documents[which], data)
    place = folder_of(tmp_path / "v", documents)
    try:
        recorded(place)
    except TargetError as error:
        is_a_sentence(str(error), str(place))


def rejects_or_reads(path):
    try:
        found = tables.read(path)
    except TargetError as error:
        is_a_sentence(str(error), str(path))
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


@FUZZ
@given(
    row=st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from([*tables.IN_FILES]) | ANYTHING,
            "shape": st.lists(st.integers(-1, 3), max_size=3) | ANYTHING,
            "bits": st.text("0123456789abcdef x", max_size=16) | ANYTHING,
            "values": st.lists(st.sampled_from(["0x1p+0", "nan", "inf", "7"]) | ANYTHING),
        },
    )
)
def test_any_array_of_json(tmp_path, row):
    path = tmp_path / "arrays.json"
    path.write_text(json.dumps({"a": row}))
    rejects_or_reads(path)


def an_npz(path):
    np.savez(path, a=np.arange(6, dtype="float32").reshape(2, 3), b=np.array(3))
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_damage_of_npz(tmp_path, data):
    path = tmp_path / "arrays.npz"
    path.write_bytes(damaged(an_npz(path), data))
    rejects_or_reads(path)


HEADS = st.lists(
    st.sampled_from(["{", "}", "'descr'", "'shape'", "'fortran_order'", ": ", ", ", "(", ")"])
    | st.sampled_from(["'<f4'", "'|O'", "[('a', '<f4')]", "True", "1", "-1", "9" * 30, "2**9"]),
    max_size=16,
).map("".join)


@FUZZ
@given(head=HEADS | st.text(string.printable), version=st.integers(0, 3), body=st.binary())
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 1, bytes(4))
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9999999999999)}", 1, b"")
def test_any_member_of_npz(tmp_path, head, version, body):
    size = struct.pack("<H" if version == 1 else "<I", len(head))
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as file:
        start = b"\x93NUMPY" + bytes([version, 0]) + size
        file.writestr("a.npy", start + head.encode("latin-1", "replace") + body)
    rejects_or_reads(tmp_path / "arrays.npz")


WHOLE = save({"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.array([3])})
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "I64", "F4", "BOOL"]) | SCALARS,
        "shape": st.lists(st.integers(-1, 4) | st.integers(), max_size=3) | SCALARS,
        "data_offsets": st.lists(st.integers(0, 40), min_size=2, max_size=2) | SCALARS,
    },
)


@FUZZ
@given(data=st.data())
def test_any_damage_of_safetensors(tmp_path, data):
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(damaged(WHOLE, data))
    rejects_or_reads(path)


@FUZZ
@given(header=st.dictionaries(WORDS, TENSOR, max_size=3) | ANYTHING, body=st.binary(max_size=32))
def test_any_header_of_safetensors(tmp_path, header, body):
    path = tmp_path / "arrays.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    rejects_or_reads(path)


# The wire

ARRAY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*protocol.DTYPES]) | ANYTHING,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | ANYTHING,
        "data": st.binary(max_size=24).map(lambda b: base64.b64encode(b).decode()) | ANYTHING,
    },
)
NAMES = sorted({name for kinds in protocol.ANSWERS.values() for name in kinds})
RESULTS = st.dictionaries(st.sampled_from(NAMES) | WORDS, ARRAY | ANYTHING, max_size=10)


def understood(call, *given_):
    """What comes of a line of a worker's; None where it is refused as malformed."""
    try:
        return call(*given_)
    except protocol.MalformedError as error:
        is_a_sentence(f"The worker {error}.")
        return None


@FUZZ
@given(line=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_line(line):
    message = understood(protocol.parse, line, 1)
    assert message is None or set(message) in ({"id", "result"}, {"id", "error"})


@FUZZ
@given(do=st.sampled_from([*protocol.ANSWERS]), result=RESULTS | ANYTHING)
def test_any_result(do, result):
    line = json.dumps({"id": 1, "result": result}).encode()
    message = understood(protocol.parse, line, 1)
    found = message and understood(protocol.result, do, message)
    assert found is None or found.keys() == protocol.ANSWERS[do].keys()


HELLO = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from([0, 1]) | ANYTHING,
        "name": WORDS,
        "version": WORDS,
        "language": WORDS,
        "capabilities": st.lists(st.sampled_from([*protocol.WIRED]) | WORDS, max_size=5),
    },
    optional={
        "homepage": WORDS,
        "dialect": st.dictionaries(st.sampled_from(["running_var", "names"]) | WORDS, WORDS),
        "names": st.dictionaries(st.sampled_from(["weight", "bias"]) | WORDS, WORDS),
        "device": WORDS,
    },
)


@FUZZ
@given(result=HELLO)
def test_any_hello(result):
    found = understood(protocol.result, "hello", {"result": result})
    if found:
        assert all(isinstance(word, str) for word in misfit(Hello(**found), "cpu") or ())


#: Those that take more than a message, those that are no errors, and words that are neither.
KINDS = (
    st.sampled_from(["UnicodeDecodeError", "UnicodeEncodeError", "ExceptionGroup", "OSError"])
    | st.sampled_from(["BaseExceptionGroup", "KeyboardInterrupt", "SystemExit", "StopIteration"])
    | st.sampled_from(["ValueError", "RuntimeError", "int", "__name__", "a b"])
)


@FUZZ
@given(
    given_=st.fixed_dictionaries(
        {"type": KINDS | WORDS, "message": WORDS},
        optional={"bases": st.lists(KINDS | WORDS, max_size=3)},
    )
    | ANYTHING
)
def test_any_error(given_):
    session = Session("worker", "cpu")
    try:
        error = understood(session._raised, given_)
    except LostError:  # it says that its device is gone
        return
    assert error is None or isinstance(error, RefusedError)
    assert error is None or isinstance(error.error, BaseException)
