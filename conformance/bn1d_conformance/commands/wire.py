"""`bn1d smoke` and `bn1d adapter`: what the writer of a worker starts with.

What is slow to import is imported by the command that needs it, as in `cli`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from bn1d_conformance.commands import console

MALFORMED = 1
#: Where the files for workers are: in an installed package, or in the repository.
KIT = Path(__file__).parents[1]
WORKERS = (KIT / "workers", KIT.parent / "workers")

adapter_app = typer.Typer(help="Begin an adapter.", no_args_is_help=True)


def smoke(
    worker: Annotated[str, typer.Option(metavar="COMMAND", help="What starts the worker.")],
    *,
    device: Annotated[str, typer.Option(help="Where the subject computes.")] = "cpu",
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for an answer; a start has ten times as many.")
    ] = 6.0,
) -> None:
    """Test a worker's manners before its mathematics, and say what is malformed."""
    from bn1d_conformance.adapters.wire import session_of  # noqa: PLC0415
    from bn1d_conformance.bounded import printable  # noqa: PLC0415
    from bn1d_conformance.subject import Request  # noqa: PLC0415
    from bn1d_conformance.wire.smoke import smoke as rows  # noqa: PLC0415

    with console.refusals():
        session = session_of(Request(worker, device, worker=True))
    faults = 0
    for manner, fault in rows(session, timeout):
        faults += bool(fault)
        typer.echo(f"{'bad' if fault else 'ok ':4}{manner}")
        if fault:
            typer.echo(f"    {printable(fault)}")
    typer.echo(
        f"\n{faults or 'Nothing'} is malformed." if faults < 2 else f"\n{faults} are malformed."
    )
    raise typer.Exit(MALFORMED if faults else 0)


@adapter_app.callback()
def _root() -> None:
    """Begin an adapter."""


@adapter_app.command()
def new(name: Annotated[str, typer.Argument(help="Of the file, for example mylib.")]) -> None:
    """Write NAME.py, a layer to change into yours, and bn1d_worker.py, which serves it."""
    if not name.isidentifier():
        console.wrong_use(f"{name!r} is no name of a Python file.", "Write a word such as mylib.")
    file = Path(f"{name}.py")
    if file.exists():
        console.wrong_use(f"{file} is there already.", "Choose another name, or another folder.")
    source = next(folder for folder in WORKERS if folder.is_dir())
    text = (source / "template.py").read_text("utf-8")
    file.write_text(text.replace("NAME", name), "utf-8")
    if not Path("bn1d_worker.py").exists():
        shutil.copy(source / "bn1d_worker.py", "bn1d_worker.py")
    command = f"--worker 'python bn1d_worker.py {file}'"
    typer.echo(f"{file} is a layer in NumPy that conforms. Make it yours, then:\n")
    typer.echo(f"  bn1d smoke {command}\n  bn1d run {command} --profile quick")
