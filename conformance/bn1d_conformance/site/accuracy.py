"""How accurate the subjects are: the part of a subject's page, and the page of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn1d_conformance.results import GRADES
from bn1d_conformance.site.dots import Dots, plot
from bn1d_conformance.site.markup import code, flat, front, literal, number, table
from bn1d_conformance.site.published import judged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.site.published import Published, Result

    Score = Mapping[str, Any]

HEAD = ("ulp, 99 of 100", "ulp, worst", "Of the bound", "Grade")
#: What the outputs of a results file are called, in the order of the page.
QUANTITIES = {
    "y": "The output",
    "running_mean": "The running mean",
    "running_var": "The running variance",
    "dx": "The gradient of the input",
    "dweight": "The gradient of the weight",
    "dbias": "The gradient of the bias",
}
FORMATS = ("fp32", "fp64", "fp16", "bf16")


def section(result: Result) -> str:
    """Return the part of a subject's page; nothing where nothing was graded."""
    accuracy = result["accuracy"]
    outputs = accuracy["outputs"]
    if not outputs:
        return ""
    rows = [[literal(name), *_score(score)] for name, score in outputs.items()]
    dots = [Dots(name, _marks(score)) for name, score in outputs.items()]
    return f"""## Accuracy

Grade: **{flat(accuracy["grade"])}** ([what the grades mean](../bounds.md#three-grades)).

{plot(dots, _said(dots))}

There is a mark for each power of ten of |mean|/σ among the cases, where it tells of any.

{table(["Output", *HEAD], rows, " rrr")}

The largest values over all graded cases that passed:
the error that 99 of 100 elements of a case stay below, and the worst one's,
in ulp at the output's scale; and the largest share of its bound that an element used up.
Where an answer is the small difference of large numbers, many ulp are few roundings:
the bound knows, and the share tells.
[All subjects compared](accuracy.md)."""


def page(published: Published) -> str:
    """Return the page of all subjects: a picture and a table for each output and format."""
    there = judged(published)
    parts = [_output(f"{q} {f}", there) for q in QUANTITIES for f in FORMATS]
    about = "How accurate each implementation of BatchNorm1d is, output by output."
    return f"""{front(about=about)}# Accuracy compared

What a passing subject loses, as a share of [the bound](../bounds.md) that a sound algorithm may
lose on the same input, at its worst over all graded cases that passed; the best one first.
Only answers within their bounds are scored: one beyond its bound is a failure, and no mark.
So a subject that fails may look good here; [the matrix](index.md#by-area) has what it fails.
Subjects that were judged by the profile `quick` met fewer cases than those by `full`.

{"".join(parts)}"""


def _output(name: str, judged: Published) -> str:
    """One output in one format; nothing where no subject has it."""
    scores = {n: r["accuracy"]["outputs"].get(name) for n, r in judged.items()}
    found = {n: score for n, score in scores.items() if score and share_of(score) is not None}
    if not found:
        return ""
    order = sorted(found, key=lambda n: (share_of(found[n]) or 0.0, n))
    dots = [Dots(n, _worst(found[n])) for n in order]
    rows = [[f"[{code(n)}]({n}.md#accuracy)", *_score(found[n])] for n in order]
    quantity, _, form = name.partition(" ")
    return f"""## {QUANTITIES[quantity]}, {form} {{ #{quantity.replace("_", "-")}-{form} }}

{plot(dots, _said(dots))}

<details markdown><summary>The numbers</summary>

{table(["Subject", *HEAD], rows, " rrr")}

</details>

"""


def share_of(score: Score) -> float | None:
    """The share of the bound; None for what is no number."""
    share = score["bound_fraction"]
    return float(share) if isinstance(share, (int, float)) else None


def _worst(score: Score) -> list[tuple[float, str]]:
    share, grade = share_of(score), score.get("grade")
    return [(share, grade)] if share is not None and grade in GRADES else []


def _marks(score: Score) -> list[tuple[float, str]]:
    """A mark for each condition, or one for all where the file does not tell them apart."""
    parts = list(score.get("conditions", {}).values()) or [score]
    return [mark for part in parts for mark in _worst(part)]


def _said(dots: list[Dots]) -> str:
    """The picture in a sentence."""
    worst = [(max(share for share, _ in row.marks), row.name) for row in dots if row.marks]
    if not worst:
        return "Nothing was graded."
    (low, best), (high, last) = min(worst), max(worst)
    return (
        f"The largest share of the bound that was used is {_percent(low)} for {best}, the least, "
        f"and {_percent(high)} for {last}, the most. The table below has the numbers."
    )


def _score(score: Score) -> list[str]:
    share = share_of(score)
    percent = _percent(share) if share is not None else literal(score["bound_fraction"])
    return [number(score["ulp"]), number(score["worst"]), percent, flat(score.get("grade"))]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
