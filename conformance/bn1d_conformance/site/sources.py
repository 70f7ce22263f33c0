"""Where the sources speak of a requirement: the oracle's lines, and the checks that judge it.

Nothing is imported: the oracle quotes a requirement's id in a comment or a docstring beside what
implements it, and a check in its decorators.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bn1d_conformance.site import binding
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


ORACLE, CHECKS = "reference/bn1d_reference", "conformance/bn1d_conformance/checks"
Owner: TypeAlias = ast.FunctionDef | ast.ClassDef
ID = re.compile(r"\b[A-Z]+-[1-9][0-9]*\b")


class Passage(NamedTuple):
    """Lines of a module, the first and the last counted from 1, and what they are part of."""

    path: str
    first: int
    last: int
    part: str
    code: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]

    @property
    def place(self) -> str:
        """The file in the repository, and the lines."""
        return f"{self.path}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


@functools.cache
def oracle() -> dict[str, list[Passage]]:
    """Return by id the lines of the reference that implement a requirement, in their order."""
    found: dict[str, list[Passage]] = {ident: [] for ident in spec.requirements()}
    folder = resources.files("bn1d_reference")
    for file in sorted(folder.iterdir(), key=lambda p: p.name):
        if file.name.endswith(".py"):
            module = Module(f"{ORACLE}/{file.name}", file.read_text("utf-8"))
            for ident, passage in module.quoted():
                if passage not in found[ident]:
                    found[ident].append(passage)
    return found


@functools.cache
def checks() -> dict[str, list[Passage]]:
    """Return by id the check functions that judge a requirement."""
    folder = resources.files("bn1d_conformance") / "checks"
    rows = {check for some in binding.checks().values() for check in some}
    modules = {
        name: Module(f"{CHECKS}/{name}.py", (folder / f"{name}.py").read_text("utf-8"))
        for name in {check.file for check in rows}
    }
    passages = {check: modules[check.file].function(check.function) for check in rows}
    return {ident: [passages[c] for c in some] for ident, some in binding.checks().items()}


class Module:
    """A module's source, with its statements by line."""

    def __init__(self, path: str, text: str) -> None:
        """Read a module; `path` is where the repository has it."""
        self.path, self.text, self.lines = path, text, text.splitlines()
        self.tree = ast.parse(text)
        self.owners = [n for n in ast.walk(self.tree) if isinstance(n, Owner)]

    def function(self, name: str) -> Passage:
        """Return a function of the module, with its decorators."""
        [node] = [n for n in self.tree.body if isinstance(n, Owner) and n.name == name]
        return self._whole(node)

    def quoted(self) -> Iterator[tuple[str, Passage]]:
        """Yield each id that a comment or a docstring quotes, with the lines that it is about."""
        for first, text in self._said():
            for ident in ID.findall(text):
                if ident in spec.requirements():
                    yield ident, self._about(first)

    def _said(self) -> Iterator[tuple[int, str]]:
        """Comments and docstrings of functions and classes, each with its first line."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in self.owners:
            if text := ast.get_docstring(node):
                yield node.body[0].lineno, text

    def _about(self, line: int) -> Passage:
        """The lines that a comment or a docstring on this line is about."""
        owner = self._owner(line)
        if owner is None:
            return self._passage(line, line)
        body = owner.body[0].lineno
        if line < body:  # of the signature, or of one parameter
            return self._passage(line, body - 1 if line == owner.lineno else line, owner.name)
        if line <= (owner.body[0].end_lineno or body) and ast.get_docstring(owner):
            return self._whole(owner)
        if self.lines[line - 1].lstrip().startswith("#"):
            return self._passage(line, self._paragraph(line), owner.name)
        first, last = _statement(owner, line)
        return self._passage(first, last, owner.name)

    def _owner(self, line: int) -> Owner | None:
        """The innermost function or class that has a line."""
        around = [node for node in self.owners if _spans(node, line)]
        return max(around, key=lambda n: n.lineno, default=None)

    def _paragraph(self, line: int) -> int:
        """The last line of what a comment on a line of its own heads."""
        while line < len(self.lines) and self.lines[line].strip(" ")[:1] not in {"", "#"}:
            line += 1
        return line

    def _whole(self, node: Owner) -> Passage:
        first = min((d.lineno for d in node.decorator_list), default=node.lineno)
        return self._passage(first, node.end_lineno or first, node.name)

    def _passage(self, first: int, last: int, part: str = "") -> Passage:
        return Passage(self.path, first, last, part, _flush(self.lines[first - 1 : last]))


def _statement(owner: Owner, line: int) -> tuple[int, int]:
    """The first and the last line of the innermost statement; of its `if` where it leaves."""
    around = [n for n in ast.walk(owner) if isinstance(n, ast.stmt) and _spans(n, line)]
    around.sort(key=lambda n: (n.end_lineno or 0) - n.lineno)
    leaves = isinstance(around[0], ast.Return | ast.Raise) and isinstance(around[1], ast.If)
    found = around[leaves]
    return found.lineno, found.end_lineno or line


def _spans(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _flush(lines: Sequence[str]) -> str:
    """The lines without the indentation that all of them have."""
    least = min(len(text) - len(text.lstrip()) for text in lines if text.strip())
    return "\n".join(text[least:].rstrip() for text in lines)
