"""Line plots as SVG that stands in a page: light and dark by the page's own colours.

A plot is read without colours (each line has its own dashes), without sight (it has a title and a
description), and without a script.  Sizes are in the units of the view box, 480 wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

from bn1d_conformance.site.markup import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 480, 280  # of the frame with its labels; the legend comes below
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 46  # what the labels need
LINE = 22  # a line of the legend
DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 6")


@dataclass(frozen=True)
class Axis:
    """One axis: what it measures, and the values that it shows, from the first tick to the last.

    Attributes:
        label: what is measured.
        ticks: the values that are named, ascending.
        log: whether equal factors are equally far apart; values must then be positive.
    """

    label: str
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands: 0 at the first tick, 1 at the last, and no further."""
        low, high, at = (self._scale(v) for v in (self.ticks[0], self.ticks[-1], value))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def _scale(self, value: float) -> float:
        return log10(max(value, self.ticks[0])) if self.log else value

    def name(self, value: float) -> str:
        """A tick as it is written: powers of ten as such on a logarithmic axis."""
        if not self.log:
            return _minus(f"{value:g}")
        return f'10<tspan dy="-5" font-size="10">{_minus(str(round(log10(value))))}</tspan>'


@dataclass(frozen=True)
class Series:
    """One line: its name, and its points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Lines over two axes.

    Attributes:
        ident: unique in the page; the ids of the title and the description begin with it.
        title: what is shown, a phrase.
        description: what is to be seen, for who does not see it.
    """

    ident: str
    title: str
    description: str
    x: Axis
    y: Axis
    series: Sequence[Series]

    def svg(self) -> str:
        """The plot as a figure of HTML, without an empty line."""
        title, said = f"{self.ident}-title", f"{self.ident}-said"
        height = HEIGHT + LINE * len(self.series)
        parts = [
            f'<figure class="plot"><svg viewBox="0 0 {WIDTH} {height}" role="img"',
            f' aria-labelledby="{title} {said}">',
            f'<title id="{title}">{literal(self.title)}</title>',
            f'<desc id="{said}">{literal(self.description)}</desc>',
            *map(self._vertical, self.x.ticks),
            *map(self._horizontal, self.y.ticks),
            *self._labels(),
            *(self._line(k, line) for k, line in enumerate(self.series)),
            *(self._key(k, line) for k, line in enumerate(self.series)),
            "</svg></figure>",
        ]
        return "\n".join(parts)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - self.y.place(y) * self._tall, 1)

    @property
    def _tall(self) -> int:
        return HEIGHT - TOP - BOTTOM

    def _vertical(self, tick: float) -> str:
        x, y = self._at(tick, self.y.ticks[0])
        return f'<path class="grid" d="M{x} {y}V{TOP}"/>' + _text(
            x, y + 17, self.x.name(tick), "middle"
        )

    def _horizontal(self, tick: float) -> str:
        x, y = self._at(self.x.ticks[0], tick)
        return f'<path class="grid" d="M{x} {y}H{WIDTH - RIGHT}"/>' + _text(
            x - 6, y + 4, self.y.name(tick), "end"
        )

    def _labels(self) -> list[str]:
        across, up = (LEFT + WIDTH - RIGHT) / 2, TOP + self._tall / 2
        turned = f'transform="rotate(-90 14 {up})"'
        return [
            _text(across, HEIGHT - 8, literal(self.x.label), "middle"),
            _text(14, up, literal(self.y.label), "middle", turned),
        ]

    def _line(self, k: int, line: Series) -> str:
        points = " ".join(f"{x},{y}" for x, y in (self._at(*point) for point in line.points))
        return f'<polyline class="line{k}" stroke-dasharray="{DASHES[k]}" points="{points}"/>'

    def _key(self, k: int, line: Series) -> str:
        y = HEIGHT + LINE * k + 8
        sample = f'<path class="line{k}" stroke-dasharray="{DASHES[k]}" d="M{LEFT} {y}h40"/>'
        return sample + _text(LEFT + 50, y + 5, literal(line.name), "start")


def _text(x: float, y: float, written: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {more}>{written}</text>'


def _minus(written: str) -> str:
    return written.replace("-", "−")
