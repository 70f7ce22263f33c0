"""The page of the published results: subjects by verdict, then what each passes by area."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bn1d_conformance.documents.unavailable import sentence
from bn1d_conformance.site.markup import (
    TONES,
    code,
    flat,
    front,
    link,
    literal,
    number,
    table,
    verdict_badge,
)
from bn1d_conformance.site.matrix import matrix

if TYPE_CHECKING:
    from bn1d_conformance.site.published import Backends, Published, Result

SPEC = "../spec/"
OPEN = ("not-applicable", "not-run", "error")
HEAD = ("Subject", "", "Version", "Diverge", "Deviate", "Expected", "Not covered", "Pass", "Grade")
#: Headings by the verdict of a file, in the order of the page.
GROUPS = {
    "conforms": "Conform",
    "diverges": "Diverge",
    "incomplete": "Not judged to an end",
    "no-result": "No result",
}
SAID = {
    "conforms": "conform",
    "diverges": "diverge",
    "incomplete": "not judged to an end",
    "no-result": "without a result",
}
#: Where `docs/js/results.js` reads a file; without it, a command does the same.
COMPARE = """\
`bn1d run TARGET --json mine.json` writes a results file, and `bn1d results diff` compares two.

<div id="compare" class="compare" hidden>
<p><label for="compare-file">Drop a results file here, or choose one:</label>
<input type="file" id="compare-file" accept=".json,application/json"></p>
<p>It is read by this page alone, and goes nowhere.</p>
<div id="compare-answer" aria-live="polite"></div>
</div>
<script src="../js/results.js" defer></script>"""


def index(published: Published, backends: Backends) -> str:
    """Return the page; `backends` has rows of `backends.toml` by name."""
    parts = [_group(verdict, published) for verdict in GROUPS]
    groups = "\n\n".join(filter(None, parts))
    verdicts = Counter(str(result["verdict"]) for result in published.values())
    counts = ", ".join(f"{verdicts[v]} {SAID[v]}" for v in GROUPS if verdicts[v])
    about = f"Who computes BatchNorm1d right: {len(published)} implementations, {counts}."
    return f"""{front(about=about, hide=["toc"])}# Published results

{len(published)} subjects: {counts}.
Each has a page, drawn from its results file: what was judged, with which versions, on which
machine; every requirement with its verdict; and what is wrong, if something is.
Beside these: [their accuracy compared](accuracy.md), [PyTorch through the ages](ages.md),
[what was found](../bugs/found-by-the-kit.md), and [what the kit does not catch](../kills/gaps.md).

## By area {{ #by-area }}

How many requirements pass, of those that apply to what the subject can do; each number leads to
the verdicts behind it.
✓ all pass, ✗ something is wrong, ≈ it deviates as it documents, fails as declared, or is open;
— nothing applies.

{matrix(published, backends)}

## Compare yours {{ #compare-yours }}

{COMPARE}

{groups}

A requirement deviates where the subject does otherwise than PyTorch, as it documents.
Expected are failures that an [expectations file](../judge.md#in-ci) declares, with the reason of
each on the subject's page; a subject without any other conforms.
Not covered are those that need what it cannot do.

[Judge yours](../judge.md) the same way.
"""


def _group(verdict: str, published: Published) -> str:
    """The subjects of one verdict."""
    found = {name: result for name, result in published.items() if result["verdict"] == verdict}
    if not found:
        return ""
    head = f"## {GROUPS[verdict]} {{ #{verdict} }}\n\n"
    if verdict == "no-result":
        rows = [[linked(name), absence(result)] for name, result in found.items()]
        return head + table(["Subject", "Why"], rows)
    causes = ["Likeliest causes"] if verdict == "diverges" else []
    rows = [_row(name, result) + [_causes(result)] * len(causes) for name, result in found.items()]
    return head + table([*HEAD, *causes], rows, "   rrrrr")


def _row(name: str, result: Result) -> list[str]:
    subject = result["subject"]
    own = literal(subject["name"]) if result["options"].get("worker") else ""
    return [
        linked(name, result),
        own,
        literal(subject["version"]),
        *map(number, sums(result)),
        number(result["counts"]["pass"]),
        flat(result["accuracy"]["grade"]),
    ]


def _causes(result: Result) -> str:
    return ", ".join(link(str(row["requirement"]), SPEC) for row in result["diagnoses"][:4])


def linked(name: str, result: Result | None = None, folder: str = "", ident: str = "") -> str:
    """Return a link to a subject's page, and there to a requirement that it was judged by."""
    anchor = f"#{ident.lower()}" if result and ident in result["requirements"] else ""
    return f"[{code(name)}]({folder}{name}.md{anchor})"


def absence(result: Result) -> str:
    """Return why there is no result, and the day of the last one: never a number that is none."""
    return f"{verdict_badge('no result')} {literal(sentence(result).removeprefix('no result: '))}"


def sums(result: Result) -> tuple[int, int, int, int]:
    """How many requirements diverge, deviate, fail as declared, and were not judged to an end."""
    verdicts = Counter(str(row["verdict"]) for row in result["requirements"].values())
    diverging = sum(n for verdict, n in verdicts.items() if TONES.get(verdict) == "bad")
    uncovered = sum(verdicts[verdict] for verdict in OPEN)
    return diverging, verdicts["deviates"], verdicts["expected-fail"], uncovered
