"""What a person reads of a difference between two results files."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The groups of a difference, and how each is called and looks.
GROUPS = {
    "regressions": ("regressed", "red"),
    "improvements": ("improved", "green"),
    "others": ("changed", ""),
    "new": ("new", ""),
    "removed": ("removed", "dim"),
}
WIDTH = 60  # characters of a requirement's sentence


def show(found: Mapping[str, Any]) -> None:
    """Print a line for each requirement that changed, then the counts that did."""
    console = Console(highlight=False, soft_wrap=True)
    for name, (word, style) in GROUPS.items():
        for row in found[name]:
            console.print(Text(_line(word, row), style))
    for name, (was, now) in found["counts"].items():
        console.print(f"{name.replace('_', ' ')}: {was}, now {now}")
    said = [f"{len(found[name])} {word}" for name, (word, _) in GROUPS.items() if found[name]]
    console.print((", ".join(said) or "Nothing changed") + ".")


def _line(word: str, row: Mapping[str, Any]) -> str:
    """A row of the table: the columns have the same places in every run."""
    known = spec.requirements().get(row["requirement"])
    sentence = shorten(known.sentence, WIDTH, placeholder=" ...") if known else ""
    was, now = (row[when] or "·" for when in ("was", "now"))
    return f"{word:10}{row['requirement']:10}{was:16}{now:16}{sentence}"
