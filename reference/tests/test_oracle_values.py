"""The layer: special values, and identities that hold exactly."""

from __future__ import annotations

from fractions import Fraction
from math import inf, isnan, ldexp, nan
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bn1d_reference import channel
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FORMATS, FP32, FP64
from bn1d_reference.oracle import BatchNorm1d


def all_nan(values):
    return all(map(isnan, values))


class TestSpecialValues:
    @pytest.mark.parametrize(
        ("special", "mean"), [([nan], nan), ([inf], inf), ([-inf], -inf), ([inf, -inf], nan)]
    )
    def test_training_on_what_is_not_finite_gives_nan_in_its_channel_alone(self, special, mean):
        clean = BatchNorm1d(1)
        x, dy = [1.0, 2.0, 5.0, 7.0], [1.0, -1.0, 0.5, 0.25]
        expected = clean.forward_channels([x])[0], clean.backward_channels([dy])
        bn = BatchNorm1d(2)
        y = bn.forward_channels([special + x[len(special) :], x])
        g = bn.backward_channels([dy, dy])
        gg = bn.double_backward_channels([dy, dy])
        assert all_nan(y[0] + g.x[0] + gg.x[0] + gg.dy[0] + [g.weight[0], gg.weight[0]])
        assert str(bn.running_mean[0]) == str(mean)
        assert isnan(bn.running_var[0])
        assert g.bias[0] == 0.75
        assert (y[1], g.x[1], g.weight[1:]) == (expected[0], expected[1].x[0], expected[1].weight)
        assert bn.running_mean[1:] == clean.running_mean

    def test_momentum_zero_times_infinity_is_nan(self):
        bn = BatchNorm1d(1, momentum=0.0)
        bn.forward([[inf], [1.0]])
        assert isnan(bn.running_mean[0])

    def test_running_statistics_that_are_not_finite_stay_so(self):
        bn = BatchNorm1d(1)
        bn.running_mean, bn.running_var = [-inf], [nan]
        bn.forward([[1.0], [2.0]])
        assert bn.running_mean == [-inf]
        assert isnan(bn.running_var[0])

    def test_evaluation_keeps_what_is_not_finite_in_its_place(self):
        bn = BatchNorm1d(3).eval()
        bn.weight = [2.0, -2.0, 0.0]
        plain = bn.forward_channels([[1.0, 2.0, 3.0, 4.0]] * 3)
        y = bn.forward_channels([[inf, 2.0, -inf, nan]] * 3)
        assert [column[1] for column in y] == [column[1] for column in plain]
        assert y[0][0] == y[1][2] == inf
        assert y[0][2] == y[1][0] == -inf
        assert all_nan([y[2][0], y[2][2], y[0][3]])

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        ("special", "total"), [([inf], inf), ([-inf], -inf), ([inf, -inf], nan), ([nan], nan)]
    )
    def test_a_gradient_that_is_not_finite(self, training, special, total):
        x, dy = [1.0, 2.0, 5.0], [*special, 1.0, 1.0][:3]
        bn = BatchNorm1d(1).train(training)
        bn.forward_channels([x])
        (dx,), (dw,), (db,) = bn.backward_channels([dy])
        assert str(db) == str(total)
        if training:
            assert all_nan([*dx, dw])
        else:
            assert str(dw) == str(total)
            assert str(dx[0]) == str(special[0])
            assert dx[2] == FP32.round(*(1 / Fraction(1.00001) ** 0.5).as_integer_ratio())
        assert all_nan([v for column in bn.double_backward_channels([x])[:2] for v in column[0]])

    def test_an_input_that_is_not_finite_spares_the_gradient_of_its_own(self):
        bn = BatchNorm1d(1, eps=0.0).eval()
        bn.forward_channels([[inf, 2.0]])
        g = bn.backward_channels([[1.0, 2.0]])
        assert g == ([[1.0, 2.0]], [inf], [3.0])

    @pytest.mark.parametrize(("rm", "rv"), [(0.0, 0.0), (0.0, -1.0), (0.0, inf), (nan, 1.0)])
    def test_evaluation_without_a_positive_finite_variance_is_undefined(self, rm, rv):
        bn = BatchNorm1d(1, eps=0.0).eval()
        bn.running_mean, bn.running_var = [rm], [rv]
        assert all_nan(bn.forward_channels([[1.0, 2.0]])[0])
        g = bn.backward_channels([[1.0, 2.0]])
        assert all_nan([*g.x[0], *g.weight])
        assert g.bias == [3.0]
        assert all_nan(bn.double_backward_channels([[1.0, 2.0]]).weight)

    @pytest.mark.parametrize("training", [True, False])
    def test_parameters_that_are_not_finite_follow_ieee_arithmetic(self, training):
        bn = BatchNorm1d(3).train(training)
        bn.weight, bn.bias = [inf, 1.0, nan], [0.0, -inf, 0.0]
        bn.running_mean = [2.0] * 3
        y = bn.forward_channels([[1.0, 2.0, 3.0]] * 3)
        assert str(y) == str([[-inf, nan, inf], [-inf] * 3, [nan] * 3])
        g = bn.backward_channels([[1.0, -1.0, 3.0]] * 3)
        assert {abs(v) for v in g.x[0]} == {inf}
        assert g.weight[0] == g.weight[1] == g.weight[2]

    def test_a_channel_of_equal_values_is_its_bias(self):
        for fmt in FORMATS.values():
            bn = BatchNorm1d(2, format=fmt)
            bn.weight, bn.bias = [3.0, 0.3], [0.5, 0.0]
            assert bn.forward_channels([[3.0] * 5, [0.1] * 5]) == [[0.5] * 5, [0.0] * 5]
            dx, dw, _ = bn.backward_channels([[1.0] * 5, [1.0] * 5])
            assert dx == [[0.0] * 5, [0.0] * 5]
            assert dw == [0.0, 0.0]

    def test_a_constant_channel_without_eps_is_undefined(self):
        batch = Batch([3.0, 3.0])
        assert all_nan(channel.forward_train(batch, 1.0, 0.0, 0.0, FP32))
        dx, dw, db = channel.backward_train(batch, [1.0, 2.0], 1.0, 0.0, FP32, FP32)
        assert all_nan([*dx, dw])
        assert db == 3.0

    def test_the_wide_pair_is_exact(self):
        """n = 2, x = M +- d, eps = 3*d**2: W = 4*d**2 and everything is a power of two."""
        M, d = 524289.0, 0.125
        bn = BatchNorm1d(1, eps=3 * d * d, momentum=0.25)
        bn.weight = [-2.0]
        assert bn.forward([[M + d], [M - d]]) == [[-1.0], [1.0]]
        assert bn.backward([[1.0], [0.0]]) == ([[-3.0], [3.0]], [0.5], [1.0])
        assert (bn.running_mean, bn.running_var) == ([131072.25], [0.7578125])


values = st.floats(-1e6, 1e6, width=32)
channels = st.integers(2, 6).flatmap(
    lambda n: st.tuples(*[st.lists(values, min_size=n, max_size=n)] * 3)
)
weights = st.floats(-100, 100, width=32)
formats = st.sampled_from(list(FORMATS.values()))
powers = st.integers(-8, 8)


def everything(x, dy, gx, w=1.5, b=0.25, eps=1e-3, fmt=FP64):
    batch = Batch(x)
    y = channel.forward_train(batch, w, b, eps, fmt)
    first = channel.backward_train(batch, dy, w, eps, fmt, fmt)
    second = channel.double_backward_train(batch, dy, w, eps, gx, 0.5, 2.0, fmt, fmt)
    return y, *first, *second


def scaled(result, factor):
    return [factor * v for v in result] if isinstance(result, list) else factor * result


class TestProperties:
    @given(channels, powers)
    def test_powers_of_two_pass_through(self, vectors, k):
        x, dy, gx = vectors
        y, dx, dw, db = everything(x, dy, gx)[:4]
        c = ldexp(1.0, k)
        y2, dx2, dw2, db2 = everything(scaled(x, c), dy, gx, eps=1e-3 * c * c)[:4]
        assert (y2, scaled(dx2, c), dw2, db2) == (y, dx, dw, db)

    @given(channels, weights, formats)
    def test_signs_pass_through(self, vectors, w, fmt):
        x, dy, gx = vectors
        y, dx, dw, db = everything(x, dy, gx, w, fmt=fmt)[:4]
        y2, dx2, dw2, db2 = everything(scaled(x, -1), dy, gx, -w, fmt=fmt)[:4]
        assert (y2, scaled(dx2, -1), -dw2, db2) == (y, dx, dw, db)
        y3, dx3, dw3, db3 = everything(x, scaled(dy, -1), gx, -w, -0.25, fmt=fmt)[:4]
        assert (scaled(y3, -1), dx3, -dw3, -db3) == (y, dx, dw, db)

    @given(channels, powers, formats)
    def test_gradients_are_linear_in_dy(self, vectors, k, fmt):
        x, dy, gx = vectors
        _, dx, dw, db = everything(x, dy, gx, fmt=FP64)[:4]
        c = ldexp(1.0, k)
        _, dx2, dw2, db2 = everything(x, scaled(dy, c), gx, fmt=FP64)[:4]
        assert (dx2, dw2, db2) == (scaled(dx, c), scaled(dw, c), scaled(db, c))
        assert everything(x, [0.0] * len(x), gx, fmt=fmt)[2:4] == (0.0, 0.0)

    @given(channels, formats, st.randoms(use_true_random=False))
    def test_the_order_of_the_samples_does_not_matter(self, vectors, fmt, rng):
        order = list(range(len(vectors[0])))
        rng.shuffle(order)

        def permuted(result):
            return [result[i] for i in order] if isinstance(result, list) else result

        expected = tuple(map(permuted, everything(*vectors, fmt=fmt)))
        assert everything(*map(permuted, vectors), fmt=fmt) == expected

    @given(channels, st.lists(st.floats(), min_size=6, max_size=6))
    def test_channels_are_independent(self, vectors, other):
        x, dy, gx = vectors
        other = other[: len(x)]
        bn, alone = BatchNorm1d(2), BatchNorm1d(1)
        assert bn.forward_channels([other, x])[1] == alone.forward_channels([x])[0]
        assert bn.backward_channels([other, dy]).x[1] == alone.backward_channels([dy]).x[0]
        both, one = bn.double_backward_channels([other, gx]), alone.double_backward_channels([gx])
        assert (both.x[1], both.dy[1], both.weight[1]) == (one.x[0], one.dy[0], one.weight[0])
        assert bn.running_var[1] == alone.running_var[0]

    @given(channels, weights)
    def test_sums_are_exact_in_the_field(self, vectors, w):
        """Sum(y) = n*b, sum(dx) = 0, and sum((y-b)*dy) = w*dweight, before any rounding."""
        x, dy, gx = vectors
        maps, summed = [], {}

        def seen(fmt, const, *terms):
            maps.append((const, terms))
            return exact_affine(fmt, const, *terms)

        exact_affine = channel.affine
        with mock.patch.object(channel, "affine", seen):
            everything(x, dy, gx, w)
        for name, (const, terms) in zip(("y", "dx", "by_dy", "by_x"), maps, strict=True):
            summed[name] = sum((coef * v.sum() for coef, v in terms), const * len(x))
        assert (summed["y"].p, summed["y"].q) == (len(x) * Fraction(0.25), 0)
        assert (summed["dx"].p, summed["dx"].q) == (0, 0)
        assert (summed["by_x"].p, summed["by_x"].q) == (0, 0)
        assert (summed["by_dy"].p, summed["by_dy"].q) == (len(x) * 2, 0)

    @given(channels, weights, formats)
    def test_equal_values_have_equal_outputs_and_larger_ones_no_smaller(self, vectors, w, fmt):
        x, _, _ = vectors
        y = channel.forward_train(Batch(x), w, 0.25, 1e-3, fmt)
        in_order = [v for _, v in sorted(zip(x, y, strict=True), key=lambda pair: pair[0])]
        assert in_order == sorted(in_order, reverse=w < 0)
        assert len(set(zip(x, y, strict=True))) == len(set(x))
