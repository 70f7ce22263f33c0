"""The changelog on the site: a page, and a feed in Atom (RFC 4287).

The site need not know where it will stand: what the feed names is told from everything else by a
UUID of its own, and links are relative to the feed.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid5
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE, FEED = "changelog.md", "changelog.xml"
ATOM, XHTML = "http://www.w3.org/2005/Atom", "http://www.w3.org/1999/xhtml"
OWN = UUID("b7a1d0c4-2f0e-5a37-9d53-6d1c5be0a1f7")  # what the feed's ids are made of
HEAD = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<day>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


class Section(NamedTuple):
    """What the changelog says of a version.

    Attributes:
        version: its number, or Unreleased.
        day: of its release, or None.
        text: Markdown.
    """

    version: str
    day: datetime | None
    text: str


def sections(changelog: str) -> Iterator[Section]:
    """Yield the sections of a changelog, the newest first, as it has them."""
    heads = list(HEAD.finditer(changelog))
    for head, following in zip_longest(heads, heads[1:]):
        end = following.start() if following else len(changelog)
        day = head["day"] and datetime.fromisoformat(head["day"]).replace(tzinfo=timezone.utc)
        yield Section(head["version"], day or None, changelog[head.end() : end].strip())


def page(changelog: str) -> str:
    """Return the page: the changelog, with its links as they are within the documentation."""
    return changelog.replace("](docs/", "](")


def feed(changelog: str, changed: datetime) -> str:
    """Return the feed, an entry a version.

    Args:
        changelog: in the manner of Keep a Changelog.
        changed: when it was last written, which is the day of what is not released.
    """
    found = list(sections(changelog))
    root = ET.Element("feed", xmlns=ATOM)
    _add(root, "title", "Changes of bn1d-conformance")
    _add(root, "id", OWN.urn)
    _add(root, "updated", max((s.day or changed for s in found), default=changed).isoformat())
    ET.SubElement(_add(root, "author"), "name").text = "The bn1d-conformance authors"
    _add(root, "link", href="changelog/")
    _add(root, "link", rel="self", href=FEED)
    for section in found:
        _entry(root, section, section.day or changed)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _entry(root: ET.Element, section: Section, day: datetime) -> None:
    """Add a version; its Markdown is shown as it stands."""
    entry = _add(root, "entry")
    _add(entry, "title", f"bn1d-conformance {section.version}")
    _add(entry, "id", uuid5(OWN, section.version).urn)
    _add(entry, "updated", day.isoformat())
    _add(entry, "link", href="changelog/")
    shown = ET.SubElement(_add(entry, "content", type="xhtml"), "div", xmlns=XHTML)
    _add(shown, "pre", section.text, style="white-space: pre-wrap")


def _add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    element.text = text or None
    return element
