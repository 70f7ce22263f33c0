"""`bn1d vectors`: the kit's questions as files, and a verdict on the answers.

What is slow to import is imported by the command that needs it, as in `cli`.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from bn1d_conformance.commands import console
from bn1d_conformance.commands.run import Dialect, convention

if TYPE_CHECKING:
    from bn1d_conformance.vectors.archive import Recorded, Vector

PROFILES = ("quick", "full")

app = typer.Typer(
    help="The questions as files, for a device that runs no Python; and a verdict on its answers.",
    no_args_is_help=True,
)


def _choice(option: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        console.wrong_use(f"There is no {option} {given!r}.", f"Choose {', '.join(known)}.")
    return given


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made; it must not be there.")],
    *,
    kind: Annotated[
        str, typer.Option("--format", help="json, npz or safetensors: of the arrays.")
    ] = "json",
    profile: Annotated[str, typer.Option(help="quick or full: how much is asked.")] = "full",
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPABILITY", help="What the device can't do; repeatable."),
    ] = None,
) -> None:
    """Write what the checks ask into DIR, and what is right into DIR/expected."""
    from bn1d_conformance.vectors import archive, recording, steps, tables  # noqa: PLC0415

    path = folder / f"arrays.{_choice('format', kind, tables.KINDS)}"
    _choice("profile", profile, PROFILES)
    known = tuple(sorted(steps.RECORDABLE))
    lacking = {_choice("capability", name, known) for name in without or ()}
    with console.refusals():
        if kind == "safetensors":
            tables.safetensors(path)  # before the run, and not after it
        archive.prepare(folder)
        count = archive.export(recording.record(profile, steps.RECORDABLE - lacking), kind, folder)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    typer.echo(f"{count} vectors in {folder}, {size:.1f} MB with the expected answers.")


@app.command("judge")
def judge_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Of bn1d vectors export.")],
    *,
    answers: Annotated[
        Path | None, typer.Option(help="The folder of the answers.", show_default="DIR/answers")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the results file here.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that judge.")] = 1,
    dialect: Dialect = None,
) -> None:
    """Judge what a device answered, as a run on the device itself would be judged."""
    from bn1d_conformance.running.run import Options  # noqa: PLC0415
    from bn1d_conformance.vectors import archive  # noqa: PLC0415

    place = answers or folder / "answers"
    declared = tuple(map(convention, dialect or ()))
    with console.refusals():
        manifest = archive.read_manifest(folder)
        vectors = archive.read_vectors(folder)
        recorded = archive.read_answers(
            place, vectors, manifest["files"]["vectors.json"]["sha256"]
        )
    options = Options(
        target=f"{folder}:{place}", profile=manifest["profile"], jobs=jobs, dialect=declared
    )
    result = console.judge(options, json)
    _say_missing(vectors, recorded)
    raise typer.Exit(console.exit_code(result))


def _say_missing(vectors: list[Vector], recorded: Recorded) -> None:
    """Name what was not run because the device did not answer."""
    rows = [
        (vector, lacking)
        for vector in vectors
        for index in range(len(vector.steps))
        if (lacking := recorded.missing(vector, index))
    ]
    if rows:
        ids = dict.fromkeys(i for vector, _ in rows for i in vector.requirements)
        typer.echo(
            f"No answer recorded to {len(rows)} steps, the first {rows[0][1]}; "
            f"not run are checks of {', '.join(map(str, ids))}.",
        )
