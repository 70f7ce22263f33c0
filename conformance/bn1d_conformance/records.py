"""What a run writes down while it goes: one JSON object a line, flushed, so that nothing is lost.

Each process appends to a file of its own in the run's folder. Events, by their `e`:

- `loading`, `loaded` (the subject), `refused` (it can't be judged: sentence and hint);
- `offer` (what the subject can do, and its names);
- `item` (a check begins: nodeid, requirements), `case` (one of its cases begins),
  `doing` (what the subject is about to do);
- `judged` (requirement, case, passed, failures; deviates: the conventions that excuse it),
  `skip` (not applicable or not run, and why);
- `accuracy` (a passing comparison's score), `error` (the kit's own), `end` (of the item);
- `died` (written by the parent: the process was lost in this item, and how), `spent` (seconds).
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bn1d_conformance.expected import Answer
    from bn1d_conformance.subject import Array


class Recorder:
    """Appends events to a file, or keeps them where there is no folder to write to."""

    def __init__(self, path: Path | None) -> None:
        """Open the file; every event is flushed, so a crash loses none."""
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(self, event: str, **values: Any) -> None:
        """Append one event."""
        if self._file:
            self._file.write(json.dumps({"e": event, **values}, default=_plain) + "\n")
            self._file.flush()

    def compared(self, got: Array | None, answer: Answer) -> None:
        """Hear of an answer and of the bound that it is judged under: no event of a run."""


def _plain(value: Any) -> Any:
    """What JSON has no word for: a NumPy number as a number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every event of a run; a line that a crash cut short is left out."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                yield {**json.loads(line), "process": path.stem}
