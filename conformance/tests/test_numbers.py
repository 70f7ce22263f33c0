"""Formats in NumPy against the formats of the reference."""

from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pytest

from bn1d_conformance.numbers import DTYPES, EMIN, PRECISION, format_of, to_format, ulp
from bn1d_reference.formats import FORMATS

ALL = pytest.mark.parametrize("name", FORMATS)


def interesting(fmt):
    """Fp64 values around which rounding to the format can go wrong, both signs, and noise."""
    r = np.random.default_rng(5)
    exponents = r.integers(fmt.emin - fmt.precision - 2, fmt.emax + 2, 2000).clip(-1074, 1023)
    random = np.ldexp(r.uniform(1, 2, exponents.size), exponents)
    small = np.arange(1, 64) * np.ldexp(1.0, max(fmt.emin - fmt.precision - 1, -1074))
    members = np.array([fmt.decode(b) for b in r.integers(1, 1 << fmt.width - 1, 2000).tolist()])
    members = np.abs(members[np.isfinite(members)])
    ties = members + np.array([fmt.ulp(v) for v in members.tolist()]) / 2
    edge = fmt.max + fmt.ulp(fmt.max) / 2 if fmt.name != "fp64" else fmt.max
    edges = np.array([0.0, fmt.smallest_subnormal, fmt.smallest_normal, fmt.max, edge])
    with np.errstate(over="ignore"):
        near = [np.nextafter(v, to) for v in (ties, edges) for to in (0.0, inf)]
    values = np.concatenate([random, small, members, ties, edges, *near])
    values = values[np.isfinite(values)]
    return np.concatenate([values, -values])


def exactly(fmt, value):
    """The reference's rounding, with the sign of a zero."""
    return np.copysign(fmt.round(*value.as_integer_ratio()), value)


@ALL
def test_rounding_is_the_references(name):
    fmt = FORMATS[name]
    values = interesting(fmt)
    got = to_format(values, name)
    want = np.array([exactly(fmt, v) for v in values.tolist()])
    assert got.dtype == np.float64
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp32"])
def test_a_tie_goes_to_even_and_its_neighbours_do_not(name):
    last = 2.0 ** (1 - PRECISION[name])
    tie = np.array([1 + last / 2, 1 + 3 * last / 2])
    assert to_format(tie, name).tolist() == [1.0, 1 + 2 * last]
    assert to_format(np.nextafter(tie, inf), name).tolist() == [1 + last, 1 + 2 * last]
    assert to_format(np.nextafter(tie, 0), name).tolist() == [1.0, 1 + last]


def test_bfloat16_is_rounded_once():
    just_above_a_tie = 1 + 2.0**-8 + 2.0**-40  # in single precision it is the tie itself
    assert to_format(np.array([just_above_a_tie]), "bf16") == 1 + 2.0**-7


@ALL
def test_special_values_stay(name):
    values = np.array([nan, inf, -inf, 0.0, -0.0])
    got = to_format(values, name)
    assert np.array_equal(got, values, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(values))


@ALL
def test_rounding_again_changes_nothing(name):
    once = to_format(interesting(FORMATS[name]), name)
    assert to_format(once, name).tobytes() == once.tobytes()
    assert once.astype(DTYPES[name]).astype(np.float64).tobytes() == once.tobytes()


@ALL
def test_ulp_is_the_references(name):
    fmt = FORMATS[name]
    values = interesting(fmt)
    values = values[np.abs(values) <= fmt.max]
    assert ulp(values, name).tolist() == [fmt.ulp(v) for v in values.tolist()]


@ALL
def test_constants_are_the_references(name):
    fmt = FORMATS[name]
    assert (PRECISION[name], EMIN[name]) == (fmt.precision, fmt.emin)
    assert Fraction(float(ulp(np.array([1.0]), name)[0])) == Fraction(2) ** (1 - fmt.precision)
    assert not isnan(float(ulp(np.array([0.0]), name)[0]))


@ALL
def test_a_format_is_known_by_its_dtype(name):
    assert format_of(np.zeros(1, DTYPES[name])) == name


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "longdouble"])
def test_no_other_dtype_is_a_format(dtype):
    assert format_of(np.zeros(1, dtype)) is None
