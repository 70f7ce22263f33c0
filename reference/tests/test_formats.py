"""formats.py against NumPy, ml_dtypes and exact rationals."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from itertools import pairwise
from math import copysign, inf, isfinite, isnan, ldexp, nan, nextafter

import ml_dtypes
import numpy as np
import pytest

from bn1d_reference.formats import BF16, FORMATS, FP16, FP32, FP64

SIXTEEN = [(FP16, np.dtype(np.float16)), (BF16, np.dtype(ml_dtypes.bfloat16))]
DTYPES = {
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp32": np.float32,
    "fp64": np.float64,
}
ALL = list(FORMATS.values())


def same(a, b):
    return (isnan(a) and isnan(b)) or (a == b and copysign(1, a) == copysign(1, b))


def members(fmt):
    """All finite non-negative members of a 16-bit format, in order, and then infinity."""
    return [fmt.decode(bits) for bits in range(fmt.encode(inf) + 1)]


def nearest(value, grid):
    """`value`, a Fraction >= 0, rounded to the nearest in `grid`; ties to the even index."""
    low, high = 0, len(grid) - 1
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (mid, high) if grid[mid] <= value else (low, mid)
    below, above = value - grid[low], grid[high] - value
    return low if below < above or (below == above and low % 2 == 0) else high


@pytest.mark.parametrize(("fmt", "dtype"), SIXTEEN)
def test_every_16_bit_pattern_decodes_and_encodes(fmt, dtype):
    patterns = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # ml_dtypes flags signaling nans
        expected = patterns.view(dtype).astype(np.float64).tolist()
    for bits, value in zip(patterns.tolist(), expected, strict=True):
        assert same(fmt.decode(bits), value)
        if not isnan(value):
            assert fmt.encode(value) == bits
    assert isnan(fmt.decode(fmt.encode(nan)))


@pytest.mark.parametrize(("fmt", "code"), [(FP32, "<f"), (FP64, "<d")])
def test_wide_patterns_decode_and_encode(fmt, code):
    rng = random.Random(1)
    edges = [0, 1, 2, (1 << fmt.precision - 1) - 1, 1 << fmt.precision - 1, fmt.encode(fmt.max)]
    patterns = edges + [rng.getrandbits(fmt.width) for _ in range(5000)]
    for bits in patterns + [e | 1 << fmt.width - 1 for e in edges]:
        (value,) = struct.unpack(code, bits.to_bytes(fmt.width // 8, "little"))
        assert same(fmt.decode(bits), value)
        assert isnan(value) or fmt.encode(value) == bits


@pytest.mark.parametrize("fmt", ALL)
def test_constants_are_those_of_finfo(fmt):
    info = ml_dtypes.finfo(DTYPES[fmt.name])
    assert fmt.max == float(info.max)
    assert fmt.smallest_normal == float(info.smallest_normal)
    assert fmt.smallest_subnormal == float(info.smallest_subnormal)
    assert 2 * fmt.unit_roundoff == float(info.eps)
    assert fmt.width == info.bits


@pytest.mark.parametrize(("fmt", "dtype"), SIXTEEN)
def test_16_bit_neighbours_and_midpoints_round_to_nearest_even(fmt, dtype):
    del dtype
    grid = members(fmt)
    grid[-1] = ldexp(1.0, fmt.emax + 1)  # where infinity begins, as rounding sees it
    values, expected = [], []
    for i, (a, b) in enumerate(pairwise(grid)):
        middle = (a + b) / 2
        inside = (nextafter(a, inf), nextafter(middle, 0.0), middle, nextafter(middle, inf))
        values += [a, *inside, nextafter(b, 0.0)]
        expected += [i, i, i, i + i % 2, i + 1, i + 1]
    wanted = [fmt.decode(i) for i in expected]
    assert fmt.cast(values) == wanted
    assert fmt.cast([-v for v in values]) == [-v for v in wanted]
    few = list(zip(values, wanted, strict=True))[::7]
    assert all(fmt.round(*v.as_integer_ratio()) == w for v, w in few)


@pytest.mark.parametrize(("fmt", "dtype"), SIXTEEN)
def test_16_bit_members_and_their_halves_cast_as_numpy_and_ml_dtypes_do(fmt, dtype):
    patterns = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):
        finite = patterns[np.isfinite(patterns)].astype(np.float64)
    # exact in fp32, so that a detour over it rounds only once
    values = np.concatenate([finite, finite * 1.00390625, finite / 2])
    values = values[np.abs(values) <= fmt.max]
    values = values.astype(np.float32).astype(np.float64)
    expected = values.astype(np.float32).astype(dtype).astype(np.float64).tolist()
    assert fmt.cast(values.tolist()) == expected


def random_doubles(count, seed):
    rng = random.Random(seed)
    bits = (rng.getrandbits(64) for _ in range(count))
    anywhere = [struct.unpack("<d", b.to_bytes(8, "little"))[0] for b in bits]
    near = [rng.gauss(0, 1) * 2.0 ** rng.randint(-180, 140) for _ in range(count)]
    return [v for v in anywhere + near if isfinite(v)]


@pytest.mark.parametrize("fmt", ALL)
def test_random_doubles_cast_element_by_element_as_round_does(fmt):
    values = random_doubles(4000, seed=2)
    expected = [fmt.round(*v.as_integer_ratio()) for v in values]
    assert fmt.cast(values) == expected
    moderate = [v for v in values if abs(v) < 6e4]
    assert fmt.cast(moderate) == [fmt.round(*v.as_integer_ratio()) for v in moderate]
    assert [fmt.cast([v])[0] for v in values] == expected


@pytest.mark.parametrize("fmt", [FP16, FP32, FP64])
def test_random_doubles_round_as_numpy_does(fmt):
    values = random_doubles(4000, seed=3)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.array(values).astype(DTYPES[fmt.name]).astype(np.float64).tolist()
    assert [fmt.round(*v.as_integer_ratio()) for v in values] == expected
    assert fmt.cast(values) == expected


def test_random_doubles_round_to_bf16_as_exact_rationals_do():
    grid = [Fraction(v) for v in members(BF16)[:-1]] + [Fraction(2) ** 128]
    for v in random_doubles(1500, seed=4):
        i = nearest(min(abs(Fraction(v)), grid[-1]), grid)
        assert BF16.round(*v.as_integer_ratio()) == copysign(BF16.decode(i), v)


@pytest.mark.parametrize("fmt", ALL)
def test_rationals_between_doubles_round_once(fmt):
    """A tie of the format plus less than any double can see goes up, and minus it goes down."""
    one_up = 1 + Fraction(fmt.ulp(1.0))
    tie, speck = 1 + Fraction(fmt.ulp(1.0)) / 2, Fraction(1, 1 << 300)
    assert fmt.round(*(tie + speck).as_integer_ratio()) == one_up
    assert fmt.round(*tie.as_integer_ratio()) == 1
    assert fmt.round(*(tie - speck).as_integer_ratio()) == 1
    odd_tie = one_up + Fraction(fmt.ulp(1.0)) / 2
    assert fmt.round(*odd_tie.as_integer_ratio()) == one_up + Fraction(fmt.ulp(1.0))


@pytest.mark.parametrize("fmt", ALL)
def test_overflow_begins_at_the_tie_above_the_largest(fmt):
    half = Fraction(fmt.ulp(fmt.max)) / 2
    edge = Fraction(fmt.max) + half
    assert fmt.round(*edge.as_integer_ratio()) == inf
    assert fmt.round(*(-edge).as_integer_ratio()) == -inf
    assert fmt.round(*(edge - Fraction(1, 1 << 2000)).as_integer_ratio()) == fmt.max
    assert fmt.round(1 << 5000) == inf
    assert fmt.cast([fmt.max, -fmt.max]) == [fmt.max, -fmt.max]


@pytest.mark.parametrize("fmt", ALL)
def test_underflow_is_gradual_and_ends_at_half_the_smallest(fmt):
    tiny = Fraction(fmt.smallest_subnormal)
    assert fmt.round(*(tiny * 5 / 2).as_integer_ratio()) == 2 * tiny
    assert fmt.round(*(tiny * 7 / 2).as_integer_ratio()) == 4 * tiny
    assert fmt.round(*(tiny / 2).as_integer_ratio()) == 0
    assert fmt.round(*(tiny * 51 / 100).as_integer_ratio()) == tiny
    assert same(fmt.round(-1, 1 << 5000), -0.0)
    assert same(fmt.round(0), 0.0)
    below_normal = fmt.smallest_normal - fmt.smallest_subnormal
    assert fmt.cast([below_normal, fmt.smallest_subnormal]) == [
        below_normal,
        fmt.smallest_subnormal,
    ]


@pytest.mark.parametrize("fmt", ALL)
def test_casts_keep_what_is_not_finite(fmt):
    signaling = struct.unpack("<d", (0x7FF0000000000001).to_bytes(8, "little"))[0]
    for values in ([nan, 1.0, inf], [1.0, -inf, nan], [signaling, 1.0], [0.5, signaling]):
        assert all(map(same, fmt.cast(values), values))
    assert fmt.cast([]) == []


def test_casts_to_half_precision_overflow():
    assert FP16.cast([65519.999, 65520.0, -1e9]) == [65504.0, inf, -inf]
    assert BF16.cast([3.39e38, 3.4e38, -1e300, 1.0]) == [BF16.max, inf, -inf, 1.0]
    assert FP32.cast([1e300, -1e39, 1.0]) == [inf, -inf, 1.0]


@pytest.mark.parametrize("fmt", ALL)
def test_ulp_is_the_distance_to_the_next_member_up(fmt):
    rng = random.Random(5)
    largest = fmt.encode(fmt.max)
    for bits in [0, 1, *(rng.randrange(largest) for _ in range(2000))]:
        value, above = fmt.decode(bits), fmt.decode(bits + 1)
        assert fmt.ulp(value) == fmt.ulp(-value) == Fraction(above) - Fraction(value)
    assert fmt.ulp(fmt.max) == fmt.max - fmt.decode(largest - 1)
    assert isnan(fmt.ulp(inf))
    assert isnan(fmt.ulp(nan))


@pytest.mark.parametrize(("fmt", "stranger"), [(FP16, 0.1), (BF16, 1.001), (FP32, 0.1)])
def test_encode_refuses_what_is_no_member(fmt, stranger):
    with pytest.raises(ValueError, match=f"is not a number of {fmt.name}"):
        fmt.encode(stranger)


def test_a_number_beyond_the_range_is_no_member():
    with pytest.raises(ValueError, match="is not a number of fp16"):
        FP16.encode(1e6)


def test_formats_are_values():
    assert FORMATS["fp32"] == FP32
    assert set(FORMATS) == {"fp16", "bf16", "fp32", "fp64"}
    with pytest.raises(AttributeError):
        FP32.precision = 3
