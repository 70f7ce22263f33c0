"""The file `llms.txt`: what the site is, and its pages with a line each, as llmstxt.org has it."""

from __future__ import annotations

import ast
import html
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PAGE = "llms.txt"
TITLE = re.compile(r"^# (.+?)(?: \{.*\})?$", re.MULTILINE)
BLOCK = re.compile(r"^(```|\$\$).*?^\1$", re.MULTILINE | re.DOTALL)  # code, formulas
#: Of a paragraph that is no heading, list or table, to the line that ends with it.
SENTENCE = re.compile(
    r"^(?:\*\*|\w|`|\[)(?:.|\n(?!\n))*?(?:[.:?!][^\w\n]*$|(?=\n\n|\Z))", re.MULTILINE
)
MODULE = re.compile(r"^::: (\S+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
#: What has no page, and is there for programs.
FILES = {
    "results/published.json": "every verdict of every published subject, by requirement",
    "changelog.xml": "the changes, as an Atom feed",
    "objects.inv": "the names of the Python API, as Sphinx's inventories have them",
}


def text(clone: Path, drawn: Mapping[str, str]) -> str:
    """Return the file; its addresses are relative to the place where it stands.

    Args:
        clone: the project's folder, whose mkdocs.yml names the pages.
        drawn: those of its pages that nobody wrote, by path.

    Raises:
        ImportError: if MkDocs is not installed, which reads its own file.
        OSError: if a page of the navigation is missing.
    """
    from mkdocs.utils.yaml import yaml_load  # noqa: PLC0415

    settings = yaml_load((clone / "mkdocs.yml").read_text("utf-8"))

    def source(path: str) -> str:
        return drawn.get(path) or (clone / "docs" / path).read_text("utf-8")

    parts = [_part(title, paths, source) for title, paths in _parts(settings["nav"])]
    files = "\n".join(f"- [{path}]({path}): {about}" for path, about in FILES.items())
    head = f"# {settings['site_name']}\n\n> {settings['site_description']}"
    return "\n\n".join([head, *parts, f"## Files\n\n{files}"]) + "\n"


def _parts(nav: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Each part of the navigation with the paths in it; pages that stand alone come first."""
    entries = [item for entry in nav for item in entry.items()]
    yield "Begin here", [path for _, path in entries if isinstance(path, str)]
    for title, pages in entries:
        if not isinstance(pages, str):
            paths = (
                page if isinstance(page, str) else next(iter(page.values())) for page in pages
            )
            yield title, list(paths)


def _part(title: str, paths: list[str], source: Callable[[str], str]) -> str:
    return f"## {title}\n\n" + "\n".join(_line(path, source(path)) for path in paths)


def _line(path: str, page: str) -> str:
    address = path.removesuffix("index.md") if path.endswith("index.md") else f"{path[:-3]}/"
    [title] = TITLE.findall(page)[:1]
    return f"- [{_plain(title)}]({address or './'}): {_about(page)}"


def _about(page: str) -> str:
    """What a page says of itself in its head, or else in its first sentence."""
    from mkdocs.utils.meta import get_data  # noqa: PLC0415

    body, meta = get_data(page)
    module = MODULE.search(body)
    if module:
        return _docstring(module[1]).partition("\n")[0]
    sentence = SENTENCE.search(BLOCK.sub("", body))
    return str(meta.get("description", "")) or _plain(sentence[0] if sentence else "")


def _docstring(module: str) -> str:
    """Of a module that need not be imported for it."""
    spec = find_spec(module)
    source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    return ast.get_docstring(ast.parse(source)) or ""


def _plain(text: str) -> str:
    """A text on one line, without tags, and without links, which lead from its page alone."""
    words = re.sub(r"<[^>]*>", "", LINK.sub(r"\1", text)).split()
    return html.unescape(" ".join(words))
