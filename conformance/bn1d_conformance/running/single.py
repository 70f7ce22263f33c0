"""A single run of the kit, in a process of its own: what it wrote, or why it wrote nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance import bounded
from bn1d_conformance.bounded import printable
from bn1d_conformance.documents import reading
from bn1d_conformance.exits import WRONG_USE
from bn1d_conformance.wire.process import KEEPER

if TYPE_CHECKING:
    from collections.abc import Iterable

PAUSE = 0.05  # seconds between two looks at a run
SAID = 2000  # bytes at the end of what a run says on standard error that a reason is taken from


@dataclass(frozen=True)
class Ended:
    """What came of a run, wherever it was.

    Attributes:
        reason: why there may be no results, in a sentence.
        wrote: the bytes of the results file; None where there is none.
        seconds: wall time.
    """

    reason: str
    wrote: bytes | None = None
    seconds: float = 0.0


async def run(words: Iterable[str], limit: float, folder: str | None = None) -> Ended:
    """Run this Python to its end or its limit.

    Args:
        words: after which `--json FILE` will do.
        limit: seconds; 0 for as many as it takes.
        folder: where paths among the words start; None for the one of this process.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bn1d-", ignore_cleanup_errors=True) as name:
        out, log = Path(name) / "results.json", Path(name) / "log"
        reason = await _end((*words, "--json", str(out)), limit, folder, log)
        wrote, reason = _written(out, reason)
    return Ended(reason, wrote, time.monotonic() - start)


async def _end(words: Iterable[str], limit: float, folder: str | None, log: Path) -> str:
    """Run to the end or the limit; return why there may be no results, in a sentence.

    The run has a session of its own, and whatever of it is left at the end is killed; also if
    this process is, by whomever.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - ours; see below
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=said, start_new_session=True, cwd=folder,
        )  # fmt: skip
        keeper = subprocess.Popen(  # noqa: ASYNC220, S603
            [sys.executable, "-I", "-S", "-c", KEEPER, str(process.pid)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            code = await _ended(process, limit or inf)
        finally:
            for one in (process, keeper):
                _kill(one.pid)
                one.communicate()  # it is gone, and its pipe is closed
    if code is None:
        return f"It was not done after {limit:g} seconds."
    reason = _sentence(log)
    return reason if code == WRONG_USE and reason else f"Its run ended with exit code {code}."


async def _ended(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """The exit code of a process; None where it has none after so many seconds.

    asyncio's own processes are not used: where a run is cancelled while one starts, as when
    another run's results can't be written, Python 3.11 waits for it for ever.
    """
    last = time.monotonic() + limit
    while (code := process.poll()) is None and time.monotonic() < last:  # noqa: ASYNC110
        await asyncio.sleep(PAUSE)
    return code


def _kill(leader: int) -> None:
    """End a session's processes, if any is left."""
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


def _written(out: Path, reason: str) -> tuple[bytes | None, str]:
    """The bytes of a results file; where there is none, or too large a one, why."""
    try:
        return bounded.read(out, reading.MOST_BYTES), reason
    except FileNotFoundError:
        return None, reason
    except (OSError, ValueError) as error:
        return None, f"What it wrote can't be read: {printable(error)[:200]}."
