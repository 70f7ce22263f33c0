"""From the results of the generated mutants to the site's page: what was changed, what saw it."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from bn1d_conformance.site.markup import code, front, link, prose, table
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, str]

SPEC = "../spec/"  # from the drawn page


def pages(rows: Sequence[Row]) -> dict[str, str]:
    """Return the page `mutants/generated.md`; `rows` are those of the results of the mutants."""
    return {"mutants/generated.md": _page(rows)}


def _page(rows: Sequence[Row]) -> str:
    killed = [r for r in rows if r["status"] == "killed"]
    equivalent = [r for r in rows if r["status"] == "equivalent"]
    functions = groupby(rows, key=_function)
    parts = "\n".join(_part(name, list(group)) for name, group in functions)
    return f"""{front(searched=False)}# Every generated mutant

{len(rows)} changes to two right implementations, one at a time:
{len(killed)} fail a requirement, and {len(equivalent)} change nothing that the spec asks for.
[What this is for](../mutants.md).

## By area {"{ #by-area }"}

By the area of the requirement that a mutant failed first, after which it was judged no further.

{table(["Area", "Killed"], _areas(killed), " r")}

## By operator {"{ #by-operator }"}

{table(["What was done", "Mutants", "Killed", "Equivalent"], _operators(rows), " rrr")}

## Equivalent, and why {"{ #equivalent }"}

{table(["Mutant", "Before", "After", "Reason"], map(_reasoned, equivalent))}

{parts}"""


def _function(row: Row) -> str:
    """Source and function of a mutant: what its id begins with."""
    return ":".join(row["id"].split(":")[:2])


def _areas(killed: Sequence[Row]) -> list[list[str]]:
    """How many mutants an area killed first, for each area."""
    counts = Counter(r["requirement"].partition("-")[0] for r in killed)
    return [[f"[{a.title}]({SPEC}{a.name.lower()}.md)", str(counts[a.name])] for a in spec.areas()]


def _operators(rows: Sequence[Row]) -> list[list[str]]:
    """How many mutants of an operator there are, and what became of them."""
    counts = Counter(r["operator"] for r in rows)
    by = Counter((r["operator"], r["status"]) for r in rows)
    return [
        [code(name), str(n), str(by[name, "killed"]), str(by[name, "equivalent"])]
        for name, n in counts.most_common()
    ]


def _reasoned(row: Row) -> list[str]:
    return [code(row["id"]), code(row["before"]), code(row["after"]), prose(row["reason"], SPEC)]


def _part(name: str, rows: Sequence[Row]) -> str:
    head = ["Operator", "Before", "After", "Fails"]
    return f"## {code(name)}\n\n{table(head, map(_row, rows))}\n"


def _row(row: Row) -> list[str]:
    fails = link(row["requirement"], SPEC) if row["requirement"] else row["status"]
    return [code(row["operator"]), code(row["before"]), code(row["after"]), fails]
