"""Vectors of floats with exact sums, and the affine map whose every element is rounded once."""

from __future__ import annotations

from array import array
from fractions import Fraction
from itertools import compress
from math import frexp, ldexp
from operator import mul, ne
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from bn1d_reference.formats import FP32, FP64, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bn1d_reference.surd import Surd

_GUARD_BITS = 160  # of the integer enclosure, below the largest term


class Vec:
    """Finite floats `xs`, and integers `X` and `e` with xs == X * 2**e exactly."""

    __slots__ = ("X", "e", "largest", "n", "xs")

    def __init__(self, xs: list[float]) -> None:
        """Take finite floats."""
        self.xs = xs
        self.n = len(xs)
        top, bottom = max(xs, default=0.0), min(xs, default=0.0)
        self.largest = max(top, -bottom)
        smallest = min(map(abs, filter(None, xs)), default=1.0)
        self.e = max(frexp(smallest)[1] - _precision(xs, self.largest), -1074)
        self.X = _integers(xs, self.e, frexp(self.largest)[1])

    def sum(self) -> Fraction:
        """The sum of the elements, exactly."""
        return dyadic(sum(self.X), self.e)

    def abs_sum(self) -> Fraction:
        """The sum of the elements' magnitudes, exactly."""
        return dyadic(sum(map(abs, self.X)), self.e)

    def dot(self, other: Vec) -> Fraction:
        """The sum of the products of the elements, exactly."""
        return dyadic(sum(map(mul, self.X, other.X)), self.e + other.e)


def _precision(xs: list[float], largest: float) -> int:
    """A number of bits that holds the significand of every element; small ones are faster."""
    narrow = largest <= FP32.max and array("f", xs).tolist() == xs
    return FP32.precision if narrow else FP64.precision


def _integers(xs: list[float], e: int, top: int) -> list[int]:
    """The xs / 2**e, given that they are integers and smaller than 2**(top - e)."""
    if top - e > FP64.emax:  # no double holds the largest
        ratios = map(float.as_integer_ratio, xs)
        return [(num << max(-e, 0) >> max(e, 0)) // den for num, den in ratios]
    if abs(e) <= FP64.emax:
        scale = 2.0**-e
        return [int(x * scale) for x in xs]
    return [int(ldexp(x, -e)) for x in xs]


def dyadic(m: int, e: int) -> Fraction:
    """The fraction m * 2**e."""
    return Fraction(m << e) if e >= 0 else Fraction(m, 1 << -e)


Term: TypeAlias = "tuple[Surd, Vec]"
T = TypeVar("T", int, float)


def affine(fmt: Format, const: Surd, *terms: Term) -> list[float]:
    """Round const + sum(coef * x_i) over the terms (coef, x) correctly, for each element i.

    A cheap enclosure of every element comes first, then a finer one of those that it leaves
    undecided, and the exact number for what even that cannot tell (ties, for example).  The
    sign of a zero result is not specified.
    """
    n = terms[0][1].n
    result = [0.0] * n
    undecided: Sequence[int] = range(n)
    for enclose in (_enclose_in_doubles, _enclose_in_integers):
        enclosure = enclose(fmt, const, terms, undecided)
        if enclosure is None:
            continue
        low, high = enclosure
        if low == high and len(undecided) == n:
            return low
        for i, value in zip(undecided, low, strict=True):
            result[i] = value
        undecided = list(compress(undecided, map(ne, low, high)))
        if not undecided:
            return result
    _settle(fmt, const, terms, undecided, result)
    return result


def _settle(
    fmt: Format, const: Surd, terms: Sequence[Term], rows: Sequence[int], result: list[float]
) -> None:
    """Round the exact numbers of `rows` into `result`; equal elements are rounded once."""
    known: dict[tuple[float, ...], float] = {}
    for i in rows:
        element = tuple(x.xs[i] for _, x in terms)
        if element not in known:
            products = (coef * v for (coef, _), v in zip(terms, element, strict=True))
            known[element] = sum(products, const).round(fmt)
        result[i] = known[element]


Enclosure: TypeAlias = "tuple[list[float], list[float]] | None"


def _enclose_in_doubles(
    fmt: Format, const: Surd, terms: Sequence[Term], rows: Sequence[int]
) -> Enclosure:
    """Both ends of each element in fp64 arithmetic with a rigorous radius, cast to `fmt`.

    None where that cannot decide anything: for fp64 itself, and beyond the range of doubles.
    """
    if fmt.precision == FP64.precision:
        return None
    c0, coefs = const.round(FP64), [coef.round(FP64) for coef, _ in terms]
    largest = [x.largest for _, x in terms]
    size = abs(c0) + sum(map(abs, map(mul, coefs, largest)))
    if not size < 1e300:
        return None
    # Every coefficient, product and sum is off by 2**-53 relative, len(terms) + 3 roundings of
    # something not above `size`, and by 2**-1075 absolute where it underflows.
    radius = size * (len(terms) + 3) * 2.0**-52 + 2.0**-1060 * (1 + sum(largest))
    xs = [_rows(x.xs, rows) for _, x in terms]
    return fmt.cast(_linear(c0 - radius, coefs, xs)), fmt.cast(_linear(c0 + radius, coefs, xs))


def _enclose_in_integers(
    fmt: Format, const: Surd, terms: Sequence[Term], rows: Sequence[int]
) -> Enclosure:
    """Both ends of each element in fixed point, with guard bits below the largest term."""
    size = max(const.exponent(), *(c.exponent() + frexp(x.largest)[1] for c, x in terms))
    widths = [max(map(int.bit_length, x.X), default=0) for _, x in terms]
    K = max(_GUARD_BITS + max(widths) - size, 0)
    z0, exact = const.floor(K)
    radius = 0 if exact else 2
    coefs = []
    for (coef, x), width in zip(terms, widths, strict=True):
        z, exact = coef.floor(K + x.e)
        radius += 0 if exact else 2 << width
        coefs.append(z)
    low = _linear(z0 - radius, coefs, [_rows(x.X, rows) for _, x in terms])
    narrow = K < 1000 and size + K < 1000  # every element, shifted or not, is a normal double
    rounded = _round_scaled(fmt, low, K, narrow=narrow)
    if not radius:
        return rounded, rounded
    return rounded, _round_scaled(fmt, [z + 2 * radius for z in low], K, narrow=narrow)


def _rows(column: list[T], rows: Sequence[int]) -> list[T]:
    return column if len(rows) == len(column) else [column[i] for i in rows]


def _linear(const: T, coefs: list[T], columns: list[list[T]]) -> list[T]:
    """Add sum(coef * x_i) to const, over one to three columns (comprehensions are fastest)."""
    if len(columns) == 1:
        (a,), (xs,) = coefs, columns
        return [a * x + const for x in xs]
    if len(columns) == 2:
        a, b = coefs
        return [a * x + b * y + const for x, y in zip(*columns, strict=True)]
    a, b, c = coefs
    return [a * x + b * y + c * z + const for x, y, z in zip(*columns, strict=True)]


def _round_scaled(fmt: Format, Z: list[int], K: int, *, narrow: bool) -> list[float]:
    """The z / 2**K, rounded to `fmt`, for K >= 0; `narrow` where no double under- or overflows."""
    if fmt.precision == FP64.precision and narrow:
        scale = 2.0**-K
        return [float(z) * scale for z in Z]  # float(int) rounds once, and scaling is exact
    den = 1 << K
    return [fmt.round(z, den) for z in Z]
