"""A stand-alone script for a failure: torch or NumPy only, hex floats, no kit.

It is written from the results file alone. Strings of the file that become code are checked to be
dotted names, and all others are quoted: a file from elsewhere can't smuggle a statement in.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn1d_conformance.subject import ROLES
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.results import Result

TORCH = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
QUANTITIES = ("y", "running_mean", "running_var", "dx", "dweight", "dbias")
RESETS = ("reset_running_stats", "reset_parameters")
KEYWORDS = ("eps", "momentum", "affine", "track_running_stats", "bias")
DEFAULTS = {"affine": True, "track_running_stats": True, "bias": True}


class NothingToShowError(ValueError):
    """No failure that a script could show: one sentence."""


def script(result: Result, wanted: str = "") -> str:
    """Write the script for the failure `wanted`: a requirement, a case, or "" for the first.

    Raises:
        NothingToShowError: if nothing fails, nothing matches, or the failure has no program.
    """
    ident, failure = _choose(result, wanted)
    adapter = result["subject"]["adapter"]
    if adapter == "recorded":
        raise NothingToShowError(f"{ident} failed on recorded answers, which no script can redo.")
    if adapter not in (*SCRIPTS, "wire"):
        raise NothingToShowError(f"{ident} failed through {adapter!r}, an adapter of the kit.")
    lines = _lines(result, failure)
    sentence = spec.requirements()[ident].sentence if ident in spec.requirements() else ""
    head = [
        f"# {_line(ident)}: {sentence}",
        f"# {_line(failure['case'])}: {_line(failure['message'])}",
    ]
    return "\n".join([*head, *lines])


def _lines(result: Result, failure: dict[str, Any]) -> list[str]:
    subject = result["subject"]
    if subject["adapter"] == "wire":
        from bn1d_conformance.reports.repro_wire import WireScript  # noqa: PLC0415 - needs NumPy

        return WireScript(subject, failure, str(result["options"]["device"])).lines()
    return SCRIPTS[subject["adapter"]](subject, failure).lines()


def _choose(result: Result, wanted: str) -> tuple[str, dict[str, Any]]:
    order = [row["requirement"] for row in result["diagnoses"]] or list(result["requirements"])
    order += [i for i in result["requirements"] if i not in order]
    rows = [(i, f) for i in order for f in result["requirements"][i]["failures"]]
    if not rows:
        raise NothingToShowError("Nothing fails in this file.")
    chosen = [(i, f) for i, f in rows if wanted.upper() == i or wanted in ("", f["case"])]
    if not chosen:
        raise NothingToShowError(f"No failure of {wanted!r} is in this file.")
    shown = [(i, f) for i, f in chosen if f["evidence"].get("program")]
    if not shown:
        raise NothingToShowError(f"{chosen[0][0]} has no script: {_line(chosen[0][1]['message'])}")
    return shown[0]


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _dotted(text: object) -> str:
    """A name that may stand in code.

    Raises:
        NothingToShowError: if it is none.
    """
    if not NAME.fullmatch(str(text)):
        raise NothingToShowError(f"{str(text)!r} in this file is no name.")
    return str(text)


def _forgetting(learned: list[str]) -> str:
    return f"for p in [{', '.join(learned)}]: p is None or setattr(p, 'grad', None)"


class Script:
    """The lines of one script."""

    def __init__(self, subject: dict[str, Any], failure: dict[str, Any]) -> None:
        """Read what the lines need."""
        self.subject, self.evidence = subject, failure["evidence"]
        named = ":" not in subject["target"]  # an entry point; its subject says what it is
        path, sign = (subject["name"], ".") if named else (subject["target"], ":")
        self.place, _, attr = path.rpartition(sign)
        self.attr = _dotted(attr)
        self.module = subject["adapter"] in MODULES
        self.torch = self.module or subject.get("host") == "torch"
        self.names = {k: _dotted(v) for k, v in subject.get("names", {}).items() if v}
        self.calls: dict[str, str] = subject.get("calls", {})
        self.training, self.differentiated = True, False

    def lines(self) -> list[str]:
        """Imports, the program, and what it shows."""
        steps = [line for step in self.evidence["program"] for line in self._step(step)]
        return [*self._imports(), *steps, *self._shows()]

    def _imports(self) -> Iterator[str]:
        yield "import torch" if self.torch else "import numpy as np"
        module = self.place
        if module.endswith(".py"):
            path = Path(module)
            yield f"import sys; sys.path.insert(0, {str(path.parent)!r})"
            module = path.stem
        first, *rest = self.attr.split(".")
        yield f"from {_dotted(module)} import {first}"
        yield "H = lambda text: [float.fromhex(h) for h in text.split()]"
        if rest:
            yield f"{rest[-1]} = {self.attr}"

    def _step(self, step: dict[str, Any]) -> Iterator[str]:
        writers = {
            "build": self._build,
            "load": self._load,
            "train": self._train,
            "forward": self._forward,
            "backward": self._backward,
            "assign": self._assign,
            "reset": self._reset,
            "cast": self._cast,
            "copy": self._copy,
        }
        if step["do"] not in writers:
            raise NothingToShowError(f"{str(step['do'])!r} is no step of a program.")
        yield from writers[step["do"]](step)

    def _build(self, step: dict[str, Any]) -> Iterator[str]:
        config = step["config"]
        chosen = [k for k in KEYWORDS if k in config and config[k] != DEFAULTS.get(k, ())]
        given = [
            f"{_dotted(self.calls.get(k, k))}={config[k]!r}" for k in chosen if self._takes(k)
        ]
        arguments = ", ".join([str(int(config["num_features"])), *given])
        call = f"{self.attr.split('.')[-1]}({arguments})"
        if self.torch and config.get("format", "fp32") != "fp32":
            call += f".to(torch.{TORCH[config['format']]})"
        wrapper = _dotted(self.calls["wrapper"]) if "wrapper" in self.calls else ""
        yield f"bn = {wrapper}({call})" if wrapper else f"bn = {call}"

    def _takes(self, keyword: str) -> bool:
        return self.module or keyword in self.calls

    def _load(self, step: dict[str, Any]) -> Iterator[str]:
        for role, value in step["state"].items():
            if role == "count":
                name = self.names.get("num_batches_tracked")
                if name and self.torch:
                    yield f"bn.{name}.fill_({int(value)})"
                elif name:
                    yield f"bn.{name} = {int(value)}"
            elif name := self.names.get(role):
                place = f"bn.{name}.data.copy_" if self.torch else f"bn.{name}[...] = "
                yield f"{place}({self._array(value)})"

    def _train(self, step: dict[str, Any]) -> Iterator[str]:
        self.training = bool(step["mode"])
        kind, _, name = self.calls.get("mode", "methods").partition(" ")
        if kind == "methods":
            yield "bn.train()" if self.training else "bn.eval()"
        elif kind == "attribute":
            yield f"bn.{_dotted(name)} = {self.training}"

    def _forward(self, step: dict[str, Any]) -> Iterator[str]:
        grad = ".requires_grad_()" if step["grad"] and self.torch else ""
        yield f"x = {self._array(step['x'])}{grad}"
        if self.differentiated and grad:  # the kit looks at one backward pass at a time
            learned = [f"bn.{n}" for r in ("weight", "bias") if (n := self.names.get(r))]
            yield _forgetting(learned)
        method = "forward" if self.calls.get("forward") else ""
        kind, _, name = self.calls.get("mode", "").partition(" ")
        mode = f", {_dotted(name)}={self.training}" if kind == "argument" else ""
        yield f"y = bn{'.' * bool(method)}{method}(x{mode})"

    def _backward(self, step: dict[str, Any]) -> Iterator[str]:
        self.differentiated = True
        call = "y.backward" if self.torch else "gradients = bn.backward"
        yield f"{call}({self._array(step['dy'])})"

    def _assign(self, step: dict[str, Any]) -> Iterator[str]:
        if step["name"] not in KEYWORDS:
            raise NothingToShowError(f"{str(step['name'])!r} is no attribute to assign.")
        if not (step["value"] is None or isinstance(step["value"], (bool, float, int))):
            raise NothingToShowError(f"{str(step['value'])!r} is no value to assign.")
        yield f"bn.{step['name']} = {step['value']!r}"

    def _reset(self, step: dict[str, Any]) -> Iterator[str]:
        if step["name"] not in RESETS:
            raise NothingToShowError(f"{str(step['name'])!r} resets nothing.")
        yield f"bn.{step['name']}()"

    def _cast(self, step: dict[str, Any]) -> Iterator[str]:
        yield f"bn = bn.to(torch.{TORCH[step['format']]})"

    def _copy(self, _: dict[str, Any]) -> Iterator[str]:
        yield "import copy; bn = copy.deepcopy(bn)"

    def _array(self, value: dict[str, Any]) -> str:
        shape = tuple(int(d) for d in value["shape"])
        dtype = TORCH.get(value["format"]) or _dotted(value["format"])
        library = "torch" if self.torch else "np"
        if "fill" in value:
            return self._sparse(value, shape, f"{library}.{dtype}")
        if value["format"] in TORCH:
            words = " ".join(float.fromhex(h).hex() for h in value["values"])
            numbers = f'H("{words}")'
        else:
            numbers = repr(
                [
                    complex(v)
                    if "j" in v
                    else int(v == "True")
                    if v in ("True", "False")
                    else int(v)
                    for v in value["values"]
                ]
            )
        make = "tensor" if self.torch else "array"
        return f"{library}.{make}({numbers}, dtype={library}.{dtype}).reshape({shape})"

    def _sparse(self, value: dict[str, Any], shape: tuple[int, ...], dtype: str) -> str:
        places = [-1, *map(int, value["at"])]  # what fills the rest first, and at no place
        numbers = " ".join(float.fromhex(h).hex() for h in (value["fill"], *value["at"].values()))
        rest = f"[at.get(i, at[-1]) for i in range({math.prod(shape)})]"
        values = f'(lambda at: {rest})(dict(zip({places}, H("{numbers}"))))'
        library = "torch" if self.torch else "np"
        make = f"{library}.{'tensor' if self.torch else 'array'}"
        return f"{make}({values}, dtype={dtype}).reshape({shape})"

    def _shows(self) -> Iterator[str]:
        quantity = self.evidence.get("quantity")
        if not quantity:
            yield "print(globals().get('bn', ''), globals().get('y', ''))"
            return
        if quantity not in QUANTITIES:
            raise NothingToShowError(f"{str(quantity)!r} is no output that a script can show.")
        index = ", ".join(str(int(i)) for i in self.evidence["index"])
        got = self._got(quantity, index)
        right = float(self.evidence["expected"])
        shown = f"{quantity}[{index}]"
        yield f"print({shown!r}, 'is', {got}, 'where', {right!r}, 'is right')"

    def _got(self, quantity: str, index: str) -> str:
        roles = {"dweight": "weight", "dbias": "bias"}
        if quantity == "y":
            return f"y[{index}].item()"
        if not self.torch:
            if quantity in ("dx", "dweight", "dbias"):
                return "gradients"
            return f"bn.{self.names[quantity]}[{index}]"
        if quantity == "dx":
            return f"x.grad[{index}].item()"
        if quantity in roles:
            return f"bn.{self.names[roles[quantity]]}.grad[{index}].item()"
        return f"bn.{self.names.get(quantity, quantity)}[{index}].item()"


class FunctionScript(Script):
    """The lines for a function: what a layer keeps is handed in."""

    def __init__(self, subject: dict[str, Any], failure: dict[str, Any]) -> None:
        """Start with the state that the kit starts with."""
        super().__init__(subject, failure)
        self.config: dict[str, Any] = {}
        self.state = [r for r in ROLES if r in self.calls]

    def _build(self, step: dict[str, Any]) -> Iterator[str]:
        self.config = step["config"]
        C = int(self.config["num_features"])
        library = "torch" if self.torch else "np"
        dtype = f"{library}.{TORCH[self.config.get('format', 'fp32')]}"
        for role in self.state:
            make = "ones" if role in ("weight", "running_var") else "zeros"
            learned = role in ("weight", "bias")
            absent = not self.config.get("affine" if learned else "track_running_stats", True)
            absent = absent or (role == "bias" and not self.config.get("bias", True))
            yield f"{role} = " + ("None" if absent else f"{library}.{make}({C}, dtype={dtype})")

    def _load(self, step: dict[str, Any]) -> Iterator[str]:
        for role, value in step["state"].items():
            if role in self.state:
                yield f"{role} = {self._array(value)}"

    def _train(self, step: dict[str, Any]) -> Iterator[str]:
        self.training = bool(step["mode"])
        yield from ()

    def _forward(self, step: dict[str, Any]) -> Iterator[str]:
        grad = bool(step["grad"] and self.torch)
        yield f"x = {self._array(step['x'])}{'.requires_grad_()' * grad}"
        learned = [r for r in self.state if r in ("weight", "bias")]
        if grad and learned:
            yield f"for p in ({', '.join(learned)},): p is None or p.requires_grad_()"
            if self.differentiated:
                yield _forgetting(learned)
        tracked = self.config.get("track_running_stats", True)
        values = {"input": "x", **{r: r for r in self.state}}
        values["training"] = repr(self.training or not tracked)
        values |= {k: repr(self.config.get(k)) for k in ("momentum", "eps")}
        given = [f"{_dotted(self.calls[r])}={v}" for r, v in values.items() if r in self.calls]
        yield f"y = {self.attr}({', '.join(given)})"
        yield "y, *rest = y if isinstance(y, (tuple, list)) else (y,)"
        if self.training and {"running_mean", "running_var"} <= set(self.state):
            yield "running_mean, running_var = rest[:2] or (running_mean, running_var)"

    def _got(self, quantity: str, index: str) -> str:
        places = {"dx": "x.grad", "dweight": "weight.grad", "dbias": "bias.grad"}
        return f"{places.get(quantity, quantity)}[{index}].item()"


MODULES = ("torch-module", "torch-script", "torch-compile")
SCRIPTS = {"function": FunctionScript, **dict.fromkeys(("plain-class", *MODULES), Script)}
