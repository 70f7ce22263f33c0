"""What a person reads in the terminal: progress while it runs, then the verdict."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from bn1d_conformance import asked, dialect
from bn1d_conformance.bounded import printable
from bn1d_conformance.expectations import NO_MATCH, PASSES
from bn1d_conformance.results import FAILING
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bn1d_conformance.results import Result
    from bn1d_conformance.running.run import Options, Progress

STYLE = {"conforms": "bold green", "diverges": "bold red", "incomplete": "bold yellow"}
SHOWN = 8  # diagnoses printed before the rest is counted
STALE = {PASSES: "passes", NO_MATCH: "names nothing that was judged"}
SIGNS = {
    "pass": "pass", "fail": "fail", "not_applicable": "n/a", "not_run": "not run",
    "expected_fail": "expected", "unexpected_pass": "unexpected",
}  # fmt: skip


@contextmanager
def following(options: Options) -> Iterator[Progress]:
    """Follow a run: a bar in a terminal, a line every tenth elsewhere."""
    console = Console(stderr=True)
    console.print(Text(f"Judging {options.target} ({options.profile}, seed {options.seed})"))
    with counting("checks", console) as progress:
        yield progress


@contextmanager
def counting(what: str, console: Console) -> Iterator[Progress]:
    """Count what ends of many."""
    if not console.is_terminal:
        yield Lines(what)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        yield Live(bar)


class Live:
    """A progress bar."""

    def __init__(self, bar: Bar) -> None:
        """Start without a total: collection comes first."""
        self.bar = bar
        self.task = bar.add_task("collecting", total=None)

    def total(self, items: int) -> None:
        """The number of items is known."""
        self.bar.update(self.task, total=items, description="")

    def advance(self, nodeid: str) -> None:
        """One more."""
        name = nodeid.rpartition("::")[2]
        self.bar.update(self.task, advance=1, description=printable(name)[:50])


class Lines:
    """Plain lines, for logs."""

    def __init__(self, what: str) -> None:
        """Nothing has ended yet."""
        self.what = what
        self.items = self.ended = 0

    def total(self, items: int) -> None:
        """The number of items is known."""
        self.items = items

    def advance(self, nodeid: str) -> None:
        """Say so at every tenth of the whole."""
        del nodeid
        self.ended += 1
        tenth = max(self.items // 10, 1)
        if self.ended % tenth == 0 and self.ended <= self.items:
            sys.stderr.write(f"  {self.ended} of {self.items} {self.what}\n")


def show(result: Result, saved: Path | None, *, timings: bool = False) -> None:
    """Print the verdict: diagnoses first, then areas, counts, grade, and how to see more."""
    console = Console(highlight=False, soft_wrap=True)
    _headline(console, result)
    _diagnoses(console, result)
    _deviations(console, result)
    _errors(console, result)
    _halted(console, result)
    console.print(_areas(result))
    _counts(console, result)
    _expectations(console, result)
    _seed(console, result["options"])
    if timings:
        _timings(console, result)
    _more(console, result, saved)


def _headline(console: Console, result: Result) -> None:
    subject = result["subject"]
    version = f" {subject['version']}" if subject["version"] else ""
    line = Text(
        f"\n{printable(subject['target'])} ({printable(subject['name'])}{printable(version)}) "
    )
    line.append(result["verdict"], STYLE[result["verdict"]])
    if count := result["counts"]["deviates"]:
        line.append(f", with {count} documented deviation{'s' * (count > 1)}")
    console.print(line)


def _diagnoses(console: Console, result: Result) -> None:
    rows = result["diagnoses"]
    for number, row in enumerate(rows[:SHOWN], 1):
        level = result["requirements"][row["requirement"]]["level"]
        head = Text(f"\n{number}. {row['requirement']} ", "bold")
        head.append(f"({level}) ", "dim")
        head.append(printable(row["cause"]), "bold")
        console.print(head)
        console.print(Text(f"   {printable(row['evidence'])}"))
        if row["folded"]:
            console.print(Text(f"   The same explains {', '.join(row['folded'])}.", "dim"))
    if len(rows) > SHOWN:
        rest = ", ".join(r["requirement"] for r in rows[SHOWN:])
        console.print(f"\n   and {len(rows) - SHOWN} more: {rest}")


def _deviations(console: Console, result: Result) -> None:
    """What each declared convention excuses; of a whole run, also what excuses nothing."""
    found, declared = dialect.deviations(result), result["subject"]["dialect"]
    for convention, ids in found.items():
        verb = "deviate" if len(ids) > 1 else "deviates"
        said = f"{', '.join(ids)} {verb}, by the declared {printable(convention)}."
        console.print(Text(f"\n{said}"))
    whole = result["verdict"] == "conforms" and not result["options"]["select"]
    for key in dialect.differing(declared) if whole else ():
        convention = dialect.named(declared, key)
        if dialect.BY_KEY[key].excuses and convention not in found:
            console.print(Text(f"\nNothing deviates by {printable(convention)}.", "dim"))


def _errors(console: Console, result: Result) -> None:
    for row in result["errors"][:3]:
        said = printable(row["said"])
        console.print(Text(f"\nThe kit itself failed in {row['nodeid']}: {said}", "yellow"))


def _halted(console: Console, result: Result) -> None:
    if stages := [printable(stage) for stage in result["halted"]]:
        line = f"\nGiven up, after too many lost processes: {', '.join(stages)}."
        console.print(Text(line, "yellow"))


def _areas(result: Result) -> Table:
    """A line an area, a column a verdict that occurs."""
    rows = result["requirements"]
    seen = [v for v in result["counts"] if v != "total" and result["counts"][v]]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("\narea")
    for name in seen:
        table.add_column("\n" + SIGNS.get(name, name), justify="right")
    for area in spec.areas():
        judged = [rows[r.id]["verdict"] for r in area.requirements if r.id in rows]
        counts = Counter(verdict.replace("-", "_") for verdict in judged)
        cells = [str(counts[v]) if counts[v] else "·" for v in seen]
        bad = any(counts[v] for v in FAILING)
        table.add_row(f"{area.name:6} {area.title}", *cells, style="red" if bad else "")
    return table


def _counts(console: Console, result: Result) -> None:
    c = result["counts"]
    diverges = sum(c[v] for v in FAILING)
    open_ = c["not_applicable"] + c["not_run"] + c["error"]
    deviates = f"{c['deviates']} deviate, " if c["deviates"] else ""
    known = f"{c['expected_fail']} expected to fail, " if c["expected_fail"] else ""
    early = f"{c['unexpected_pass']} expected to and pass, " if c["unexpected_pass"] else ""
    line = f"\n{diverges} diverge, {deviates}{known}{early}{open_} not covered, {c['pass']} pass"
    grade = result["accuracy"]["grade"]
    console.print(
        f"{line}, of {c['total']} requirements"
        + (f"; accuracy grade: {grade}" if grade and not diverges else "")
        + "."
    )
    left = asked.COMPILER - result["requirements"].keys()
    if left and result["options"]["profile"] == "quick":
        console.print(f"--profile full asks about {len(left)} more.", style="dim")


def _expectations(console: Console, result: Result) -> None:
    """Say where the expectations file is out of date, and which reasons are still to be given."""
    file, rows = printable(result["options"].get("expect", "")), result["expectations"]
    for outcome, why in STALE.items():
        if names := [_about(row) for row in rows if row["outcome"] == outcome]:
            console.print(Text(f"{file} is out of date: {', '.join(names)} {why}.", "yellow"))
    if unsaid := [_about(row) for row in rows if row["reason"].startswith("TODO")]:
        console.print(Text(f"{file} does not say why of {', '.join(unsaid)}.", "yellow"))


def _about(row: Mapping[str, str]) -> str:
    return printable(" ".join(filter(None, (row["requirement"], row["case"]))))


def _seed(console: Console, options: dict[str, Any]) -> None:
    """Say how to meet the same cases again, where they are not those of every run."""
    profile, seed = options["profile"], options["seed"]
    if profile == "deep" or seed:
        console.print(f"--profile {profile} --seed {seed} draws the same cases again.")


def _timings(console: Console, result: Result) -> None:
    parts: dict[str, Any] = result["timings"]
    shown = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    console.print(f"Seconds: {shown}; {result['seconds']:.2f} in all.")


def _more(console: Console, result: Result, saved: Path | None) -> None:
    lines = []
    if result["diagnoses"]:
        first = result["diagnoses"][0]["requirement"]
        lines.append(f"bn1d explain {first}")
        file = saved or "RESULT.json"
        lines.append(
            f"bn1d repro {file}" + ("" if saved else "  (after bn1d run --json RESULT.json)")
        )
    elif saved:
        lines.append(f"The results file is {saved}.")
    if "part" in result:
        shard = result["part"]["shard"]
        lines.append(f"This is part {shard} of a run; bn1d results merge joins the parts.")
    if lines:
        console.print(Text("\n" + "\n".join(lines), "dim"))
