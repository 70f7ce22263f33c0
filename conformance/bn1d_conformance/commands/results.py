"""`bn1d results`: what is done with results files: merge, diff, check, badge, none, keep.

What is slow to import is imported by the command that needs it, as in `cli`.
"""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from bn1d_conformance.commands import console
from bn1d_conformance.exits import WRONG_USE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.results import Result

REGRESSION = 1

app = typer.Typer(
    help="What is done with results files: join parts, compare, check, draw a badge.",
    no_args_is_help=True,
)


def _load(path: Path) -> Result:
    """Read a results file, or refuse it in one sentence."""
    from bn1d_conformance.documents import reading  # noqa: PLC0415

    return _read(path, reading.load)


def _read(path: Path, load: Callable[[Path], Result]) -> Result:
    from bn1d_conformance.documents.reading import ResultsError  # noqa: PLC0415

    try:
        return load(path)
    except ResultsError as error:
        console.wrong_use(str(error))


def _writable(path: Path) -> Path:
    console.check_output("OUT", path)
    return path


@app.command("merge")
def merge_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The results file to write.")],
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Of bn1d run --shard K/N --json.")
    ],
) -> None:
    """Join the parts of a run: OUT is what one run would have written."""
    from bn1d_conformance import results  # noqa: PLC0415
    from bn1d_conformance.documents import merge  # noqa: PLC0415
    from bn1d_conformance.documents.reading import ResultsError  # noqa: PLC0415
    from bn1d_conformance.reports import report  # noqa: PLC0415

    _writable(out)
    documents = [(str(path), _load(path)) for path in parts]
    try:
        whole = merge.merge(documents)
    except ResultsError as error:
        console.wrong_use(str(error))
    results.write(whole, out)
    report.show(whole, out)
    raise typer.Exit(console.exit_code(whole))


@app.command("diff")
def diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD")],
    new: Annotated[Path, typer.Argument(metavar="NEW")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what changed from OLD to NEW; exit with 1 if a requirement regressed."""
    from bn1d_conformance.documents import diff  # noqa: PLC0415
    from bn1d_conformance.reports import report_diff  # noqa: PLC0415

    found = diff.diff(_load(old), _load(new))
    for warning in found["warnings"]:
        typer.echo(f"bn1d: {warning}", err=True)
    if json:
        typer.echo(json_module.dumps(found, indent=1))
    else:
        report_diff.show(found)
    raise typer.Exit(REGRESSION if found["regressions"] else 0)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
) -> None:
    """Hold results files to their schema and to themselves; exit with 2 if one is wrong."""
    raise typer.Exit(0 if all([_is_right(path) for path in files]) else WRONG_USE)  # noqa: C419 - each file is to be looked at


def _is_right(path: Path) -> bool:
    """Say what is wrong with a file, or what it says."""
    from bn1d_conformance.documents import reading  # noqa: PLC0415

    try:
        document = reading.load_any(path)
    except reading.ResultsError as error:
        typer.echo(f"bn1d: {error}", err=True)
        return False
    typer.echo(f"{path}: {document['verdict']}")
    return True


@app.command("badge")
def badge_command(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    svg: Annotated[Path | None, typer.Option(help="Write a picture.", metavar="OUT")] = None,
    endpoint: Annotated[
        Path | None, typer.Option(help="Write the JSON for shields.io's endpoint.", metavar="OUT")
    ] = None,
) -> None:
    """Draw a badge of FILE, or print the JSON that shields.io draws one from."""
    from bn1d_conformance import files  # noqa: PLC0415
    from bn1d_conformance.documents import badge, reading  # noqa: PLC0415

    document = _read(file, reading.load_any)
    text = json_module.dumps(badge.endpoint(document), ensure_ascii=False) + "\n"
    if svg:
        files.write(badge.svg(document), _writable(svg))
    if endpoint:
        files.write(text, _writable(endpoint))
    if not (svg or endpoint):
        sys.stdout.write(text)


@app.command("none")
def none_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published results file.")],
    *,
    reason: Annotated[str, typer.Option(help="Why the subject could not be judged.")],
    target: Annotated[
        str, typer.Option(help="What was to be judged; needed where FILE is not there.")
    ] = "",
) -> None:
    """Write in the place of FILE that there is no result, and why; it keeps the last good one."""
    from bn1d_conformance import results  # noqa: PLC0415
    from bn1d_conformance.bounded import printable  # noqa: PLC0415
    from bn1d_conformance.documents import unavailable  # noqa: PLC0415
    from bn1d_conformance.documents.reading import ResultsError  # noqa: PLC0415

    if not reason.strip():
        console.wrong_use("--reason is empty.", "Say in one sentence why there is no result.")
    try:
        document = unavailable.no_result(_writable(file), target, reason.strip())
    except ResultsError as error:
        console.wrong_use(str(error), "--target says what was to be judged.")
    results.write(document, file)
    typer.echo(f"{file}: {printable(unavailable.sentence(document))}")


@app.command("keep")
def keep_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A copy of what NEW was.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The published results file.")],
) -> None:
    """Keep OLD in the folder `former` beside NEW, if it is of another version of the subject."""
    from bn1d_conformance.documents import former, reading  # noqa: PLC0415

    place = former.keep(_read(old, reading.load_any), _read(new, reading.load_any), new)
    typer.echo(f"{place}: the version before" if place else f"{new}: the version is the same")
