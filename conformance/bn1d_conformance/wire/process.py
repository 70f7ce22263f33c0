"""A worker's process: started in a session of its own, asked a line at a time, never waited for.

One loop writes the question, reads the answer and drains what is logged, each with an eye on the
clock, so that neither a worker that does not read nor one that does not write can hold it up.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO

from bn1d_conformance import signals
from bn1d_conformance.wire.protocol import quote

CHUNK = 1 << 16
KEPT = 4096  # bytes of the log that are kept
MOST_READS = 64  # of a log that may be written faster than it is read
SHOWN = 200  # characters of its last line that are shown
GRACE = 2.0  # seconds to end in, once its output is closed
LEAVE = 5.0  # the same, once it is told to: a framework may have much to put away
#: Holds the end of a pipe, and ends the worker's group when the other end is gone, however that
#: happens: a process that is killed can't clean up after itself.
KEEPER = """
import os, sys
sys.stdin.read()
try:
    os.killpg(int(sys.argv[1]), 9)
except OSError:
    pass
"""


class LostError(Exception):
    """The process can't be asked any more.

    Attributes:
        verdict: what that is: "crash" (it ended), "timeout" or "fail" (it can't be understood).
        killed: whether a signal ended it that no fault of its own raises.
    """

    def __init__(self, verdict: str, said: str, *, killed: bool = False) -> None:
        """Keep the verdict; `said` follows "the worker"."""
        super().__init__(said)
        self.verdict = verdict
        self.killed = killed


class Process:
    """A child and its three pipes."""

    def __init__(self, command: list[str]) -> None:
        """Start it.

        Raises:
            OSError: if there is no such command.
        """
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(  # noqa: S603 - the user's own command
            command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )
        self.keeper = subprocess.Popen(  # noqa: S603 - a script of this file
            [sys.executable, "-I", "-S", "-c", KEEPER, str(self.child.pid)],
            stdin=pipe,
            start_new_session=True,
        )
        self.stdin, self.stdout, self.stderr = map(
            _unblocked, (self.child.stdin, self.child.stdout, self.child.stderr)
        )
        self.log = b""
        self.text = bytearray()

    def exchange(self, question: bytes, seconds: float, most: int) -> bytes:
        """Send a line, and return the line that comes back.

        Args:
            question: with its newline.
            seconds: until the answer must be there.
            most: bytes that it may have.

        Raises:
            LostError: if none comes, or one that nobody asked for. The process is of no use then.
        """
        with suppress(BlockingIOError):
            self.text += os.read(self.stdout, CHUNK)
        self.nothing_more()
        rest, deadline = memoryview(question), time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self.stdin, selectors.EVENT_WRITE)
            ready.register(self.stdout, selectors.EVENT_READ)
            ready.register(self.stderr, selectors.EVENT_READ)
            while b"\n" not in self.text[-CHUNK:]:
                for key, _ in self._wait(ready, deadline, seconds):
                    if key.fd == self.stdin:
                        rest = self._write(ready, rest)
                    elif key.fd == self.stderr:
                        self._drain(ready)
                    else:
                        self._read(most)
        return self._line(rest)

    def nothing_more(self) -> None:
        """Refuse what was written beside an answer: nobody would know what it answers.

        Raises:
            LostError: if there is any, as far as it has been read.
        """
        if self.text:
            raise LostError("fail", f"wrote more than an answer: {quote(bytes(self.text))}")

    def _line(self, rest: memoryview) -> bytes:
        answer, _, more = bytes(self.text).partition(b"\n")
        self.text = bytearray(more)
        if rest:
            raise LostError("fail", f"answered before it was asked in full: {quote(answer)}")
        return answer

    def _write(self, ready: selectors.BaseSelector, rest: memoryview) -> memoryview:
        try:
            rest = rest[os.write(self.stdin, rest[:CHUNK]) :]
        except BrokenPipeError:  # its end, or its last words, can still be read
            ready.unregister(self.stdin)
        else:
            if not rest:
                ready.unregister(self.stdin)
        return rest

    def _read(self, most: int) -> None:
        chunk = os.read(self.stdout, CHUNK)
        if not chunk:
            how = self.end()
            killed = signals.is_from_outside(self.child.returncode)
            raise LostError("crash", how, killed=killed)
        self.text += chunk
        if len(self.text) > most:
            start = quote(bytes(self.text[:1000]))
            raise LostError("fail", f"wrote too much: more than {most} bytes, {start}")

    def _drain(self, ready: selectors.BaseSelector) -> None:
        chunk = os.read(self.stderr, CHUNK)
        self.log = (self.log + chunk)[-KEPT:]
        if not chunk:
            ready.unregister(self.stderr)

    def _wait(
        self, ready: selectors.BaseSelector, deadline: float, seconds: float
    ) -> list[tuple[selectors.SelectorKey, int]]:
        left = deadline - time.monotonic()
        found = ready.select(left) if left > 0 else []
        if not found:
            said = f"did not answer in time: not within {seconds:.2g} s{self.last_words()}"
            raise LostError("timeout", said)
        return found

    def end(self) -> str:
        """How the process has ended, and its last words."""
        try:
            code = self.child.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "closed its standard output" + self.last_words()
        how = f"ended with exit status {code}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return how + self.last_words()

    def last_words(self) -> str:
        """The last line of the log, as a clause; "" where there is none."""
        with suppress(OSError):  # nothing more, or closed
            for _ in range(MOST_READS):
                self.log = (self.log + os.read(self.stderr, CHUNK))[-KEPT:]
        lines = self.log.decode("utf-8", "replace").split("\n")
        clean = ["".join(c for c in row if c.isprintable()).strip() for row in lines]
        last = next((row for row in reversed(clean) if row), "")
        return f'; its last words: "{last[:SHOWN]}"' if last else ""

    def leave(self) -> bool:
        """Wait a little for it to go of itself; whether it does."""
        try:
            return self.child.wait(LEAVE) == 0
        except subprocess.TimeoutExpired:
            return False

    def stop(self) -> None:
        """End the process and all that it started."""
        with suppress(OSError):  # it is gone already
            os.killpg(self.child.pid, signal.SIGKILL)
        self.keeper.kill()
        self.keeper.wait()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr, self.keeper.stdin):
            if pipe:
                with suppress(OSError):  # what was not written is not wanted
                    pipe.close()


def _unblocked(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # noqa: S101 - asked for in Popen; this tells mypy
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()
