"""The requirements: data in `spec/*.toml`, one file an area, read and checked here.

The spec is the single place where a sentence, its level, its source and its status are
written. Checks quote ids; pages and `bn1d explain` are drawn from the same tables.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from dataclasses import dataclass, fields, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from bn1d_reference import SPEC_VERSION

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no tomllib; tomli is the same parser: the one exception to "stdlib only"
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LEVELS = ("MUST", "SHOULD", "MAY")
STATUSES = ("stable", "provisional", "untested")
AREAS = (
    "CTOR", "PARAM", "BUF", "TRAIN", "EVAL", "STATS", "GRAD", "INPUT",
    "STATE", "DTYPE", "NUM", "LAYOUT", "COMP", "CONC",
)  # fmt: skip
ID = re.compile(r"([A-Z]+)-([1-9][0-9]*)")
#: Requirements come with minor versions: the first, and this one.
FIRST, CURRENT = "0.1", SPEC_VERSION.rpartition(".")[0]
VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


class SpecError(ValueError):
    """The spec contradicts itself; the message names file, requirement and field."""


@dataclass(frozen=True)
class Requirement:
    """One normative sentence.

    Attributes:
        id: permanent, `AREA-n`; never reused, see `spec/retired.toml`.
        level: MUST, SHOULD or MAY. Only a MUST that fails makes a subject diverge.
        sentence: what holds of a right implementation.
        intent: why, in one sentence.
        breaks: what goes wrong for the user where it does not hold.
        source: documentation or code with its version, paper, theorem, public bug reports.
        needs: capabilities without which the requirement is not applicable.
        rests_on: ids whose failure explains a failure of this one.
        since, until: the first and the last PyTorch version that it holds for, if not all.
        status: "stable"; "provisional" (reported, never failing a subject); "untested".
        untested: the reason, where the status is "untested".
        added: the minor version of the spec that has it first, in which it is provisional.
    """

    id: str
    level: str
    sentence: str
    intent: str
    breaks: str
    source: tuple[str, ...]
    needs: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    status: str = "stable"
    untested: str = ""
    added: str = FIRST

    @property
    def area(self) -> str:
        """The part of the id before the number."""
        return self.id.rpartition("-")[0]

    @property
    def binding(self) -> bool:
        """Whether a failure makes a subject diverge: a MUST that is stable."""
        return self.level == "MUST" and self.status == "stable"


@dataclass(frozen=True)
class Area:
    """A chapter of the spec: one TOML file.

    Attributes:
        name: the prefix of its ids, for example `STATS`.
        title: a heading.
        about: one sentence.
        requirements: in the order of their numbers.
    """

    name: str
    title: str
    about: str
    requirements: tuple[Requirement, ...]


@functools.cache
def areas() -> tuple[Area, ...]:
    """Return the chapters of the spec that ships with this version, in reading order.

    Raises:
        SpecError: if the files contradict each other.
    """
    return tuple(
        replace(a, requirements=tuple(as_of(CURRENT, a.requirements))) for a in _written()
    )


@functools.cache
def _written() -> tuple[Area, ...]:
    """The chapters, with the status that the files give to each requirement."""
    folder = resources.files(__package__) / "spec"
    files = {f.name: tomllib.loads(f.read_text("utf-8")) for f in folder.iterdir()}
    del files["retired.toml"]
    parsed = [parse(name, table) for name, table in sorted(files.items())]
    found = {a.name: a for a in parsed}
    if len(found) < len(parsed):
        raise SpecError("two files are of one area")
    ordered = tuple(found[name] for name in AREAS if name in found)
    validate((r for a in ordered for r in a.requirements), retired())
    return ordered


@functools.cache
def requirements() -> dict[str, Requirement]:
    """Return every requirement by id, in reading order."""
    return at(CURRENT)


@functools.cache
def at(version: str) -> dict[str, Requirement]:
    """Return the requirements of a version of the spec by id, in reading order.

    Those that came later are left out. A requirement that was withdrawn since stays withdrawn.

    Args:
        version: minor, such as "0.1".

    Raises:
        SpecError: if there is no such version, or this one does not know it yet.
    """
    if not (VERSION.fullmatch(version) and _key(FIRST) <= _key(version) <= _key(CURRENT)):
        known = FIRST if FIRST == CURRENT else f"{FIRST} to {CURRENT}"
        raise SpecError(f"there is no spec {version!r} here, but {known}")
    return {r.id: r for area in _written() for r in as_of(version, area.requirements)}


def as_of(version: str, rows: Iterable[Requirement]) -> Iterator[Requirement]:
    """Yield those of a version, its new ones as provisional: they fail nobody for one release."""
    for r in rows:
        if r.added == version != FIRST and r.status == "stable":
            yield replace(r, status="provisional")
        elif _key(r.added) <= _key(version):
            yield r


def _key(version: str) -> tuple[int, ...]:
    """What versions are ordered by."""
    return tuple(map(int, version.split(".")))


def retired() -> tuple[str, ...]:
    """Return the ids that were withdrawn, and are never used again."""
    file = resources.files(__package__) / "spec" / "retired.toml"
    return tuple(tomllib.loads(file.read_text("utf-8"))["retired"])


def parse(name: str, table: Mapping[str, Any]) -> Area:
    """Make an area of one file's content; `name` is the file's, for messages.

    Raises:
        SpecError: on an unknown area, a missing or unknown field, or ids out of order.
    """
    head = {k: v for k, v in table.items() if not isinstance(v, dict)}
    if set(head) != {"area", "title", "about"} or head["area"] not in AREAS:
        raise SpecError(f"{name}: expected area (one of {', '.join(AREAS)}), title and about")
    rows = [_requirement(name, i, row) for i, row in table.items() if isinstance(row, dict)]
    numbers = [int(r.id.rpartition("-")[2]) for r in rows]
    if {r.area for r in rows} - {head["area"]} or numbers != sorted(numbers):
        raise SpecError(f"{name}: ids must be {head['area']}-n, in rising order")
    return Area(head["area"], head["title"], head["about"], tuple(rows))


def _requirement(name: str, ident: str, row: Mapping[str, Any]) -> Requirement:
    """One table of a file as a Requirement."""
    known = {f.name for f in fields(Requirement)} - {"id"}
    wanted = {"level", "sentence", "intent", "breaks", "source"}
    if wrong := sorted((set(row) - known) | (wanted - set(row))):
        raise SpecError(f"{name}: {ident}: missing or unknown field {', '.join(wrong)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Requirement(id=ident, **values)


def validate(rows: Iterable[Requirement], retired: Iterable[str]) -> None:
    """Check what no single file can: ids, levels, statuses, references.

    Raises:
        SpecError: naming the requirement and the field.
    """
    rows = tuple(rows)
    ids = {r.id for r in rows}
    if twice := sorted(i for i, times in Counter(r.id for r in rows).items() if times > 1):
        raise SpecError(f"id used twice: {', '.join(twice)}")
    if back := sorted(ids & set(retired)):
        raise SpecError(f"retired id used again: {', '.join(back)}")
    for r in rows:
        _validate_one(r, ids)


def _validate_one(r: Requirement, ids: set[str]) -> None:
    """One requirement against the rules for all of them."""
    if not ID.fullmatch(r.id):
        raise SpecError(f"{r.id}: id is not AREA-n")
    if r.level not in LEVELS:
        raise SpecError(f"{r.id}: level {r.level!r} is none of {', '.join(LEVELS)}")
    if r.status not in STATUSES:
        raise SpecError(f"{r.id}: status {r.status!r} is none of {', '.join(STATUSES)}")
    if not VERSION.fullmatch(r.added) or _key(r.added) > _key(CURRENT):
        raise SpecError(f"{r.id}: added {r.added!r} is no minor version up to {CURRENT}")
    if (r.status == "untested") != bool(r.untested):
        raise SpecError(f"{r.id}: untested gives the reason, and only where status is untested")
    if unknown := [i for i in r.rests_on if i not in ids]:
        raise SpecError(f"{r.id}: rests_on names unknown {', '.join(unknown)}")
    if not all((r.sentence, r.intent, r.breaks, r.source)):
        raise SpecError(f"{r.id}: sentence, intent, breaks and source may not be empty")
