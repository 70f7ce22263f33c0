"""The register of mutants: each with the requirement that must catch it, and its words."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Mutant:
    """One wrong implementation.

    Attributes:
        made: the class or function.
        requirement: the id that must fail.
        says: words that stand in a message or in the diagnosis of that requirement.
        seen: a public report of the same defect, "" where there is none.
        profile: of the run that catches it.
    """

    made: Any
    requirement: str
    says: str
    seen: str
    profile: str = "quick"

    @property
    def target(self) -> str:
        """What the command line is given, from within the zoo."""
        return f"{Path(inspect.getfile(self.made)).name}:{self.made.__name__}"


MUTANTS: list[Mutant] = []


def mutant(
    requirement: str, *, says: str, seen: str = "", profile: str = "quick"
) -> Callable[[Any], Any]:
    """Register the class or function below."""

    def register(made: Any) -> Any:
        MUTANTS.append(Mutant(made, requirement, says, seen, profile))
        return made

    return register
