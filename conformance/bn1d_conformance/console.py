"""What the commands of `bn1d` share: exit codes, wrong use in a sentence, a run's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from bn1d_conformance.results import Result
    from bn1d_conformance.run import Options

CONFORMS, DIVERGES, WRONG_USE, KIT_ERROR = 0, 1, 2, 3
EXIT = {"conforms": CONFORMS, "diverges": DIVERGES, "incomplete": KIT_ERROR}


def wrong_use(sentence: str, hint: str = "") -> NoReturn:
    """One sentence, a hint, exit code 2."""
    typer.echo(f"bn1d: {sentence}" + (f"\n      {hint}" if hint else ""), err=True)
    raise typer.Exit(WRONG_USE)


def check_output(path: Path | None) -> None:
    """Find out before the run, and not after it, that the file can't be written."""
    if path and (path.is_dir() or not path.resolve().parent.is_dir()):
        wrong_use(f"--json {path} can't be written.", "Give a file in a folder that exists.")


def judge(
    options: Options, json: Path | None, *, timings: bool = False, resume: bool = False
) -> Result:
    """Run, write the results file, print the verdict."""
    from bn1d_conformance import partial, report, results  # noqa: PLC0415
    from bn1d_conformance.run import run  # noqa: PLC0415
    from bn1d_conformance.subject import TargetError  # noqa: PLC0415

    check_output(json)
    try:
        with (
            partial.place(options, json, resume=resume) as place,
            report.following(options) as progress,
        ):
            result = run(options, progress, place)
            if json:
                results.write(result, json)
    except TargetError as error:
        wrong_use(str(error), error.hint)
    report.show(result, json, timings=timings)
    return result


def exit_code(result: Result) -> int:
    """The exit code of a run; that of a part covers what the part was asked for."""
    return EXIT[result.get("part", result)["verdict"]]
