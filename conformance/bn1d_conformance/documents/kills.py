"""The kill matrix: which requirements fail on each mutant of the zoo.

`nox -s kills` judges every mutant by every check and writes `kills.json` beside the mutants;
`shadowed.toml` there says of a requirement why no mutant fails it alone. Both are read here.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bn1d_reference import spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class KillsError(ValueError):
    """Files that hold no kill matrix; the message says what is wrong with them."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A wrong layer, and what a run of all checks says of it.

    Attributes:
        name: of its class or function.
        file: where it stands, in the zoo.
        sentence: what it does wrong, "" where its name says it.
        seen: a public report of the same defect, "" where there is none.
        profile: of the run.
        failing: every id that fails, sorted.
        home: the requirement of the first diagnosis, "" where there is none.
        cause: the words of the first diagnosis.
        diagnoses: how many requirements fail and are folded under no other.
        lost: "crash" or "timeout" if the run did not end, "error" if the kit itself failed.
        suite: the hash of the suite that judged it.
    """

    name: str
    file: str
    sentence: str
    seen: str
    profile: str
    failing: tuple[str, ...] = ()
    home: str = ""
    cause: str = ""
    diagnoses: int = 0
    lost: str = ""
    suite: str = ""


@dataclass(frozen=True, kw_only=True)
class Mutant(Judged):
    """One that is caught.

    Attributes:
        requirement: the id that must fail.
    """

    requirement: str


@dataclass(frozen=True, kw_only=True)
class Gap(Judged):
    """One that conforms all the same.

    Attributes:
        why: what keeps the kit from seeing it, a sentence.
        would: what would catch it, a sentence.
    """

    why: str
    would: str


@dataclass(frozen=True)
class Kills:
    """The matrix.

    Attributes:
        kit: what judged, as a results file has it.
        mutants: in the order of the register.
        gaps: the same.
        shadowed: by requirement, why no mutant fails it alone.
    """

    kit: Mapping[str, str]
    mutants: tuple[Mutant, ...]
    gaps: tuple[Gap, ...]
    shadowed: Mapping[str, str]

    @cached_property
    def killed(self) -> Mapping[str, list[Mutant]]:
        """The mutants that fail it, by requirement."""
        found: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in self.mutants:
            for ident in mutant.failing:
                found[ident].append(mutant)
        return found

    def alone(self, ident: str) -> list[Mutant]:
        """The mutants that fail this requirement and no other."""
        return [m for m in self.killed.get(ident, ()) if m.failing == (ident,)]

    @property
    def survivors(self) -> list[str]:
        """The mutants that their own requirement does not fail on."""
        return [m.name for m in self.mutants if m.requirement not in m.failing]

    @property
    def closed(self) -> list[str]:
        """The gaps that something fails on."""
        return [g.name for g in self.gaps if g.failing or g.lost]

    @property
    def well_named(self) -> int:
        """How many mutants have a first diagnosis of the area of their requirement."""
        areas = ((m.home.partition("-")[0], m.requirement.partition("-")[0]) for m in self.mutants)
        return sum(home == own for home, own in areas)

    @property
    def unexplained(self) -> list[str]:
        """The requirements that owe a mutant of their own, and have neither it nor a reason."""
        return [i for i in owing() if not self.alone(i) and i not in self.shadowed]

    @property
    def stale(self) -> list[str]:
        """The requirements whose reason has become idle: they have a mutant, or owe none."""
        owed = owing()
        return [i for i in self.shadowed if i not in owed or self.alone(i)]


def owing() -> list[str]:
    """Return the ids that kill a mutant alone, or say why not: all that bind and are tested."""
    return [i for i, r in spec.requirements().items() if r.binding and not r.untested]


def read(folder: Path) -> Kills:
    """Read `kills.json` and `shadowed.toml` of a folder.

    Raises:
        KillsError: if one is missing, or not of this form.
    """
    try:
        document = json.loads((folder / "kills.json").read_text("utf-8"))
        reasons = tomllib.loads((folder / "shadowed.toml").read_text("utf-8"))
        return parse(document, reasons)
    except (OSError, ValueError) as error:
        raise KillsError(f"{folder} holds no kill matrix: {error}.") from None


def parse(document: Mapping[str, Any], reasons: Mapping[str, str]) -> Kills:
    """Make the matrix of the content of the files.

    Raises:
        KillsError: on a missing or unknown field.
    """
    try:
        mutants = (Mutant(**_fields(row)) for row in document["mutants"])
        gaps = (Gap(**_fields(row)) for row in document["gaps"])
        return Kills(document["kit"], tuple(mutants), tuple(gaps), reasons)
    except (KeyError, TypeError) as error:
        raise KillsError(f"not the form of a kill matrix: {error}") from None


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "failing": tuple(row["failing"])}
