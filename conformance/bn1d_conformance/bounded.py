"""Files that nobody vouches for: read within bounds, and quoted within bounds.

The bound on values holds memory: JSON spends two bytes on an empty list, Python more than fifty.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: What stands before each value but the first, in JSON and in TOML; within strings it counts too.
BEFORE = (b",", b"[", b"{")
LONG = 700  # characters of a sentence
SHORT = 60  # characters of a value that a sentence quotes


def read(path: Path, most: int) -> bytes:
    """Return what a file holds, even if it has no end.

    Raises:
        OSError: if it can't be read.
        ValueError: if it has more than `most` bytes.
    """
    with path.open("rb") as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise ValueError(f"it has more than {most} bytes")
    return text


def check_values(text: bytes, most: int) -> None:
    """Refuse a text that may have more values than that, before they are made.

    Raises:
        ValueError: if it may.
    """
    if sum(map(text.count, BEFORE)) > most:
        raise ValueError(f"it has more than {most} values")


def printable(value: object) -> str:
    """What a file says, for a terminal: control characters are not passed on."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def clipped(sentence: str) -> str:
    """A sentence that quotes what somebody gave, for a terminal, and not too long to be read."""
    said = printable(sentence)
    return said if len(said) <= LONG else f"{said[:LONG]} ..."


def short(value: object) -> str:
    """A value of a file for a sentence: as JSON, on one line, and not too long."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= SHORT else f"{text[: SHORT - 4]} ..."
