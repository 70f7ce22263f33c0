"""One results file of the parts of a run: what a part's file says for it, and how they are joined.

A requirement has checks in several parts, so that its verdict, and even more a diagnosis, is that
of all of them. A part's file says for this, in `part`, what the file of a whole run leaves out;
the whole is then built from what was seen, as it is after a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn1d_conformance.bounded import short
from bn1d_conformance.documents.reading import ResultsError
from bn1d_conformance.parts import shard
from bn1d_conformance.results import (
    DESCRIBED,
    KEPT,
    Tally,
    build,
    gave_up,
    overall,
    place,
)
from bn1d_conformance.suite import suite_hash
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bn1d_conformance.results import Result

FAILURE = ("case", "message", "cause", "evidence")
#: Options that parts may differ in.
FREE = ("jobs", "shard")


def merge(parts: Sequence[tuple[str, Result]]) -> Result:
    """Return the results of the whole run.

    Args:
        parts: the name of each part's file, and its document.

    Raises:
        ResultsError: if they are not the parts of one run, each once.
    """
    documents = _in_order(parts)
    first = documents[0]
    whole = build(
        tally(documents),
        {**first["options"], "shard": ""},
        complete=all(d["part"]["verdict"] != "incomplete" for d in documents),
        seconds=sum(d["seconds"] for d in documents),
    )
    when = max(d["date"] for d in documents)
    return {**whole, "kit": first["kit"], "environment": first["environment"], "date": when}


def _in_order(parts: Sequence[tuple[str, Result]]) -> list[Result]:
    """The parts from first to last, which all belong to one run."""
    found: dict[int, tuple[str, Result]] = {}
    for name, document in parts:
        if "part" not in document:
            raise ResultsError(f"{name} is no part of a run: bn1d run --shard K/N makes them.")
        _same_run(parts[0], (name, document))
        k, n = shard(document["part"]["shard"])
        if k in found:
            raise ResultsError(f"{name} and {found[k][0]} are both part {k}/{n}.")
        found[k] = name, document
    if lacking := [f"{k}/{n}" for k in range(1, n + 1) if k not in found]:
        raise ResultsError(f"The run has {n} parts, and not given: {', '.join(lacking)}.")
    return [found[k][1] for k in sorted(found)]


def _same_run(one: tuple[str, Result], other: tuple[str, Result]) -> None:
    """Refuse two files that differ in anything that a run has once, and a suite that is not here.

    Diagnoses are made anew, so they are this suite's.
    """
    if found := difference(identity(one[1]), identity(other[1])):
        field, was, now = found
        raise ResultsError(
            f"{one[0]} and {other[0]} are of two runs: {field} is {was}, and {now}."
        )
    if other[1]["kit"]["suite_hash"] != suite_hash():
        raise ResultsError(f"{other[0]} was judged by another suite than the one that merges.")


def identity(document: Result) -> dict[str, Any]:
    """What the parts of one run have in common."""
    options = {k: v for k, v in document["options"].items() if k not in FREE}
    _, _, n = document["part"]["shard"].partition("/")
    return {
        "kit": document["kit"],
        "options": options,
        "subject": document["subject"],
        "environment": document["environment"],
        "parts": n,
    }


def difference(one: Any, other: Any, name: str = "") -> tuple[str, str, str] | None:
    """The first field in which two documents differ, and what it is in each; None if in none."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if found := difference(one.get(key), other.get(key), f"{name}.{key}".lstrip(".")):
                return found
    return name, short(one), short(other)


def summary(
    tally: Tally,
    rows: Mapping[str, Any],
    text: str,
    version: str = spec.CURRENT,
    *,
    complete: bool,
) -> dict[str, Any]:
    """Return what a part's results file adds: its verdict, and what diagnoses are made from.

    Args:
        tally: what was seen.
        rows: the requirements of the results file.
        text: K/N.
        version: of the spec.
        complete: whether every item of the part has ended.
    """
    seen = {i: row for i, row in rows.items() if tally.cases[i] or tally.marks[i]}
    halted = gave_up(tally.halted, tally.subject)
    return {
        "shard": text,
        "verdict": overall(seen, version, complete=complete, halted=halted),
        "requirements": {i: _seen(tally, i) for i in seen},
    }


def _seen(tally: Tally, ident: str) -> dict[str, Any]:
    held = tally.held.get(ident)
    strays = tally.strays.get(ident, [])
    open_ = {"strays": _kept(strays), "straying": tally.straying[ident]} if strays else {}
    return {
        "marks": sorted(tally.marks[ident]),
        "held": None if held is None else sorted(held),
        "failures": _kept(tally.failures[ident]),
        **open_,
    }


def _kept(failures: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first failures, and the first of each cause in each format; the others are counted."""
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for failure in failures:
        key = failure["cause"], failure["evidence"].get("input", "")
        if len(rows) >= KEPT and key in first:
            first[key]["times"] += 1
            continue
        row = {name: failure[name] for name in (*FAILURE, "says", "place")} | {"times": 1}
        if len(rows) >= KEPT:  # none of the first of the whole run: its program is not shown
            row["evidence"] = {k: v for k, v in row["evidence"].items() if k != "program"}
        rows.append(row)
        first.setdefault(key, row)
    return rows


def tally(documents: Iterable[Result]) -> Tally:
    """Return what the parts of a run have seen together, as if one had."""
    whole = Tally([])
    for document in documents:
        _add(whole, document)
    whole.settle()
    for ident, rows in whole.failures.items():
        rows.sort(key=place)
        whole.failures[ident] = rows + [row for row in rows for _ in range(row["times"] - 1)]
    return whole


def _add(whole: Tally, document: Result) -> None:
    """Add one part's document."""
    subject = document["subject"]
    whole.subject = {k: subject[k] for k in DESCRIBED}
    whole.found = {k: subject[k] for k in whole.found}
    whole.spent.update(document["timings"])
    whole.errors += document["errors"]
    whole.halted.update(document["halted"])
    whole.accuracy += _scores(document["accuracy"])
    for ident, seen in document["part"]["requirements"].items():
        row = document["requirements"][ident]
        whole.cases[ident] += row["cases"]
        whole.failed[ident] += row["failed"]
        whole.seconds[ident] += row["seconds"]
        whole.marks[ident].update(seen["marks"])
        whole.deviating[ident].update(row.get("deviates", {}))
        whole.failures[ident] += seen["failures"]
        if "strays" in seen:
            whole.strays[ident] += seen["strays"]
            whole.straying[ident] += seen["straying"]
        if seen["held"] is not None:
            whole.held.setdefault(ident, set()).update(seen["held"])


def _scores(accuracy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The worst comparisons of each output under each condition, as events have them."""
    for name, output in accuracy["outputs"].items():
        quantity, fmt = name.split()
        for power, score in output["conditions"].items():
            yield {
                "quantity": quantity,
                "format": fmt,
                "condition": len(power) - 1,
                "fraction": score["bound_fraction"],
                **score,
            }
