"""A plain Python class, NumPy or torch: parameters and statistics are attributes.

Found by themselves: usual names (`naming.SYNONYMS`), forward() or __call__, a mode set by
train()/eval(), by a `training` attribute or by an argument, a backward() that returns dx or
(dx, dweight, dbias), or leaves the parameters' gradients in attributes; torch's autograd else.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance import naming
from bn1d_conformance.adapters.host import Host, about
from bn1d_conformance.subject import COUNTER, ROLES, Config, Gradients, State, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bn1d_conformance.subject import Array, Request

OPTIONS = {
    "eps-option": "eps",
    "momentum-option": "momentum",
    "affine-option": "affine",
    "bias-option": "bias",
    "tracking-option": "track_running_stats",
}


class PlainClass:
    """The subject behind `bn1d run student.py:BatchNorm`."""

    adapter = "plain-class"
    dialect: Mapping[str, str] = {}

    def __init__(self, cls: type, request: Request) -> None:
        """Look at the signature; nothing is constructed before a check asks."""
        self.cls, self.request, self.target = cls, request, request.target
        self.name, self.version = about(cls)

    @functools.cached_property
    def host(self) -> Host:
        """NumPy or torch: what a constructed layer holds."""
        return Host.of_object(self.cls(2), self.request.device)

    @functools.cached_property
    def keywords(self) -> Mapping[str, str]:
        """The constructor's keywords by role."""
        return naming.keywords(OPTIONS.values(), self.cls, self.request.names)

    @functools.cached_property
    def names(self) -> Mapping[str, str | None]:
        """The attributes of a constructed layer."""
        return self.build_default(2).names

    @property
    def calls(self) -> dict[str, str]:
        """The constructor's arguments, the method that answers, and what switches the mode."""
        layer = self.build_default(2)
        mode = {
            "methods": layer.methods,
            f"attribute {layer.flag}": layer.flag,
            f"argument {layer.argument}": layer.argument,
        }
        forward = "forward" if hasattr(layer.module, "forward") else ""
        switch = next((name for name, is_it in mode.items() if is_it), "")
        return {**self.keywords, "forward": forward, "mode": switch}

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """What a constructed layer has, and what one small pass each way shows."""
        layer = self.build_default(2)
        has = {role for role, name in layer.names.items() if name}
        weights, tracked = {"weight", "bias"} <= has, {"running_mean", "running_var"} <= has
        options = {c for c, role in OPTIONS.items() if role in self.keywords}
        gradients = _try_backward(layer)
        offered = {
            "train": layer.switches or not tracked,
            "eval": layer.switches and tracked,
            "weights": weights,
            "parameters": weights,
            "statistics": tracked,
            "buffers": tracked,
            "counter": COUNTER in has,
            "cumulative": self._default("momentum") is None and "momentum-option" in options,
            "defaults": True,
            "live": True,
            "3d": _answers(layer, np.ones((2, 2, 3), "float32")) is not None,
            "fp32": _answers(layer, np.ones((3, 2), "float32")) == np.float32,
            "fp64": True,
            "grad": gradients.x is not None,
            "param-grad": gradients.weight is not None and gradients.bias is not None,
        }
        return frozenset(options | {name for name, is_offered in offered.items() if is_offered})

    def build(self, config: Config) -> PlainLayer:
        """Construct with every argument that the constructor takes."""
        wanted = {role: getattr(config, role) for role in OPTIONS.values()}
        if config.bias:
            del wanted["bias"]
        given = {key: wanted[role] for role, key in self.keywords.items() if role in wanted}
        return PlainLayer(self.cls(config.num_features, **given), self.host, self.request.names)

    def build_default(self, num_features: int) -> PlainLayer:
        """Construct from num_features alone."""
        return PlainLayer(self.cls(num_features), self.host, self.request.names)

    def _default(self, role: str) -> Any:
        return naming.default(role, self.cls, self.request.names)


def _try_backward(layer: PlainLayer) -> Gradients:
    """What one small backward pass returns; nothing where it fails."""
    x = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 5.0]], "float32")
    try:
        layer.forward(x, grad=True)
        return layer.backward(np.ones_like(x))
    except Exception:  # noqa: BLE001 - not offered, for whatever reason
        return Gradients(None, None, None)


def _answers(layer: PlainLayer, x: Array) -> np.dtype[Any] | None:
    """The dtype of the answer, if it has x's shape."""
    try:
        y = layer.forward(x)
    except Exception:  # noqa: BLE001 - not offered, for whatever reason
        return None
    return y.dtype if y.shape == x.shape else None


class PlainLayer:
    """One object, driven through the names that were found on it."""

    def __init__(self, module: Any, host: Host, chosen: Mapping[str, str]) -> None:
        """Find attributes, the call and the way to switch modes."""
        self.module, self.host = module, host
        have = [n for n in dir(module) if not n.startswith("__")]
        values = [n for n in have if not callable(getattr(module, n, None))]
        self.names = {r: naming.find(r, values, chosen) for r in (*ROLES, COUNTER)}
        self.call: Callable[..., Any] = getattr(module, "forward", module)
        self.flag = naming.find("training", values, {})
        self.argument = naming.find("training", naming.parameters(self.call), {})
        self.methods = hasattr(module, "train") and hasattr(module, "eval")
        self.switches = bool(self.flag or self.argument or self.methods)
        self.training = True
        self.x = self.y = None

    def state(self) -> State:
        """Read the attributes, flattened to (C,)."""
        counter = self._value(COUNTER)
        values = {r: self._read(r) for r in ROLES}
        return State(**values, num_batches_tracked=None if counter is None else int(counter))

    def _value(self, role: str) -> Any:
        name = self.names[role]
        return getattr(self.module, name, None) if name else None

    def _read(self, role: str) -> Array | None:
        value = self._value(role)
        return None if value is None else self.host.get(value).reshape(-1)

    def load(self, state: State) -> None:
        """Write in place where there is an array or tensor, else replace the attribute."""
        for role in ROLES:
            if (values := getattr(state, role)) is not None and self._value(role) is not None:
                self._write(role, values)
        if state.num_batches_tracked is not None and (name := self.names[COUNTER]):
            setattr(self.module, name, state.num_batches_tracked)

    def _write(self, role: str, values: Array) -> None:
        value, name = self._value(role), str(self.names[role])
        if not hasattr(value, "shape"):
            setattr(self.module, name, values.tolist())
        elif isinstance(value, np.ndarray) and np.can_cast(values.dtype, value.dtype):
            value[...] = values.reshape(value.shape)
        elif isinstance(value, np.ndarray):
            setattr(self.module, name, values.reshape(value.shape).copy())
        else:
            from bn1d_conformance.adapters.tensors import write  # noqa: PLC0415

            write(value, values)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch by whatever switch there is."""
        self.training = mode
        if self.methods:
            self.module.train() if mode else self.module.eval()
        elif self.flag:
            setattr(self.module, self.flag, mode)

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Ask the object's own forward, or the object itself."""
        self.x = self.host.put(x, grad=grad)
        if grad:
            self.host.forget(self._value("weight"), self._value("bias"))
        extra = {self.argument: self.training} if self.argument else {}
        answer = self.call(self.x, **extra)
        self.y = answer[0] if isinstance(answer, tuple) else answer
        return self.host.get(self.y)

    def given(self) -> Array:
        """The memory that the last call was given, as it is now."""
        return self.host.get(self.x)

    def backward(self, dy: Array) -> Gradients:
        """Ask the object's own backward, or autograd where there is none."""
        if not hasattr(self.module, "backward"):
            return self._autograd(dy)
        answer = self.module.backward(self.host.put(dy))
        dx, *rest = answer if isinstance(answer, (tuple, list)) else (answer,)
        weight, bias = rest[:2] if len(rest) >= 2 else (self._left("dweight"), self._left("dbias"))
        return Gradients(*(None if g is None else self.host.get(g) for g in (dx, weight, bias)))

    def _autograd(self, dy: Array) -> Gradients:
        if not self.host.autograd:
            raise SubjectError("backward", "there is no backward()")
        self.host.backward(self.y, dy)
        weight, bias = (self.host.gradient(self._value(r)) for r in ("weight", "bias"))
        return Gradients(self.host.gradient(self.x), weight, bias)

    def _left(self, role: str) -> Any:
        """A gradient that backward() left in an attribute, or in a `grads` dictionary."""
        if name := naming.find(role, dir(self.module), {}):
            return getattr(self.module, name)
        grads = getattr(self.module, "grads", None)
        if not isinstance(grads, dict):
            return None
        key = naming.find(role, grads, {}) or naming.find(role[1:], grads, {})
        return grads.get(key)

    def double_backward(self, *_: Array) -> Gradients:
        """Not offered by a plain class."""
        raise SubjectError("double backward", "is not offered")
