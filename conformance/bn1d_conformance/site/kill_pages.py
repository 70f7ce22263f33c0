"""From the kill matrix to the site's pages: what the kit catches, and what it does not.

Names and sentences of mutants are data, whoever wrote them: `markup` shows them as they stand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bn1d_conformance.documents.kills import owing
from bn1d_conformance.site.bug_pages import link_to
from bn1d_conformance.site.bugs import seen_in
from bn1d_conformance.site.markup import code, link, literal, number, prose, table
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bn1d_conformance.documents.kills import Gap, Kills, Mutant
    from bn1d_reference.spec import Area

SPEC = "../spec/"  # from a drawn page
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def pages(kills: Kills) -> dict[str, str]:
    """Return the pages by path: `kills/index.md`, one an area, `kills/gaps.md`."""
    areas = {f"kills/{a.name.lower()}.md": _area_page(a, kills) for a in spec.areas()}
    return {"kills/index.md": _index(kills), **areas, "kills/gaps.md": _gaps(kills)}


def links_of(kills: Kills, ident: str) -> str:
    """Return links to the mutants of a requirement, from a page of the spec."""
    killed = kills.killed.get(ident, [])
    own = [m for m in killed if m.requirement == ident]
    page = f"../kills/{_area(ident)}.md"
    links = [_mutant_link(m, "../kills/") for m in own]
    if len(killed) > len(own):
        rest = f"{len(killed) - len(own)} {'more' if own else 'of other requirements'}"
        links.append(f"[{rest}]({page}#{ident.lower()})")
    return ", ".join(links)


def _area(ident: str) -> str:
    """The name of a requirement's page."""
    return ident.rpartition("-")[0].lower()


def _anchor(name: str) -> str:
    return "mutant-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def _mutant_link(mutant: Mutant, folder: str = "") -> str:
    page = f"{folder}{_area(mutant.requirement)}.md"
    return f"[{literal(mutant.name)}]({page}#{_anchor(mutant.name)})"


# The index


def _index(kills: Kills) -> str:
    owed = owing()
    alone = sum(bool(kills.alone(i)) for i in owed)
    seen = sum(bool(m.seen) for m in kills.mutants)
    by_diagnosis = sum(_area(m.home) == _area(m.requirement) for m in kills.mutants)
    head = ["Area", "Mutants", "Binding requirements", "Kill alone", "Say why not"]
    return f"""# What the kit catches

A mutant is an implementation with one known defect, written to try the kit.
{number(len(kills.mutants))} of them are judged by every check; each must fail the requirement that
it breaks.
{number(seen)} repeat a defect that somebody reported in public.

- {number(len(kills.mutants) - len(kills.survivors))} of {number(len(kills.mutants))} are caught by
  the requirement that they were written for.
- For {number(by_diagnosis)} the first diagnosis names a requirement of the same area.
- {number(alone)} of the {number(len(owed))} binding requirements kill a mutant that nothing else
  kills: without them it would pass. For the other {number(len(owed) - alone)} the reason is given.
- {number(len(kills.gaps))} wrong implementations are known that [nothing catches](gaps.md).

{table(head, [_area_row(a, kills) for a in spec.areas()], " rrrr")}

Judged by version {literal(kills.kit["version"])} of the kit under version
{literal(kills.kit["spec_version"])} of the spec, suite {code(kills.kit["suite_hash"])}.
"""


def _area_row(area: Area, kills: Kills) -> list[str]:
    owed = [r.id for r in area.requirements if r.id in owing()]
    alone = [i for i in owed if kills.alone(i)]
    mutants = [m for m in kills.mutants if _area(m.requirement) == area.name.lower()]
    excused = [i for i in owed if i in kills.shadowed]
    counts = len(mutants), len(owed), len(alone), len(excused)
    return [f"[{area.title}]({area.name.lower()}.md)", *map(number, counts)]


# An area


def _area_page(area: Area, kills: Kills) -> str:
    mutants = [m for m in kills.mutants if _area(m.requirement) == area.name.lower()]
    rows = [_mutant_row(m) for m in sorted(mutants, key=_place)]
    head = ["Mutant", "Fails", "First diagnosis"]
    shown = table(head, rows) if rows else "None was written for this area yet."
    owed = ["Requirement", "Mutants that fail it", "Fail it alone, or why none does"]
    about = (
        "The wrong implementations that were written for this area and the requirements that\n"
        "fail on each; then each requirement and the mutants that it kills."
    )
    parts = [
        f"# {area.title}: mutants",
        about,
        f"## Mutants\n\n{_wrapped(shown)}",
        f"## Requirements\n\n{_wrapped(table(owed, _requirement_rows(area, kills)))}",
    ]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return f'<div class="kills" markdown>\n\n{text}\n\n</div>'


def _place(mutant: Mutant) -> int:
    return list(spec.requirements()).index(mutant.requirement)


def _mutant_row(mutant: Mutant) -> list[str]:
    anchor = _anchor(mutant.name)
    name = f"[{literal(mutant.name)}](#{anchor}){{ #{anchor} }}"
    return [
        "<br>".join(filter(None, [name, _sentence(mutant), _seen(mutant.seen)])),
        _failing(mutant),
        f"{link(mutant.home, SPEC)} {prose(mutant.cause, SPEC)}" if mutant.home else "none",
    ]


def _sentence(judged: Mutant | Gap) -> str:
    """What it does wrong; where nothing says it, its name in words."""
    words = CAPITAL.sub(" ", judged.name.replace("_", " ")).lower()
    return prose(judged.sentence or f"{words[:1].upper()}{words[1:]}.", SPEC)


def _seen(text: str) -> str:
    """The public report, and the rows of the table of bugs that have it."""
    rows = ", ".join(map(link_to, seen_in(text)))
    return f"Seen: {literal(text)}{f' ({rows})' if rows else ''}" if text else ""


def _failing(mutant: Mutant) -> str:
    """Its own requirement first; the others folded where they are many."""
    own = link(mutant.requirement, SPEC)
    if mutant.lost:
        return f"{own}: the run ended with a {literal(mutant.lost)}"
    others = [i for i in _ordered(mutant.failing) if i != mutant.requirement]
    if mutant.requirement not in mutant.failing:
        own = f"{own} does not fail"
    if not others:
        return f"{own} alone"
    links = ", ".join(link(i, SPEC) for i in others)
    if len(others) <= 3:
        return f"{own}, {links}"
    return f"{own}<details><summary>and {len(others)} more</summary>{links}</details>"


def _ordered(idents: Iterable[str]) -> list[str]:
    """Ids in the order of the spec."""
    wanted = set(idents)
    return [i for i in spec.requirements() if i in wanted]


def _requirement_rows(area: Area, kills: Kills) -> list[list[str]]:
    return [_requirement_row(r.id, kills) for r in area.requirements]


def _requirement_row(ident: str, kills: Kills) -> list[str]:
    own = kills.alone(ident)
    said = ", ".join(map(_mutant_link, own)) or prose(kills.shadowed.get(ident, "None."), SPEC)
    first = f"{link(ident, SPEC)}{{ #{ident.lower()} }}"
    return [first, _killed(kills.killed.get(ident, [])), said]


def _killed(mutants: Sequence[Mutant]) -> str:
    """A count that unfolds into names."""
    if not mutants:
        return "none"
    if len(mutants) == 1:
        return _mutant_link(mutants[0])
    links = ", ".join(map(_mutant_link, mutants))
    return f"<details><summary>{len(mutants)}</summary>{links}</details>"


# Gaps


def _gaps(kills: Kills) -> str:
    parts = "\n\n".join(_gap(gap) for gap in kills.gaps) or "None is known."
    return f"""# What the kit does not catch

Each of these is wrong, and conforms.
They are kept beside the mutants and judged with them: the day one is caught, the build fails until
it is moved.

{parts}
"""


def _gap(gap: Gap) -> str:
    lines = (
        f"## {_sentence(gap)}",
        f"{code(gap.name)}, in {code(gap.file)}.",
        f"**Why it passes.** {prose(gap.why, SPEC)}",
        f"**What would catch it.** {prose(gap.would, SPEC)}",
        _seen(gap.seen),
    )
    return "\n\n".join(filter(None, lines))
