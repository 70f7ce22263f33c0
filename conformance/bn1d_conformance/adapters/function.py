"""A bare function: torch.nn.functional.batch_norm's signature, or as much of it as there is.

The kit keeps the state that a module would keep, and hands it in under whatever names the
function has for it. What a function has no argument for, it cannot be judged on.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance import naming
from bn1d_conformance.adapters.host import Host, about
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES, Config, Gradients, State, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bn1d_conformance.subject import Array, Request

SETTINGS = {"training": True, "momentum": 0.1, "eps": 1e-5}  # those of a first call
TAKEN = ("input", *ROLES, *SETTINGS)


class Function:
    """The subject behind `bn1d run torch.nn.functional:batch_norm`."""

    adapter = "function"
    dialect: Mapping[str, str] = {}

    def __init__(self, function: Callable[..., Any], request: Request) -> None:
        """Look at the signature; nothing is called before a check asks."""
        self.function = function
        self.target = request.target
        self.name, self.version = about(function)
        self.device = request.device
        self.arguments = {r: naming.keyword(r, function, request.names) for r in TAKEN}
        first = next(iter(naming.parameters(function)), "input")
        self.arguments["input"] = self.arguments["input"] or first

    @functools.cached_property
    def host(self) -> Host:
        """NumPy or torch: what a call with tensors shows."""
        sizes: dict[str, tuple[int, ...]] = {"input": (3, 2), **dict.fromkeys(ROLES, (2,))}
        given = {name: sizes[r] for r, name in self.arguments.items() if name and r in sizes}
        settings = {name: v for r, v in SETTINGS.items() if (name := self.arguments[r])}
        return Host.of_function(self.function, given, settings, self.device)

    @property
    def names(self) -> Mapping[str, str | None]:
        """The arguments under which the function takes its tensors."""
        return {r: self.arguments[r] for r in ROLES}

    @property
    def calls(self) -> dict[str, str]:
        """The arguments, by the words of the spec."""
        return {role: name for role, name in self.arguments.items() if name}

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """What the arguments allow."""
        has = {role for role, name in self.arguments.items() if name}
        weights, tracked = {"weight", "bias"} <= has, {"running_mean", "running_var"} <= has
        offered = {
            "live": True,
            "3d": self._takes((4, 2, 3)),
            **{fmt: self._takes(fmt=fmt) for fmt in DTYPES},
            "train": "training" in has or not tracked,
            "eval": tracked,
            "statistics": tracked,
            "weights": weights,
            "tracking-option": tracked and self._takes(track_running_stats=False),
            "affine-option": weights and self._takes(affine=False),
            "bias-option": weights and self._takes(bias=False),
            "eps-option": "eps" in has,
            "momentum-option": tracked and "momentum" in has,
            "grad": self.host.autograd,
            "param-grad": self.host.autograd and weights,
        }
        return frozenset(name for name, is_offered in offered.items() if is_offered)

    def _takes(self, size: tuple[int, ...] = (3, 2), fmt: str = "fp32", **options: bool) -> bool:
        """Whether ones of this size and format, with None for what is declined, are answered."""
        x = np.ones(size, DTYPES[fmt])
        config = Config(size[1], format="fp64" if fmt == "fp64" else "fp32", **options)
        try:
            y = FunctionLayer(self, config).forward(x)
        except Exception:  # noqa: BLE001 - not offered, for whatever reason
            return False
        return bool(y.shape == x.shape and y.dtype == x.dtype)

    def build(self, config: Config) -> FunctionLayer:
        """Make the state that a module of this configuration would have."""
        return FunctionLayer(self, config)

    def build_default(self, num_features: int) -> FunctionLayer:
        """Make the state of a default module."""
        return FunctionLayer(self, Config(num_features))


class FunctionLayer:
    """The state of a module, beside a function that has none."""

    module = None

    def __init__(self, subject: Function, config: Config) -> None:
        """Start as a module starts: ones, zeros, zeros, ones."""
        self.subject, self.host, self.config = subject, subject.host, config
        self.training = True
        dtype = DTYPES[config.format]
        ones, zeros = (np.full(config.num_features, v, dtype) for v in (1, 0))
        start: dict[str, Array | None] = {
            "weight": ones if config.affine else None,
            "bias": zeros if config.affine and config.bias else None,
            "running_mean": zeros if config.track_running_stats else None,
            "running_var": ones if config.track_running_stats else None,
        }
        self.values = {r: self.host.put(v) for r, v in start.items() if subject.arguments[r]}
        self.x = self.y = None

    def state(self) -> State:
        """Read what the function was last given, as it is now."""
        state = State()
        for role, value in self.values.items():
            setattr(state, role, None if value is None else self.host.get(value))
        return state

    def load(self, state: State) -> None:
        """Replace the tensors that the next call is given."""
        for role in self.values:
            if (array := getattr(state, role)) is not None:
                self.values[role] = self.host.put(array)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Set the `training` argument of the next call."""
        self.training = mode

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Call the function; a tuple is taken as (y, running_mean, running_var)."""
        self.x = self.host.put(x, grad=grad)
        for role in ("weight", "bias"):
            if self.values.get(role) is not None:
                self.values[role] = self.host.put(self.host.get(self.values[role]), grad=grad)
        answer = self.subject.function(**self._arguments())
        self.y, rest = (
            (answer[0], answer[1:]) if isinstance(answer, (tuple, list)) else (answer, ())
        )
        self._take_statistics(rest)
        return self.host.get(self.y)

    def _arguments(self) -> dict[str, Any]:
        settings = {
            "input": self.x,
            "training": self.training or not self.config.track_running_stats,  # EVAL-6
            "momentum": self.config.momentum,
            "eps": self.config.eps,
            **self.values,
        }
        names = self.subject.arguments
        return {name: v for r, v in settings.items() if (name := names[r])}

    def _take_statistics(self, rest: Any) -> None:
        """Take statistics that were returned rather than written, in training."""
        shapes = [getattr(v, "shape", None) for v in rest]
        if self.training and shapes[:2] == [(self.config.num_features,)] * 2:
            self.values["running_mean"], self.values["running_var"] = rest[:2]

    def given(self) -> Array:
        """The memory that the last call was given, as it is now."""
        return self.host.get(self.x)

    def backward(self, dy: Array) -> Gradients:
        """Run autograd from the last output."""
        self.host.backward(self.y, dy)
        weight, bias = (self.host.gradient(self.values.get(r)) for r in ("weight", "bias"))
        return Gradients(self.host.gradient(self.x), weight, bias)

    def double_backward(self, *_: Array) -> Gradients:
        """Not offered by a function."""
        raise SubjectError("double backward", "is not offered")
