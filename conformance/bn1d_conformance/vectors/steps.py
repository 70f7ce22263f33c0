"""What is done to a layer, as steps that files can hold and that can be found again.

A program is the steps of one layer, from its construction on. The array of a step is named by a
hash of its content, so that two programs are the same exactly if their steps are written alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import COUNTER, ROLES, Gradients, State, UnaskedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bn1d_conformance.subject import Array, Config

Step = dict[str, Any]
Answers = dict[str, "Array"]

#: The formats of arrays in files; a counter is an int64.
IN_FILES = {**DTYPES, "int64": np.dtype("int64")}
GRADIENTS = ("dx", "dweight", "dbias")
QUANTITIES = ("y", *GRADIENTS, *ROLES, COUNTER)
#: What a recorded subject can be asked. The rest is about a layer that somebody holds in hand.
RECORDABLE = frozenset(
    {"train", "eval", "grad", "param-grad", "weights", "statistics", "counter", "cumulative", "3d"}
    | {"eps-option", "momentum-option", "affine-option", "bias-option", "tracking-option"}
    | set(DTYPES)
)


def hex_float(value: float) -> str:
    """A float as C's %a writes it: every digit that counts, and no more."""
    return re.sub(r"\.?0*p", "p", float(value).hex(), count=1)


def name_of(array: Array) -> str:
    """A name that is the same for the same format, shape and bits."""
    little = array.astype(array.dtype.newbyteorder("<"))
    head = f"{array.dtype.name} {array.shape} ".encode()
    return "a" + hashlib.sha256(head + little.tobytes()).hexdigest()[:20]


def build(config: Config) -> Step:
    """The first step of every program: what the layer is constructed from."""
    numbers = {
        "eps": hex_float(config.eps),
        "momentum": None if config.momentum is None else hex_float(config.momentum),
    }
    return {"do": "build", "config": {**vars(config), **numbers}}


def tensors(config: Config, has: Iterable[str]) -> list[str]:
    """The tensors that a layer of this configuration has, as far as the subject has any."""
    has = set(has)
    there = {
        "weight": config.affine and "weights" in has,
        "bias": config.affine and config.bias and "weights" in has,
        "running_mean": config.track_running_stats and "statistics" in has,
        "running_var": config.track_running_stats and "statistics" in has,
        COUNTER: config.track_running_stats and "counter" in has,
    }
    return [name for name, is_there in there.items() if is_there]


def asked(do: str, config: Config, has: Iterable[str]) -> list[str]:
    """The quantities that a step of this kind must be answered with."""
    if do == "forward":
        return ["y"]
    if do == "state":
        return tensors(config, has)
    if do == "backward":
        learned = {"weight": "dweight", "bias": "dbias"}
        found = [learned[t] for t in tensors(config, has) if t in learned]
        return ["dx", *(found if "param-grad" in set(has) else [])]
    return []


def spell(step: Step, seen: Answers) -> Step:
    """The step with names for its arrays, which are added to `seen`."""

    def word(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: word(v) for k, v in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        seen[name := name_of(value)] = value
        return name

    return {k: word(v) for k, v in step.items()}


def chain(before: str, step: Step) -> str:
    """The name of a program by its last step: a hash of what came before, and of the step."""
    asks = {k: v for k, v in step.items() if k != "answers"}
    return hashlib.sha256((before + json.dumps(asks, sort_keys=True)).encode()).hexdigest()


class Asked:
    """A layer whose every call becomes a step; who inherits finds the answers to it."""

    module = None

    def __init__(self, config: Config, has: frozenset[str]) -> None:
        """Construct: the first step."""
        self.config, self.has = config, has
        self.do(build(config))

    def do(self, step: Step, *given: Any) -> Answers:
        """Answer a step with quantities; `given` are the arguments of the call behind it."""
        raise NotImplementedError

    def state(self) -> State:
        """Ask for the tensors."""
        found = self.do({"do": "state"})
        count = found.get(COUNTER)
        values = {role: found.get(role) for role in ROLES}
        return State(**values, num_batches_tracked=None if count is None else int(count))

    def load(self, state: State) -> None:
        """Write the tensors that the layer has."""
        given = {name: getattr(state, name) for name in tensors(self.config, self.has)}
        step = {"do": "load", "state": {k: v for k, v in given.items() if v is not None}}
        self.do(step, state)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch the mode."""
        self.do({"do": "train", "mode": mode}, mode)

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Ask for y; whether a backward pass follows, the next step says."""
        del grad
        return self.do({"do": "forward", "x": x}, x)["y"]

    def backward(self, dy: Array) -> Gradients:
        """Ask for the gradients."""
        found = self.do({"do": "backward", "dy": dy}, dy)
        return Gradients(*(found.get(name) for name in GRADIENTS))

    def given(self) -> Array:
        """No file holds what becomes of an input."""
        raise UnaskedError("what becomes of an input is not recorded", "not-applicable")

    def double_backward(self, *_: Array) -> Gradients:
        """No file asks for it."""
        raise UnaskedError("a double backward pass is not recorded", "not-applicable")
