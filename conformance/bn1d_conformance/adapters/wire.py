"""A worker in a process of its own, in any language: each call of a layer is a message."""

from __future__ import annotations

import math
import os
import time
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.subject import (
    COUNTER,
    ROLES,
    Config,
    Gradients,
    Request,
    State,
    SubjectError,
    TargetError,
    UnaskedError,
)
from bn1d_conformance.vectors import steps
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.process import LostError
from bn1d_conformance.wire.session import Hello, RefusedError, Session, misfit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.subject import Array

START = 27.0  # seconds that a start may take, at least; less than importing a target may
MOST_FAILURES = 3  # starts in a row
SHARE = 0.9  # of a longer --timeout that it may take
WRITES = ("build", "load", "forward", "backward")  # what a layer's state can depend on


class KilledError(SubjectError):
    """The worker was ended from outside, as by an operator or a machine without memory."""


class WireSubject:
    """The subject behind `bn1d run --worker 'COMMAND'`."""

    adapter = "wire"

    def __init__(self, request: Request) -> None:
        """Start the worker and hear what it offers.

        Raises:
            TargetError: if it can't be started, does not say hello, or offers what there is not.
        """
        self.request, self.target = request, request.target
        self.session = session_of(request)
        hello = self._greet()
        self.capabilities = frozenset(hello.capabilities)
        self.names: Mapping[str, str | None] = _names(hello)
        own = {"names": "own"} if _has_own_names(hello) else {}
        self.dialect: Mapping[str, str] = {**own, **(hello.dialect or {})}
        self.name, self.version = hello.name, hello.version
        self.language, self.homepage = hello.language, hello.homepage or ""
        self.device_name = hello.device or ""
        self.failed: LostError | None = None
        self.failures = 0
        self.gone: list[tuple[int, int]] = []
        self.layers = 0
        self.deadline = math.inf

    @property
    def patience(self) -> float:
        """Seconds that a start may take."""
        return max(START, SHARE * self.request.timeout)

    @property
    def is_gone(self) -> bool:
        """Whether it has failed to start so often that it is not started again."""
        return self.failures >= MOST_FAILURES

    def _greet(self) -> Hello:
        try:
            hello = self.session.start(self.patience)
        except OSError as error:
            hint = "Give a command as you would type it in a shell, without pipes."
            raise TargetError(f"The worker can't be started: {error}.", hint) from None
        except LostError as error:
            hint = "Run `bn1d smoke` with the same --worker to see how far it comes."
            raise TargetError(f"The worker, greeted, {error}.", hint) from None
        except RefusedError as error:
            raise TargetError(
                f"The worker, greeted, {error}".rstrip(".") + ".",
                "This is its own answer to hello.",
            ) from None
        if fault := misfit(hello, self.request.device):
            self.session.stop()
            raise TargetError(*fault)
        return hello

    def prepare(self) -> None:
        """Be ready for an item, of which the time starts now; a start is not part of it."""
        self.deadline = math.inf
        if self.session.process is None and not self.is_gone:
            self._restart()
        self.deadline = time.monotonic() + self.request.timeout

    def _restart(self) -> None:
        """Start the worker again; what comes of it, the next request hears."""
        left = (self.deadline - time.monotonic()) / 2
        try:
            self.session.start(min(self.patience, left))
        except LostError as error:
            self.failed = error
        except (OSError, RefusedError) as error:
            self.failed = LostError("crash", f"does not start: {error}")
        else:
            self.failed = None
        self.failures = self.failures + 1 if self.failed else 0

    def ask(self, do: str, fields: dict[str, Any], room: int = 0) -> dict[str, Any]:
        """Put a request, within half of the time that the item has left.

        Raises:
            SubjectError: if the worker is lost (with the verdict that this is), if its answer is
                malformed, or if it says that the layer raised.
        """
        seconds = min(self.deadline - time.monotonic(), self.request.timeout) / 2
        try:
            return self.session.ask(do, max(seconds, 0.05), fields, room)
        except LostError as error:
            kind = KilledError if error.killed else SubjectError
            raise kind(do, f"the worker {error}", verdict=error.verdict) from None
        except protocol.MalformedError as error:
            raise SubjectError(do, f"the worker {error}") from None
        except RefusedError as error:
            raise SubjectError(do, str(error), error.error) from None

    def ready(self) -> int:
        """Have a worker to ask; return which start of it that is.

        Raises:
            SubjectError: if it does not start.
        """
        if self.session.process is None and self.failed is None:
            self._restart()
        if self.failed:
            error, self.failed = self.failed, None
            said = f"the worker, started again, {error}"
            raise SubjectError("start", said, verdict=error.verdict)
        return self.session.starts

    def build(self, config: Config) -> WireLayer:
        """Construct a layer."""
        return WireLayer(self, config)

    def build_default(self, num_features: int) -> WireLayer:
        """Construct a layer with its own defaults, or with PyTorch's where it has none."""
        own = "defaults" in self.capabilities
        return WireLayer(self, num_features if own else Config(num_features))

    def number(self) -> int:
        """A number for a new layer; those that nobody has any more are closed first."""
        while self.gone:
            number, start = self.gone.pop()
            if start == self.session.starts and self.session.process:
                self.ask("close", {"layer": number})
        self.layers += 1
        return self.layers

    def close(self) -> None:
        """Take leave of the worker."""
        self.session.finish()


class WireLayer:
    """A layer in the worker: its number there, and what was done to it, to be done again."""

    def __init__(self, subject: WireSubject, config: Config | int) -> None:
        """Construct."""
        self.subject = subject
        whole = Config(config) if isinstance(config, int) else config
        self.features = whole.num_features
        self.tensors = steps.tensors(whole, subject.capabilities)
        self.room = 16 * self.features * len(ROLES)  # of fp64 in base64, and some more
        self.mode: bool | None = None
        self.steps: list[tuple[str, dict[str, Any]]] = []
        self.place = (0, 0)  # its number, and the start of the worker that knows it
        self._do("build", {"config": protocol.config(config)})

    def _do(self, do: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Put a request about this layer: once more, if somebody killed the worker."""
        try:
            found = self._ask(do, fields)
        except KilledError:
            found = self._ask(do, fields)
        if do in WRITES:
            self.steps.append((do, fields))
        return found

    def _ask(self, do: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Put a request to a worker that has this layer."""
        if self.place[1] != self.subject.ready():
            self._replay()
        return self.subject.ask(do, {"layer": self.place[0], **fields}, self.room)

    def _replay(self) -> None:
        """Make the layer again, in a worker that does not have it."""
        place = (self.subject.number(), self.subject.ready())
        weakref.finalize(self, self.subject.gone.append, place).atexit = False
        for do, fields in self.steps:
            self.subject.ask(do, {"layer": place[0], **fields}, self.room)
        self.place = place

    @property
    def module(self) -> Any:
        """The tensors as the worker has them, in their own shapes, under its names for them."""
        found, names = self._do("state", {}), self.subject.names
        return SimpleNamespace(**{str(names[r]): found[r] for r in ROLES if names[r]})

    def state(self) -> State:
        """Read the tensors, each flattened to (C,)."""
        found = self._do("state", {})
        values = {role: _flat(role, found[role], self.features) for role in ROLES}
        return State(**values, num_batches_tracked=found[COUNTER])

    def load(self, state: State) -> None:
        """Write the tensors that are not None, and that the worker's layer has."""
        given = {name: getattr(state, name) for name in self.tensors}
        if given := {k: v for k, v in given.items() if v is not None}:
            self._do("load", {"state": given})

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Remember the mode: every forward pass is told it."""
        self.mode = mode

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Ask for y.

        Raises:
            UnaskedError: if no mode was chosen: a worker's layer has none of its own.
        """
        if self.mode is None:
            why = "over the wire the mode is told with every forward pass"
            raise UnaskedError(why, "not-applicable")
        y: Array = self._do("forward", {"x": x, "training": self.mode, "grad": grad})["y"]
        return y

    def backward(self, dy: Array) -> Gradients:
        """Ask for the gradients, those of weight and bias flattened to (C,)."""
        found = self._do("backward", {"dy": dy})
        learned = (_flat(name, found[name], self.features) for name in ("dweight", "dbias"))
        return Gradients(found["dx"], *learned)

    def given(self) -> Array:
        """An input crosses by value: nobody here sees what becomes of it."""
        raise UnaskedError("what becomes of an input is not seen over the wire", "not-applicable")

    def double_backward(self, *_: Array) -> Gradients:
        """Not asked over the wire."""
        raise UnaskedError("a double backward pass is not asked over the wire", "not-applicable")


def session_of(request: Request) -> Session:
    """A session with the worker of a request; nothing is started yet.

    Raises:
        TargetError: if what the user gave is no command.
    """
    if os.name != "posix":
        raise TargetError("A worker needs POSIX pipes.", "On Windows, run the kit in WSL.")
    try:
        session = Session(request.target, request.device)
    except ValueError as error:
        hint = "Quote it as for a shell: --worker 'python bn1d_worker.py layer.py'."
        raise TargetError(f"--worker {request.target!r} is no command: {error}.", hint) from None
    if not session.words:
        raise TargetError("--worker is empty.", "Give the command that starts the worker.")
    return session


def _has_own_names(hello: Hello) -> bool:
    """Whether it says of any tensor that it calls it otherwise: that is a convention."""
    return any(role != name for role, name in (hello.names or {}).items())


def _names(hello: Hello) -> dict[str, str | None]:
    """The worker's names of the tensors that it has."""
    has = set(hello.capabilities)
    there = {
        **dict.fromkeys(ROLES[:2], "weights" in has),
        **dict.fromkeys(ROLES[2:], "statistics" in has),
        COUNTER: "counter" in has,
    }
    own = hello.names or {}
    return {role: own.get(role, role) if is_there else None for role, is_there in there.items()}


def _flat(what: str, value: Array | None, features: int) -> Array | None:
    """One number a channel, in whatever shape the framework has them.

    Raises:
        SubjectError: if there are more or fewer.
    """
    if value is None:
        return None
    if value.size != features:
        said = f"{what} has shape {value.shape}, where {features} numbers are right"
        raise SubjectError("answer", f"the worker answered wrong: {said}")
    return np.ascontiguousarray(value).reshape(-1)
