"""From failures to causes: one defect, one diagnosis, the rest folded under it.

Two things fold a failing requirement under another: the same named cause (the numbers of a
misreading, or the same exception), and `rests_on` of the spec, where the other fails too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bn1d_conformance.misreadings import BY_NAME
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

HOMES = {
    "construction": "CTOR-1",
    "forward in training": "INPUT-16",
    "forward in evaluation": "INPUT-16",
    "backward": "GRAD-1",
}
#: What a misreading also shows as: in the gradient, or in the cumulative average.
CONSEQUENCES = {
    "weight-ignored": "weight-not-in-gradient",
    "affine-ignored": "weight-not-in-gradient",
    "eval-weight-ignored": "eval-weight-not-in-gradient",
    "eval-affine-ignored": "eval-weight-not-in-gradient",
    "batch-in-evaluation": "eval-batch-gradient",
    "running-in-training": "constants-gradient",
    "not-tracked": "cumulative-frozen",
    "momentum-default": "cumulative-default",
}
ENOUGH = 0.5  # the share of a requirement's failures that a cause must explain to lead it


@dataclass
class Group:
    """Requirements that fail for one reason.

    Attributes:
        cause: the name of the reason, "" where the numbers do not tell.
        members: ids, in reading order.
        sample: the failure that is shown.
    """

    cause: str
    members: list[str]
    sample: Mapping[str, Any]
    folded: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        """The requirement that the diagnosis names."""
        if self.cause in BY_NAME:
            wanted = BY_NAME[self.cause].requirement
        else:
            wanted = HOMES.get(self.cause.partition(" raises")[0], "")
        if wanted in self.members:
            return wanted
        return next(
            (m for m in self.members if not ancestors(m) & set(self.members)), self.members[0]
        )


def ancestors(ident: str) -> set[str]:
    """Every requirement that this one rests on, directly or not."""
    rows = spec.requirements()
    found: set[str] = set()
    todo = list(rows[ident].rests_on)
    while todo:
        parent = todo.pop()
        if parent not in found:
            found.add(parent)
            todo += rows[parent].rests_on
    return found


def diagnose(
    failures: Mapping[str, list[dict[str, Any]]], passed: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Order the causes of these failures, the likeliest first.

    Args:
        failures: by requirement, each as `judge.Failure` has it.
        passed: the requirements that were judged and hold.

    Returns:
        A list of {requirement, cause, evidence, folded}, as the results file has it.
    """
    groups = _grouped(failures, passed)
    roots = _folded(groups)
    roots.sort(key=_rank)
    return [_row(group, failures) for group in roots]


def _grouped(failures: Mapping[str, list[dict[str, Any]]], passed: Collection[str]) -> list[Group]:
    """One group a named cause, and one a requirement that has none."""
    groups: dict[str, Group] = {}
    for ident in (i for i in spec.requirements() if i in failures):
        cause = _leading(failures[ident])
        if cause in BY_NAME and BY_NAME[cause].requirement in passed:
            cause = ""  # the numbers agree by chance: what the misreading breaks is whole
        key = cause or ident
        sample = next((f for f in failures[ident] if f["cause"] == cause), failures[ident][0])
        groups.setdefault(key, Group(cause, [], sample)).members.append(ident)
    return list(groups.values())


def _leading(rows: Iterable[Mapping[str, Any]]) -> str:
    """The cause of most of a requirement's failures; "" if none explains enough of them."""
    counted = Counter(row["cause"] for row in rows)
    named = [(n, cause) for cause, n in counted.items() if cause]
    if not named:
        return ""
    most, cause = max(named)
    return cause if most >= ENOUGH * counted.total() else ""


def _folded(groups: list[Group]) -> list[Group]:
    """Keep the groups that no other explains; fold each other one under the last that does."""
    ordered = sorted(groups, key=_rank)
    above = {id(g): next((o for o in ordered if _explains(o, g)), None) for g in groups}
    roots = []
    for group in groups:
        root = _root(group, above)
        if root is group:
            roots.append(group)
        else:
            root.folded += group.members
    return roots


def _root(group: Group, above: Mapping[int, Group | None]) -> Group:
    """Climb to what explains the group and is not explained itself; a circle ends at its start."""
    seen = [group]
    while (parent := above[id(seen[-1])]) and parent not in seen:
        seen.append(parent)
    return seen[-1]


def _explains(one: Group, other: Group) -> bool:
    """Whether `one` being so makes `other` no news.

    A cause that the numbers name explains what rests on any of its requirements, the general
    requirement that its own rests on, and itself in evaluation. A failure without a named cause
    explains what rests on it.
    """
    if one is other:
        return False
    if other.cause in BY_NAME:
        return other.cause in {f"eval-{one.cause}", CONSEQUENCES.get(one.cause)}
    if one.cause in BY_NAME:
        return bool(ancestors(other.home) & set(one.members)) or other.home in ancestors(one.home)
    return one.home in ancestors(other.home)


def _rank(group: Group) -> tuple[bool, bool, int, bool, int]:
    """What binds; what the numbers name; then area by area, in reading order.

    Gradients wait for their area, named or not: where the output is wrong, they are wrong too,
    and may look like a misreading of their own.
    """
    rows = spec.requirements()
    home, named = rows[group.home], group.cause in BY_NAME
    place = spec.AREAS.index(home.area), not named, list(rows).index(home.id)
    return (not home.binding, not named or home.area == "GRAD", *place)


def _row(group: Group, failures: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A diagnosis in words; its evidence is a failure of the requirement that it names."""
    home = group.home
    own = [f for f in failures[home] if f["cause"] == group.cause] or failures[home]
    says = own[0]["says"] if group.cause else ""
    cause = says[:1].upper() + says[1:] if says else spec.requirements()[home].sentence
    rest = [m for m in dict.fromkeys([*group.members, *group.folded]) if m != home]
    return {
        "requirement": home,
        "cause": cause.rstrip(".") + ".",
        "identified": group.cause in BY_NAME,
        "evidence": f"{own[0]['case']}: {own[0]['message']}".lstrip(": "),
        "folded": rest,
    }
