"""The field p + q*s, exact vectors and the affine map, at the ends of their ranges."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bn1d_reference.exact import Vec, affine, dyadic
from bn1d_reference.formats import BF16, FORMATS, FP16, FP32, FP64
from bn1d_reference.surd import Surd

F = Fraction
TWO = F(2)

rationals = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)
floats = st.floats(allow_nan=False, allow_infinity=False)


def surd(p, q, W=TWO):
    return Surd(F(p), F(q), F(W))


def rational(value, W=TWO):
    return surd(value, 0, W)


def parts(value):
    return value.p, value.q


class TestSurd:
    def test_the_root_squares_to_its_rational(self):
        s = surd(0, 1)
        assert parts(s * s) == (F(1, 2), 0)

    @given(rationals, rationals, rationals, rationals)
    def test_products_distribute(self, a, b, c, d):
        x, y, s = surd(a, b), surd(c, d), surd(0, 1)
        assert parts(x * y) == parts(a * y + (y * s) * b)
        assert parts(x * y) == parts(y * x)

    @given(rationals, rationals, floats)
    def test_floats_and_rationals_mix_exactly(self, p, q, v):
        x = surd(p, q)
        assert parts(x + v) == parts(v + x) == (p + F(v), q)
        assert parts(x - v) == parts(-(v - x)) == (p - F(v), q)
        assert parts(x * v) == parts(v * x) == (p * F(v), q * F(v))

    @pytest.mark.parametrize("K", [-12, -3, 0, 5, 200])
    @given(p=rationals, q=rationals)
    def test_floor_encloses_the_value(self, K, p, q):
        z, exact = surd(p, q).floor(K)
        scale = F(2) ** K
        above = (z + 2) / scale - p
        below = z / scale - p
        if exact:
            assert (below >= 0) == (q >= 0) or below == 0
            assert below**2 == q * q / 2
        else:  # compare with q*s by their squares, signs kept
            assert below * abs(below) <= q * abs(q) / 2 < above * abs(above)

    def test_a_rational_root_is_exact(self):
        assert surd(1, 3, F(9, 4)).rational() == 3
        assert surd(1, -3, F(9, 4)).rational() == -1
        assert surd(1, 3, F(9, 5)).rational() is None
        assert surd(1, 3, F(4, 7)).rational() is None
        assert surd(5, 0, 3).rational() == 5

    def test_rounding_sees_through_cancellation(self):
        """p is q*s to 400 bits: what is left is what the first enclosures cannot see."""
        z, _ = surd(0, 1).floor(400)
        left = surd(-F(z, 1 << 400), 1)
        right = left.round(FP64)
        squared = (F(right) + F(z, 1 << 400)) ** 2
        assert 0 < right < 2.0**-399
        assert abs(squared - F(1, 2)) < F(right) / (1 << 50)
        assert (-left).round(FP64) == -right

    def test_what_underflows_keeps_its_sign(self):
        z, _ = surd(0, 1).floor(4000)
        assert str(surd(-F(z, 1 << 4000), 1).round(FP32)) == "0.0"
        assert str((surd(F(z, 1 << 4000), -1)).round(FP32)) == "-0.0"

    def test_large_values_overflow(self):
        assert surd(0, F(2) ** 3000).round(FP64) == inf
        assert surd(0, -(F(2) ** 3000)).round(FP16) == -inf
        assert surd(0, F(2) ** 500).round(FP64) == pytest.approx(2**499.5)

    def test_it_shows_itself(self):
        assert repr(surd(1, F(1, 3))) == "Surd(1 + 1/3/sqrt(2))"


class TestVec:
    @given(st.lists(floats, min_size=1))
    def test_integers_and_exponent_are_the_floats(self, xs):
        vec = Vec(xs)
        assert [dyadic(m, vec.e) for m in vec.X] == xs
        assert vec.sum() == sum(map(F, xs))
        assert vec.abs_sum() == sum(abs(F(x)) for x in xs)
        assert vec.dot(vec) == sum(F(x) ** 2 for x in xs)

    @pytest.mark.parametrize(
        "xs",
        [[1e300, 5e-324], [5e-324, -1e-320], [1e308, -1e300], [0.0, -0.0], [2.0**-1010, 1e-290]],
    )
    def test_every_range_is_exact(self, xs):
        vec = Vec(xs)
        assert [dyadic(m, vec.e) for m in vec.X] == xs
        assert vec.largest == max(map(abs, xs))

    def test_an_empty_vector_sums_to_nothing(self):
        assert Vec([]).sum() == Vec([]).dot(Vec([])) == 0


def by_definition(fmt, const, *terms):
    rows = zip(*(x.xs for _, x in terms), strict=True)
    return [
        sum((c * v for (c, _), v in zip(terms, row, strict=True)), const).round(fmt)
        for row in rows
    ]


class TestAffine:
    @pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
    @given(data=st.data())
    def test_every_element_is_rounded_once(self, fmt, data):
        n = data.draw(st.integers(1, 4))
        count = data.draw(st.integers(1, 3))
        number = st.builds(surd, rationals | st.just(F(0)), rationals)
        const = data.draw(number)
        column = st.lists(floats, min_size=n, max_size=n).map(Vec)
        terms = [(data.draw(number), data.draw(column)) for _ in range(count)]
        assert affine(fmt, const, *terms) == by_definition(fmt, const, *terms)

    @pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
    @pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-40, 1e-5, 1e5, 1e38, 1e300, 1e308])
    def test_every_size_of_input_and_coefficient(self, fmt, size):
        x = Vec([size, -size / 3, 0.0, size * 0.7])
        for coef in (surd(0, 1), surd(0, F(1 / size) if size > 1e-300 else F(10) ** 300)):
            for const in (surd(0, 0), surd(1, -1), surd(0, F(size))):
                expected = by_definition(fmt, const, (coef, x))
                assert affine(fmt, const, (coef, x)) == expected

    @pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
    def test_ties_go_to_even(self, fmt):
        tie, odd_tie = 1 + fmt.ulp(1.0) / 2, 1 + 3 * fmt.ulp(1.0) / 2
        x = Vec([1.0, 3.0, -1.0, -3.0])
        got = affine(fmt, rational(1), (rational(F(fmt.ulp(1.0)) / 2), x))
        up = fmt.ulp(1.0)
        assert got == [1.0, 1 + 2 * up, *fmt.cast([1 - up / 2, 1 - 3 * up / 2])]
        if fmt is not FP64:
            assert fmt.cast([tie, odd_tie]) == got[:2]

    @pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
    def test_a_constant_that_is_a_tie_but_for_400_bits_is_none(self, fmt):
        z, _ = surd(0, 1).floor(400)
        speck = surd(-F(z, 1 << 400), 1)
        tie, x = 1 + F(fmt.ulp(1.0)) / 2, Vec([0.0, 1.0])
        assert affine(fmt, tie + speck, (rational(1), x))[0] == 1 + fmt.ulp(1.0)
        assert affine(fmt, tie - speck, (rational(1), x))[0] == 1.0

    @pytest.mark.parametrize("fmt", [FP32, FP16, BF16], ids=lambda fmt: fmt.name)
    def test_irrational_coefficients_can_cancel_exactly(self, fmt):
        """An equal element is evaluated once, however often it comes."""
        x = Vec([3.0] * 5 + [1.0])
        got = affine(fmt, surd(0, -3), (surd(0, 1), x))
        assert got == [0.0] * 5 + [surd(0, -2).round(fmt)]

    def test_coefficients_below_every_double_count(self):
        """A coefficient that is subnormal in fp64 has few bits, and its product many."""
        coef = surd(0, F(2) ** -1070)
        x = Vec([2.0**1000, 3.0, 2.0**1023])
        for fmt in FORMATS.values():
            expected = by_definition(fmt, surd(0, 0), (coef, x))
            assert affine(fmt, surd(0, 0), (coef, x)) == expected

    @pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
    def test_nothing_maps_to_nothing(self, fmt):
        assert affine(fmt, surd(1, 1), (surd(1, 1), Vec([]))) == []
