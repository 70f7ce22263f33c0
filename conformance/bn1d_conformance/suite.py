"""The suite's hash: of the requirements, the cases and the bounds, and of nothing else.

It changes with any of the three, and so with a check, be it by a sign. It does not change with
comments, docstrings and blank lines; with a requirement's reasons (why, what breaks, its source);
or with what brings a subject to its cases and counts what comes of them: the kit's version tells.
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

#: What of the kit is the suite, beside the whole of `bn1d_reference`: by folder, module or table.
ASKS = {
    "arranged.py", "asked.py", "cases.py", "checks", "choices.py", "exact_cases.py", "machine.py",
    "program.py", "programs.py",
}  # fmt: skip
JUDGES = {"dialect.py", "dialects.toml", "expected.py", "judge.py", "numbers.py", "trial.py"}
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
    return digest(files())


def files() -> dict[str, bytes]:
    """What the files of the suite that is installed hold, by their names from their package on."""
    found = {}
    for package in ("bn1d_reference", "bn1d_conformance"):
        folder = Path(str(resources.files(package)))
        for path in folder.rglob("*"):
            name = path.relative_to(folder.parent)
            if path.suffix in {".py", ".toml"} and is_within(name):
                found[name.as_posix()] = path.read_bytes()
    return found


def is_within(name: Path) -> bool:
    """Whether a file is the suite's.

    Args:
        name: its path from its package on.
    """
    return name.parts[0] == "bn1d_reference" or name.parts[1] in ASKS | JUDGES


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
