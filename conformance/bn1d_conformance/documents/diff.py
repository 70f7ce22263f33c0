"""What has changed from one results file to another, requirement by requirement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn1d_conformance.bounded import SHORT, printable
from bn1d_conformance.results import FAILING, HELD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.results import Result

#: What should be the same for verdicts to compare.
COMPARED = {
    "suite": ("kit", "suite_hash"),
    "spec (--spec)": ("options", "spec"),
    "profile": ("options", "profile"),
    "device": ("options", "device"),
    "selection (-k)": ("options", "select"),
}


def diff(old: Result, new: Result) -> dict[str, Any]:
    """Compare two results files, aligned by id.

    A requirement regresses where it fails and did not, and where it held and is open: what is
    no longer judged is no longer known to hold. One that is in `new` alone is no regression.
    """
    was, now = old["requirements"], new["requirements"]
    both = [i for i in now if i in was and _verdict(was[i]) != _verdict(now[i])]
    moved = {i: _rank(_verdict(now[i])) - _rank(_verdict(was[i])) for i in both}
    return {
        "regressions": [_row(i, was, now) for i in both if moved[i] < 0],
        "improvements": [_row(i, was, now) for i in both if moved[i] > 0],
        "others": [_row(i, was, now) for i in both if moved[i] == 0],
        "new": [_row(i, was, now) for i in now if i not in was],
        "removed": [_row(i, was, now) for i in was if i not in now],
        "counts": dict(_counts(old, new)),
        "warnings": list(_warnings(old, new)),
    }


def _verdict(row: Any) -> str:
    return str(row["verdict"])


def _rank(verdict: str) -> int:
    """Failing, open, held."""
    return 0 if verdict in FAILING else 2 if verdict in HELD else 1


def _row(ident: str, was: Any, now: Any) -> dict[str, Any]:
    return {
        "requirement": ident,
        "was": was[ident]["verdict"] if ident in was else None,
        "now": now[ident]["verdict"] if ident in now else None,
    }


def _counts(old: Result, new: Result) -> Iterator[tuple[str, list[int]]]:
    for name, number in new["counts"].items():
        if old["counts"][name] != number:
            yield name, [old["counts"][name], number]


def _warnings(old: Result, new: Result) -> Iterator[str]:
    pairs = ((old, new), (new, old))  # what one of them was not asked for is as in the other
    for name, (part, key) in COMPARED.items():
        was, now = (one[part].get(key, other[part].get(key)) for one, other in pairs)
        if was != now:
            was, now = (printable(value or "all")[:SHORT] for value in (was, now))
            yield f"the {name} differs: {was}, then {now}"
