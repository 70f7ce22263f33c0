"""The two sources, and those of their mutants that are worth judging."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from operators import Mutant, mutants

HERE = Path(__file__).parent
SOURCES = ("plain", "handwritten")
CLASS = "BatchNorm1d"


def population() -> dict[str, Mutant]:
    """Return every mutant of both sources that survives its first calls, by id."""
    born = [m for source in SOURCES for m in mutants(HERE / f"{source}.py")]
    return {m.id: m for m in born if lives(m.text)}


def lives(text: str) -> bool:
    """Whether a layer with defaults trains, is differentiated and evaluates without an error.

    One that does not is seen by whoever calls it: it proves nothing of the kit.
    """
    names: dict[str, Any] = {"__name__": "mutant"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(text, "mutant", "exec"), names)  # noqa: S102 - our own source, changed
            layer = names[CLASS](3)
            layer(torch.arange(12.0).reshape(4, 3)).sum().backward()
            layer.eval()(torch.ones(2, 3, 2))
    except Exception:  # noqa: BLE001 - whatever it is, it is seen
        return False
    return True
