"""What a run writes down while it goes: one JSON object a line, flushed, so that nothing is lost.

Each process appends to a file of its own in the run's folder. Events, by their `e`:

- `loading`, `loaded` (the subject), `refused` (it can't be judged: sentence and hint);
- `offer` (what the subject can do, and its names);
- `item` (a check begins: nodeid, requirements, its place among all), `case` (one of its cases
  begins), `doing` (what the subject is about to do);
- `judged` (requirement, case, passed, failures; deviates: the conventions that excuse it),
  `skip` (not applicable or not run, and why);
- `accuracy` (a passing comparison's score), `error` (the kit's own), `end` (of the item);
- `died` (written by the parent: the process was lost in this item, and how), `lost` (a process or
  its device, where the subject says so itself), `halted` (what is not asked any more);
- `spent` (seconds).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.subject import Array

#: Events that belong to no item, even where they are written in one.
OF_THE_RUN = ("loading", "loaded", "refused", "offer", "spent")


class Recorder:
    """Appends events to a file, or keeps them where there is no folder to write to."""

    def __init__(self, path: Path | None, failed: Callable[[OSError], Any] | None = None) -> None:
        """Open the file; every event is flushed, so a crash loses none.

        Args:
            path: of the file.
            failed: is told where it can't be written, as on a full disk.
        """
        self._file = path.open("a", encoding="utf-8") if path else None
        self._failed = failed

    def write(self, event: str, **values: Any) -> None:
        """Append one event.

        Raises:
            OSError: if it can't be written; what is left of it is no event for a reader.
        """
        if not self._file:
            return
        try:
            self._file.write(_written({"e": event, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            if self._failed:
                self._failed(error)
            raise

    def compared(self, got: Array | None, answer: Answer) -> None:
        """Hear of an answer and of the bound that it is judged under: no event of a run."""


def _written(event: dict[str, Any]) -> str:
    """An event as a line of ASCII; where a subject's text has no Unicode, it has "?"."""
    line = json.dumps(event, default=_plain)
    if "\\ud" in line:  # a half of a character or a whole one, which is two
        text = json.dumps(event, default=_plain, ensure_ascii=False)
        line = json.dumps(json.loads(text.encode("utf-8", "replace")))
    return line


def _plain(value: Any) -> Any:
    """What JSON has no word for: a NumPy number as a number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every event of a folder; a line that a crash cut short is left out."""
    for path in sorted(folder.glob("*.jsonl")):
        for event in events(path):
            if event:
                yield {**event, "process": path.stem}


def lines(path: Path) -> Iterator[Any]:
    """Yield what each line of a file holds; None in the place of one that is cut short.

    Where the file is not there, that is nothing.
    """
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    yield from map(_line, text.splitlines())


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def events(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the events of one process; None in the place of a line that is none."""
    for event in lines(path):
        yield event if isinstance(event, dict) and "e" in event else None


class Journal:
    """What a run wrote down, item by item, whatever it was split or interrupted by.

    An item counts once, and only if it has ended: of one that a kill cut short nothing does.

    Attributes:
        common: events that belong to no item.
        ended: the events of each item that has ended, by nodeid.
    """

    def __init__(self, *folders: Path) -> None:
        """Read the folders of a run: one, or one for each of its attempts, in their order."""
        self.common: list[dict[str, Any]] = []
        self.ended: dict[str, list[dict[str, Any]]] = {}
        for folder in folders:
            begun: dict[str, list[dict[str, Any]]] = {}
            for path in sorted(folder.glob("*.jsonl")):  # the parent's comes last
                self._read(path, begun)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what counts: items in the order of the checks, whoever judged them, and when."""
        yield from self.common
        for item in sorted(self.ended.values(), key=_place):
            yield from item

    def _read(self, path: Path, begun: dict[str, list[dict[str, Any]]]) -> None:
        """Read one process's file; `begun` has the items of its folder that have not ended."""
        item: list[dict[str, Any]] = []
        for event in events(path):
            kind = event["e"] if event else "torn"
            if event is None:
                item = []  # of an item with a gap nothing is believed
            elif kind == "item":
                item = begun[event["nodeid"]] = [event]
            elif kind == "died":
                self._died(event, begun)
            elif kind in OF_THE_RUN or (kind == "error" and not item):
                self.common.append(event)
            elif item:
                item.append(event)
                if kind == "end":
                    self.ended.setdefault(item[0]["nodeid"], item)

    def _died(self, event: dict[str, Any], begun: dict[str, list[dict[str, Any]]]) -> None:
        """End the item that cost its process, with what was judged of it before."""
        nodeid = event["nodeid"]
        self.ended.setdefault(nodeid, begun.get(nodeid, [])).append(event)


def _place(events: list[dict[str, Any]]) -> int:
    """Where an item stands among all; one whose process was lost before it began, last."""
    return int(events[0].get("place", sys.maxsize))
