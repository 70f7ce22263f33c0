"""From the table of defects that the kit has found to a page of the site."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bn1d_conformance.site.markup import link, literal, prose, web
from bn1d_reference import spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC = "../spec/"  # from the drawn page


class FindsError(ValueError):
    """A table of finds that is none: one sentence."""


@dataclass(frozen=True, kw_only=True)
class Find:
    """One defect.

    Attributes:
        title: what is wrong, a sentence without its full stop.
        harm: what happens to the user.
        subject: what is wrong, and in which version.
        requirements: ids that it breaks, the one first that says it best.
        script: the name of a file beside the table, which shows the defect without the kit.
        session: of nox, in whose environment it runs.
        upstream: the address of a report; or
        draft: the words of one that could be sent.
    """

    title: str
    harm: str
    subject: str
    requirements: tuple[str, ...]
    script: str
    session: str
    upstream: str = ""
    draft: str = ""


def read(folder: Path) -> list[Find]:
    """Read `finds.toml` of a folder.

    Raises:
        FindsError: if an entry lacks something, names an unknown requirement or a script that is
            not there, or has not exactly one of `upstream` and `draft`.
    """
    rows = tomllib.loads((folder / "finds.toml").read_text("utf-8"))["find"]
    return [_checked(row, folder) for row in rows]


def _checked(row: dict[str, Any], folder: Path) -> Find:
    name = row.get("title", "an entry without a title")
    try:
        find = Find(**{**row, "requirements": tuple(row["requirements"])})
    except (KeyError, TypeError) as error:
        raise FindsError(f"{name}: {error}.") from None
    if unknown := [i for i in find.requirements if i not in spec.requirements()]:
        raise FindsError(f"{name}: there is no requirement {unknown[0]!r}.")
    if not (folder / find.script).is_file():
        raise FindsError(f"{name}: there is no {find.script}.")
    if bool(find.upstream) == bool(find.draft):
        raise FindsError(f"{name}: it has either a report upstream or a draft of one.")
    return find


def page(finds: Sequence[Find], folder: Path) -> dict[str, str]:
    """Return the page by its path."""
    parts = "\n".join(_find(find, (folder / find.script).read_text("utf-8")) for find in finds)
    return {
        "bugs/found-by-the-kit.md": f"""# Found by the kit

{len(finds)} defects that this kit has found in released software.
Each has a script that needs no kit: it ends without an error as long as the defect is there, and
`nox -s finds` runs all of those whose environment is at hand.

{parts}"""
    }


def _find(find: Find, script: str) -> str:
    ids = ", ".join(link(ident, SPEC) for ident in find.requirements)
    said = f"Reported: {web(find.upstream)}." if find.upstream else _draft(find.draft)
    return f"""## {prose(find.title, SPEC)}

{literal(find.subject)}; {ids}.

{prose(find.harm, SPEC)}

```python
{script.rstrip()}
```

{said}
"""


def _draft(text: str) -> str:
    return f"Not reported upstream, as far as we know. A draft:\n\n> {prose(text, SPEC)}"
