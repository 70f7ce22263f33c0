"""The command `bn1d`: explain, list, porting, site, repro; the others are in modules of their own.

Exit codes are a promise: 0 conforms, 1 diverges, 2 wrong use, 3 the kit's own error or an
incomplete run. What is slow to import is imported by the command that needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bn1d_conformance.commands import results, run, vectors, wire
from bn1d_conformance.commands.console import refusal, wrong_use
from bn1d_conformance.exits import KIT_ERROR

app = typer.Typer(
    help="Is this BatchNorm1d right, and if not, exactly what is wrong with it?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(vectors.app, name="vectors")
app.add_typer(results.app, name="results")
app.add_typer(wire.adapter_app, name="adapter")
app.command("smoke")(wire.smoke)
app.command("run")(run.run)


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        from bn1d_conformance import __version__  # noqa: PLC0415
        from bn1d_reference import SPEC_VERSION  # noqa: PLC0415

        typer.echo(f"bn1d {__version__}, spec {SPEC_VERSION}")
        raise typer.Exit


@app.command()
def explain(
    ident: Annotated[str, typer.Argument(metavar="ID", help="For example STATS-2.")],
) -> None:
    """Print a requirement: what it says, why, what breaks, where it comes from."""
    from bn1d_reference import spec  # noqa: PLC0415

    rows = spec.requirements()
    found = rows.get(ident.upper())
    if found is None:
        wrong_use(f"There is no requirement {ident!r}.", _near(ident, rows))
    typer.echo(f"{found.id}  {found.level}, {found.status}\n\n{found.sentence}\n")
    rest = {
        "Why": found.intent,
        "What breaks": found.breaks,
        "Source": "; ".join(found.source),
        "Needs": ", ".join(found.needs),
        "Rests on": ", ".join(found.rests_on),
        "Since": found.since and f"PyTorch {found.since}",
        "Added": f"spec {found.added}" if found.added != spec.FIRST else "",
        "Not tested": found.untested,
        "Page": f"spec/{found.area.lower()}/#{found.id.lower()} of the site (nox -s docs)",
    }
    width = max(map(len, rest))
    typer.echo("\n".join(f"{k:{width}}  {v}" for k, v in rest.items() if v))


def _near(ident: str, rows: Any) -> str:
    import difflib  # noqa: PLC0415

    area = [i for i in rows if i.startswith(ident.upper().rstrip("-0123456789") + "-")]
    near = difflib.get_close_matches(ident.upper(), rows, n=5, cutoff=0.5)
    return (
        f"There are {area[0]} to {area[-1]}."
        if area
        else f"Did you mean {', '.join(near) or 'STATS-2'}?"
    )


@app.command("list")
def list_command() -> None:
    """List every requirement: id, level and sentence."""
    from bn1d_reference import spec  # noqa: PLC0415

    for area in spec.areas():
        typer.echo(f"\n{area.title}: {area.about}")
        for row in area.requirements:
            typer.echo(f"  {row.id:9} {row.level:6} {row.sentence}")


@app.command()
def porting(
    old: Annotated[str, typer.Argument(metavar="FROM", help="A framework, or a results file.")],
    new: Annotated[str, typer.Argument(metavar="TO", help="The same.")],
) -> None:
    """Print what differs between two subjects by convention, and code that converts."""
    from bn1d_conformance.documents import reading  # noqa: PLC0415
    from bn1d_conformance.site import porting as guide  # noqa: PLC0415

    known = guide.documented()
    try:
        sides = [known.get(name) or guide.side_of(reading.load(Path(name))) for name in (old, new)]
    except reading.ResultsError as error:
        wrong_use(str(error), f"Frameworks are {', '.join(known)}.")
    typer.echo(guide.script(*sides))


@app.command("site")
def site_command(
    clone: Annotated[Path, typer.Argument(help="A clone of the project's repository.")] = Path(),
    *,
    results: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Results files; the published ones.")
    ] = None,
) -> None:
    """Draw the site's pages of spec, bugs, mutants and results into CLONE/docs, for MkDocs."""
    from bn1d_conformance import site  # noqa: PLC0415

    if not (clone / "docs").is_dir() or not (clone / "conformance" / "results").is_dir():
        wrong_use(
            f"{clone.resolve()} is no clone of the project.", "Run it in the clone's folder."
        )
    try:
        drawn = site.pages(clone, results or clone / "conformance" / "results")
    except ImportError as error:
        wrong_use(f"The site needs {error.name}.", "pip install --group docs, in the clone.")
    except site.UNREADABLE as error:
        wrong_use(str(error), "bn1d results check FILE says whether a results file is right.")
    site.write({**drawn, **site.assets(clone)}, clone / "docs")
    typer.echo(f"{len(drawn)} pages are in {clone / 'docs'}; mkdocs build makes the site of them.")


@app.command()
def repro(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="Of bn1d run --json.")],
    case: Annotated[
        str, typer.Argument(help="A case, or a requirement; the first that failed.")
    ] = "",
) -> None:
    """Print a script that shows a failure without the kit."""
    from bn1d_conformance.documents import reading  # noqa: PLC0415
    from bn1d_conformance.reports import repro as writer  # noqa: PLC0415

    try:
        typer.echo(writer.script(reading.load(result), case))
    except (reading.ResultsError, writer.NothingToShowError) as error:
        wrong_use(str(error))
    except (LookupError, TypeError, ValueError, AttributeError):
        wrong_use(f"{result} is not as the schema of results files says.")


def main() -> None:
    """Run the command line; what is the kit's own fault ends with exit code 3."""
    try:
        app()
    except OSError as error:
        typer.echo(f"bn1d: {refusal(error)}", err=True)
        sys.exit(KIT_ERROR)
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, and the code for it
        typer.echo(f"bn1d: the kit itself failed: {type(error).__name__}: {error}", err=True)
        sys.exit(KIT_ERROR)
