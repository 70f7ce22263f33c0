"""The messages of the wire, version 1: what is asked, what must come back, arrays as text.

`docs/wire.md` is the specification; the schemas `wire-request` and `wire-answer` say the same.
What a worker writes is data: it is checked field by field, and nothing of it is run.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

import ml_dtypes
import numpy as np

from bn1d_conformance.subject import CAPABILITIES, COUNTER, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bn1d_conformance.subject import Array, Config

PROTOCOL = 1
#: The dtypes of arrays, by the names that PyTorch and NumPy have for them.
DTYPES = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{
        name: np.dtype(name)
        for name in (
            "float16", "float32", "float64", "int64", "int32", "uint8", "bool", "complex64",
        )
    },
}  # fmt: skip
FORMATS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64"}
#: What is about an object that somebody holds in hand does not cross.
UNWIRED = {
    "double-backward", "dtype-option", "live", "pickle", "torch-module",
    "script", "trace", "compile", "export", "vmap", "forward-ad", "lazy",
}  # fmt: skip
WIRED = {name: about for name, about in CAPABILITIES.items() if name not in UNWIRED}
#: The fields of each answer's `result`, by request; "?" may be null, or left out.
ANSWERS: dict[str, dict[str, str]] = {
    "hello": {
        "protocol": "count",
        "name": "text",
        "version": "text",
        "language": "text",
        "capabilities": "words",
        "homepage": "text?",
        "dialect": "table?",
        "names": "table?",
        "device": "text?",
    },
    "build": {},
    "load": {},
    "forward": {"y": "array"},
    "backward": {"dx": "array", "dweight": "array?", "dbias": "array?"},
    "state": {**dict.fromkeys(ROLES, "array?"), COUNTER: "count?"},
    "close": {},
}
ERROR = {"type": "text", "message": "message", "bases": "words?"}
MOST_AXES = 8
MOST_TEXT = 2000  # characters of a name, a message or another text
SHOWN = 60  # characters of what can't be read that are quoted


class MalformedError(ValueError):
    """What a worker wrote is not the protocol's: what, in words that follow "the worker"."""


def config(given: Config | int) -> dict[str, Any]:
    """A configuration in PyTorch's terms; num_features alone leaves the rest to the layer."""
    if isinstance(given, int):
        return {"num_features": given}
    values = dict(vars(given))
    values["dtype"] = FORMATS[values.pop("format")]
    return values


def encode(value: Any) -> Any:
    """The value with its arrays as dtype, shape and base64 of little-endian bytes."""
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"))
        data = base64.b64encode(little.tobytes()).decode("ascii")
        return {"dtype": value.dtype.name, "shape": list(value.shape), "data": data}
    if isinstance(value, dict):
        return {k: encode(v) for k, v in value.items()}
    return value


def line(ident: int, do: str, fields: Mapping[str, Any]) -> bytes:
    """A request, as one line."""
    message = {"id": ident, "do": do, **{k: encode(v) for k, v in fields.items()}}
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def parse(text: bytes, ident: int) -> dict[str, Any]:
    """Read the line that answers request `ident`; it has a `result` or an `error`.

    Raises:
        MalformedError: if it is no such line.
    """
    try:
        message = json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise MalformedError(f"wrote a line that is not UTF-8: {quote(text)}") from None
    except RecursionError:
        raise MalformedError(f"wrote JSON nested too deeply: {quote(text)}") from None
    except ValueError:
        raise MalformedError(f"wrote a line that is no JSON: {quote(text)}") from None
    if not isinstance(message, dict):
        raise MalformedError(f"wrote JSON that is no object: {quote(text)}")
    if message.get("id") != ident or isinstance(message.get("id"), bool):
        said = quote(json.dumps(message.get("id")).encode())
        raise MalformedError(f"answered with a wrong id: {said[1:-1]}, where {ident} is right")
    if ("result" in message) == ("error" in message) or len(message) != 2:
        keys = quote(", ".join(sorted(message)).encode())
        raise MalformedError(
            f"answered with wrong fields: {keys[1:-1]}, where id and result or error is right"
        )
    return message


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def quote(text: bytes) -> str:
    """The start of what was written, in quotes, nothing unprintable in it."""
    start = text[: 4 * SHOWN].decode("utf-8", "replace")
    clean = "".join(c if c.isprintable() else "·" for c in start)
    return f'"{clean[:SHOWN]}{"…" if len(clean) > SHOWN or len(text) > 4 * SHOWN else ""}"'


def result(do: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `result`, each checked, arrays decoded; what is left out is None.

    There is nothing in the result of a request that the protocol has not.

    Raises:
        MalformedError: naming the first field that is not as it must be.
    """
    return fields(f"{do}'s result", answer["result"], ANSWERS.get(do, {}))


def fields(what: str, given: Any, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Check an object against a table of fields.

    Raises:
        MalformedError: as `result` does.
    """
    if not isinstance(given, dict):
        raise MalformedError(f"answered with {what} that is no object")
    if unknown := sorted(set(given) - set(kinds)):
        known = ", ".join(kinds) or "nothing"
        name = quote(unknown[0].encode("utf-8", "replace"))
        raise MalformedError(f"answered with {what} that has a field {name}: there are {known}")
    return {
        name: _field(f"{name} in {what}", given.get(name), kind) for name, kind in kinds.items()
    }


def _field(what: str, value: Any, kind: str) -> Any:
    if value is None:
        if kind.endswith("?"):
            return None
        raise MalformedError(f"left out {what}")
    return KINDS[kind.rstrip("?")](what, value)


def array(what: str, given: Any) -> Array:
    """Read an array; whether its shape and dtype are right, the checks say.

    Raises:
        MalformedError: if its three parts do not fit one another.
    """
    parts = fields(what, given, {"dtype": "text", "shape": "shape", "data": "bytes"})
    if parts["dtype"] not in DTYPES:
        name = quote(parts["dtype"].encode("utf-8", "replace"))
        raise MalformedError(f"wrote {what} of dtype {name}: there are {', '.join(DTYPES)}")
    dtype, shape, data = DTYPES[parts["dtype"]], parts["shape"], parts["data"]
    want = math.prod(shape) * dtype.itemsize
    if len(data) != want:
        is_right = f"where {parts['dtype']} of shape {list(shape)} has {want}"
        raise MalformedError(f"wrote {what} of a wrong length: {len(data)} bytes, {is_right}")
    little = np.frombuffer(data, dtype.newbyteorder("<"))
    return little.astype(dtype).reshape(shape)


def _shape(what: str, value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and len(value) <= MOST_AXES
    if not (good and all(_is_count(n) and n < 2**40 for n in value)):
        raise MalformedError(f"wrote {what} that is no list of up to {MOST_AXES} sizes")
    return tuple(value)


def _bytes(what: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise MalformedError(f"wrote {what} that is no base64") from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _count(what: str, value: Any) -> int:
    if not _is_count(value) or value >= 2**63:
        raise MalformedError(f"wrote {what} that is no whole number from 0 to 2^63 − 1")
    return int(value)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise MalformedError(f"wrote {what} that is no text of up to {MOST_TEXT} characters")
    return clean(value)


def _message(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"wrote {what} that is no text")
    return clean(value[:MOST_TEXT])


def clean(text: str) -> str:
    """The text with a space for what no terminal and no file should be given."""
    return "".join(c if c.isprintable() else " " for c in text)


def _words(what: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise MalformedError(f"wrote {what} that is no list of texts")
    return [_text(what, word) for word in value]


def _table(what: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise MalformedError(f"wrote {what} that is no table of texts")
    return {_text(what, key): _text(what, word) for key, word in value.items()}


KINDS: dict[str, Callable[[str, Any], Any]] = {
    "array": array,
    "bytes": _bytes,
    "count": _count,
    "message": _message,
    "shape": _shape,
    "table": _table,
    "text": _text,
    "words": _words,
}
