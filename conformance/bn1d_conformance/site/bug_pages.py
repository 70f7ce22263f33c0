"""From the table of real bugs to the site's pages: what was found, and what nothing tests."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bn1d_conformance.site.binding import checks
from bn1d_conformance.site.bugs import bugs, caught_by, reports
from bn1d_conformance.site.markup import ADDRESS, code, link, literal, prose, table, web
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bn1d_conformance.site.bugs import Bug

SPEC = "../spec/"  # from a drawn page


def pages() -> dict[str, str]:
    """Return the pages by path: `bugs/index.md`, then `bugs/not-tested.md`."""
    rows = list(bugs().values())
    return {"bugs/index.md": _found(rows), "bugs/not-tested.md": _not_tested(rows)}


def links_of(requirement: str) -> str:
    """Return links to the bugs that a requirement catches, from a page of the spec."""
    return ", ".join(map(link_to, caught_by(requirement)))


def link_to(bug: Bug) -> str:
    """Return a link to a bug, from another folder's page."""
    page = "index" if bug.requirements else "not-tested"
    return f"[{bug.id}](../bugs/{page}.md#{bug.id.lower()})"


# Found in the wild


def _found(rows: Sequence[Bug]) -> str:
    caught = [b for b in rows if b.requirements]
    parts = [_area(area, [b for b in caught if _home(b) == area.name]) for area in spec.areas()]
    return f"""# Found in the wild

{len(rows)} bugs, surprises and misunderstandings of batch normalization that somebody reported
in public, or that were measured on PyTorch itself, and what this kit has against each.
{len(caught)} of them fail a requirement, the first one named being the likeliest to say so;
[the other {len(rows) - len(caught)}](not-tested.md) fail none, and the reason is given.

They stand under the area of their first requirement.

{chr(10).join(filter(None, parts))}"""


def _home(bug: Bug) -> str:
    return spec.requirements()[bug.requirements[0]].area


def _area(area: spec.Area, rows: Sequence[Bug]) -> str:
    if not rows:
        return ""
    head = ["Bug", "What went wrong", "Where", "Requirement", "Checks"]
    shown = table(head, map(_row, rows))
    title = f"## {area.title} {{ #{area.name.lower()} }}"
    return f'{title}\n\n<div class="bugs" markdown>\n\n{shown}\n\n</div>\n'


def _row(bug: Bug) -> list[str]:
    judges = dict.fromkeys(c.address for i in bug.requirements for c in checks()[i])
    return [
        *_report(bug),
        "<br>".join(link(i, SPEC) for i in bug.requirements),
        "<br>".join(map(code, judges)),
    ]


def _report(bug: Bug) -> list[str]:
    """The id, which is an anchor; what went wrong; where."""
    anchor = bug.id.lower()
    return [
        f"[{bug.id}](#{anchor}){{ #{anchor} }}",
        prose(bug.wrong, SPEC),
        "<br>".join(map(_where, bug.where)),
    ]


def _where(text: str) -> str:
    """A place, with a link to each report; a repository is named once."""
    if ADDRESS.fullmatch(text):
        return web(text)
    links: list[str] = []
    for repository, kind, number in reports(text):
        said = f"#{number}" if kind == "issues" else f"PR {number}"
        name = said if links else f"{repository} {said}"
        links.append(f"[{literal(name)}](https://github.com/{repository}/{kind}/{number})")
    return ", ".join(links) or literal(text)


# Not tested, and why


def _not_tested(rows: Iterable[Bug]) -> str:
    silent = sorted((b for b in rows if b.untested), key=lambda b: (b.untested, b.id))
    groups = groupby(silent, key=lambda b: b.untested)
    parts = "\n".join(_reason(reason, list(group)) for reason, group in groups)
    return f"""# Not tested, and why

{len(silent)} of the bugs that were [found in the wild](index.md) fail no requirement.

{parts}
## Requirements without a check

{_without_check()}
"""


def _reason(reason: str, rows: Sequence[Bug]) -> str:
    title, _, rest = reason.removesuffix(".").partition(". ")
    shown = table(["Bug", "What went wrong", "Where"], map(_report, rows))
    said = f"{prose(rest, SPEC)}.\n\n" if rest else ""
    return f'## {prose(title, SPEC)}\n\n{said}<div class="bugs" markdown>\n\n{shown}\n\n</div>\n'


def _without_check() -> str:
    rows = [
        [link(r.id, SPEC), prose(r.sentence, SPEC), prose(r.untested, SPEC)]
        for r in spec.requirements().values()
        if r.untested
    ]
    if not rows:
        return "There are none: every requirement of the spec is judged."
    return table(["Id", "Requirement", "Why"], rows)
