"""The register of mutants: each with the requirement that must catch it, and its words; and of
the gaps, which nothing catches yet."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Wrong:
    """A wrong implementation.

    Attributes:
        made: the class or function.
        seen: a public report of the same defect, "" where there is none.
        profile: of the run that judges it.
    """

    made: Any
    seen: str = field(default="", kw_only=True)
    profile: str = field(default="quick", kw_only=True)

    @property
    def target(self) -> str:
        """What the command line is given, from within the zoo."""
        return f"{Path(inspect.getfile(self.made)).name}:{self.made.__name__}"

    @property
    def sentence(self) -> str:
        """The first line of its own docstring, "" where there is none."""
        said: str = vars(self.made).get("__doc__") or getattr(self.made, "__doc__", "") or ""
        own = not inspect.isclass(self.made) or "__doc__" in vars(self.made)
        return said.strip().partition("\n")[0] if own else ""


@dataclass(frozen=True)
class Mutant(Wrong):
    """One that a requirement catches.

    Attributes:
        requirement: the id that must fail.
        says: words that stand in a message or in the diagnosis of that requirement.
    """

    requirement: str
    says: str


@dataclass(frozen=True)
class Gap(Wrong):
    """One that conforms all the same.

    Attributes:
        why: what keeps the kit from seeing it, a sentence.
        would: what would catch it, a sentence.
    """

    why: str
    would: str


GAPS: list[Gap] = []
MUTANTS: list[Mutant] = []


def mutant(
    requirement: str, *, says: str, seen: str = "", profile: str = "quick"
) -> Callable[[Any], Any]:
    """Register the class or function below."""

    def register(made: Any) -> Any:
        MUTANTS.append(Mutant(made, requirement, says, seen=seen, profile=profile))
        return made

    return register


def gap(*, why: str, would: str, seen: str = "") -> Callable[[Any], Any]:
    """Register the class below as one that no requirement catches."""

    def register(made: Any) -> Any:
        GAPS.append(Gap(made, why, would, seen=seen))
        return made

    return register
