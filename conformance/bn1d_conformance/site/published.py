"""What is published: results files by name, and the table of who judges them again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from bn1d_conformance.documents.unavailable import is_absent

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

Result: TypeAlias = Mapping[str, Any]
Published: TypeAlias = Mapping[str, Result]  # by the name of the file, without its suffix
Backends: TypeAlias = Mapping[str, Mapping[str, Any]]  # rows of backends.toml by name


def backends(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the table of backends by name; `folder` is `conformance` of a clone."""
    rows = tomllib.loads((folder / "backends.toml").read_text("utf-8"))["backend"]
    return {row["name"]: row for row in rows}


def judged(published: Published) -> dict[str, Result]:
    """Return those of which there is a result."""
    return {name: result for name, result in published.items() if not is_absent(result)}
