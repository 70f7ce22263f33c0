"""What a run asks about: a version's requirements, less those that `quick` leaves to `full`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: PyTorch imports its compiler where one of these is asked for the first time, `torch.compile` or
#: not: that alone takes as long as a quarter of `quick`, which leaves them to `full`.
COMPILER = frozenset({"COMP-15", "COMP-21", "COMP-24", "COMP-25", "COMP-26", "CONC-15"})


def requirements(version: str, profile: str) -> Mapping[str, spec.Requirement]:
    """Return the requirements that a run asks about, by id.

    Args:
        version: of the spec.
        profile: "quick", "full" or "deep".

    Raises:
        SpecError: if there is no such version.
    """
    rules = spec.at(version)
    if profile != "quick":
        return rules
    return {ident: rule for ident, rule in rules.items() if ident not in COMPILER}
