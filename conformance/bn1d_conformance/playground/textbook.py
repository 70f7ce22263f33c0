"""The textbook's formulas for one channel, literally, on exact numbers that are never rounded.

Source: Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1 and section 3.  Rounded once,
each result is what the oracle answers; the tests compare them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from bn1d_reference.surd import Surd


class Pass(NamedTuple):
    """A forward pass of one channel: its values, and what normalized them."""

    x: list[Fraction]
    mean: Fraction
    var: Fraction
    eps: Fraction
    of_batch: bool  # whether mean and var are those of x, and not constants

    @property
    def s(self) -> Surd:
        """1/sqrt(var + eps); the sum must be positive."""
        return Surd(Fraction(0), Fraction(1), self.var + self.eps)

    @property
    def xhat(self) -> list[Surd]:
        """The normalized values."""
        return [self.s * (v - self.mean) for v in self.x]


def by_batch(x: list[Fraction], eps: Fraction) -> Pass:
    """Normalize by the batch's own mean and biased variance."""  # TRAIN-1, TRAIN-3
    mean = _mean(x)
    return Pass(x, mean, _mean([(v - mean) ** 2 for v in x]), eps, of_batch=True)


def _mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def output(seen: Pass, w: Fraction, b: Fraction) -> list[Surd]:
    """w*xhat + b."""
    return [h * w + b for h in seen.xhat]


def tracked(seen: Pass, rm: Fraction, rv: Fraction, m: Fraction) -> tuple[Fraction, Fraction]:
    """The running mean and variance after a batch that weighs m; the variance is unbiased."""
    n = len(seen.x)
    unbiased = seen.var * n / (n - 1)  # STATS-2
    return (1 - m) * rm + m * seen.mean, (1 - m) * rv + m * unbiased  # STATS-1


def gradients(seen: Pass, dy: list[Fraction], w: Fraction) -> tuple[list[Surd], Surd, Fraction]:
    """dx, dweight and dbias of a loss whose gradient for the output is dy."""
    dw = _dot(seen.xhat, dy)  # GRAD-2
    db = sum(dy, Fraction(0))  # GRAD-3
    if not seen.of_batch:  # GRAD-4
        return [seen.s * (w * g) for g in dy], dw, db
    n, s = len(dy), seen.s
    each = zip(dy, seen.xhat, strict=True)
    return [s * w * (g - db / n - h * (dw * Fraction(1, n))) for g, h in each], dw, db  # GRAD-1


def _dot(a: list[Surd], b: list[Fraction]) -> Surd:
    return sum((v * w for v, w in zip(a[1:], b[1:], strict=True)), a[0] * b[0])
