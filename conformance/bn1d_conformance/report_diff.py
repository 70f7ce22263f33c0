"""What a person reads of a difference between two results files."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

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
    """Print a row for each requirement that changed, then the counts that did."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("", "id", "was", "now", "requirement"):
        table.add_column(title, no_wrap=True)
    for name, (word, style) in GROUPS.items():
        for row in found[name]:
            table.add_row(word, *_cells(row), style=style)
    if table.row_count:
        console.print(table)
        console.print()
    for name, (was, now) in found["counts"].items():
        console.print(f"{name.replace('_', ' ')}: {was}, now {now}")
    said = [f"{len(found[name])} {word}" for name, (word, _) in GROUPS.items() if found[name]]
    console.print((", ".join(said) or "Nothing changed") + ".")


def _cells(row: Mapping[str, Any]) -> list[str]:
    known = spec.requirements().get(row["requirement"])
    sentence = shorten(known.sentence, WIDTH, placeholder=" ...") if known else ""
    return [row["requirement"], row["was"] or "·", row["now"] or "·", sentence]
