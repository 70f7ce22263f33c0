"""A badge: how many requirements diverge and how many are covered, never one percentage."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bn1d_conformance.documents import unavailable
from bn1d_conformance.results import FAILING

if TYPE_CHECKING:
    from bn1d_conformance.results import Result

LABEL = "BatchNorm1d"
#: By verdict: the name that shields.io has for a colour, and the colour.
COLOURS = {
    "conforms": ("brightgreen", "#2e7d32"),
    "diverges": ("red", "#c62828"),
    "incomplete": ("yellow", "#8d6e00"),
    "no-result": ("lightgrey", "#616161"),
}
OPEN = ("not_applicable", "not_run", "error")
HEIGHT, WIDTH, MARGIN = 20, 7, 6  # pixels: of the badge, of a letter, beside a word


def message(document: Result) -> str:
    """What the badge says: `0 diverge · 118/131 covered`."""
    if unavailable.is_absent(document):
        return "no result"
    counts = document["counts"]
    covered = counts["total"] - sum(counts[name] for name in OPEN)
    return f"{sum(counts[name] for name in FAILING)} diverge · {covered}/{counts['total']} covered"


def endpoint(document: Result) -> dict[str, object]:
    """The document that shields.io's endpoint badge reads."""
    colour, _ = COLOURS[document["verdict"]]
    return {"schemaVersion": 1, "label": LABEL, "message": message(document), "color": colour}


def svg(document: Result) -> str:
    """The same as a picture that fetches nothing."""
    words, (_, colour) = message(document), COLOURS[document["verdict"]]
    left, right = (len(text) * WIDTH + 2 * MARGIN for text in (LABEL, words))
    whole, title = left + right, escape(f"{LABEL}: {words}")
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{HEIGHT}" role="img">
<title>{title}</title>
<rect width="{whole}" height="{HEIGHT}" rx="3" fill="#424242"/>
<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{right - 3}z" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
{_text(LABEL, MARGIN)}
{_text(words, left + MARGIN)}
</g>
</svg>
"""


def _text(words: str, x: int) -> str:
    """A word whose length no font changes."""
    length = f'textLength="{len(words) * WIDTH}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{x}" y="14" {length}>{escape(words)}</text>'
