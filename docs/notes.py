"""Print the release notes of this version: its section of the changelog.

    python docs/notes.py [TAG]

With a tag, it must be this version's: `v` and the version of pyproject.toml.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def section(changelog: str, version: str) -> str:
    """Return what stands under the heading of a version, which may have a date.

    Raises:
        LookupError: if there is no such heading, or nothing stands under it.
    """
    heading = rf"^## \[{re.escape(version)}\].*\n(?P<text>(?:(?!## \[).*\n?)*)"
    found = re.search(heading, changelog, re.MULTILINE)
    if not (found and found["text"].strip()):
        raise LookupError(f"CHANGELOG.md says nothing under [{version}].")
    return found["text"].strip() + "\n"


def main() -> None:
    """Print them, or why there are none."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    [version] = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    if sys.argv[1:] not in ([], [f"v{version}"]):
        sys.exit(f"The tag of version {version} is v{version}, and not {sys.argv[1]}.")
    try:
        sys.stdout.write(section((ROOT / "CHANGELOG.md").read_text("utf-8"), version))
    except LookupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
