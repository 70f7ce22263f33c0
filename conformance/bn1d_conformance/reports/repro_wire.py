"""A stand-alone script for a failure of a worker: it starts the command, and needs no kit.

Strings of the results file stand in it as Python literals alone.
"""

from __future__ import annotations

import ast
import json
import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES, Config
from bn1d_conformance.vectors.steps import tensors
from bn1d_conformance.wire import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.subject import Array

GRADIENTS = ("dx", "dweight", "dbias")
HEAD = """\
import base64, json, struct, subprocess
worker = subprocess.Popen({words!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(line):
    print(line, file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline() or '"The worker is gone."')
def value(array, k):
    data, kinds = base64.b64decode(array['data']), {{'float16': 'e', 'float64': 'd'}}
    if array['dtype'] == 'bfloat16':
        return struct.unpack('<f', bytes(2) + data[2 * k : 2 * k + 2])[0]
    kind = '<' + kinds.get(array['dtype'], 'f')
    return struct.unpack_from(kind, data, k * struct.calcsize(kind))[0]"""


class WireScript:
    """The lines of one script."""

    def __init__(self, subject: dict[str, Any], failure: dict[str, Any], device: str) -> None:
        """Read what the lines need."""
        self.words = shlex.split(subject["target"])
        self.has = [str(name) for name in subject["capabilities"]]
        self.evidence = failure["evidence"]
        self.device = device
        self.config = Config(1)
        self.training, self.shape = True, ()

    def lines(self) -> list[str]:
        """The worker, the requests, and what the last answer shows."""
        requests = list(self._requests())
        if self.evidence.get("quantity") in ROLES:
            requests.append(("state", {"layer": 1}))
        asks = [
            f"answer = ask({protocol.line(k, do, given).decode('ascii').strip()!r})"
            for k, (do, given) in enumerate(requests, 1)
        ]
        return [*HEAD.format(words=self.words).splitlines(), *asks, *self._shows()]

    def _requests(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "hello", {"protocol": protocol.PROTOCOL, "device": self.device}
        for step in self.evidence["program"]:
            yield from getattr(self, f"_{step['do']}")(step)

    def _build(self, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        self.config = Config(**step["config"])
        alone = set(step["config"]) == {"num_features"} and "defaults" in self.has
        given = self.config.num_features if alone else self.config
        yield "build", {"layer": 1, "config": protocol.config(given)}

    def _load(self, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        state = dict(step["state"])
        state["num_batches_tracked"] = state.pop("count", None)
        known = [k for k in tensors(self.config, self.has) if state.get(k) is not None]
        arrays = {k: v if isinstance(v := state[k], int) else decode(v) for k in known}
        if arrays:
            yield "load", {"layer": 1, "state": arrays}

    def _train(self, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        self.training = bool(step["mode"])
        yield from ()

    def _forward(self, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        x = decode(step["x"])
        self.shape = x.shape
        asked = {"x": x, "training": self.training, "grad": bool(step["grad"])}
        yield "forward", {"layer": 1, **asked}

    def _backward(self, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "backward", {"layer": 1, "dy": decode(step["dy"])}

    def _shows(self) -> Iterator[str]:
        quantity = self.evidence.get("quantity")
        if quantity not in ("y", *GRADIENTS, *ROLES):
            yield "print(answer)"
            return
        index = [int(i) for i in self.evidence["index"]]
        size = self.shape if len(index) > 1 else (math.prod(self.shape),)
        place = int(np.ravel_multi_index(index, size))
        shown = f"{quantity}[{', '.join(map(str, index))}]"
        right = json.dumps(self.evidence["expected"])
        yield f"got = value(answer['result'][{quantity!r}], {place})"
        yield f"print({shown!r}, 'is', got, 'where', {right}, 'is right')"


def decode(given: dict[str, Any]) -> Array:
    """An array of a program, from its words."""
    shape, name = tuple(given["shape"]), given["format"]
    if name not in DTYPES:
        whole = [ast.literal_eval(v) for v in given["values"]]  # also True, and (1+2j)
        return np.array(whole, protocol.DTYPES[name]).reshape(shape)
    if "values" in given:
        values = np.array([float.fromhex(h) for h in given["values"]], np.float64)
    else:
        values = np.full(math.prod(shape), float.fromhex(given["fill"]))
        values[[int(k) for k in given["at"]]] = [float.fromhex(h) for h in given["at"].values()]
    return values.astype(DTYPES[name]).reshape(shape)
