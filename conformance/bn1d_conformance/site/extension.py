"""What the site reads in Markdown beyond the usual: figures, and formulas as MathML.

An extension of Python-Markdown, whose one option is the folder that figures are drawn from:

    markdown_extensions:
      - bn1d_conformance.site.extension: {folder: conformance}

A formula is TeX between dollar signs, as pymdownx.arithmatex finds it.  The browser shows MathML
by itself: no script, no font.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from latex2mathml.converter import convert
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor

from bn1d_conformance.site import figures

if TYPE_CHECKING:
    from typing import Any

#: What pymdownx.arithmatex makes of a formula, with `generic`.
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
BEFORE_FENCES, LAST = 28, 0  # priorities of Python-Markdown: code that shows a mark stays code


class Figures(Preprocessor):  # type: ignore[misc]
    """Puts figures into the places of their marks."""

    def __init__(self, sources: figures.Sources) -> None:
        """Take what they are drawn from."""
        super().__init__()
        self.sources = sources

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines of a page with its figures drawn."""
        return figures.draw("\n".join(lines), self.sources).split("\n")


class Formulas(Postprocessor):  # type: ignore[misc]
    """Puts MathML into the places of the formulas."""

    def run(self, text: str) -> str:
        """Return the HTML of a page with its formulas translated."""
        return FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    """One formula, in the line or on a line of its own."""
    display = "block" if found["tag"] == "div" else "inline"
    shown: str = convert(html.unescape(found["tex"].strip()), display=display)
    return f'<div class="formula" tabindex="0">{shown}</div>' if display == "block" else shown


class Own(Extension):  # type: ignore[misc]
    """The extension."""

    def __init__(self, **options: Any) -> None:
        """Take the options of mkdocs.yml."""
        self.config = {"folder": ["conformance", "What figures are drawn from."]}
        super().__init__(**options)

    def extendMarkdown(self, md: Any) -> None:  # noqa: N802 - Python-Markdown's
        """Register both."""
        drawn = Figures(figures.Sources(Path(self.getConfig("folder"))))
        md.preprocessors.register(drawn, "bn1d-figures", BEFORE_FENCES)
        md.postprocessors.register(Formulas(), "bn1d-formulas", LAST)


def makeExtension(**options: Any) -> Own:  # noqa: N802 - Python-Markdown's
    """Return the extension, as Python-Markdown asks for it."""
    return Own(**options)
