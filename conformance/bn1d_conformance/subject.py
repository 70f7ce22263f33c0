"""What the kit sees of an implementation: `Subject` builds a `Layer`, arrays cross as NumPy.

Everything that belongs to a framework stays behind this door, in an adapter. A check asks for
a layer, hands it fresh copies of its inputs, and reads answers and state back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bn1d_conformance.bounded import clipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

#: What a subject may say that it can do; `spec` requirements name these in `needs`.
CAPABILITIES = {
    "train": "a forward pass that normalises by the batch",
    "eval": "a forward pass that normalises by the running statistics",
    "grad": "a backward pass that returns the input's gradient",
    "param-grad": "a backward pass that returns the gradients of weight and bias",
    "double-backward": "a backward pass that can be differentiated",
    "weights": "weight and bias that can be chosen",
    "statistics": "running mean and variance that can be chosen, and come back updated",
    "parameters": "weight and bias of its own, with names and a start",
    "buffers": "running mean and variance of its own, with names and a start",
    "counter": "a count of batches that can be read and written",
    "cumulative": "momentum=None, the cumulative average",
    "defaults": "defaults of its own for eps and momentum",
    "3d": "inputs of shape (N, C, L)",
    "eps-option": "eps can be chosen",
    "momentum-option": "momentum can be chosen",
    "affine-option": "weight and bias can be declined",
    "bias-option": "the bias alone can be declined",
    "tracking-option": "running statistics can be declined",
    "dtype-option": "a format can be given at construction",
    "pickle": "a class that pickle finds again by its name",
    "live": "layers that live beside one another in a run, with an input that can be looked at",
    "torch-module": "a torch.nn.Module, whose registries, state dict and autograd can be asked",
    "script": "torch.jit.script takes the module",
    "trace": "torch.jit.trace may be asked to take the module",
    "compile": "torch.compile may be asked to take the module; graph breaks are allowed",
    "export": "torch.export may be asked to take the module",
    "vmap": "torch.func.vmap may be put around the module",
    "forward-ad": "tangents may be sent through the module in forward mode",
    "lazy": "a form of the class that takes num_features from its first input",
    "fp32": "single-precision inputs, outputs and state",
    "fp16": "half-precision inputs beside single-precision state",
    "bf16": "bfloat16 inputs beside single-precision state",
    "fp64": "double-precision inputs and state",
}

#: The tensors of a layer that have an array value, by the names that the spec gives them.
ROLES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Config:
    """What a layer is constructed from; defaults are PyTorch's.

    Attributes:
        num_features: C, the number of channels.
        eps, momentum, affine, track_running_stats, bias: as in torch.nn.BatchNorm1d.
        format: of weight, bias and running statistics: "fp16", "bf16", "fp32" or "fp64".
    """

    num_features: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True
    bias: bool = True
    format: str = "fp32"

    @property
    def needs(self) -> set[str]:
        """Capabilities that a subject must have to be built like this."""
        wanted = {
            "affine-option": not self.affine,
            "bias-option": self.affine and not self.bias,
            "tracking-option": not self.track_running_stats,
            "cumulative": self.momentum is None,
        }
        return {name for name, needed in wanted.items() if needed}


@dataclass
class State:
    """A layer's tensors: arrays of shape (C,), None where absent; the counter is an int."""

    weight: Array | None = None
    bias: Array | None = None
    running_mean: Array | None = None
    running_var: Array | None = None
    num_batches_tracked: int | None = None


class Gradients(NamedTuple):
    """What a backward pass returns: dx shaped like x, dweight and dbias of shape (C,)."""

    x: Array | None
    weight: Array | None
    bias: Array | None


class Layer(Protocol):
    """One constructed layer of a subject."""

    @property
    def module(self) -> Any:
        """The framework's own object, for checks that need more than this protocol."""

    def state(self) -> State:
        """Read the tensors, as copies."""

    def load(self, state: State) -> None:
        """Write the tensors that are not None."""

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch to training (True) or evaluation (False)."""

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Answer for x of shape (N, C) or (N, C, L); `grad`: a backward pass will follow."""

    def backward(self, dy: Array) -> Gradients:
        """Return the gradients of sum(y · dy) for the last forward pass."""

    def given(self) -> Array:
        """Read the memory that the last forward pass was given, as it is now."""

    def double_backward(self, *arrays: Array) -> Gradients:
        """Return for (dy, gx, gw, gb) the gradients of <gx,dx> + <gw,dweight> + <gb,dbias>.

        With respect to x, dy and weight, in this order.
        """


class Subject(Protocol):
    """An implementation under test."""

    target: str
    name: str
    version: str
    adapter: str
    dialect: Mapping[str, str]

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do: keys of CAPABILITIES. May construct a layer to find out."""

    @property
    def names(self) -> Mapping[str, str | None]:
        """What it calls each of ROLES and COUNTER; None where it has none."""

    def build(self, config: Config) -> Layer:
        """Construct a layer."""

    def build_default(self, num_features: int) -> Layer:
        """Construct a layer from num_features alone."""


class SubjectError(Exception):
    """The subject raised, or returned what no caller could use.

    Attributes:
        stage: "construct", "forward in training", "forward in evaluation", "backward", ...
        error: the exception, for checks that judge its type.
        verdict: "crash", "timeout" or "fail" where it has cost a process, which is replaced.
    """

    def __init__(
        self, stage: str, said: str, error: BaseException | None = None, verdict: str = ""
    ) -> None:
        """Keep stage, error and verdict beside the message."""
        super().__init__(f"{stage}: {said}")
        self.stage = stage
        self.said = said
        self.error = error
        self.verdict = verdict

    @property
    def cause(self) -> str:
        """Stage and error without what differs between errors of one kind."""
        kind = re.split(r"[:;]", self.said)[0]
        return f"{self.stage} {kind}" if kind.startswith("raises") else f"{self.stage}: {kind}"


class UnaskedError(Exception):
    """A case that is not put to the subject, which is not at fault.

    Attributes:
        verdict: of what the case would have judged: "not-run" or "not-applicable".
    """

    def __init__(self, why: str, verdict: str = "not-run") -> None:
        """Keep the verdict beside the reason."""
        super().__init__(why)
        self.verdict = verdict


class TargetError(ValueError):
    """A target that cannot be judged: one sentence, and a hint for the user."""

    def __init__(self, sentence: str, hint: str) -> None:
        """Keep the hint beside the sentence; both are fit for a terminal, whatever they quote."""
        super().__init__(clipped(sentence))
        self.hint = clipped(hint)


@dataclass(frozen=True)
class Request:
    """What the user asked to be judged, and how to get at it.

    Attributes:
        target: `module:attr`, `path/file.py:attr` or a name of the group bn1d.subjects; of a
            worker, its command.
        device: a name the subject's framework knows, such as "cpu" or "cuda".
        names: the user's `--map`, from the spec's names to the subject's.
        worker: whether the target is the command of a worker.
        timeout: seconds that one item may take.
    """

    target: str
    device: str = "cpu"
    names: Mapping[str, str] = field(default_factory=dict)
    worker: bool = False
    timeout: float = 30.0
