"""Named arrays in one file: JSON for every language, NumPy's npz, or safetensors.

Reading trusts nothing: sizes and counts are limited before anything is allocated, nothing is
unpickled, no name is taken for a path. What is wrong is said in one sentence that names the file
and the array.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import re
import zipfile
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance import bounded
from bn1d_conformance.numbers import DTYPES, to_format
from bn1d_conformance.subject import TargetError
from bn1d_conformance.vectors.steps import IN_FILES, hex_float

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bn1d_conformance.subject import Array
    from bn1d_conformance.vectors.steps import Answers

KINDS = ("json", "npz", "safetensors")
MOST_BYTES = 2**29  # of a file, and of what a compressed one holds
MOST_PARTS = 2**23  # values of a JSON file, of whatever kind
MOST_HEADER = 2**24  # bytes of what a safetensors file says of its arrays
MOST_ARRAYS = 100_000  # of a file
MOST_VALUES = 2**24  # of an array
MOST_AXES = 8
SPELLED = 4096  # values up to which a JSON array has hex floats beside its bits
#: npz has no bfloat16: there its bits stand as uint16.
NPZ = {**{d.name: f for f, d in IN_FILES.items()}, "uint16": "bf16"}
ENTRY = b"PK\x01\x02"  # begins each row of the list of a zip file's members
SAFETENSORS = {"F16": "fp16", "BF16": "bf16", "F32": "fp32", "F64": "fp64", "I64": "int64"}


def refuse(path: Path, what: str, hint: str = "") -> TargetError:
    """The refusal of a file: a sentence that begins with its name."""
    return TargetError(f"{path}: {what}", hint)


def checked(path: Path) -> Path:
    """The path of a file that may be read.

    Raises:
        TargetError: if it is no plain file of its own folder, or is too large.
    """
    if not path.is_file() or path.resolve().parent != path.parent.resolve():
        raise refuse(path, "there is no such file in this folder.")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise refuse(path, f"it has {size} bytes, more than the {MOST_BYTES} that are read.")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        TargetError: if the file holds anything else.
    """
    try:
        text = bounded.read(checked(path), MOST_BYTES)
        bounded.check_values(text, MOST_PARTS)
        document = json.loads(text.decode())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, TargetError):
            raise
        raise refuse(path, f"it can't be read as JSON: {error}.") from None
    if not isinstance(document, dict):
        raise refuse(path, f"it holds a {type(document).__name__}, where an object is right.")
    return document


# Writing


def write(arrays: Mapping[str, Array], path: Path) -> None:
    """Write a table; its suffix says of which kind. The same arrays give the same bytes.

    Raises:
        TargetError: if the kind is safetensors, and that package is not installed.
    """
    if path.suffix == ".json":
        rows = (f"{json.dumps(k)}: {json.dumps(spelled(a))}" for k, a in arrays.items())
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
    elif path.suffix == ".npz":
        plain = {k: a.view(np.uint16) if _is_bf16(a) else a for k, a in arrays.items()}
        np.savez_compressed(path, **plain)  # type: ignore[arg-type]
    else:
        whole = {k: np.array(a, order="C") for k, a in arrays.items()}
        path.write_bytes(safetensors(path).numpy.save(whole))


def safetensors(path: Path) -> Any:
    """The package, which is an extra.

    Raises:
        TargetError: if it is not installed.
    """
    try:
        import safetensors.numpy  # noqa: PLC0415
    except ImportError:
        hint = "pip install 'bn1d-conformance[vectors]', or use json or npz."
        raise refuse(path, "the package safetensors is not installed.", hint) from None
    return safetensors


def _is_bf16(array: Array) -> bool:
    return bool(array.dtype == DTYPES["bf16"])


def spelled(array: Array) -> dict[str, Any]:
    """An array as format, shape, raw bits and, where it is short, hex floats."""
    fmt = next(name for name, dtype in IN_FILES.items() if dtype == array.dtype)
    size = array.dtype.itemsize
    plain = np.array(array, order="C")
    bits = plain.view(f"u{size}").astype(f">u{size}").tobytes().hex()
    row = {"format": fmt, "shape": list(array.shape), "bits": bits}
    if fmt in DTYPES and array.size <= SPELLED:
        row["values"] = [hex_float(v) for v in plain.astype(np.float64).ravel().tolist()]
    return row


# Reading


def read(path: Path) -> Answers:
    """Read a table.

    Raises:
        TargetError: if it is damaged, too large, or holds what no table holds.
    """
    readers: dict[str, Callable[[Path], Answers]] = {
        ".json": _read_json,
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
    }
    return readers[path.suffix](checked(path))


def _count(path: Path, arrays: int) -> None:
    if arrays > MOST_ARRAYS:
        raise refuse(path, f"it holds {arrays} arrays, more than the {MOST_ARRAYS} that are read.")


def _size(path: Path, name: str, shape: Any) -> int:
    """The number of values of a shape that may be read."""
    whole = isinstance(shape, (list, tuple)) and all(type(n) is int and n >= 0 for n in shape)
    size = math.prod(shape) if whole and len(shape) <= MOST_AXES else MOST_VALUES + 1
    if size > MOST_VALUES:
        said = json.dumps(shape)[:60]
        limits = f"at most {MOST_AXES} whole numbers whose product is at most {MOST_VALUES}"
        raise refuse(path, f"{name!r}: the shape is {said}, where {limits} are right.")
    return size


def _read_json(path: Path) -> Answers:
    document = read_json(path)
    _count(path, len(document))
    return {name: _array(path, name, row) for name, row in document.items()}


def _array(path: Path, name: str, row: Any) -> Array:
    """One array of a JSON table: by its bits or, where there are none, by its hex floats."""
    if not isinstance(row, dict) or row.get("format") not in tuple(IN_FILES):
        said = json.dumps(row.get("format") if isinstance(row, dict) else row)[:60]
        raise refuse(path, f"{name!r}: the format is {said}, where {_or(IN_FILES)} is right.")
    size = _size(path, name, row.get("shape"))
    dtype = IN_FILES[row["format"]]
    if "bits" in row:
        flat = _from_bits(path, name, row["bits"], size, dtype)
    else:
        flat = _from_values(path, name, row.get("values"), size, row["format"])
    return flat.reshape(row["shape"])


def _or(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _from_bits(path: Path, name: str, bits: Any, size: int, dtype: np.dtype[Any]) -> Array:
    digits = 2 * dtype.itemsize * size
    if not isinstance(bits, str) or len(bits) != digits:
        said = f"{len(bits)} digits" if isinstance(bits, str) else f"a {type(bits).__name__}"
        raise refuse(path, f"{name!r}: bits has {said}, where {digits} hex digits are right.")
    try:
        raw = bytes.fromhex(bits)
        whole = np.frombuffer(raw, f">u{dtype.itemsize}", count=size)
    except ValueError:
        raise refuse(path, f"{name!r}: bits holds more than hex digits.") from None
    return whole.astype(f"u{dtype.itemsize}").view(dtype)


def _from_values(path: Path, name: str, values: Any, size: int, fmt: str) -> Array:
    if not isinstance(values, list) or len(values) != size:
        said = f"{len(values)} values" if isinstance(values, list) else "neither bits nor values"
        raise refuse(path, f"{name!r}: it has {said}, where {size} values are right.")
    return np.array([_number(path, name, v, fmt) for v in values], IN_FILES[fmt])


def _number(path: Path, name: str, text: Any, fmt: str) -> float | int:
    """One value: a hex float (or nan, inf) that is a number of its format, or a whole number."""
    try:
        value = float.fromhex(text) if fmt in DTYPES else int(text, 10)
    except (TypeError, ValueError, OverflowError):
        value = None
    within = value is not None and (
        -(2**63) <= value < 2**63
        if isinstance(value, int)
        else math.isnan(value) or float(to_format(np.array(value), fmt)) == value
    )
    if value is None or not within:
        raise refuse(path, f"{name!r}: the value {json.dumps(text)[:60]} is no number of {fmt}.")
    return value


def _read_npz(path: Path) -> Answers:
    try:
        _count(path, _claimed(path))
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _total(path, sum(m.file_size for m in members))
            return {_stem(path, m): _member(path, m, file) for m in members}
    except TargetError:
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file raises has no end
        raise refuse(path, f"it can't be read as npz: {error}.") from None


def _claimed(path: Path) -> int:
    """How many members a zip file may list, as far as that is too many: none is read for it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return sum(1 for _ in islice(re.finditer(ENTRY, whole), MOST_ARRAYS + 1))


def _total(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise refuse(
            path, f"it unpacks to {size} bytes, more than the {MOST_BYTES} that are read."
        )


def _stem(path: Path, member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise refuse(path, f"{member.filename!r} is no array.")
    return member.filename.removesuffix(".npy")


def _member(path: Path, member: zipfile.ZipInfo, file: zipfile.ZipFile) -> Array:
    """One array; its header is believed only as far as there are bytes behind it."""
    name = member.filename
    with file.open(member) as stream:
        data = io.BytesIO(stream.read(member.file_size))
    version = np.lib.format.read_magic(data)
    readers: dict[tuple[int, int], Callable[[Any], Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise refuse(path, f"{name!r}: its npy version {version} is not read.")
    shape, by_column, dtype = readers[version](data)
    fmt = NPZ.get(dtype.newbyteorder("=").name)
    if fmt is None or dtype.hasobject:
        raise refuse(path, f"{name!r}: the dtype is {dtype}, where {_or(NPZ)} is right.")
    size = _size(path, name, shape)
    flat = np.frombuffer(data.getbuffer()[data.tell() :], dtype, count=size)
    whole = flat.astype(dtype.newbyteorder("=")).view(IN_FILES[fmt])
    return whole.reshape(shape, order="F" if by_column else "C")


def _read_safetensors(path: Path) -> Answers:
    package = safetensors(path)
    whole = path.read_bytes()
    if (size := int.from_bytes(whole[:8], "little")) > MOST_HEADER:
        raise refuse(path, f"its header has {size} bytes, more than the {MOST_HEADER} of a table.")
    try:
        rows = package.deserialize(whole)
    except Exception as error:  # noqa: BLE001 - what a damaged file raises has no end
        raise refuse(path, f"it can't be read as safetensors: {error}.") from None
    _count(path, len(rows))
    return {name: _tensor(path, name, row) for name, row in rows}


def _tensor(path: Path, name: str, row: Mapping[str, Any]) -> Array:
    fmt = SAFETENSORS.get(row["dtype"])
    if fmt is None:
        right = _or(SAFETENSORS)
        raise refuse(path, f"{name!r}: the dtype is {row['dtype']}, where {right} is right.")
    size = _size(path, name, list(row["shape"]))
    dtype = IN_FILES[fmt]
    whole = np.frombuffer(row["data"], f"<u{dtype.itemsize}", count=size)
    return whole.astype(f"u{dtype.itemsize}").view(dtype).reshape(row["shape"])
