"""What other checks let through, as tables: measured by conformance/benchmarks/other_checks.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_conformance.site.markup import code, link, literal, number, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bn1d_conformance.documents.kills import Kills, Mutant

#: The areas of what every check looks at: outputs, statistics and gradients, and their accuracy.
NUMBERS = ("TRAIN", "EVAL", "STATS", "GRAD", "NUM")


def summary(found: dict[str, Any], kills: Kills) -> str:
    """Return a row for each check, and one for the kit."""
    names = {row["name"] for row in found["mutants"]}
    mutants = [m for m in kills.mutants if m.name in names]
    groups = [mutants, [m for m in mutants if m.seen], [m for m in mutants if _numeric(m)]]
    seen = {row["name"]: row["seen_by"] for row in (*found["mutants"], *found["right"])}
    false = [row["name"] for row in found["right"]]
    rows = [
        [
            said.rstrip("."),
            *_counts(name, groups, seen),
            number(sum(name in seen[r] for r in false)),
        ]
        for name, said in found["checks"].items()
    ]
    kit = [number(sum(not m.failing for m in group)) for group in groups]
    head = ["the check", *_heads(groups), f"false alarms, of {len(false)}"]
    return table(head, [*rows, [code("bn1d run"), *kit, "none: a test"]], "lrrrr")


def _numeric(mutant: Mutant) -> bool:
    return mutant.requirement.rpartition("-")[0] in NUMBERS


def _heads(groups: Sequence[Sequence[Mutant]]) -> list[str]:
    every, reported, numeric = map(len, groups)
    return [
        f"lets through, of {every}",
        f"of the {reported} that repeat a public report",
        f"of the {numeric} about outputs, statistics and gradients",
    ]


def _counts(
    check: str, groups: Iterable[Sequence[Mutant]], seen: dict[str, list[str]]
) -> Iterable[str]:
    return (number(sum(check not in seen[m.name] for m in group)) for group in groups)


def missed(found: dict[str, Any], kills: Kills) -> str:
    """Return the mutants that no other check sees, of those that repeat a public report."""
    unseen = {row["name"] for row in found["mutants"] if not row["seen_by"]}
    rows = [
        [literal(m.name), literal(m.sentence), link(m.requirement, "spec/"), literal(m.seen)]
        for m in sorted(kills.mutants, key=lambda m: m.name)
        if m.name in unseen and m.seen
    ]
    return table(["mutant", "what it does", "fails", "reported as"], rows)
