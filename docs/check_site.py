"""Hold a built site to what it promises: `python docs/check_site.py SITE`.

No page makes a reader's browser ask a third party for a script, a style, a font or a picture;
pages and sitemap agree on their addresses; and the first load of the pages that are opened first
stays small.  What a browser really fetches is counted by `docs/tests/test_load.py`; here, without
one, it is what the tags name.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
FETCHED = {"src", "srcset", "poster", "data"}  # by the browser, unasked; a link's href is not
CSS_FETCH = re.compile(r"(?:url\(|@import)\s*[\"']?\s*(?:https?:)?//[^\"')]*", re.IGNORECASE)
LOADED = {"stylesheet", "icon"}  # of the relations that a link can have
TOLD = {"canonical", "next", "prev"}  # that no browser follows unasked
WORKER = "assets/javascripts/workers/*.js"  # the theme's script starts it on every page
#: What a page says of its own address, if the site has one.
ADDRESS = re.compile(
    r'<link rel="canonical" href="([^"]*)"|<meta property="og:url" content="([^"]*)"'
)
LISTED = re.compile("<loc>([^<]*)</loc>")  # in the sitemap
#: Bytes of a first load, uncompressed and with an empty cache.
MOST = {"index.html": 500_000, "results/index.html": 1_000_000}


class Fetches(HTMLParser):
    """Collects the addresses that a page's tags fetch by themselves."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.elsewhere: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag: any fetching attribute, and the href of what is no link to follow."""
        relation = dict(attrs).get("rel") if tag == "link" else None
        followed = tag in {"a", "area"} or relation in TOLD
        names = FETCHED if followed else {*FETCHED, "href", "xlink:href"}
        found = [v for k, v in attrs if v and k in names]
        self.elsewhere += filter(ELSEWHERE.match, found)
        if tag != "link" or relation in LOADED:
            self.loaded += found


def third_parties(path: Path) -> list[str]:
    """Return what a browser that shows this file would fetch from elsewhere."""
    text = path.read_text("utf-8")
    tags = [] if path.suffix == ".css" else Fetches(text).elsewhere
    return tags + CSS_FETCH.findall(text)


def first_load(site: Path, page: str) -> int:
    """Return the bytes of a page and of all that its tags load."""
    path = site / page
    names = dict.fromkeys(Fetches(path.read_text("utf-8")).loaded)
    files = {(path.parent / unquote(re.sub("[?#].*", "", name))).resolve() for name in names}
    files |= {*site.resolve().glob(WORKER), path.resolve()}
    return sum(file.stat().st_size for file in files if file.is_file())


def addresses(site: Path) -> Iterator[str]:
    """Yield where what a page says twice, and the sitemap once, disagree on where it stands.

    With no address given, nobody says any.
    """
    said = set()
    for path in sorted(site.rglob("index.html")):
        head = path.read_text("utf-8").partition("</head>")[0]
        own = ["".join(found) for found in ADDRESS.findall(head)]
        folder = path.parent.relative_to(site).as_posix().removeprefix(".")
        if own and not (own == own[:1] * 2 and own[0].endswith(f"/{folder}/".replace("//", "/"))):
            yield f"{path.relative_to(site)} says of its address: {own}"
        said |= set(own)
    if listed := said ^ set(LISTED.findall((site / "sitemap.xml").read_text("utf-8"))):
        yield f"The pages or the sitemap alone have {sorted(listed)}"


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".css", ".svg"}:
            for url in third_parties(path):
                yield f"{path.relative_to(site)} would fetch {url}"
    yield from addresses(site)
    for page, most in MOST.items():
        size = first_load(site, page)
        sys.stdout.write(f"{page}: {size:,} bytes at first load, of {most:,}\n")
        if size > most:
            yield f"{page} loads {size:,} bytes, more than {most:,}"


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]))) or None)
