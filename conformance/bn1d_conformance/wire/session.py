"""A worker as the kit talks to it: requests, answers, and a process anew where one was lost."""

from __future__ import annotations

import builtins
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeGuard

from bn1d_conformance import device, dialect
from bn1d_conformance.subject import COUNTER, ROLES
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.process import GRACE, LostError, Process

MOST = 1 << 20  # bytes of an answer, beside those that its arrays need


class RefusedError(Exception):
    """The worker says that the layer raised.

    Attributes:
        error: an exception of the type that it names.
    """

    def __init__(self, error: BaseException, said: str) -> None:
        """Keep the exception; the message is as a traceback would end, in one line."""
        text = " ".join(said.split())[:300]
        super().__init__(f"raises {type(error).__name__}: {text}".removesuffix(": "))
        self.error = error


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself; see `docs/wire.md`."""

    protocol: int
    name: str
    version: str
    language: str
    capabilities: list[str]
    homepage: str | None = None
    dialect: dict[str, str] | None = None
    names: dict[str, str] | None = None
    device: str | None = None


class Session:
    """Asks a worker, one request at a time, and starts it anew after it was lost.

    Attributes:
        starts: how often it was started: layers made before the last start are gone.
    """

    def __init__(self, command: str, device: str) -> None:
        """Split the command as a shell would; nothing is started yet.

        Raises:
            ValueError: if it can't be split.
        """
        self.words = shlex.split(command)
        self.device = device
        self.starts = self.ident = 0
        self.process: Process | None = None

    def start(self, seconds: float) -> Hello:
        """Start the process and greet it.

        Raises:
            OSError: if there is no such command.
            LostError: if it ends, hangs, or can't be understood.
            RefusedError: if it says that it can't serve.
        """
        self.process = Process(self.words)
        self.starts += 1
        self.ident = 0
        hello = {"protocol": protocol.PROTOCOL, "device": self.device}
        try:
            return Hello(**self.ask("hello", seconds, hello))
        except protocol.MalformedError as error:
            self.stop()
            raise LostError("fail", str(error)) from None
        except RefusedError:
            self.stop()
            raise

    def ask(
        self, do: str, seconds: float, fields: dict[str, Any], room: int = 0
    ) -> dict[str, Any]:
        """Put a request, and return the checked fields of its result.

        Args:
            do: which.
            seconds: until the answer must be there.
            fields: of the request, arrays as arrays.
            room: bytes that the arrays of the answer may need, beside as many as were sent.

        Raises:
            LostError: if the process is of no use any more; it is ended.
            MalformedError: if the answer is not as it must be; the process goes on.
            RefusedError: if the layer raised.
        """
        if self.process is None:
            raise LostError("crash", "is not running")
        self.ident += 1
        question = protocol.line(self.ident, do, fields)
        try:
            text = self.process.exchange(question, seconds, MOST + 4 * len(question) + 2 * room)
            answer = self._understand(text)
            self.process.nothing_more()
        except LostError:
            self.stop()
            raise
        if "error" in answer:
            raise self._raised(answer["error"])
        return protocol.result(do, answer)

    def _understand(self, text: bytes) -> dict[str, Any]:
        """Read a line; one that can't be read leaves nothing that could be."""
        try:
            return protocol.parse(text, self.ident)
        except protocol.MalformedError as error:
            raise LostError("fail", str(error)) from None

    def _raised(self, given: Any) -> RefusedError:
        """What the worker says that the layer raised.

        Raises:
            LostError: if no later call could do better.
        """
        error = protocol.fields("an error", given, protocol.ERROR)
        if device.is_lost(error["message"]):
            self.stop()
            raise LostError("crash", f"has lost its device: {error['message']}")
        kind = exception(error["type"], error["bases"] or [])
        return RefusedError(_made(kind, error["message"]), error["message"])

    def finish(self) -> bool:
        """Take leave; whether the worker leaves as it should."""
        if self.process is None:
            return False
        try:
            self.ask("close", GRACE, {})
            return self.process.leave()
        except (LostError, RefusedError, protocol.MalformedError):
            return False
        finally:
            self.stop()

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.stop()
            self.process = None


def misfit(hello: Hello, device: str) -> tuple[str, str] | None:
    """Why a worker can't be judged, whatever it computes: a sentence and a hint."""
    if hello.protocol != protocol.PROTOCOL:
        return (
            f"The worker speaks version {hello.protocol} of the wire, not {protocol.PROTOCOL}.",
            "Take the worker that came with this version of the kit.",
        )
    if unknown := sorted(set(hello.capabilities) - set(protocol.WIRED)):
        return (
            f"The worker names a capability that the wire has not: {unknown[0][:60]!r}.",
            f"There are {', '.join(protocol.WIRED)}.",
        )
    if unknown := sorted(set(hello.names or {}) - {*ROLES, COUNTER}):
        return (
            f"The worker gives a name to {unknown[0][:60]!r}, which no layer has.",
            f"There are {', '.join((*ROLES, COUNTER))}.",
        )
    if fault := dialect.misfit(hello.dialect or {}):
        return fault
    if device not in ("cpu", (hello.device or "").partition(" ")[0]):
        return (
            f"The worker computes on {(hello.device or 'cpu')[:60]}, and not on {device}.",
            "Its answer to hello must begin with the device that it is asked for.",
        )
    return None


def exception(name: str, bases: list[str]) -> type[BaseException]:
    """A class of this name that is what Python's exceptions of these names are.

    A name that Python has is Python's class; any other is an Exception of that name.
    """
    own = getattr(builtins, name, None)
    if _is_error(own):
        return own
    found = [kind for word in bases if _is_error(kind := getattr(builtins, word, None))]
    try:
        return type(name, (*found, Exception)[: len(found) or 1], {})
    except TypeError:  # some can't be parents of one child
        return type(name, (found[0],), {})


def _made(kind: type[BaseException], message: str) -> BaseException:
    """An exception of this class; one that takes more than a message is its nearest parent's."""
    for parent in kind.__mro__[:-2]:  # without BaseException and object
        with suppress(TypeError):
            error: BaseException = parent(message)
            return error
    return BaseException(message)


def _is_error(value: Any) -> TypeGuard[type[BaseException]]:
    return isinstance(value, type) and issubclass(value, BaseException)
