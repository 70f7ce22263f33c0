"""Markdown out of strings that nobody vouches for.

`literal` is the one door through which data reaches a page: what passes through it is shown as it
stands, and is neither markup nor a link.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bn1d_reference.spec import Requirement

#: How a verdict looks; one that is not here is neither good nor bad.
TONES = {
    **dict.fromkeys(("pass", "conforms"), "good"),
    **dict.fromkeys(("fail", "crash", "timeout", "diverges"), "bad"),
}
ADDRESS = re.compile(r"https://[A-Za-z0-9./_-]+")
MOST = 2000  # characters of a string that a page shows
MARKED = re.compile(r"(`[^`]+`|\b[A-Z]+-[1-9][0-9]*\b)")  # code and ids in the spec's sentences


def literal(value: object) -> str:
    """Return a value as text that neither Markdown nor HTML reads as markup.

    Every ASCII sign that either could give a meaning becomes a character reference; line breaks,
    control and bidirectional characters become spaces.
    """
    return _inert(_line(value))


def code(value: object) -> str:
    """Return a value as code, as literal as `literal`."""
    return f"<code>{literal(value)}</code>"


def prose(sentence: object, folder: str = "") -> str:
    """Return a sentence with its `code` as code and its ids as links; the rest is literal."""
    return "".join(_piece(piece, folder) for piece in MARKED.split(_line(sentence)))


def _line(value: object) -> str:
    text = str(value)
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:MOST]).split())
    return line if len(text) <= MOST else f"{line} … and {len(text) - MOST:,} characters more"


def _inert(text: str) -> str:
    harmless = (c.isalnum() or c in " ," or not c.isascii() for c in text)
    return "".join(c if h else f"&#{ord(c)};" for c, h in zip(text, harmless, strict=True))


def _piece(piece: str, folder: str) -> str:
    if piece in spec.requirements():
        return link(piece, folder)
    if MARKED.fullmatch(piece) and piece.startswith("`"):
        return code(piece.strip("`"))
    return _inert(piece)


def link(ident: str, folder: str = "") -> str:
    """Return a link to a requirement; `folder` leads from the page to the pages of the spec."""
    if ident not in spec.requirements():
        return literal(ident)
    area = ident.rpartition("-")[0].lower()
    return f"[{ident}]({folder}{area}.md#{ident.lower()})"


def web(address: object) -> str:
    """Return a link to a page of the web; what is no plain address, literally."""
    plain = ADDRESS.fullmatch(str(address))
    return f"[{literal(address)}]({address})" if plain else literal(address)


def plain(value: object) -> str:
    """Return what is harmless as Markdown, HTML and YAML alike: letters, digits, a few signs.

    For the head of a page, which the theme shows in places that escape it and in some that don't.
    """
    text = (c if c.isalnum() or c in ".,:;/+-" else " " for c in str(value)[:150])
    return " ".join("".join(text).split())


def front(
    *, title: object = "", about: object = "", hide: Sequence[str] = (), searched: bool = True
) -> str:
    """Return the head of a page: its title, what search engines and previews say, what is hidden.

    Args:
        title: where it is not the heading, which the theme would show as it stands.
        about: the page in a sentence.
        hide: parts of the theme, such as `toc`.
        searched: whether the site's search finds what is on it.
    """
    rows = {
        "title": plain(title),
        "description": plain(about),
        "hide": list(hide),
        "search": {} if searched else {"exclude": True},
    }
    lines = [f"{k}: {json.dumps(v, ensure_ascii=False)}\n" for k, v in rows.items() if v]
    return f"---\n{''.join(lines)}---\n\n"


def verdict_badge(verdict: object) -> str:
    """Return a verdict in its colour."""
    tone = TONES.get(str(verdict), "open")
    return toned(tone, literal(verdict))


def toned(tone: str, shown: str) -> str:
    """Return what is shown of a verdict in the colour of its tone."""
    return f'<span class="verdict {tone}">{shown}</span>'


def level_badge(requirement: Requirement) -> str:
    """Return a requirement's level, and its status where that is not `stable`."""
    level, status = requirement.level, requirement.status
    badge = f'<span class="level {level.lower()}">{level}</span>'
    return badge if status == "stable" else f"{badge} {status}"


def number(value: object) -> str:
    """Return a count or a measure in few digits; what is no number, literally."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else literal(value)


def flat(value: object) -> str:
    """Return a value of any shape, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{literal(k)}: {flat(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(flat, value)) or "none"
    return literal(value) if value not in ("", None) else "none"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a table; `align` has an `r` in the place of each column of numbers."""
    signs = ["--:" if a == "r" else "---" for a in align.ljust(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, signs, *rows))


def wide(rows: str) -> str:
    """Return a table of sentences, as wide as the page."""
    return f'<div class="requirements" markdown>\n\n{rows}\n\n</div>'


def facts(rows: Mapping[str, str]) -> str:
    """Return names and values side by side; a name without a value is left out."""
    items = "\n".join(f"{name}\n:   {value}\n" for name, value in rows.items() if value)
    return f'<div class="facts" markdown>\n\n{items}\n</div>'
