"""An answer of the oracle's: what is right for one output, within which bound; and its bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bn1d_conformance.numbers import F64


@dataclass(frozen=True)
class Answer:
    """What is right for one output.

    Attributes:
        quantity: "y", "running_mean", "running_var", "dx", "dweight" or "dbias".
        format: of the output.
        exact: the exact values, rounded to fp64; NaN where NaN is right.
        bound: the largest error before the last rounding, elementwise; 0 for exact cases.
        scale: the size against which an error in ulp is counted (docs: bounds, score).
        declared: what is right under the subject's dialect, where that is something else.
        convention: that this answer is right under, "" for PyTorch's.
    """

    quantity: str
    format: str
    exact: F64
    bound: F64
    scale: F64
    declared: Answer | None = None
    convention: str = ""

    def part(self, index: Any) -> Answer:
        """The answer to a part of the output."""
        return replace(
            self,
            exact=self.exact[index],
            bound=self.bound[index],
            scale=self.scale[index],
            declared=self.declared and self.declared.part(index),
        )


def packed(answers: Sequence[Answer]) -> bytes:
    """Answers as bytes: a line that says what they are, and their numbers in fp64."""
    head = [(a.quantity, a.format, a.exact.shape) for a in answers]
    numbers = [np.asarray(v, "<f8") for a in answers for v in (a.exact, a.bound, a.scale)]
    return json.dumps(head).encode() + b"\n" + b"".join(v.tobytes() for v in numbers)


def unpacked(kept_bytes: bytes) -> list[Answer]:
    """Undo `packed`; the arrays can't be written to."""
    line, _, rest = kept_bytes.partition(b"\n")
    head, numbers = json.loads(line), np.frombuffer(rest, "<f8")
    answers, start = [], 0
    for quantity, fmt, shape in head:
        size = prod(shape)
        parts = numbers[start : start + 3 * size].reshape(3, *shape)
        answers.append(Answer(quantity, fmt, *parts))
        start += 3 * size
    return answers
