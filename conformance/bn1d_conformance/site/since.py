"""What has changed on a subject's page since the version that it had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_conformance.documents.diff import diff
from bn1d_conformance.site.markup import link, literal, table, verdict_badge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from bn1d_conformance.site.published import Result

SPEC = "../spec/"  # from a page of the results
#: The groups of a difference that are about the subject, the worst first.
CHANGES = {"regressions": "regressed", "improvements": "improved", "others": "changed"}
#: Those that are about the spec.
SPECS = {"new": "judged now alone", "removed": "judged then alone"}


def section(former: Result, result: Result) -> str:
    """Return the part of the page: requirements whose verdict is another one, and why it may be.

    Args:
        former: the results of the version before.
        result: those of the page.
    """
    found = diff(dict(former), dict(result))
    rows = [_row(word, row) for group, word in CHANGES.items() for row in found[group]]
    version = literal(former["subject"]["version"])
    changed = table(["Requirement", "", "Was", "Is"], rows) if rows else "No verdict is another."
    said = "\n".join(_remarks(found))
    return "\n\n".join(filter(None, (f"## Since version {version} {{ #since }}", changed, said)))


def _row(word: str, row: Mapping[str, Any]) -> list[str]:
    was, now = (verdict_badge(row[when]) for when in ("was", "now"))
    return [link(row["requirement"], SPEC), word, was, now]


def _remarks(found: Mapping[str, Any]) -> Iterator[str]:
    """How many requirements one of the two does not know, and what else differs between them."""
    for group, about in SPECS.items():
        if ids := [link(row["requirement"], SPEC) for row in found[group]]:
            yield f"{len(ids)} {about}: {', '.join(ids)}."
    if found["warnings"]:
        yield f"Not the version alone is another: {literal('; '.join(found['warnings']))}."
