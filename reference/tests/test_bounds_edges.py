"""Where a bound begins and ends: vacuity, grades, what is accepted, and numbers by hand."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from math import inf, isnan, nan, nextafter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import data, sequential, two_pass

from bn1d_reference import bounds, channel
from bn1d_reference.bounds import VACUOUS, accepts, arithmetic, vacuity
from bn1d_reference.channel import Batch
from bn1d_reference.formats import BF16, FORMATS, FP16, FP32, FP64


class TestVacuity:
    def test_it_grows_with_the_mean_and_the_count(self):
        ar, rng = arithmetic(FP32, FP32), np.random.default_rng(1)
        z = rng.standard_normal(4096).astype(np.float32)

        def t(n, mean):
            return vacuity(ar, Batch((z[:n] + np.float32(mean)).tolist()), 1e-5)

        assert t(8, 0) < t(8, 1e3) < t(8, 1e4) < VACUOUS
        assert t(8, 1e4) < t(128, 1e4)
        assert t(4096, 1e4) > VACUOUS

    @pytest.mark.parametrize(
        ("x", "eps"),
        [([nan, 1.0], 1e-5), ([], 1e-5), ([1.0, 1.0], 0.0), ([1e200, -1e200], 1e-5)],
    )
    def test_it_is_infinite_where_there_is_no_bound(self, x, eps):
        ar, batch = arithmetic(FP64, FP64), Batch(x)
        assert vacuity(ar, batch, eps) == inf
        assert bounds.forward_train(ar, batch, 1.0, 0.0, eps) == [inf] * len(x)
        expected = ([inf] * len(x), inf, inf)
        assert bounds.backward_train(ar, batch, [1.0] * len(x), 1.0, eps) == expected

    def test_a_vacuous_case_has_no_bound(self):
        ar, batch = arithmetic(FP32, FP32), Batch([1e6, 1e6 + 1] * 2000)
        assert vacuity(ar, batch, 1e-5) > 1
        assert set(bounds.forward_train(ar, batch, 0.0, 0.0, 1e-5)) == {inf}
        finite_still = bounds.running(ar, batch, 1e-5, 0.0, 1.0, 0.1)
        assert max(finite_still) < inf

    @pytest.mark.parametrize("n", [2, 3, 33, 129])
    @pytest.mark.parametrize("name", ["normal", "kappa 10", "kappa 1e2"])
    def test_the_bound_of_a_biased_variance_is_its_own(self, name, n):
        x, m, rv = data(name, n, np.float32), np.float32(0.1), np.float32(0.75)
        _, var = two_pass(sequential)(x)
        ar, batch, rule = arithmetic(FP32, FP32), Batch(x.tolist()), (0.0, float(rv), float(m))
        _, exact = channel.running(batch, *rule, 1, FP64, correction=0)
        _, bound = bounds.running(ar, batch, 1e-5, *rule, correction=0)
        factor = np.float32(n / (n - 1))
        got, unbiased = ((1 - m) * rv + m * v for v in (var, var * factor))
        assert accepts(FP32, float(got), exact, bound)
        assert not accepts(FP32, float(unbiased), exact, bound)

    def test_running_statistics_of_what_is_not_finite_have_no_bound(self):
        ar = arithmetic(FP32, FP32)
        assert bounds.running(ar, Batch([inf, 1.0]), 1e-5, 0.0, 1.0, 0.1) == (inf, inf)

    def test_a_gradient_that_is_not_finite_has_no_bound(self):
        got = bounds.backward_train(
            arithmetic(FP32, FP32), Batch([1.0, 2.0]), [nan, 1.0], 1.0, 1e-5
        )
        assert got == ([inf, inf], inf, inf)

    @pytest.mark.parametrize("dy", [[1e308, 1e308, 1e308], [1.5e308, -1.5e308, 1.7e308]])
    def test_a_gradient_that_overflows_its_sums_has_no_bound(self, dy):
        ar, batch = arithmetic(FP64, FP64), Batch([100.0, 0.0, 1e-3])
        dx, dw, _ = bounds.backward_train(ar, batch, dy, 1e3, 1e-12)
        assert not np.isfinite([*dx, dw]).any()


class TestByHand:
    """Centred data, where the formulas come down to a count of roundings."""

    def test_an_evaluation_with_mean_zero_makes_ten(self):
        u, y = 2.0**-24, 3 * 2 / 2.5
        bound = bounds.forward_eval(arithmetic(FP32, FP32), [2.0], 0.0, 6.0, 3.0, 0.0, 0.25)
        assert bound == pytest.approx([10 * u * y])

    def test_a_pair_makes_fourteen_where_eps_outweighs_the_variance(self):
        """Four of the mean's sum, one of centring, four of the root, five of the products."""
        u, y = 2.0**-24, 3 / 1e4
        bound = bounds.forward_train(arithmetic(FP32, FP32), Batch([1.0, -1.0]), 3.0, 0.0, 1e8)
        assert bound == pytest.approx([14 * u * y] * 2, rel=1e-5)

    def test_a_pairs_dbias_makes_its_growth(self):
        ar, batch = arithmetic(FP32, FP32), Batch([1.0, -1.0])
        _, _, db = bounds.backward_train(ar, batch, [3.0, -5.0], 1.0, 1e-5)
        assert db == pytest.approx(2 * 2.0**-24 * 8)


class TestGrades:
    def test_the_better_the_grade_the_tighter_the_bound(self):
        x, dy = data("kappa 10", 4096, np.float32), data("normal", 4096, np.float32, seed=1)
        batch, g = Batch(x.tolist()), dy.tolist()

        def every_bound(grade):
            ar = arithmetic(FP32, FP32, grade=grade)
            return np.hstack([
                bounds.forward_train(ar, batch, 1.5, 0.5, 1e-5),
                *bounds.backward_train(ar, batch, g, 1.5, 1e-5),
                *bounds.double_backward_train(ar, batch, g, 1.5, 1e-5, g, 0.5, 0.5),
                bounds.running(ar, batch, 1e-5, 0.0, 1.0, 0.1),
            ])  # fmt: skip

        accurate, blocked, conforming = map(every_bound, ("accurate", "blocked", "conforming"))
        assert (accurate < blocked).all()
        assert (blocked < conforming).all()

    def test_arithmetic_follows_formats_profile_and_grade(self):
        strict = arithmetic(BF16, FP32)
        assert (strict.u, strict.u_el, strict.tiny) == (2.0**-24, 2.0**-24, 2.0**-126)
        assert strict.phi(100) == 100
        storage = arithmetic(FP16, FP32, "storage", "blocked")
        assert (storage.u, storage.u_el, storage.tiny) == (2.0**-24, 2.0**-11, 2.0**-14)
        assert storage.phi(1024) == 28
        double = arithmetic(FP64, FP64, "storage", "accurate")
        assert (double.u, double.u_el, double.tiny) == (2.0**-53, 2.0**-53, 2.0**-1022)
        assert arithmetic(FP32, BF16, "storage").u_el == 2.0**-8

    @pytest.mark.parametrize("words", [("lenient", "conforming"), ("strict", "perfect")])
    def test_unknown_words_are_refused(self, words):
        with pytest.raises(ValueError, match="no profile"):
            arithmetic(FP32, FP32, *words)


class TestAccepts:
    @pytest.mark.parametrize("fmt", [FP16, BF16, FP32], ids=lambda fmt: fmt.name)
    def test_without_a_bound_only_the_rounded_answer_is_accepted(self, fmt):
        exact = 1 + 0.4 * fmt.ulp(1.0)
        assert accepts(fmt, 1.0, exact, 0.0)
        assert not accepts(fmt, 1 + fmt.ulp(1.0), exact, 0.0)
        assert accepts(fmt, 1 + fmt.ulp(1.0), exact, 0.11 * fmt.ulp(1.0))
        assert not accepts(fmt, 1 - fmt.ulp(1.0) / 2, exact, 0.11 * fmt.ulp(1.0))

    def test_fp64_forgives_what_rounding_the_exact_answer_lost(self):
        """Half an ulp in `exact`, and then ties to even: the answers beside an odd one."""
        odd = nextafter(1.5, 2)
        assert accepts(FP64, odd, odd, 0.0)
        assert accepts(FP64, nextafter(odd, 2), odd, 0.0)
        assert accepts(FP64, 1.5, odd, 0.0)
        assert not accepts(FP64, nextafter(1.5, 1), odd, 0.0)
        assert accepts(FP64, 0.0, 0.0, 0.0)
        assert not accepts(FP64, nextafter(5e-324, 1), 0.0, 0.0)

    def test_what_is_beside_the_edge_is_outside(self):
        assert accepts(FP64, 1.0, 0.0, 1.0)
        assert not accepts(FP64, nextafter(1.0, 2), 0.0, 1.0)
        assert not accepts(FP64, nextafter(1.5, 2), 1.5, 0.0)

    def test_what_is_not_finite_wants_its_like(self):
        for exact, got in product((nan, inf, -inf), (nan, inf, -inf, 0.0)):
            same = str(exact) == str(got)
            assert accepts(FP32, got, exact, 1.0) == same
        assert not accepts(FP32, nan, 1.0, 1e9)
        assert not accepts(FP32, inf, 1.0, 1e9)

    def test_overflow_is_a_rounding(self):
        assert accepts(FP16, inf, 65519.0, 1.0)
        assert not accepts(FP16, inf, 65519.0, 0.5)
        assert accepts(FP16, 65504.0, 65519.0, 1.0)

    @pytest.mark.parametrize("bound", [inf, nan])
    def test_no_bound_accepts_anything(self, bound):
        assert accepts(FP32, 5.0, 1.0, bound)
        assert accepts(FP32, nan, 1.0, bound)

    @given(
        st.sampled_from(list(FORMATS.values())),
        st.floats(-1e6, 1e6),
        st.floats(0, 10),
        st.integers(-6, 6),
    )
    def test_it_is_its_definition(self, fmt, exact, bound, steps):
        (got,) = fmt.cast([exact + steps * max(bound, fmt.ulp(exact)) / 3])
        radius = Fraction(bound) + Fraction(FP64.ulp(exact)) / 2
        low, high = (
            fmt.round(*(Fraction(exact) + r).as_integer_ratio()) for r in (-radius, radius)
        )
        assert accepts(fmt, got, exact, bound) == (low <= got <= high)


def test_every_bound_of_finite_data_is_finite_and_positive():
    rng = random.Random(7)
    for fmt, grade, profile in product(
        FORMATS.values(), ("conforming", "blocked", "accurate"), ("strict", "storage")
    ):
        ar = arithmetic(fmt, fmt, profile, grade)
        x, dy, gx = ([rng.gauss(0, 1) for _ in range(9)] for _ in range(3))
        batch = Batch(x)
        if vacuity(ar, batch, 1e-3) > VACUOUS:
            continue
        found = np.hstack([
            bounds.forward_train(ar, batch, 0.0, 0.0, 1e-3),
            bounds.forward_eval(ar, x, 0.5, 2.0, 0.0, 0.0, 1e-3),
            *bounds.backward_train(ar, batch, dy, 0.0, 1e-3),
            *bounds.backward_eval(ar, x, dy, 0.5, 2.0, 0.0, 1e-3),
            *bounds.double_backward_train(ar, batch, dy, 0.0, 1e-3, gx, 0.0, 0.0),
            bounds.running(ar, batch, 1e-3, 0.0, 1.0, 0.0),
        ])  # fmt: skip
        assert not any(map(isnan, found))
        assert (found > 0).all()
        assert (found < inf).all()
