"""Binary floating-point formats: bits to numbers and back, correct rounding, ulp.

Values of every format are held as Python floats, which represent all members of fp16, bf16,
fp32 and fp64 exactly.  Source: IEEE 754-2019, sections 3.3 and 3.4; bfloat16 has the exponent
range of binary32 and a precision of 8.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from functools import cached_property
from math import copysign, frexp, inf, isfinite, isnan, ldexp, nan

_FP16_OVERFLOW = 65520.0  # the tie between fp16's largest number and infinity
_BF16_SAFE = 2.0**127  # below: no overflow
_BF16_DROPPED = 45  # bits of an fp64 significand that bf16 has no room for


@dataclass(frozen=True)
class Format:
    """A binary format of `precision` bits and normal exponents `emin` to `emax`.

    A normal number is `m * 2**e` with `1 <= m < 2` and `emin <= e <= emax`.
    """

    name: str
    precision: int
    emin: int
    emax: int

    @cached_property
    def width(self) -> int:
        """Bits of storage: sign, exponent and fraction."""
        return self.precision + self.emax.bit_length() + 1

    @cached_property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding a normal number to nearest, `2**-precision`."""
        return 2.0**-self.precision

    @cached_property
    def max(self) -> float:
        """Largest finite number."""
        return ldexp(2.0**self.precision - 1, self.emax - self.precision + 1)

    @cached_property
    def smallest_normal(self) -> float:
        """Smallest positive number of full precision, `2**emin`."""
        return ldexp(1.0, self.emin)

    @cached_property
    def smallest_subnormal(self) -> float:
        """Smallest positive number."""
        return ldexp(1.0, self.emin - self.precision + 1)

    def round(self, num: int, den: int = 1) -> float:
        """The member nearest to `num / den`, ties to even; `den` is positive.

        Overflow gives an infinity and underflow a subnormal number or a zero of the sign of
        `num`.  Source: IEEE 754-2019, section 4.3.1 (roundTiesToEven).
        """
        if num == 0:
            return 0.0
        a = abs(num)
        e = max(_floor_log2(a, den), self.emin)
        shift = self.precision - 1 - e  # a/den * 2**shift is the significand, as an integer
        q = _divide_to_even(a << max(shift, 0), den << max(-shift, 0))
        overflows = e > self.emax or (e == self.emax and q >> self.precision)
        value = inf if overflows else ldexp(q, -shift)
        return -value if num < 0 else value

    def cast(self, values: list[float]) -> list[float]:
        """Each of `values` rounded to the nearest member, ties to even; nan and inf stay."""
        if self.name == "fp64":
            return values
        if self.name == "fp32":
            return array("f", values).tolist()  # C's conversion rounds to nearest even
        largest = max(map(abs, values), default=0.0)
        if self.name == "fp16" and largest < _FP16_OVERFLOW:
            return _cast_fp16(values)
        if self.name == "bf16" and largest < _BF16_SAFE and isfinite(sum(values)):
            cast = _cast_bf16(values)
            if min(filter(None, map(abs, cast)), default=1.0) >= self.smallest_normal:
                return cast
        return [self.round(*v.as_integer_ratio()) if isfinite(v) else v for v in values]

    def ulp(self, value: float) -> float:
        """Spacing of the members at `value`: the last place of the binade that holds it.

        Infinities and nan have none and give nan.
        """
        if not isfinite(value):
            return nan
        e = frexp(value)[1] - 1 if value else self.emin
        return ldexp(1.0, min(max(e, self.emin), self.emax) - self.precision + 1)

    def decode(self, bits: int) -> float:
        """The value of a bit pattern, an integer of `width` bits."""
        fraction_bits = self.precision - 1
        sign = -1.0 if bits >> (self.width - 1) else 1.0
        exponent = (bits >> fraction_bits) & (2 * self.emax + 1)
        fraction = bits & ((1 << fraction_bits) - 1)
        if exponent == 2 * self.emax + 1:
            return nan if fraction else sign * inf
        hidden = bool(exponent) << fraction_bits
        return sign * ldexp(hidden | fraction, max(exponent, 1) - self.emax - fraction_bits)

    def encode(self, value: float) -> int:
        """The bit pattern of a member; nan becomes the quiet nan.

        Raises:
            ValueError: `value` is not a member of this format.
        """
        fraction_bits = self.precision - 1
        sign = (copysign(1.0, value) < 0) << (self.width - 1)
        infinity = (2 * self.emax + 1) << fraction_bits
        if isnan(value):
            return infinity | 1 << (fraction_bits - 1)
        magnitude = abs(value)
        if magnitude == inf:
            return sign | infinity
        if self.round(*magnitude.as_integer_ratio()) != magnitude:
            raise ValueError(f"{value!r} is not a number of {self.name}")
        if magnitude < self.smallest_normal:
            return sign | int(magnitude / self.smallest_subnormal)
        m, e = frexp(magnitude)
        significand = int(ldexp(m, self.precision))  # its leading bit adds one to the exponent
        return sign | ((e + self.emax - 2) << fraction_bits) + significand


def _floor_log2(num: int, den: int) -> int:
    """The e with `2**e <= num/den < 2**(e+1)`, for positive integers."""
    e = num.bit_length() - den.bit_length()  # right, or one too many
    return e - ((num << max(-e, 0)) < (den << max(e, 0)))


def _divide_to_even(num: int, den: int) -> int:
    """`num / den` to the nearest integer, ties to even."""
    q, r = divmod(num, den)
    return q + (2 * r > den or (2 * r == den and q & 1))


def _cast_fp16(values: list[float]) -> list[float]:
    """Round to fp16 where nothing overflows: `struct` rounds a double once, to nearest even."""
    code = f"{len(values)}e"
    return list(struct.unpack(code, struct.pack(code, *values)))


def _cast_bf16(values: list[float]) -> list[float]:
    """Round to bf16's precision on the bits of the doubles; wrong where bf16 is subnormal.

    Adding half of the last kept place, less one, plus the last kept bit, carries exactly when
    rounding to nearest even goes up.
    """
    half, keep = (1 << (_BF16_DROPPED - 1)) - 1, (1 << 64) - (1 << _BF16_DROPPED)
    bits = array("Q", array("d", values).tobytes())
    rounded = [(i + half + (i >> _BF16_DROPPED & 1)) & keep for i in bits]
    return array("d", array("Q", rounded).tobytes()).tolist()


FP16 = Format("fp16", precision=11, emin=-14, emax=15)
BF16 = Format("bf16", precision=8, emin=-126, emax=127)
FP32 = Format("fp32", precision=24, emin=-126, emax=127)
FP64 = Format("fp64", precision=53, emin=-1022, emax=1023)

#: The formats by name.
FORMATS = {f.name: f for f in (FP16, BF16, FP32, FP64)}
