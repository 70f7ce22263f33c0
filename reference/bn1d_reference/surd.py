"""The numbers p + q*s with s = 1/sqrt(W), and p, q, W rational: all of BatchNorm lives there.

With W = var + eps every result for one channel, forward, backward or double backward, is such a
number.  They are closed under +, - and *, because s*s = 1/W is rational; division is not needed.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bn1d_reference.formats import Format

_GUARD_BITS = 128  # of a first enclosure; doubled until both of its ends round alike
_ZERO = Fraction(0)
_NO_BITS = -5000  # the exponent of zero: below that of any product of a few doubles


class Surd:
    """p + q*s with s = 1/sqrt(W).  Exact; mixes with int, float (taken exactly) and Fraction.

    Two of them may meet only when they have the same W.
    """

    __slots__ = ("W", "_root_squared", "p", "q")

    def __init__(self, p: Fraction, q: Fraction, W: Fraction) -> None:
        """Take p, q and W > 0."""
        self.p, self.q, self.W = p, q, W
        self._root_squared: Fraction | None = None

    def _lift(self, other: Operand) -> Surd:
        if isinstance(other, Surd):
            return other
        return Surd(Fraction(other), _ZERO, self.W)

    def __add__(self, other: Operand) -> Surd:
        """Add exactly."""
        o = self._lift(other)
        return Surd(self.p + o.p, self.q + o.q, self.W)

    def __mul__(self, other: Operand) -> Surd:
        """Multiply exactly; s*s = 1/W."""
        o = self._lift(other)
        p, q = _product(self.p, o.p), _product(self.q, o.q)
        cross = _product(self.p, o.q) + _product(self.q, o.p)
        return Surd(p + q / self.W if q else p, cross, self.W)

    def __neg__(self) -> Surd:
        """Change the sign."""
        return Surd(-self.p, -self.q, self.W)

    def __sub__(self, other: Operand) -> Surd:
        """Subtract exactly."""
        return self + -self._lift(other)

    def __rsub__(self, other: Operand) -> Surd:
        """Subtract from a rational."""
        return self._lift(other) - self

    __radd__ = __add__
    __rmul__ = __mul__

    def __repr__(self) -> str:
        """Show p, q and W."""
        return f"Surd({self.p} + {self.q}/sqrt({self.W}))"

    def _squared(self) -> Fraction:
        """(q*s)**2."""
        if self._root_squared is None:
            self._root_squared = self.q * self.q / self.W
        return self._root_squared

    def floor(self, K: int) -> tuple[int, bool]:
        """(z, exact) with z <= value * 2**K < z + 2; `exact` says that value * 2**K == z."""
        z, r = _floor_ratio(self.p, K)
        if not self.q:
            return z, r == 0
        num, den = self._squared().as_integer_ratio()
        num, den = num << max(2 * K, 0), den << max(-2 * K, 0)
        root = isqrt(num // den)
        exact = root * root * den == num
        if self.q < 0:
            root = -root if exact else -root - 1
        return z + root, exact and r == 0

    def exponent(self) -> int:
        """An e with |value| < 2**e, at most a few too many unless p and q*s cancel."""
        root = (_exponent(self._squared()) + 1) // 2 if self.q else _NO_BITS
        return max(_exponent(self.p), root) + 1

    def rational(self) -> Fraction | None:
        """The value as a fraction, or None when it is irrational."""
        if not self.q:
            return self.p
        num, den = self._squared().as_integer_ratio()
        root = Fraction(isqrt(num), isqrt(den))
        if root.numerator**2 != num or root.denominator**2 != den:
            return None
        return self.p + (root if self.q > 0 else -root)

    def round(self, fmt: Format) -> float:
        """The value correctly rounded to `fmt`, ties to even.

        An irrational number is never a tie, so some enclosure decides every one of them
        (Ziv, "Fast evaluation of elementary mathematical functions with correctly rounded last
        bit", 1991).
        """
        exact = self.rational()
        if exact is not None:
            return fmt.round(*exact.as_integer_ratio())
        K = _GUARD_BITS - self.exponent()
        while True:
            z, _ = self.floor(K)
            up, down = max(-K, 0), 1 << max(K, 0)
            low, high = fmt.round(z << up, down), fmt.round((z + 2) << up, down)
            if low == high and (low or z * (z + 2) > 0):  # a zero needs its sign settled
                return low
            K += _GUARD_BITS


Operand = int | float | Fraction | Surd


def _product(a: Fraction, b: Fraction) -> Fraction:
    """a*b; most parts are zero, and fractions are slow to see it."""
    return a * b if a and b else _ZERO


def _floor_ratio(x: Fraction, K: int) -> tuple[int, int]:
    """Floor of x * 2**K and the remainder."""
    return divmod(x.numerator << max(K, 0), x.denominator << max(-K, 0))


def _exponent(x: Fraction) -> int:
    """An e with |x| < 2**e, at most one too many."""
    if not x:
        return _NO_BITS
    return abs(x.numerator).bit_length() - x.denominator.bit_length() + 1
