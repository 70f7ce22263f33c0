"""All of the site's pages that are drawn and not written: from the spec and the files to Markdown.

Nothing here runs a subject or imports what does: the spec, results files and what the project has
found with its mutants are all that is read.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance.documents import former, kills, reading
from bn1d_conformance.documents.kills import KillsError
from bn1d_conformance.documents.reading import ResultsError
from bn1d_conformance.site import (
    accuracy,
    ages,
    bug_pages,
    changes,
    find_page,
    kill_pages,
    llms,
    mutant_pages,
    playground_page,
    porting,
    published,
    results_page,
    spec_pages,
    subject_page,
)
from bn1d_conformance.site.find_page import FindsError
from bn1d_reference import SPEC_VERSION, spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.results import Result
    from bn1d_conformance.site.published import Backends, Published

#: Of the documentation; what is in them is drawn, and nothing else is left there.
FOLDERS = ("bugs", "kills", "mutants", "playground", "porting", "results", "spec")
#: Of a clone; npm put Pyodide there, or nobody did.
PYODIDE = Path(".nox", "npm", "node_modules", "pyodide")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a results file: it becomes a page's address
TAKEN = {"accuracy", "ages", "index", "published"}  # by pages about all subjects
UNREADABLE = (FindsError, KillsError, OSError, ResultsError)  # what `pages` raises


def pages(clone: Path, results: Path) -> dict[str, str]:
    """Return every drawn page by its path in the documentation, and the texts beside them.

    Args:
        clone: the project's folder, which has the mutants and the finds.
        results: a folder of results files.

    Raises:
        FindsError: if the table of finds is none.
        ImportError: if MkDocs is not installed.
        KillsError: if the kill matrix is none.
        OSError: if a file of the project is missing.
        ResultsError: if a results file is none, or its name can't be a page's.
    """
    found, formers = read(results), read_former(results)
    home = clone / "conformance"
    matrix = kills.read(home / "tests" / "zoo")
    backends = published.backends(home)
    mutants = json.loads((home / "mutants" / "results.json").read_text("utf-8"))["mutants"]
    finds = home / "finds"
    drawn = {
        **spec_pages.pages(found, matrix),
        **bug_pages.pages(),
        **find_page.page(find_page.read(finds), finds),
        **kill_pages.pages(matrix),
        **mutant_pages.pages(mutants),
        **result_pages(found, backends, formers),
        **porting.pages(found),
        **playground_page.pages(clone / PYODIDE),
        **changelog(clone / "CHANGELOG.md"),
    }
    return {**drawn, llms.PAGE: llms.text(clone, drawn)}


def changelog(file: Path) -> dict[str, str]:
    """Return the page and the feed that are made of a changelog, by path."""
    written = datetime.fromtimestamp(int(file.stat().st_mtime), timezone.utc)
    text = file.read_text("utf-8")
    return {changes.PAGE: changes.page(text), changes.FEED: changes.feed(text, written)}


def assets(clone: Path) -> dict[str, bytes]:
    """Return what the drawn pages load, by its path in the documentation."""
    return playground_page.files(clone / PYODIDE)


def read(folder: Path) -> dict[str, Result]:
    """Read the results files of a folder, by their names without the suffix.

    Raises:
        ResultsError: if there is none, if one is no results file, or its name can't be a page's.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ResultsError(f"{folder} has no results files.")
    for file in files:
        if not NAME.fullmatch(file.stem) or file.stem in TAKEN:
            raise ResultsError(f"{file} can't be a page: its name is not plain, or is taken.")
    return {file.stem: reading.load_any(file) for file in files}


def read_former(folder: Path) -> dict[str, Result]:
    """Read the results of former versions that are kept beside published ones, by name.

    Raises:
        ResultsError: if one is no results file.
    """
    files = sorted((folder / former.FOLDER).glob("*.json"))
    return {file.stem: reading.load(file) for file in files}


def result_pages(
    results: Published, backends: Backends, formers: Published | None = None
) -> dict[str, str]:
    """Return what is under `results/` by path: pages about all, one a file, and the verdicts.

    Args:
        results: the files by name.
        backends: rows of `backends.toml` by name: whose a subject is, and who judges it again.
        formers: results of the versions before, by name.
    """
    before = formers or {}
    return {
        "results/index.md": results_page.index(results, backends),
        "results/accuracy.md": accuracy.page(results),
        "results/ages.md": ages.page(results, backends),
        "results/published.json": verdicts(results),
        **{
            f"results/{name}.md": subject_page.page(
                result, name if name in backends else "", before.get(name)
            )
            for name, result in results.items()
        },
    }


def verdicts(results: Published) -> str:
    """Return as JSON what a reader's own results are compared with, in the reader's browser.

    `requirements` has the ids; a subject's `verdicts` stand in their order, null for one that its
    file does not know.
    """
    ids = list(spec.requirements())
    subjects = [
        {
            "name": name,
            "version": result["subject"]["version"],
            "verdict": result["verdict"],
            "verdicts": [result["requirements"].get(i, {}).get("verdict") for i in ids],
        }
        for name, result in published.judged(results).items()
    ]
    document = {"spec_version": SPEC_VERSION, "requirements": ids, "subjects": subjects}
    return json.dumps(document, separators=(",", ":")) + "\n"


def write(drawn: Mapping[str, str | bytes], docs: Path) -> None:
    """Put files into the documentation, and remove those that are drawn no longer.

    What is as it was keeps its time, so that `mkdocs serve` builds anew only if something changed.
    """
    for folder in FOLDERS:
        for file in (docs / folder).rglob("*"):
            if file.is_file() and file.relative_to(docs).as_posix() not in drawn:
                file.unlink()
    for path, found in drawn.items():
        file, content = docs / path, found.encode() if isinstance(found, str) else found
        if not file.is_file() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
