"""A subject's calls, guarded: timed, watched, and able to raise one exception only."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bn1d_conformance import clock, program
from bn1d_conformance.bounded import printable
from bn1d_conformance.subject import SubjectError, UnaskedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.subject import Array, Config, Gradients, Layer, State
    from bn1d_conformance.trial import Memory

FULL = (errno.ENOSPC, errno.EDQUOT)
FOLDERS = re.compile(r'(?<=File ")[^"]*[/\\]')  # of a traceback that an error quotes
P = ParamSpec("P")
T = TypeVar("T")


class Guard:
    """A layer whose every call is timed, and can raise nothing but SubjectError."""

    def __init__(self, layer: Layer, config: Config | int, memory: Memory) -> None:
        """Wrap; a layer starts in training (CTOR-7 looks at the bare one)."""
        self.layer = layer
        self.memory = memory
        self.training = True
        self.steps = [program.build(config)]

    @property
    def module(self) -> Any:
        """The framework's own object."""
        return self.layer.module

    def state(self) -> State:
        """Read the state."""
        return guarded("reading the state", self.layer.state)

    def load(self, state: State) -> None:
        """Write the state."""
        self.steps.append(program.load(state))
        self.memory.enter("writing the state")
        self.memory.ask("writing the state", self.layer.load, state)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch the mode."""
        self.training = mode
        self.steps.append({"do": "train", "mode": mode})
        guarded("train()" if mode else "eval()", self.layer.train, mode)

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Answer for a copy of x."""
        stage = "forward in training" if self.training else "forward in evaluation"
        self.steps.append({"do": "forward", "x": x, "grad": grad})
        self.memory.enter(stage if x.size else f"{stage} of an empty batch")
        return self.memory.ask(stage, self.layer.forward, x.copy(), grad=grad)

    def backward(self, dy: Array) -> Gradients:
        """Return gradients for a copy of dy."""
        self.steps.append({"do": "backward", "dy": dy})
        self.memory.enter("backward" if dy.size else "backward of an empty batch")
        return self.memory.ask("backward", self.layer.backward, dy.copy())

    def call(self, stage: str, call: Callable[..., Any], *args: Any) -> Any:
        """Run something else of the subject's."""
        self.memory.enter(stage)
        return self.memory.ask(stage, call, *args)

    def method(self, name: str, *args: Any) -> Any:
        """Call a method of the module's, such as reset_parameters, that it may not have."""
        return self.call(f"{name}()", lambda: getattr(self.module, name)(*args))

    def given(self) -> Array:
        """The memory that the last forward pass was given, as it is now."""
        return self.layer.given()

    def double_backward(self, *arrays: Array) -> Gradients:
        """Return the gradients of the gradients."""
        self.memory.enter("double backward")
        copies = [a.copy() for a in arrays]
        return self.memory.ask("double backward", self.layer.double_backward, *copies)


def guarded(stage: str, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run the subject's code; whatever it raises, SystemExit too, becomes a SubjectError."""
    with clock.of("subject"):
        try:
            return call(*args, **options)
        except UnaskedError:
            raise
        except SubjectError as error:
            raise SubjectError(stage, error.said, error.error, error.verdict) from error
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise  # of the machine: the run is at an end, and blames nobody
            raise SubjectError(stage, describe(error), error) from error


def describe(error: BaseException) -> str:
    """An exception in one line, without anybody's folders, also where it can't say a word."""
    try:
        text = printable(FOLDERS.sub("", " ".join(str(error).split()))[:300])
    except BaseException:  # noqa: BLE001 - a subject's exception may do anything
        text = ""
    return f"raises {type(error).__name__}: {text}" if text else f"raises {type(error).__name__}"
