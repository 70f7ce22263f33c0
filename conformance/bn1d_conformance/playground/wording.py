"""Text to numbers, a sentence for what is none, and exact numbers to text that fits a cell."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Context, Decimal
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING

from bn1d_reference.formats import FP32

if TYPE_CHECKING:
    from bn1d_reference.surd import Surd

LARGEST = 1e15  # of a typed number: far from where fp32 overflows, squared
MOST_SAMPLES = 64
_ROOM = 21  # signs of a fraction that is shown as one
_DIGITS = 20  # of a number that is not
_CONTEXT = Context(prec=_DIGITS, rounding=ROUND_DOWN)
_BETWEEN = re.compile(r"[\s,;]+")


def number(text: str, what: str, least: float = -LARGEST, most: float = LARGEST) -> float:
    """Return a typed number.

    Raises:
        ValueError: it is none, or not from `least` to `most`.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and least <= value <= most):
        raise ValueError(f"{what} is a number from {least:g} to {most:g}, not {text.strip()!r}")
    return value


def vector(text: str, what: str, length: int) -> list[float]:
    """Return the numbers of a line, each rounded to fp32, as a tensor would hold them.

    Raises:
        ValueError: they are not `length` numbers.
    """
    words = [word for word in _BETWEEN.split(text) if word]
    if len(words) != length:
        raise ValueError(f"{what} has {len(words)} numbers, and the layer {length} channels")
    return FP32.cast([number(word, what) for word in words])


def matrix(text: str, what: str, channels: int) -> list[list[float]]:
    """Return the numbers of several lines, a sample each.

    Raises:
        ValueError: there are none or too many, or a line has not `channels` numbers.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_SAMPLES:
        raise ValueError(f"{what} has 1 to {MOST_SAMPLES} lines, a sample each, not {len(lines)}")
    return [vector(line, f"line {i} of {what}", channels) for i, line in enumerate(lines, 1)]


def rounded(value: float) -> str:
    """Return a member of fp32 in the fewest digits that tell it from the others."""
    value += 0.0  # no negative zero
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    return next(text for text in texts if FP32.cast([float(text)]) == [value])


def exact(value: Fraction | Surd, root: str = "s") -> str:
    """Return a number as a fraction, as p + q·root, or in digits that end in an ellipsis.

    `root` is the name of 1/sqrt(W).
    """
    if isinstance(value, Fraction):
        return _short(value) or _digits(value)
    rational = value.rational()
    if rational is not None:
        return exact(rational)
    p, q = _short(value.p), _short(abs(value.q))
    if not (p and q):
        return _irrational(value)
    factor = root if q == "1" else f"{q}·{root}"
    if value.p:
        return f"{p} {'-' if value.q < 0 else '+'} {factor}"
    return f"-{factor}" if value.q < 0 else factor


def _short(value: Fraction) -> str:
    """The fraction where it has few signs, or nothing."""
    text = str(value)
    return text if len(text) <= _ROOM else ""


def _digits(value: Fraction) -> str:
    """The first digits, none of them rounded; an ellipsis says that there are more."""
    quotient = _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
    text = str(quotient).lower()
    return text if Fraction(text) == value else f"{text}…"


def _irrational(value: Surd) -> str:
    """The first digits, which an enclosure decides."""
    K = 0
    while True:
        K += 128
        z, _ = value.floor(K)
        low, high = (_digits(Fraction(end, 2**K)).rstrip("…") for end in (z, z + 2))
        if low == high:
            return f"{low}…"
