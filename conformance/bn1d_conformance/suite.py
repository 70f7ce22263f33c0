"""The suite's hash: of what decides a verdict, without what is said about it.

It changes with a requirement, a case, a bound, a check, and with any code that has a say in a
verdict. It does not change with comments, docstrings and blank lines; with a requirement's
reasons (why, what breaks, where it comes from); or with the modules that are `OUTSIDE`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Folders, modules and tables of the kit that have no say in a verdict.
OUTSIDE = {
    "badge.py", "bn1d_worker.py", "bounded.py", "bugs.py", "bugs.toml", "cli.py",
    "cli_results.py", "cli_run.py", "cli_vectors.py", "cli_wire.py", "command.py", "console.py",
    "conversions.py", "dialects.toml", "diff.py", "files.py", "former.py", "kills.py",
    "on_ray.py", "playground", "porting.py", "reading.py", "report.py", "report_diff.py",
    "report_several.py", "several.py", "single.py", "site", "smoke.py", "suite.py", "template.py",
    "textbook.py", "unavailable.py",
}  # fmt: skip
REASONS = {"about", "breaks", "intent", "source", "title"}  # of an area and of a requirement
#: A string or a comment: whatever else a sign of either kind stands in.
LITERAL = re.compile(
    r'''"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\''''
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*""",
    re.DOTALL,
)

ENDS = re.compile(r" *(?:[\n#]|\Z)")  # nothing but a comment follows on the line


@lru_cache(maxsize=1)
def suite_hash() -> str:
    """The hash of the suite that is installed."""
    files = {}
    for package in ("bn1d_reference", "bn1d_conformance"):
        folder = Path(str(resources.files(package)))
        for path in folder.rglob("*"):
            if path.suffix in {".py", ".toml"} and not is_outside(path.relative_to(folder)):
                files[f"{package}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return digest(files)


def is_outside(path: Path) -> bool:
    """Whether a file has no say in a verdict; its path starts in its package."""
    return not OUTSIDE.isdisjoint(path.parts)


def digest(files: Mapping[str, bytes]) -> str:
    """The hash of a suite.

    Args:
        files: what they hold, by their names.
    """
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        text = content.decode().replace("\r\n", "\n")
        said = table(text) if name.endswith(".toml") else code(text)
        whole.update(f"{name}\n{said}\n".encode())
    return whole.hexdigest()[:16]


def table(text: str) -> str:
    """A TOML file without reasons, in one spelling."""
    rows = {
        name: {k: v for k, v in row.items() if k not in REASONS} if isinstance(row, dict) else row
        for name, row in tomllib.loads(text).items()
        if name not in REASONS
    }
    return json.dumps(rows)


def code(text: str) -> str:
    """A module without comments, docstrings and blank lines."""
    kept: list[str] = []
    at, ends = 0, ""  # of what was looked at: where, and the last sign of code
    for found in LITERAL.finditer(text):
        between = text[at : found.start()]
        ends = between.rstrip()[-1:] or ends
        starts = between.rstrip(" ")[-1:] == "\n" or not (at or between.strip(" "))
        is_docstring = found[0].startswith('"""') and starts and ends in {":", ""}
        kept.append(between)
        at = found.end()
        if not (found[0].startswith("#") or (is_docstring and ENDS.match(text, at))):
            kept.append(found[0].replace("\n", "\\n"))  # no line of code is within a string
            ends = found[0][-1]
    lines = "".join([*kept, text[at:]]).split("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())
