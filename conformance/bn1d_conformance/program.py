"""What was done to a layer, as data: kept with a failure, and turned into a script by `repro`.

A program is a list of steps, {"do": "build" | "load" | "train" | "forward" | "backward", ...} or,
of a module, "assign" | "reset" | "cast" | "copy";
arrays are written as hex floats, sparse ones as a fill and exceptions, so that nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.numbers import format_of
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from bn1d_conformance.subject import Array, Config, State

MOST = 4096  # values that an array may have in a program, exceptions to its fill counted
Step = dict[str, Any]


class TooLongError(Exception):
    """An array that no script should hold."""


def build(config: Config | int) -> Step:
    """A construction, from a configuration or from num_features alone."""
    given = {"num_features": config} if isinstance(config, int) else asdict(config)
    return {"do": "build", "config": given}


def load(state: State) -> Step:
    """State written; arrays are encoded when the program is asked for."""
    return {
        "do": "load",
        "state": {**{r: getattr(state, r) for r in ROLES}, "count": state.num_batches_tracked},
    }


def encode(steps: list[Step]) -> list[Step] | None:
    """The program with its arrays in words; None where one is too long."""
    try:
        return [{k: _encode(v) for k, v in step.items()} for step in steps]
    except TooLongError:
        return None


def _encode(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return array(np.asarray(value))
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items() if v is not None or k == "momentum"}
    return value


def array(values: Array) -> dict[str, Any]:
    """An array as shape, format and hex floats.

    Raises:
        TooLongError: if more than MOST values would have to be written.
    """
    flat = (
        values.astype(np.float64).ravel().tolist() if values.dtype.kind in "fV" else values.ravel()
    )
    head: dict[str, Any] = {
        "format": format_of(values) or str(values.dtype),
        "shape": list(values.shape),
    }
    if not head["format"].startswith(("fp", "bf")):
        return {**head, "values": [str(v) for v in flat]}
    if len(flat) <= MOST:
        return {**head, "values": [float(v).hex() for v in flat]}
    (fill, _), *_ = Counter(flat).most_common(1)
    rest = {str(k): v.hex() for k, v in enumerate(flat) if v != fill}
    if len(rest) > MOST:
        raise TooLongError
    return {**head, "fill": fill.hex(), "at": rest}
