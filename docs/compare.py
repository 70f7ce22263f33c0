"""What one build of the site has and another lacks: `python docs/compare.py SITE OTHER`.

`nox -s docs-zensical` holds Zensical's build to MkDocs' by it: every file, and of every page the
anchors, elements and words of its text, and the kinds of what its head says.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

THEME = "assets"  # each brings its own
RENAMED = {"search/search_index.json", "sitemap.xml.gz"}  # CONTRIBUTING.md says of them
TEXT = re.compile(r"<article.*</article>", re.DOTALL)
SAID = re.compile(r'(?:property|rel|name)="([^"]+)"')


class Page(HTMLParser):
    """Collects what a page can be linked to by, what it consists of, and what its head says."""

    def __init__(self, path: Path) -> None:
        """Read a page; one without an article, for what is missing, has nothing but a head."""
        super().__init__()
        text = path.read_text("utf-8")
        self.anchors: set[str] = set()
        self.elements: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.head = set(SAID.findall(text.partition("</head>")[0]))
        self.feed("".join(TEXT.findall(text)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count an element, and remember its anchor."""
        self.elements[tag] += 1
        self.anchors |= {value for name, value in attrs if name == "id" and value}

    def handle_data(self, data: str) -> None:
        """Count words."""
        self.words.update(data.split())

    def lacks(self, other: Page) -> dict[str, list[str]]:
        """Return what is here and not in the other, by what it is."""
        return {
            "anchors": sorted(self.anchors - other.anchors),
            "elements": sorted(self.elements - other.elements),
            "words": sorted(self.words - other.words),
            "in its head": sorted(self.head - other.head),
        }


def files(site: Path) -> set[str]:
    """Return what a site serves beside the files of its theme."""
    paths = (path.relative_to(site) for path in site.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != THEME} - RENAMED


def losses(site: Path, other: Path) -> Iterator[str]:
    """Yield what the other lacks, a line for each file and each kind of loss of a page."""
    shared = files(site) & files(other)
    yield from (f"{name} is missing" for name in sorted(files(site) - shared))
    for name in sorted(n for n in shared if n.endswith(".html")):
        lost = Page(site / name).lacks(Page(other / name))
        yield from (f"{name} lacks {kind}: {of[:5]}" for kind, of in lost.items() if of)


if __name__ == "__main__":
    sys.exit("\n".join(losses(Path(sys.argv[1]), Path(sys.argv[2]))) or None)
