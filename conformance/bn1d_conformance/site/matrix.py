"""The matrix of the results, subjects by areas: HTML that is whole without a script.

`docs/js/results.js` sorts it by its columns, filters its rows and searches them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from bn1d_conformance.documents.unavailable import is_absent
from bn1d_conformance.site.markup import TONES, flat, literal, toned
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.site.published import Backends, Published, Result
    from bn1d_reference.spec import Area

#: In the order in which they are sorted.
SIGNS = {"bad": "✗", "open": "≈", "good": "✓", "none": "—"}
#: What the filter calls the tones; with an area chosen, it is about that area.
MEANINGS = {
    "good": "passes",
    "bad": "diverges",
    "open": "deviates, or is open",
    "none": "not judged",
}
OVERALL = {"conforms": "good", "diverges": "bad", "no-result": "none"}  # the rest is open
APART = ("not-applicable", "not-run")  # in no share
DOT = literal(".")  # a long name may wrap after it
OTHERS = "Others"  # the framework of what no row of backends.toml is about


class Cell(NamedTuple):
    """What a subject does in an area.

    Attributes:
        tone: of `SIGNS`.
        share: passes of what applies, as 7/9; as 9 if all pass.
        counts: how often each verdict, for whoever points at it.
        key: what a column is sorted by, the worst first, and what does not apply last.
    """

    tone: str
    share: str
    counts: str
    key: float


def matrix(published: Published, backends: Backends) -> str:
    """Return the form that filters, and the table.

    Args:
        published: the results.
        backends: rows of `backends.toml` by name, which say whose a subject is.
    """
    frameworks = {name: backends.get(name, {}).get("framework", OTHERS) for name in published}
    rows = "\n".join(_row(name, published[name], frameworks[name]) for name in published)
    areas = "".join(map(_head, spec.areas()))
    form = _form(sorted(set(frameworks.values()), key=str.lower), len(published))
    heads = f'{areas}<th scope="col">Grade</th>'
    return "\n".join([form, boxed('id="matrix" class="matrix"', heads, rows)])


def boxed(attributes: str, heads: str, rows: str) -> str:
    """Return a table of subjects by area, which scrolls alone where it is too wide.

    Args:
        attributes: of the table.
        heads: cells after those of the subject and its verdict.
        rows: those of the subjects.
    """
    return f"""<div class="matrix-box" role="region" aria-label="Subjects by area" tabindex="0">
<table {attributes}>
<thead>
<tr><th scope="col">Subject</th><th scope="col">Verdict</th>{heads}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""


def _form(frameworks: list[str], count: int) -> str:
    areas = {a.name: f"{a.name} {a.title}" for a in spec.areas()}
    return f"""<form id="matrix-filter" class="matrix-filter" hidden>
<label>Search <input type="search" name="text" placeholder="torch, 2.13, STATS-2"></label>
<label>Framework {_select("framework", dict(zip(frameworks, frameworks, strict=True)))}</label>
<label>Area {_select("area", areas)}</label>
<label>Verdict {_select("verdict", MEANINGS)}</label>
<button type="reset">Show all</button>
<output aria-live="polite">{count} of {count} subjects</output>
</form>"""


def _select(name: str, options: Mapping[str, str]) -> str:
    shown = (f'<option value="{literal(k)}">{literal(v)}</option>' for k, v in options.items())
    return f'<select name="{name}"><option value="">all</option>{"".join(shown)}</select>'


def _head(area: Area) -> str:
    page = f"../spec/{area.name.lower()}/"
    title = f'title="{literal(area.title)}"'
    return f'<th scope="col" data-area="{area.name}"><a href="{page}" {title}>{area.name}</a></th>'


def _row(name: str, result: Result, framework: str) -> str:
    """A subject, with the ids that fail, by which it can be found."""
    judged = by_requirement(result)
    failing = " ".join(i for i, row in judged["requirements"].items() if _fails(row))
    grade = flat(judged["accuracy"]["grade"]) if "accuracy" in judged else "none"
    data = {"framework": framework, "tone": tone_of(result), "fails": failing}
    said = " ".join(f'data-{key}="{literal(value)}"' for key, value in data.items())
    first = f'<a href="{name}/">{literal(name)}</a> <small>{_about(result)}</small>'
    cells = "".join(_cell(name, area, judged) for area in spec.areas())
    return (
        f'<tr {said}><th scope="row">{first}</th>{_overall(name, result)}{cells}'
        f"<td>{grade}</td></tr>"
    )


def _fails(row: Mapping[str, Any]) -> bool:
    return TONES.get(str(row["verdict"])) == "bad"


def _about(result: Result) -> str:
    if is_absent(result):
        return ""
    name = literal(result["subject"]["name"]).replace(DOT, f"{DOT}<wbr>")
    return f"{name} {literal(result['subject']['version'])}"


def _overall(name: str, result: Result) -> str:
    anchor = "no-result" if is_absent(result) else "result"
    key = list(SIGNS).index(tone_of(result))
    return f'<td data-key="{key}"><a href="{name}/#{anchor}">{overall(result)}</a></td>'


def tone_of(result: Result) -> str:
    """Return the tone of a whole file."""
    return OVERALL.get(str(result["verdict"]), "open")


def overall(result: Result) -> str:
    """Return the verdict of a whole file with its sign."""
    tone = tone_of(result)
    return toned(tone, f"{SIGNS[tone]} {literal(result['verdict'])}")


def by_requirement(result: Result) -> Result:
    """Return what a file says by requirement: nothing where there is no result."""
    return {"requirements": {}} if is_absent(result) else result


def _cell(name: str, area: Area, result: Result) -> str:
    cell = cell_of(area, result)
    sign = toned(cell.tone, f"{SIGNS[cell.tone]} {cell.share}")
    title = f'title="{literal(area.title)}: {cell.counts}"'
    link = f'<a href="{name}/#{area.name.lower()}" {title}>{sign}</a>' if cell.counts else sign
    return f'<td data-area="{area.name}" data-tone="{cell.tone}" data-key="{cell.key}">{link}</td>'


def cell_of(area: Area, result: Result) -> Cell:
    """Return what a results file says of an area."""
    rows = result["requirements"]
    found = [str(rows[r.id]["verdict"]) for r in area.requirements if r.id in rows]
    verdicts = Counter(found)
    applies = verdicts.total() - sum(verdicts[v] for v in APART)
    counts = literal(", ".join(f"{n} {verdict}" for verdict, n in verdicts.items()))
    if not applies:
        return Cell("none", "", counts, 2.0)
    passes = verdicts["pass"]
    bad = any(TONES.get(verdict) == "bad" for verdict in verdicts)
    tone = "bad" if bad else "good" if passes == applies else "open"
    share = f"{applies}" if passes == applies else f"{passes}/{applies}"
    return Cell(tone, share, counts, round(passes / applies - bad, 4))
