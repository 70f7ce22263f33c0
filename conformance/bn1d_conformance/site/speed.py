"""What a run costs, whose code takes it, and how it grows: measured by conformance/benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_conformance.site.markup import code, literal, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FLOOR = ("import", "subject")  # the parts of a run that no kit can do without
KIT = ("collection", "oracle", "judging", "reporting")
SIZES = ("cases", "channels", "values")  # of a channel
PARTS = ("subject", "oracle", "judging")
LEAST = 0.005  # of a share that is shown
HEAD = ["", "by the clock", "of processors", "import", "subject", "the kit", "×", "memory"]


def costs(found: Mapping[str, Any]) -> str:
    """Return a row for each command, and below them on what they were measured."""
    rows = [[code(name), *_cells(row)] for name, row in found["rows"].items()]
    about = ", ".join(f"{name} {said}" for name, said in found["machine"].items())
    return f"{table(HEAD, rows, 'l' + 'r' * 7)}\n\nMeasured on {literal(about)}."


def growth(found: Mapping[str, Any]) -> str:
    """Return a row for each size of a case, with microseconds for each of its values."""
    rows = [
        [literal(name), *(f"{row[size]:,}" for size in SIZES), *_each(row)]
        for name, grown in found["growth"].items()
        for row in grown
    ]
    head = ["what grows", *SIZES, *(f"{part}, µs a value" for part in PARTS)]
    return table(head, rows, "l" + "r" * 6)


def shares(found: Mapping[str, Any]) -> str:
    """Return a row for whose code it is, with its share of each profile; the largest first."""
    profiles = list(found["shares"])
    names = dict.fromkeys(who for profile in profiles for who in found["shares"][profile])
    rows = [
        [literal(who), *(f"{found['shares'][profile].get(who, 0):.0%}" for profile in profiles)]
        for who in names
        if any(found["shares"][profile].get(who, 0) >= LEAST for profile in profiles)
    ]
    return table(["", *map(code, profiles)], rows, "l" + "r" * len(profiles))


def _each(row: Mapping[str, float]) -> list[str]:
    values = row["cases"] * row["channels"] * row["values"]
    return [f"{row[part] * 1e6 / values:.3f}" for part in PARTS]


def _cells(row: Mapping[str, float]) -> list[str]:
    """Seconds, the multiple of the floor, and memory."""
    seconds = [f"{row[name]:.2f} s" for name in ("wall", "processor")]
    memory = f"{row['memory']:.0f} MiB"
    if not all(name in row for name in FLOOR):
        return [*seconds, "", "", "", "", memory]
    parts = [row["import"], row["subject"], sum(row[name] for name in KIT)]
    over = f"{row['wall'] / sum(parts[:2]):.1f}"
    return [*seconds, *(f"{part:.2f} s" for part in parts), over, memory]
