"""Anything at all, in a folder of vectors and answers and in each kind of its files."""

import json
import string
import struct
import zipfile

import numpy as np
from fuzzing import (
    ANSWERS,
    ANYTHING,
    ARRAYS,
    FUZZ,
    MANIFEST,
    SCALARS,
    VECTORS,
    WORDS,
    a_table_of_arrays,
    damaged,
    folder_of,
    recorded,
    replaced,
    vectors_and_answers,
)
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save

from bn1d_conformance.vectors import tables


def test_a_folder_that_nothing_is_changed_of_is_read(tmp_path):
    documents = (MANIFEST, VECTORS, ANSWERS, ARRAYS)
    assert recorded(folder_of(tmp_path / "v", documents)).recorded.arrays.keys() == ARRAYS.keys()


@FUZZ
@given(which=st.integers(0, 3), data=st.data())
def test_any_value_in_any_place_of_vectors(tmp_path, which, data):
    documents = [MANIFEST, VECTORS, ANSWERS, ARRAYS]
    documents[which] = replaced(documents[which], data)
    place = folder_of(tmp_path / "v", documents)
    vectors_and_answers(place)


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
    a_table_of_arrays(path)


def an_npz(path):
    np.savez(path, a=np.arange(6, dtype="float32").reshape(2, 3), b=np.array(3))
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_damage_of_npz(tmp_path, data):
    path = tmp_path / "arrays.npz"
    path.write_bytes(damaged(an_npz(path), data))
    a_table_of_arrays(path)


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
    a_table_of_arrays(tmp_path / "arrays.npz")


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
    a_table_of_arrays(path)


@FUZZ
@given(header=st.dictionaries(WORDS, TENSOR, max_size=3) | ANYTHING, body=st.binary(max_size=32))
def test_any_header_of_safetensors(tmp_path, header, body):
    path = tmp_path / "arrays.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    a_table_of_arrays(path)
