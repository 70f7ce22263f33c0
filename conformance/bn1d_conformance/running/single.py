"""A single run of the kit, in a process of its own: what it wrote, or why it wrote nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance import bounded
from bn1d_conformance.bounded import printable
from bn1d_conformance.documents import reading
from bn1d_conformance.exits import WRONG_USE
from bn1d_conformance.wire.process import KEEPER

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=said, start_new_session=True, cwd=folder,
        )  # fmt: skip
        keeper = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", KEEPER, str(process.pid),
            stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            code = await asyncio.wait_for(process.wait(), limit or None)
        except asyncio.TimeoutError:
            return f"It was not done after {limit:g} seconds."
        finally:
            _kill(process.pid)
            await process.wait()
            _kill(keeper.pid)
            await keeper.wait()
    reason = _sentence(log)
    return reason if code == WRONG_USE and reason else f"Its run ended with exit code {code}."


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
