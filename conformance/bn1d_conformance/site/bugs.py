"""The bugs that others have met: data in `bugs.toml`, read and checked here.

Each row names the requirements that fail on an implementation with this bug, or the reason why
none does. It stands with the kit and not with the spec: a requirement says what is right, and
is complete without its history; which check would have caught what is the kit's own claim.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from bn1d_reference import spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = re.compile(r"B[0-9]{3}")
NUMBER = r"(#|PR )([1-9][0-9]*)"
GITHUB = re.compile(rf"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+) ({NUMBER}(?:, {NUMBER})*)")


class BugError(ValueError):
    """The table contradicts itself or the spec; the message names the row."""


@dataclass(frozen=True)
class Bug:
    """One bug.

    Attributes:
        id: permanent, B001 onwards.
        wrong: what went wrong, in one sentence.
        where: public reports: `owner/repo #issue, PR pull request`, an address, or words.
        requirements: ids that fail on an implementation with this bug, the likeliest to be the
            first in front; empty where nothing fails.
        untested: why nothing fails; "" where something does.
    """

    id: str
    wrong: str
    where: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    untested: str = ""


@functools.cache
def bugs() -> dict[str, Bug]:
    """Return every bug by id, in the order of their numbers.

    Raises:
        BugError: if the table contradicts itself or the spec.
    """
    text = (resources.files(__package__) / "bugs.toml").read_text("utf-8")
    return parse(tomllib.loads(text))


def parse(table: Mapping[str, Any]) -> dict[str, Bug]:
    """Make the bugs of the content of the file.

    Raises:
        BugError: on ids out of order, a missing or unknown field, an unknown requirement.
    """
    rows = {k: v for k, v in table.items() if k != "reasons"}
    reasons = table.get("reasons", {})
    wrong = [i for i in rows if not ID.fullmatch(i)]
    if wrong or list(rows) != sorted(rows):
        raise BugError(f"ids must be B001 onwards, in rising order: {', '.join(wrong or rows)}")
    found = {i: _bug(i, row, reasons) for i, row in rows.items()}
    if idle := sorted(set(reasons.values()) - {b.untested for b in found.values()}):
        raise BugError(f"a reason that no row gives: {idle[0]}")
    return found


def _bug(ident: str, row: Mapping[str, Any], reasons: Mapping[str, str]) -> Bug:
    """One table of the file as a Bug, its reason spelled out."""
    if set(row) - {"requirements", "untested"} != {"wrong", "where"} or not all(row.values()):
        raise BugError(f"{ident}: wrong, where, and one of requirements and untested")
    if ("requirements" in row) == ("untested" in row):
        raise BugError(f"{ident}: either requirements or untested, and not both")
    if unknown := sorted({row.get("untested", "")} - {"", *reasons}):
        raise BugError(f"{ident}: no reason is called {unknown[0]}")
    for requirement in row.get("requirements", ()):
        if requirement not in spec.requirements():
            raise BugError(f"{ident}: the spec has no requirement {requirement}")
        if spec.requirements()[requirement].untested:
            raise BugError(f"{ident}: nothing tests {requirement}")
    return Bug(
        id=ident,
        wrong=row["wrong"],
        where=tuple(row["where"]),
        requirements=tuple(row.get("requirements", ())),
        untested=reasons.get(row.get("untested", ""), ""),
    )


def caught_by(requirement: str) -> tuple[Bug, ...]:
    """Return the bugs that name this requirement, in the order of their numbers."""
    return tuple(b for b in bugs().values() if requirement in b.requirements)


def reports(text: str) -> list[tuple[str, str, int]]:
    """Return the reports on GitHub that a text of `where` names.

    Returns:
        (repository, "issues" or "pull", number), in the order of the text.
    """
    if not (match := GITHUB.fullmatch(text)):
        return []
    kinds = {"#": "issues", "PR ": "pull"}
    found = re.findall(NUMBER, match[2])
    return [(match[1], kinds[kind], int(number)) for kind, number in found]


def seen_in(text: str) -> list[Bug]:
    """Return the bugs that have one of the reports that a text names.

    The text names repositories with or without their owner: `pytorch #12, PR 3`.
    """
    wanted = _named(text)
    return [b for b in bugs().values() if any(_named(place) & wanted for place in b.where)]


def _named(text: str) -> set[tuple[str, str]]:
    """Each report as the repository's last name and `#12` or `PR 3`."""
    found = re.findall(rf"([\w.-]+) ({NUMBER}(?:, {NUMBER})*)", text)
    return {
        (name.lower(), f"{kind}{number}")
        for name, numbers, *_ in found
        for kind, number in re.findall(NUMBER, numbers)
    }
