"""PyTorch through the ages: the published verdicts on its releases, side by side."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bn1d_conformance.results import FAILING, HELD
from bn1d_conformance.site.accuracy import FORMATS, QUANTITIES, share_of
from bn1d_conformance.site.markup import (
    flat,
    front,
    link,
    literal,
    number,
    prose,
    table,
    verdict_badge,
    wide,
)
from bn1d_conformance.site.published import judged
from bn1d_conformance.site.results_page import linked, sums
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.site.published import Backends, Published, Result

SPEC = "../spec/"  # from a page of the results
TODAY = "torch.nn.BatchNorm1d"  # the file of the newest
TAG = "ages"  # of the others, in backends.toml


def page(published: Published, backends: Backends) -> str:
    """Return the page; `backends` has rows of `backends.toml` by name, with their tags."""
    ages = releases(published, backends)
    head = ["Release", "Version", "Verdict", "Diverge", "Not covered", "Pass", "Grade"]
    rows = [_release(name, result) for name, result in ages.items()]
    about = "What changed in torch.nn.BatchNorm1d from PyTorch 1.0 to today, by the same checks."
    return f"""{front(about=about)}# PyTorch through the ages

The layer of former releases, judged by today's spec and today's checks.
The old ones run in an environment of their time and are asked [over the wire](../wire.md), which
covers what they compute and not what `torch.nn.Module` is: the newest alone is judged in full.

{table(head, rows, "   rrr")}

## What changed {{ #changes }}

{_changes(ages)}

## What is held to one side {{ #since }}

These requirements name a release themselves.

{_bounded()}

## Accuracy {{ #accuracy }}

The largest share of [the bound](../bounds.md) that was used, in per cent.

{_accuracy(ages)}
"""


def releases(published: Published, backends: Backends) -> Published:
    """Return the results of PyTorch's releases, the oldest first."""
    there = judged(published)
    names = [n for n in there if n == TODAY or TAG in backends.get(n, {}).get("tags", ())]
    return {n: there[n] for n in sorted(names, key=lambda n: _release_of(there[n]))}


def _release_of(result: Result) -> tuple[int, ...]:
    """A version as numbers: 1.12.1+cu102 is (1, 12, 1)."""
    public = str(result["subject"]["version"]).partition("+")[0]
    return tuple(map(int, re.findall("[0-9]+", public)))


def _release(name: str, result: Result) -> list[str]:
    diverging, _, _, uncovered = sums(result)
    return [
        linked(name, result),
        literal(result["subject"]["version"]),
        verdict_badge(result["verdict"]),
        number(diverging),
        number(uncovered),
        number(result["counts"]["pass"]),
        flat(result["accuracy"]["grade"]),
    ]


def _changes(ages: Published) -> str:
    """What failed in one release and held in the next that was judged, or the other way round."""
    rows = [
        [
            link(ident, SPEC),
            prose(r.sentence, SPEC),
            f"{_verdict(ages[old], ident)} in {linked(old, ages[old], ident=ident)}",
            f"{_verdict(ages[new], ident)} in {linked(new, ages[new], ident=ident)}",
            _seen(ages[old], ident) or _seen(ages[new], ident),
        ]
        for old, new in pairwise(ages)
        for ident, r in spec.requirements().items()
        if {_kind(ages[old], ident), _kind(ages[new], ident)} == {"held", "failing"}
    ]
    if not rows:
        return "Nothing that was judged in two of them."
    return wide(table(["Id", "Requirement", "Was", "Became", "What was seen"], rows))


def _said(result: Result, ident: str) -> str:
    return str(result["requirements"].get(ident, {"verdict": "not-run"})["verdict"])


def _verdict(result: Result, ident: str) -> str:
    return verdict_badge(_said(result, ident))


def _seen(result: Result, ident: str) -> str:
    """The first failure of a requirement; "" for none."""
    return "".join(literal(f["message"]) for f in result["requirements"][ident]["failures"][:1])


def _kind(result: Result, ident: str) -> str:
    verdict = _said(result, ident)
    return "held" if verdict in HELD else "failing" if verdict in FAILING else "open"


def _bounded() -> str:
    rows = [
        [link(r.id, SPEC), prose(r.sentence, SPEC), literal(r.since), literal(r.until)]
        for r in spec.requirements().values()
        if r.since or r.until
    ]
    return wide(table(["Id", "Requirement", "Since", "Until"], rows)) if rows else "None does."


def _accuracy(ages: Published) -> str:
    """A row an output, a column a release."""
    outputs = {name: r["accuracy"]["outputs"] for name, r in ages.items()}
    rows = [
        [literal(output), *(_share(found.get(output)) for found in outputs.values())]
        for output in (f"{q} {f}" for q in QUANTITIES for f in FORMATS)
        if any(output in found for found in outputs.values())
    ]
    head = [literal(result["subject"]["version"]) for result in ages.values()]
    return table(["Output", *head], rows, " " + "r" * len(head))


def _share(score: Mapping[str, Any] | None) -> str:
    share = share_of(score) if score else None
    return "" if share is None else f"{100 * share:.1f}"
