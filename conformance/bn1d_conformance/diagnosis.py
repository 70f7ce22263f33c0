"""From failures to causes: one defect, one diagnosis, the rest folded under it.

What folds a failing requirement under another that fails: the same named cause (the numbers of a
misreading, or the same exception), `rests_on` of the spec, the same wrong quantity where the other
defines it, one format alone where a requirement on formats fails, and what all checks presuppose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bn1d_conformance.misreadings import BY_NAME
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    Failures = Mapping[str, list[dict[str, Any]]]

#: Where an exception of each stage is at home: an id, or an area.
HOMES = {"construction": "CTOR-1", "forward": "INPUT-16", "backward": "GRAD"}
#: What defines each quantity, in training and in evaluation: where that fails, no other
#: requirement that finds the same quantity wrong says anything new.
DEFINED = {
    ("y", "training"): ("TRAIN-1", "TRAIN-2"),
    ("y", "evaluation"): ("EVAL-1",),
    ("running_mean", "training"): ("STATS-1", "STATS-3"),
    ("running_var", "training"): ("STATS-2", "STATS-3"),
    ("dx", "training"): ("GRAD-1",),
    ("dx", "evaluation"): ("GRAD-4",),
    ("dweight", "training"): ("GRAD-2",),
    ("dweight", "evaluation"): ("GRAD-5",),
    ("dbias", "training"): ("GRAD-3",),
    ("dbias", "evaluation"): ("GRAD-3",),
}
#: What every other check takes for granted: that layers are apart, that evaluation changes
#: nothing, that the mode is the one that was set. Where it is not so, the others mislead.
PRESUPPOSED = ("CTOR-11", "CONC-1", "EVAL-2", "EVAL-7")
#: And that a new layer is new, and a later call like the first: where that is not so, numbers
#: mislead that anything but the first call of the first layer gave.
AGAIN = ("CONC-2", "CONC-3", "CONC-13", "CONC-30", "CONC-32")
#: Areas of what a layer has, before it computes anything.
HELD = ("CTOR", "PARAM", "BUF")
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
#: Before the name of a misreading that the backward pass alone shows.
BACKWARD = "backward: "
ENOUGH = 0.5  # the share of a requirement's failures that a cause must explain to lead it


@dataclass
class Group:
    """Requirements that fail for one reason.

    Attributes:
        cause: the name of the reason, "" where the numbers do not tell.
        members: ids, in reading order.
        sample: the failure that is shown.
        formats: those that it fails in while it holds in others; "" stands for every one.
        confined: whether a requirement that is not about formats fails in some of them alone.
        folded: ids that it explains.
    """

    cause: str
    members: list[str]
    sample: Mapping[str, Any]
    formats: set[str] = field(default_factory=set)
    confined: bool = False
    folded: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        """The requirement that the diagnosis names."""
        stage = _stage(self.cause)
        if self.cause in BY_NAME:
            wanted = BY_NAME[self.cause].requirement
        else:  # what is raised in some formats alone is about formats
            wanted = "DTYPE" if stage and self.confined else HOMES.get(stage, "-")
        fits = [m for m in self.members if m == wanted or m.startswith(f"{wanted}-")]
        roots = [m for m in self.members if not ancestors(m) & set(self.members)]
        return [*fits, *roots, *self.members][0]

    @property
    def named(self) -> bool:
        """Whether the numbers are those of a misreading."""
        return self.cause.removeprefix(BACKWARD) in BY_NAME

    @property
    def quantity(self) -> str:
        """The output whose numbers are wrong; "" where no number is."""
        return str(self.sample["evidence"].get("quantity", ""))

    @property
    def structural(self) -> bool:
        """Whether it is about what a layer has: no number, and no exception, tells of it."""
        area = spec.requirements()[self.home].area
        return area in HELD and not self.quantity and not _stage(self.cause)

    @property
    def defined(self) -> tuple[str, ...]:
        """The requirements that define the quantity that the sample finds wrong."""
        ids = DEFINED.get((self.quantity, self.sample["evidence"].get("mode")), ())
        return () if self.home in ids else ids


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


def diagnose(failures: Failures, held: Mapping[str, Collection[str]]) -> list[dict[str, Any]]:
    """Order the causes of these failures, the likeliest first.

    Args:
        failures: by requirement, each as `judge.Failure` has it.
        held: for each requirement that was judged, the formats of the cases in which it held.

    Returns:
        A list of {requirement, cause, evidence, folded}, as the results file has it.
    """
    groups = _grouped(failures, held)
    roots = _folded(groups)
    roots.sort(key=_order)
    return [_row(group, failures) for group in roots]


def _grouped(failures: Failures, held: Mapping[str, Collection[str]]) -> list[Group]:
    """One group a cause, and one a requirement that has none."""
    leading = {i: _leading(rows) for i, rows in failures.items()}
    groups: dict[str, Group] = {}
    for ident in (i for i in spec.requirements() if i in failures):
        cause = leading[ident]
        sample = next((f for f in failures[ident] if _cause(f) == cause), failures[ident][0])
        own = BY_NAME[cause].requirement if cause in BY_NAME else ident
        if own in held and own not in failures and ident.startswith("GRAD-"):
            cause = BACKWARD + cause  # the output has it right, its gradient has not
        elif leading.get(own, cause) != cause or (own in held and own not in failures):
            cause = ""  # by chance: what the misreading breaks does not show it
        group = groups.setdefault(cause or ident, Group(cause, [], sample))
        group.members.append(ident)
        formats = _formats(failures[ident], held.get(ident, ()))
        group.formats |= formats
        group.confined |= "" not in formats and spec.requirements()[ident].area != "DTYPE"
    return list(groups.values())


def _formats(rows: Sequence[Mapping[str, Any]], held: Collection[str]) -> set[str]:
    """The formats that a requirement fails in while it holds in others; else every one, as ""."""
    failing = {row["evidence"].get("input", "") for row in rows}
    return failing if held and not failing & {*held, ""} else {""}


def _cause(row: Mapping[str, Any]) -> str:
    """A failure's cause; what the subject raises in one stage is one cause in every mode."""
    stage, raises, error = row["cause"].partition(" raises ")
    return f"{_stage(stage) or stage}{raises}{error}"


def _stage(cause: str) -> str:
    """The stage of an exception: "construction", "forward", "backward"; "" of anything else."""
    return next((stage for stage in HOMES if cause.startswith(stage)), "")


def _leading(rows: Iterable[Mapping[str, Any]]) -> str:
    """The cause of most of a requirement's failures; "" if none explains enough of them."""
    counted = Counter(map(_cause, rows))
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
    """Climb to what explains the group and is not explained itself; of a circle, to its first."""
    seen = [group]
    while parent := above[id(seen[-1])]:
        if parent in seen:
            return min(seen[seen.index(parent) :], key=_rank)
        seen.append(parent)
    return seen[-1]


def _explains(one: Group, other: Group) -> bool:
    """Whether `one` being so makes `other` no news.

    A cause that the numbers name explains what rests on any of its requirements, the general
    requirement that its own rests on, and itself in evaluation. A failure without a named cause
    explains what rests on it, and every other finding about the quantity that it defines.
    """
    if one is other:
        return False
    if other.cause in BY_NAME:
        return other.cause in {f"eval-{one.cause}", CONSEQUENCES.get(one.cause)}
    if one.cause in BY_NAME:
        general = bool(other.quantity) and other.home in ancestors(one.home)
        return general or bool(ancestors(other.home) & set(one.members))
    if _by_format(one, other) or _by_format(other, one):
        return _by_format(one, other)
    rests = set(one.members) & {*ancestors(other.home), *other.defined}
    return bool(rests) or _presupposed(one, other) or _later(one, other)


def _presupposed(one: Group, other: Group) -> bool:
    """Whether every check takes for granted what `one` says is not so, and `other` is not why."""
    if other.home in ancestors(one.home):
        return False
    if one.home in AGAIN:
        return bool(other.quantity)
    return one.home in PRESUPPOSED and other.home not in (*PRESUPPOSED, *AGAIN)


def _by_format(one: Group, other: Group) -> bool:
    """Whether `other` fails in formats alone whose own requirement `one` is."""
    confined = "" not in other.formats and not _of_formats(other)
    return confined and _of_formats(one) and one.sample["evidence"].get("input") in other.formats


def _of_formats(group: Group) -> bool:
    return group.home.startswith("DTYPE-")


def _later(one: Group, other: Group) -> bool:
    """Whether the subject raises the same in an earlier stage, as `one`, and so in `other`."""
    stages = list(HOMES)
    first, _, error = one.cause.partition(" raises ")
    then, _, same = other.cause.partition(" raises ")
    if not error or error != same or first not in stages:
        return False
    return then not in stages or stages.index(first) < stages.index(then)


def _order(group: Group) -> tuple[int, ...]:
    """What binds; what is certain; then what explains most, and of equals the first in `_rank`."""
    unbound, unsure, *place = _rank(group)
    return (unbound, unsure, -len({*group.members, *group.folded}), *place)


def _rank(group: Group) -> tuple[bool, bool, int, bool, int]:
    """What binds; what the numbers name, or what is not there; then area by area.

    Gradients wait for their area, named or not: where the output is wrong, they are wrong too,
    and may look like a misreading of their own.
    """
    rows = spec.requirements()
    home = rows[group.home]
    place = spec.AREAS.index(home.area), not group.named, list(rows).index(home.id)
    certain = group.structural or (group.named and home.area != "GRAD")
    return (not home.binding, not certain, *place)


def _row(group: Group, failures: Failures) -> dict[str, Any]:
    """A diagnosis in words; its evidence is a failure of the requirement that it names."""
    home, name = group.home, group.cause.removeprefix(BACKWARD)
    own = [f for f in failures[home] if _cause(f) == name] or failures[home]
    says = own[0]["says"] if name else ""
    if name != group.cause:
        says = f"in the backward pass {says}"
    cause = says[:1].upper() + says[1:] if says else spec.requirements()[home].sentence
    rest = [m for m in dict.fromkeys([*group.members, *group.folded]) if m != home]
    return {
        "requirement": home,
        "cause": cause.rstrip(".") + ".",
        "identified": group.named,
        "evidence": f"{own[0]['case']}: {own[0]['message']}".lstrip(": "),
        "folded": rest,
    }
