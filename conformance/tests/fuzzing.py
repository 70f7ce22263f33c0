"""What tests share that give a reader anything at all: what is drawn, what must come of it.

Each reader here takes a path, or what stands in for one, and raises AssertionError, or what the
reader raised, where it neither takes what is there nor refuses it in one sentence.
"""

import json
import os
import sys
from datetime import timedelta

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bn1d_conformance import expectations, targets
from bn1d_conformance.adapters.recorded import RecordedSubject
from bn1d_conformance.documents import reading
from bn1d_conformance.expectations import Expectation, ExpectationsError
from bn1d_conformance.subject import Request, TargetError
from bn1d_conformance.vectors import archive, tables
from bn1d_conformance.wire import protocol

#: Of tests that draw what nobody would write; `nox -s fuzz` draws more of it.
FUZZ = settings(
    max_examples=int(os.environ.get("BN1D_FUZZ", "60")),
    deadline=timedelta(seconds=10),  # nothing that is read may take so long
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WRONG_USE = 2
LONGEST = 800  # characters of a sentence, without the name that the user gave

WORDS = st.text(max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


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


def is_a_sentence(said, *names):
    """One line that ends, that a terminal can be given, and that names what it is about."""
    assert said.isprintable(), said
    assert len(said) < LONGEST + sum(map(len, names)), said
    assert said.endswith("."), said
    for name in names:
        assert name in said, said


# The readers


def a_target(text):
    before = list(sys.path)  # of thousands of loads, each would make it longer
    try:
        targets.load(Request(targets.named(text)))
    except TargetError as error:
        is_a_sentence(str(error))
        is_a_sentence(error.hint or ".")
    finally:
        sys.path[:] = before


def a_results_file(path):
    try:
        found = reading.load(path)
    except reading.ResultsError as error:
        is_a_sentence(str(error), str(path))
    else:
        assert {"schema_version", "verdict"} <= found.keys()


def an_expectations_file(path):
    try:
        entries = expectations.load(path)
    except ExpectationsError as error:
        is_a_sentence(str(error), str(path))
    else:
        assert all(isinstance(entry, Expectation) for entry in entries)


def a_table_of_arrays(path):
    try:
        found = tables.read(path)
    except TargetError as error:
        is_a_sentence(str(error), str(path))
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


def vectors_and_answers(place):
    try:
        recorded(place)
    except TargetError as error:
        is_a_sentence(str(error), str(place))


def recorded(place):
    return RecordedSubject(place, place, Request("v:a"))


def understood(call, *given):
    """What comes of a line of a worker's; None where it is refused as malformed."""
    try:
        return call(*given)
    except protocol.MalformedError as error:
        is_a_sentence(f"The worker {error}.")
        return None


def a_line(line, do=""):
    """A worker's answer to request 1; its result too, where it is one to `do`."""
    message = understood(protocol.parse, line, 1)
    assert message is None or set(message) in ({"id", "result"}, {"id", "error"})
    if do and message and "result" in message:
        found = understood(protocol.result, do, message)
        assert found is None or found.keys() == protocol.ANSWERS[do].keys()


# A folder of vectors and answers

CONFIG = {
    "num_features": 2, "eps": "0x1p-10", "momentum": None, "affine": True, "bias": True,
    "track_running_stats": True, "format": "fp32",
}  # fmt: skip
STEPS = [
    {"do": "train", "mode": True},
    {"do": "forward", "x": "a0", "grad": False, "answers": ["y"]},
    {"do": "state", "answers": ["running_mean", "num_batches_tracked"]},
]
VECTOR = {
    "id": "v00000",
    "case": "c",
    "requirements": ["STATS-1"],
    "config": CONFIG,
    "steps": STEPS,
}
VECTORS = {"schema_version": 1, "vectors": [VECTOR]}
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
    write(place / "vectors.json", vectors)
    row = archive._row(place / "vectors.json")
    if manifest == MANIFEST:
        manifest = {**manifest, "files": {"vectors.json": row}}
    if answers == ANSWERS:
        answers = {**answers, "vectors": row["sha256"]}
    for name, document in {"manifest": manifest, "answers": answers, "arrays": arrays}.items():
        write(place / f"{name}.json", document)
    return place


def write(path, document):
    """Write JSON, or what stands in its place."""
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
