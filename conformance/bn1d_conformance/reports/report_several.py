"""What a person reads of several subjects: how many have ended, then a table of all."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bn1d_conformance.bounded import printable
from bn1d_conformance.reports import report
from bn1d_conformance.results import FAILING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bn1d_conformance.running.run import Options
    from bn1d_conformance.running.several import Row

VERDICTS = ("conforms", "diverges", "incomplete", "no-result")
STYLE = {**report.STYLE, "no-result": "bold yellow"}
WIDE = 1000  # columns of a table that goes to a file: none of its lines is broken
SAID = 90  # characters of what is said of a subject
OPEN = ("not_applicable", "not_run", "error")


@contextmanager
def following(number: int, options: Options) -> Iterator[Callable[[Row], None]]:
    """Follow so many subjects; yields what is to hear of each that has ended."""
    console = Console(stderr=True)
    about = f"{options.profile}, seed {options.seed}, {options.jobs} at a time"
    console.print(Text(f"Judging {number} subjects ({about})"))
    with report.counting("subjects", console) as progress:
        progress.total(number)
        yield lambda row: progress.advance(row.target)


def show(rows: Sequence[Row], folder: Path | None) -> None:
    """Print a line a subject, in their order, and how many got which verdict."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    console.print(_table(rows))
    counts = Counter(row.verdict for row in rows)
    said = ", ".join(f"{counts[v]} {v.replace('-', ' ')}" for v in VERDICTS if counts[v])
    console.print(f"\n{said}, of {len(rows)} subjects.")
    if folder:
        console.print(Text(f"The results files are in {folder}.", "dim"))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("\nsubject", no_wrap=True)
    table.add_column("\nverdict", no_wrap=True)
    for name in ("diverge", "not covered", "pass", "seconds"):
        table.add_column(f"\n{name}", justify="right", no_wrap=True)
    table.add_column("\nfirst")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> Iterator[Text]:
    counts = row.counts
    yield Text(printable(row.target))
    yield Text(row.verdict.replace("-", " "), STYLE[row.verdict])
    for names in (FAILING, OPEN, ("pass",)):
        yield Text(str(sum(counts[v] for v in names)) if counts else "·")
    yield Text(f"{row.seconds:.1f}")
    says = printable(row.says)
    yield Text(says if len(says) <= SAID else f"{says[: SAID - 4]} ...")
