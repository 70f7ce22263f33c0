"""Which check functions judge a requirement, read from their source: nothing is imported.

pytest knows better, after it has imported every check and what these import; a test holds this
to what pytest collects.
"""

from __future__ import annotations

import ast
import functools
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Check(NamedTuple):
    """A check function: its file, without the suffix, and its name."""

    file: str
    function: str

    @property
    def address(self) -> str:
        """As pytest is given it."""
        return f"{self.file}.py::{self.function}"


@functools.cache
def checks() -> dict[str, tuple[Check, ...]]:
    """Return the check functions of every requirement of the spec, by its id."""
    found: dict[str, list[Check]] = {ident: [] for ident in spec.requirements()}
    folder = resources.files("bn1d_conformance") / "checks"
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith("test_"):
            file = path.name.removesuffix(".py")
            for name, ids in bound(path.read_text("utf-8")):
                for ident in sorted(ids & set(found)):
                    found[ident].append(Check(file, name))
    return {ident: tuple(rows) for ident, rows in found.items()}


def bound(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each check function of a module, with the ids that its decorators name."""
    tree = ast.parse(source)
    names = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, {i for d in node.decorator_list for i in _ids(d, names)}


def _ids(node: ast.AST, names: dict[str, ast.expr]) -> Iterator[str]:
    """Every id within an expression; a name of the module's stands for what it was given."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            yield from _ids(names[part.id], names)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield from {part.value} & set(spec.requirements())
