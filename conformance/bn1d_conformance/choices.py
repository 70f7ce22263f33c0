"""What may be done to a layer next: as the subject offers it, and as the layer is by now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import Config

if TYPE_CHECKING:
    from bn1d_conformance.trial import Trial

BASE = Config(3, momentum=0.3)
MOMENTA = (0.3, 0.0, 1.0, None)
EPS = (1e-5, 0.5)
KINDS = ("plain", "far", "small", "constant")
NARROW = ("fp16", "bf16")
NARROW_KINDS = ("plain",)  # in the storage profile the bounds say nothing of the others


@dataclass(frozen=True)
class Shape:
    """What an input looks like: `rows` and `length` (0 for an input of two dimensions)."""

    rows: int
    length: int = 0

    def of(self, C: int) -> tuple[int, ...]:
        """With C channels."""
        return (self.rows, C, self.length) if self.length else (self.rows, C)

    @property
    def n(self) -> int:
        """Values a channel."""
        return self.rows * max(self.length, 1)


class Choices:
    """The operations that a layer of the subject's may be given, and their arguments.

    Attributes:
        trial: the subject's.
        config: of the layer, as it is now.
        tracks: whether a layer that keeps running statistics tracks them now.
    """

    def __init__(self, trial: Trial) -> None:
        """Begin with a layer as it is constructed by default."""
        self.trial = trial
        self.config, self.tracks = BASE, True

    def has(self, *capabilities: str) -> bool:
        """Whether the subject offers all of these."""
        return self.trial.has(*capabilities)

    @property
    def is_module(self) -> bool:
        """Whether attributes, casts, copies and resets are part of the subject's promise."""
        return self.has("torch-module")

    @property
    def tracked(self) -> bool:
        """Whether the layer keeps running statistics."""
        return self.config.track_running_stats and self.has("statistics")

    @property
    def can_evaluate(self) -> bool:
        """Whether evaluation is offered: by running statistics, or by the batch (EVAL-6)."""
        return self.has("eval") and (self.tracked or self.has("tracking-option"))

    def configs(self) -> dict[str, list[Any]]:
        """The values that each option of a construction may take."""
        choices: dict[str, list[Any]] = {
            "num_features": [1, 3, 4],
            "eps": list(EPS) if self.has("eps-option") else [BASE.eps],
            "momentum": self.momenta() if self.has("momentum-option") else [BASE.momentum],
            "affine": [True, True, False] if self.has("affine-option") else [True],
            "bias": [True, False] if self.has("bias-option") else [True],
            "track_running_stats": [True, True, False] if self.has("tracking-option") else [True],
            "format": [f for f in ("fp32", "fp64") if self.has(f)] or [self.trial.format],
        }
        return choices

    def assignments(self, name: str) -> list[Any]:
        """What else an attribute of a module could be (COMP-3, COMP-4)."""
        if name == "track_running_stats":
            return [not self.tracks]
        others: list[Any] = list(EPS) if name == "eps" else self.momenta()
        return [v for v in others if v != getattr(self.config, name)]

    def renewals(self) -> list[tuple[str, ...]]:
        """What else can be done to a module: resets (where it tracks), casts, a copy."""
        resets = ("reset_running_stats", "reset_parameters") if self.tracks else ()
        casts = [f for f in DTYPES if self.has(f) and f != self.config.format]
        return [*(("reset", r) for r in resets), *(("cast", f) for f in casts), ("copy",)]

    def momenta(self) -> list[float | None]:
        """The momenta that the subject can be given."""
        return [m for m in MOMENTA if m is not None or self.has("cumulative")]

    def formats(self) -> list[str]:
        """The formats that an input may have beside the layer's."""
        narrow = [f for f in NARROW if self.has(f)] if self.config.format == "fp32" else []
        return [self.config.format, *narrow]

    def kinds(self, fmt: str) -> list[str]:
        """The kinds of numbers on which the bounds say something."""
        return list(NARROW_KINDS if {fmt, self.config.format} & set(NARROW) else KINDS)
