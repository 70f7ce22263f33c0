"""From the spec to the site's pages: every requirement, and today's verdict of every subject."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bn1d_conformance.site import bug_pages, kill_pages, sources
from bn1d_conformance.site.markup import (
    code,
    facts,
    level_badge,
    link,
    literal,
    prose,
    table,
    verdict_badge,
)
from bn1d_conformance.site.published import judged
from bn1d_conformance.site.results_page import linked
from bn1d_conformance.subject import CAPABILITIES
from bn1d_reference import SPEC_VERSION, spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bn1d_conformance.documents.kills import Kills
    from bn1d_conformance.site.published import Published
    from bn1d_conformance.site.sources import Passage
    from bn1d_reference.spec import Area, Requirement

RESULTS = "../results/"  # from a page of the spec


def pages(published: Published | None = None, kills: Kills | None = None) -> dict[str, str]:
    """Return the pages of the spec by path: `spec/index.md`, then one an area.

    Args:
        published: results whose verdicts stand beside each requirement.
        kills: the matrix whose mutants do.
    """
    published = judged(published or {})
    areas = {f"spec/{a.name.lower()}.md": _area_page(a, published, kills) for a in spec.areas()}
    return {"spec/index.md": _index(), **areas}


def _index() -> str:
    rows = [_area_row(area) for area in spec.areas()]
    levels = Counter(r.level for r in spec.requirements().values())
    counts = ", ".join(f"{n} {level}" for level, n in levels.items())
    return f"""# The spec

Version {SPEC_VERSION}: {levels.total()} requirements in {len(rows)} areas ({counts}).
A requirement is one sentence that an implementation keeps or breaks.
Its id is permanent, and is never used again for another.

{table(["Area", "Requirements"], rows, " r")}

[The results](../results/index.md#by-area) tell how many of them each published subject passes.
A MUST that is stable is binding: a subject that breaks one diverges.
A SHOULD or a MAY, and a requirement that is still provisional, is judged and reported, and makes
nobody diverge.

Below each requirement stand the lines of [the oracle](../reference/oracle.md) that implement it,
where it is about numbers, and the checks that judge it.

## Capabilities {"{ #capabilities }"}

A requirement applies to subjects that can do what it needs.
To one that cannot it is *not applicable*, which is counted apart, and never as a pass.

{table(["Capability", "Means"], [(code(k), literal(v)) for k, v in CAPABILITIES.items()])}
"""


def _area_row(area: Area) -> list[str]:
    about = f"[{area.title}]({area.name.lower()}.md)<br>{prose(area.about)}"
    return [about, str(len(area.requirements))]


def _area_page(area: Area, published: Published, kills: Kills | None) -> str:
    parts = [f"# {area.title}\n\n{prose(area.about)}"]
    parts += [_requirement(r, published, kills) for r in area.requirements]
    return "\n\n".join(parts) + "\n"


def _requirement(r: Requirement, published: Published, kills: Kills | None) -> str:
    rows = {
        "Why": prose(r.intent),
        "What breaks": prose(r.breaks),
        "Source": "; ".join(map(literal, r.source)),
        "Needs": ", ".join(f"[{code(n)}](index.md#capabilities)" for n in r.needs),
        "Rests on": ", ".join(map(link, r.rests_on)),
        "Since": r.since and f"PyTorch {literal(r.since)}",
        "Until": r.until and f"PyTorch {literal(r.until)}",
        "Not tested": prose(r.untested),
        "Would have caught": bug_pages.links_of(r.id),
        "Mutants": kill_pages.links_of(kills, r.id) if kills else "",
        "Verdicts": "<br>".join(_verdicts(r.id, published)),
    }
    head = f"## {r.id} {{ #{r.id.lower()} }}"
    said = f"{level_badge(r)}\n{prose(r.sentence)}\n{{ .normative }}"
    oracle = _folded("Lines of the oracle", sources.oracle()[r.id])
    checks = _folded("Checks", sources.checks()[r.id])
    return "\n\n".join(filter(None, (head, said, facts(rows), oracle, checks)))


def _folded(title: str, passages: Sequence[Passage]) -> str:
    """Lines of the project's sources, which unfold; the search leaves them out."""
    if not passages:
        return ""
    names = ", ".join(code(f"{p.file}::{p.part}") for p in passages)
    shown = "\n\n".join(f"{code(p.place)}\n\n~~~ py\n{p.code}\n~~~" for p in passages)
    fold = '<details class="lines" data-search-exclude markdown>'
    return f"{fold}\n<summary>{title}: {names}</summary>\n\n{shown}\n\n</details>"


def _verdicts(ident: str, published: Published) -> Iterator[str]:
    """Each verdict with its subjects; of those that it does not apply to, only how many."""
    by_verdict: dict[str, list[str]] = {}
    for name, result in published.items():
        row = result["requirements"].get(ident, {"verdict": "not-run"})
        by_verdict.setdefault(row["verdict"], []).append(linked(name, result, RESULTS, ident))
    for verdict, subjects in by_verdict.items():
        many = verdict == "not-applicable" and len(subjects) > 1
        yield f"{verdict_badge(verdict)} {len(subjects) if many else ', '.join(subjects)}"
