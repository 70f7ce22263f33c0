"""What the commands of `bn1d` share: wrong use in a sentence, the exit code of a verdict."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from bn1d_conformance.exits import CONFORMS, DIVERGES, KIT_ERROR, WRONG_USE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from bn1d_conformance.results import Result
    from bn1d_conformance.running.run import Options
    from bn1d_conformance.running.several import Run

ENGINES = LOCAL, RAY = "local", "ray"  # where runs of several subjects are
EXIT = {"conforms": CONFORMS, "diverges": DIVERGES, "incomplete": KIT_ERROR}


def wrong_use(sentence: str, hint: str = "") -> NoReturn:
    """One sentence, a hint, exit code 2."""
    typer.echo(f"bn1d: {sentence}" + (f"\n      {hint}" if hint else ""), err=True)
    raise typer.Exit(WRONG_USE)


@contextmanager
def refusals() -> Iterator[None]:
    """Within it, that a target can't be judged is wrong use."""
    from bn1d_conformance.subject import TargetError  # noqa: PLC0415

    try:
        yield
    except TargetError as error:
        wrong_use(str(error), error.hint)


def refusal(error: OSError) -> str:
    """What the system refused, a full disk for example, as a sentence."""
    said = [str(error.filename)] if error.filename else []
    return f"It can't go on: {': '.join([*said, error.strerror or str(error)])}."


def stop(error: OSError, hint: str) -> NoReturn:
    """One sentence, a hint, exit code 3."""
    typer.echo(f"bn1d: {refusal(error)}" + (f"\n      {hint}" if hint else ""), err=True)
    raise typer.Exit(KIT_ERROR)


def exit_code(result: Result) -> int:
    """The exit code of a run; that of a part covers what the part was asked for.

    An expectations file that is out of date diverges too.
    """
    from bn1d_conformance.expectations import OUT_OF_DATE  # noqa: PLC0415

    code = EXIT[result.get("part", result)["verdict"]]
    stale = any(row["outcome"] in OUT_OF_DATE for row in result["expectations"])
    return DIVERGES if stale and code == CONFORMS else code


def check_output(option: str, path: Path | None) -> None:
    """Find out before the run, and not after it, that the file can't be written."""
    from bn1d_conformance import files  # noqa: PLC0415

    if path and not files.is_writable(path):
        wrong_use(f"{option} {path} can't be written.", "Give a file in a folder that exists.")


def judge_several(
    targets: Sequence[str], options: Options, limit: float, out: Path | None, engine: str = LOCAL
) -> int:
    """Judge each target by a run of its own, write a results file each, print a table.

    Args:
        targets: as `bn1d run` takes one.
        options: of every run; its jobs are runs at the same time.
        limit: seconds that one may take; 0 for as many as it takes.
        out: the folder of the results files.
        engine: of `ENGINES`: where the runs are.

    Returns:
        The exit code.
    """
    from bn1d_conformance import files  # noqa: PLC0415
    from bn1d_conformance.reports import report_several  # noqa: PLC0415
    from bn1d_conformance.running import command, several  # noqa: PLC0415

    if out and not files.has_room(out):
        wrong_use(f"--json {out} can't be a folder of results.", "Give a folder, old or new.")
    words = ("-m", "bn1d_conformance", "run", *command.words(asdict(options)))
    plan = several.Plan(words, options.jobs, limit, out)
    following = report_several.following(len(targets), options)
    with refusals(), _engine(engine, options) as run, following as ended:
        rows = several.judge(targets, plan, ended, run)
    report_several.show(rows, out)
    return several.exit_code(rows)


def _engine(name: str, options: Options) -> AbstractContextManager[Run]:
    """What runs commands: in processes of this machine, or on a cluster."""
    from bn1d_conformance.running import single  # noqa: PLC0415

    if name == LOCAL:
        return nullcontext(single.run)
    if find_spec("ray") is None:
        wrong_use("--engine ray needs Ray.", "pip install 'bn1d-conformance[ray]' brings it.")
    from bn1d_conformance.running import on_ray  # noqa: PLC0415

    return on_ray.engine(options.jobs, options.device)


def judge(
    options: Options,
    json: Path | None,
    *,
    timings: bool = False,
    resume: bool = False,
    update: bool = False,
) -> Result:
    """Run, write the results file, print the verdict; `update`: the expectations file too."""
    from bn1d_conformance import results  # noqa: PLC0415
    from bn1d_conformance.expectations import ExpectationsError  # noqa: PLC0415
    from bn1d_conformance.reports import report  # noqa: PLC0415
    from bn1d_conformance.running import partial  # noqa: PLC0415
    from bn1d_conformance.running.run import run  # noqa: PLC0415
    from bn1d_conformance.subject import TargetError  # noqa: PLC0415

    check_output("--json", json)
    check_output("--expect", Path(options.expect) if update else None)
    try:
        with (
            partial.place(options, json, resume=resume) as place,
            report.following(options) as progress,
        ):
            result = run(options, progress, place, update=update)
            if json:
                results.write(result, json)
    except TargetError as error:
        wrong_use(str(error), error.hint)
    except ExpectationsError as error:
        hint = "docs/exit-codes-and-files.md shows one; --update-expectations writes one."
        wrong_use(str(error), hint)
    except OSError as error:
        stop(error, f"When it can, run it again with --json {json} --resume." if json else "")
    report.show(result, json, timings=timings)
    return result
