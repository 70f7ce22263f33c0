"""Several subjects in one command: each is judged by a `bn1d run` of its own, N at a time.

A subject that hangs, dies or floods costs its own run; what stays of it here is a row of a table.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance import reading, results, unavailable
from bn1d_conformance.bounded import printable
from bn1d_conformance.console import CONFORMS, DIVERGES, KIT_ERROR, WRONG_USE
from bn1d_conformance.subject import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bn1d_conformance.results import Result

SAID = 2000  # bytes at the end of what a run says on standard error that a reason is taken from


@dataclass(frozen=True)
class Plan:
    """How the subjects of one command are judged.

    Attributes:
        command: of one run, without its target and without --json.
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


def expand(word: str) -> list[str]:
    """Return the targets that a word of the command line stands for, by name; often the word.

    A folder, or a pattern, stands for Python files whose names don't begin with `_`; `:attr` after
    it is taken from each of them.

    Raises:
        TargetError: if a folder or a pattern has no such file.
    """
    place, sign, attr = word.rpartition(":") if ":" in word else (word, "", "")
    path = Path(place)
    if path.is_dir() and not (path / "manifest.json").is_file():  # that would be of `vectors`
        found = [*path.glob("*.py")]
    elif has_magic(place) and not path.exists():
        found = [Path(name) for name in glob(place, recursive=True)]  # noqa: PTH207 - any root
    else:
        return [word]
    files = sorted(f for f in found if f.suffix == ".py" and f.is_file() and f.name[0] != "_")
    if not files:
        hint = "Files whose names begin with _ are left out; '**/*.py' looks into folders."
        raise TargetError(f"{place} has no Python file to judge.", hint)
    return [f"{file}{sign}{attr}" for file in files]


def file_names(targets: Sequence[str]) -> list[str]:
    """Name a results file for each target: by the file's stem, or by all of it; each name once."""
    whole = [re.sub(r"[^\w.-]+", "-", target)[-150:].strip("-.") for target in targets]
    stems = [_stem(target) or name for target, name in zip(targets, whole, strict=True)]
    names = stems if len({s.lower() for s in stems}) == len(stems) else whole
    seen: Counter[str] = Counter()
    for k, name in enumerate(names):
        seen[name.lower()] += 1
        if (times := seen[name.lower()]) > 1:
            names[k] = f"{name}-{times}"
    return [f"{name}.json" for name in names]


def _stem(target: str) -> str:
    """The stem of a target that is a file; "" of another."""
    path = Path(target.rpartition(":")[0] or target)
    return re.sub(r"[^\w.-]+", "-", path.stem) if path.suffix == ".py" else ""


def judge(targets: Sequence[str], plan: Plan, ended: Callable[[Row], None]) -> list[Row]:
    """Judge every target; return their rows in the order of the targets.

    Args:
        targets: as `bn1d run` takes them.
        plan: how.
        ended: hears of each row as soon as there is one.
    """
    return asyncio.run(_judge(targets, plan, ended))


async def _judge(targets: Sequence[str], plan: Plan, ended: Callable[[Row], None]) -> list[Row]:
    gate = asyncio.Semaphore(plan.jobs)
    with tempfile.TemporaryDirectory(prefix="bn1d-") as name:

        async def one(target: str, file: str) -> Row:
            async with gate:
                row = await _one(target, plan, Path(name) / file)
            ended(row)
            return row

        named = zip(targets, file_names(targets), strict=True)
        return await asyncio.gather(*(one(target, file) for target, file in named))


async def _one(target: str, plan: Plan, out: Path) -> Row:
    """Judge one target, by way of the file `out`."""
    start = time.monotonic()
    reason = await _run((*plan.command, target, "--json", str(out)), plan.limit, out)
    document = _document(target, reason, out)
    if plan.folder:
        results.write(document, plan.folder / out.name)
    return row(target, document, time.monotonic() - start)


async def _run(command: Iterable[str], limit: float, out: Path) -> str:
    """Run a command to its end or its limit; return why there may be no results, in a sentence.

    It has a session of its own, and whatever of it is left at the end is killed.
    """
    log = out.with_suffix(".log")
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            code = await asyncio.wait_for(process.wait(), limit or None)
        except asyncio.TimeoutError:
            return f"It was not done after {limit:g} seconds."
        finally:
            _kill(process.pid)
            await process.wait()
    reason = _sentence(log)
    log.unlink()
    return reason if code == WRONG_USE and reason else f"Its run ended with exit code {code}."


def _kill(leader: int) -> None:
    """End a run and its workers, if any is left."""
    try:
        if sys.platform == "win32":
            os.kill(leader, signal.SIGTERM)
        else:
            os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # none is
        pass


def _sentence(log: Path) -> str:
    """What `bn1d` said last in a sentence, without its hint."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - SAID, 0))
        tail = file.read().decode("utf-8", "replace")
    said = [s.removeprefix("bn1d: ") for s in tail.splitlines() if s.startswith("bn1d: ")]
    return printable(said[-1]) if said else ""


def _document(target: str, reason: str, out: Path) -> Result:
    """What a run has written; else that there is no result, for the reason."""
    try:
        if out.exists():
            return reading.load(out)
    except reading.ResultsError as error:
        reason = str(error)
    finally:
        out.unlink(missing_ok=True)
    return unavailable.no_result(out, target, reason)


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
