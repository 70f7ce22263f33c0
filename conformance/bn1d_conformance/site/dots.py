"""Dot plots in SVG, of shares of a bound: drawn with the colours of the page that has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from bn1d_conformance.site.markup import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 1e-4  # a share at the left edge; what is smaller stands there too
TICKS = {1e-4: "≤ 0.01 %", 1e-3: "0.1 %", 1e-2: "1 %", 1e-1: "10 %", 1.0: "100 %"}
WIDTH, LABELS, RIGHT, ROW = 460, 180, 26, 22  # units: whole, left of the plot, right of it, a row
#: The mark of each grade: another shape, so that its colour is not the only sign.
MARKS = {
    "accurate": '<circle class="accurate" cx="{x}" cy="{y}" r="4.5"/>',
    "blocked": '<path class="blocked" d="M{x} {y}m0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z"/>',
    "conforming": '<path class="conforming" d="M{x} {y}m-4-4h8v8h-8z"/>',
}
LEGEND = "● accurate, ◆ blocked, □ conforming"


class Dots(NamedTuple):
    """A row: its name, and a share of the bound with a grade for each mark."""

    name: str
    marks: Sequence[tuple[float, str]]


def plot(rows: Sequence[Dots], said: str) -> str:
    """Return a figure: a row of marks a name, on a logarithmic scale that ends at the bound.

    Args:
        rows: from the top.
        said: the picture in a sentence, for whoever doesn't see it.
    """
    height = ROW * len(rows)
    lines = "".join(_tick(share, words, height) for share, words in TICKS.items())
    drawn = "".join(_row(row, ROW * k + ROW / 2) for k, row in enumerate(rows))
    box = f'viewBox="0 0 {WIDTH} {height + ROW}" role="img" aria-label="{literal(said)}"'
    return f"""<figure class="dots">
<svg {box}>{lines}{drawn}</svg>
<figcaption>Share of the bound that was used, on a logarithmic scale: {LEGEND}.</figcaption>
</figure>"""


def _x(share: float) -> float:
    """Where a share stands."""
    part = 1 - math.log10(min(max(share, LEAST), 1.0)) / math.log10(LEAST)
    return round(LABELS + part * (WIDTH - LABELS - RIGHT), 1)


def _tick(share: float, words: str, height: int) -> str:
    x = _x(share)
    kind = "bound" if share == max(TICKS) else "tick"
    return (
        f'<path class="{kind}" d="M{x} 0v{height}"/>'
        f'<text x="{x}" y="{height + 15}" text-anchor="middle">{words}</text>'
    )


def _row(row: Dots, y: float) -> str:
    name = f'<text x="{LABELS - 14}" y="{y + 4}" text-anchor="end">{literal(row.name)}</text>'
    if not row.marks:
        return name
    xs = [_x(share) for share, _ in row.marks]
    span = f'<path class="span" d="M{min(xs)} {y}H{max(xs)}"/>'
    marks = {MARKS[grade].format(x=x, y=y) for x, (_, grade) in zip(xs, row.marks, strict=True)}
    return name + span + "".join(sorted(marks))
