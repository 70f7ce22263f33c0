"""What the build makes of the pages that explain: figures, and formulas as MathML.

A formula is TeX between dollar signs.  The browser shows MathML by itself: no script, no font.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from latex2mathml.converter import convert

from bn1d_conformance import site_figures

if TYPE_CHECKING:
    from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "conformance" / "results"
#: What pymdownx.arithmatex makes of a formula, with `generic`.
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def published() -> dict[str, Any]:
    """Read the published results, by name."""
    files = sorted(RESULTS.glob("*.json"))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the figures into the places of their marks."""
    return site_figures.draw(markdown, published)


def on_page_content(html: str, **_: Any) -> str:
    """Put MathML into the places of the formulas."""
    return FORMULA.sub(formula, html)


def formula(found: re.Match[str]) -> str:
    """One formula, in the line or on a line of its own."""
    display = "block" if found["tag"] == "div" else "inline"
    shown: str = convert(html.unescape(found["tex"].strip()), display=display)
    return f'<div class="formula" tabindex="0">{shown}</div>' if display == "block" else shown
