"""What the build adds to the pages written by hand, and what it refuses.

The pages of spec, bugs and finds are drawn from the TOML, those of the mutants and of the results
from the files; none of them is committed.  A page that would make a reader's browser ask a
third party for a script, a style, a font or a picture fails the build.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

from bn1d_conformance import (
    kills,
    porting,
    site,
    site_bugs,
    site_finds,
    site_kills,
    site_mutants,
)

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
DRAWN = {
    "Spec": "spec/",
    "Bugs": "bugs/",
    "Mutants": "kills/",
    "Results": "results/",
    "Porting": "porting/",
}
ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
FETCHED = {"src", "srcset", "poster", "data"}  # by the browser, unasked; a link's href is not
CSS_FETCH = re.compile(r"(?:url\(|@import)\s*[\"']?\s*(?:https?:)?//[^\"')]*", re.IGNORECASE)

log = get_plugin_logger("third-party")


def drawn_pages() -> dict[str, str]:
    """Return the Markdown of every drawn page by path."""
    files = sorted((ROOT / "conformance" / "results").glob("*.json"))
    published = {f.stem: json.loads(f.read_text("utf-8")) for f in files}
    matrix = kills.read(ROOT / "conformance" / "tests" / "zoo")
    mutants = json.loads((ROOT / "conformance" / "mutants" / "results.json").read_text("utf-8"))
    spec = site.spec_pages(published, matrix)
    found = {**site_bugs.pages(), **site_kills.pages(matrix)}
    found |= site_mutants.pages(mutants["mutants"])
    finds = ROOT / "conformance" / "finds"
    found |= site_finds.page(site_finds.read(finds), finds)
    return {**spec, **found, **site.result_pages(published), **porting.pages(published)}


def on_config(config: MkDocsConfig) -> None:
    """Put the drawn pages into the navigation."""
    for section in config.nav or []:
        for title, folder in DRAWN.items():
            if title in section:
                section[title] = [path for path in drawn_pages() if path.startswith(folder)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the drawn pages to those written by hand."""
    for path, text in drawn_pages().items():
        files.append(File.generated(config, path, content=text))


def on_post_build(config: MkDocsConfig) -> None:
    """Warn, and so fail a strict build, of every request to a third party."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in {".html", ".css", ".svg"}:
            for url in third_parties(path):
                log.warning("%s would fetch %s", path.relative_to(config.site_dir), url)


def third_parties(path: Path) -> list[str]:
    """Return what a browser that shows this file would fetch from elsewhere."""
    text = path.read_text("utf-8")
    reader = Fetches()
    if path.suffix != ".css":
        reader.feed(text)
    return reader.found + CSS_FETCH.findall(text)


class Fetches(HTMLParser):
    """Collects the absolute addresses that a page's tags fetch by themselves."""

    def __init__(self) -> None:
        """Start with nothing found."""
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag: any fetching attribute, and the href of anything but a hyperlink."""
        names = FETCHED if tag in {"a", "area"} else {*FETCHED, "href", "xlink:href"}
        self.found += [v for k, v in attrs if v and k in names and ELSEWHERE.match(v)]
