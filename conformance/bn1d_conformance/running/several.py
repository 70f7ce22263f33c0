"""Several subjects in one command: each is judged by a `bn1d run` of its own, N at a time.

A subject that hangs, dies or floods costs its own run; what stays of it here is a row of a table.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance import results
from bn1d_conformance.documents import reading, unavailable
from bn1d_conformance.exits import CONFORMS, DIVERGES, KIT_ERROR
from bn1d_conformance.running import given, single

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import TypeAlias

    from bn1d_conformance.results import Result
    from bn1d_conformance.running.single import Ended

    Run: TypeAlias = Callable[[Sequence[str], float], Awaitable[Ended]]


@dataclass(frozen=True)
class Plan:
    """How the subjects of one command are judged.

    Attributes:
        command: what Python is given for one run, without its target and without --json.
        jobs: runs at the same time.
        limit: seconds that one subject may take, all in all; 0 for as many as it takes.
        folder: where the results files go; None where they are not kept.
    """

    command: tuple[str, ...]
    jobs: int = 1
    limit: float = 0.0
    folder: Path | None = None


@dataclass(frozen=True)
class Row:
    """What the table says of one subject.

    Attributes:
        target: in the words of the command line, or the file that was found.
        verdict: "conforms", "diverges", "incomplete" or "no-result".
        says: the likeliest cause, or the reason why there is no result.
        counts: of the requirements, as in the results file; empty without one.
        seconds: wall time.
    """

    target: str
    verdict: str
    says: str
    counts: dict[str, int]
    seconds: float = 0.0


def judge(
    targets: Sequence[str], plan: Plan, ended: Callable[[Row], None], run: Run = single.run
) -> list[Row]:
    """Judge every target; return their rows in the order of the targets.

    Args:
        targets: as `bn1d run` takes them.
        plan: how.
        ended: hears of each row as soon as there is one.
        run: the engine: runs a command to its end or so many seconds, here or elsewhere.
    """
    return asyncio.run(_judge(targets, plan, ended, run))


async def _judge(
    targets: Sequence[str], plan: Plan, ended: Callable[[Row], None], run: Run
) -> list[Row]:
    gate = asyncio.Semaphore(plan.jobs)
    with tempfile.TemporaryDirectory(prefix="bn1d-") as name:

        async def one(target: str, file: str) -> Row:
            async with gate:
                end = await run((*plan.command, target), plan.limit)
            row = _row(target, end, Path(name) / file, plan.folder)
            ended(row)
            return row

        named = zip(targets, given.file_names(targets), strict=True)
        return await asyncio.gather(*(one(target, file) for target, file in named))


def _row(target: str, end: Ended, file: Path, folder: Path | None) -> Row:
    """Make the row of a run that has ended, by way of `file`, and keep its results."""
    document = _document(target, end, file)
    if folder:
        results.write(document, folder / file.name)
    return row(target, document, end.seconds)


def _document(target: str, end: Ended, file: Path) -> Result:
    """What a run has written; else that there is no result, for the reason."""
    reason = end.reason
    try:
        if end.wrote is not None:
            file.write_bytes(end.wrote)
            return reading.load(file)
    except reading.ResultsError as error:
        reason = str(error)
    finally:
        file.unlink(missing_ok=True)
    return unavailable.no_result(file, target, reason)


def row(target: str, document: Result, seconds: float) -> Row:
    """Make the row of a results file, or of one that says why there is no result."""
    if unavailable.is_absent(document):
        return Row(target, document["verdict"], document["reason"], {}, seconds)
    causes = [f"{d['requirement']} {d['cause']}" for d in document["diagnoses"][:1]]
    return Row(target, document["verdict"], "".join(causes), document["counts"], seconds)


def exit_code(rows: Iterable[Row]) -> int:
    """1 if any subject diverges, else 3 if one was not judged to its end, else 0."""
    verdicts = {row.verdict for row in rows}
    if "diverges" in verdicts:
        return DIVERGES
    return CONFORMS if verdicts <= {"conforms"} else KIT_ERROR
