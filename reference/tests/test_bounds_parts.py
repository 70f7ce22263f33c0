"""Bounds of an evaluation, of narrow storage and of the double backward pass."""

from __future__ import annotations

from itertools import product
from math import inf, nan

import ml_dtypes
import numpy as np
import pytest
from simulated import DTYPES, centred, data, inverse_root, pairwise, quake, two_pass

from bn1d_reference import bounds, channel
from bn1d_reference.bounds import VACUOUS, accepts, arithmetic, vacuity
from bn1d_reference.channel import Batch
from bn1d_reference.formats import BF16, FP32, FP64


class TestEvaluation:
    def judge(self, fmt, rstd, rv, profile="strict"):
        dtype = DTYPES[fmt.name]
        x, dy = data("kappa 10", 33, dtype), data("normal", 33, dtype, seed=9)
        w, b, rm, rv, eps = map(dtype, (1.25, -0.5, 9.75, rv, 1e-5))
        s = rstd(rv, eps)
        y = centred(x, rm, s, w, b)
        dx, dw, db = dy * (w * s), pairwise(dy * ((x - rm) * s)), pairwise(dy)
        ar = arithmetic(fmt, fmt, profile)
        xs, g, rest = x.tolist(), dy.tolist(), [float(v) for v in (rm, rv, w)]
        wanted = channel.forward_eval(xs, *rest, float(b), float(eps), FP64)
        bound = bounds.forward_eval(ar, xs, *rest, float(b), float(eps))
        yield all(map(accepts, [fmt] * 33, y.tolist(), wanted, bound))
        wanted = channel.backward_eval(xs, g, *rest, float(eps), FP64, FP64)
        bound = bounds.backward_eval(ar, xs, g, *rest, float(eps))
        yield all(map(accepts, [fmt] * 33, dx.tolist(), wanted[0], bound[0]))
        yield accepts(fmt, float(dw), wanted[1], bound[1])
        yield accepts(fmt, float(db), wanted[2], bound[2])

    @pytest.mark.parametrize("fmt", [FP32, FP64], ids=lambda fmt: fmt.name)
    def test_an_ordinary_evaluation_conforms(self, fmt):
        for i in range(16):
            assert all(self.judge(fmt, inverse_root, 2 ** (i / 8)))

    def test_a_reciprocal_root_two_ulps_off_conforms(self):
        def off(var, eps):
            s = inverse_root(var, eps)
            return np.nextafter(np.nextafter(s, s + 1), s + 1)

        for i in range(16):
            assert all(self.judge(FP32, off, 2 ** (i / 8)))

    def test_a_rough_reciprocal_root_does_not(self):
        verdicts = [list(self.judge(FP32, quake, 2 ** (i / 8))) for i in range(16)]
        assert sum(y for y, *_ in verdicts) <= 2  # its error has zeros: hence two octaves
        assert all(db for *_, db in verdicts)

    @pytest.mark.parametrize(("rm", "rv"), [(inf, 1.0), (0.0, nan), (0.0, -1.0)])
    def test_no_bound_where_nothing_is_defined(self, rm, rv):
        ar = arithmetic(FP32, FP32)
        assert bounds.forward_eval(ar, [1.0, 2.0], rm, rv, 1.0, 0.0, 1e-5) == [inf, inf]
        expected = ([inf, inf], inf, inf)
        assert bounds.backward_eval(ar, [1.0, 2.0], [1.0, 2.0], rm, rv, 1.0, 1e-5) == expected

    @pytest.mark.parametrize(("x", "dy"), [([inf, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0, nan])])
    def test_no_bound_for_gradients_of_what_is_not_finite(self, x, dy):
        got = bounds.backward_eval(arithmetic(FP32, FP32), x, dy, 0.0, 1.0, 1.0, 1e-5)
        assert got == ([inf, inf], inf, inf)

    def test_no_bound_for_the_gradient_of_nothing(self):
        ar = arithmetic(FP32, FP32)
        assert bounds.forward_eval(ar, [], 0.0, 1.0, 1.0, 0.0, 1e-5) == []
        assert bounds.backward_eval(ar, [], [], 0.0, 1.0, 1.0, 1e-5) == ([], inf, inf)


def test_a_gradient_of_another_length_is_refused():
    ar, batch = arithmetic(FP32, FP32), Batch([1.0, 2.0])
    with pytest.raises(ValueError, match="zip"):
        bounds.backward_train(ar, batch, [1.0, 2.0, 3.0], 1.0, 1e-5)


class TestStorage:
    """Half precision: statistics kept in bf16 are outside "strict" and inside "storage"."""

    def results(self):
        bf16 = ml_dtypes.bfloat16
        x, dy = (data(k, 8, bf16, seed=3).astype(np.float32) for k in ("kappa 10", "normal"))
        mean, var = two_pass(pairwise)(x)
        stored = [np.float32(bf16(v)) for v in (mean, inverse_root(var, np.float32(1e-5)))]
        w, b = np.float32(1.25), np.float32(0.5)
        y = centred(x, *stored, w, b).astype(bf16).astype(np.float64)
        return x.tolist(), dy.tolist(), y.tolist(), float(w), float(b)

    def accepted(self, profile):
        x, _, y, w, b = self.results()
        ar, batch = arithmetic(BF16, BF16, profile), Batch(x)
        assert vacuity(ar, batch, 1e-5) <= VACUOUS
        exact = channel.forward_train(batch, w, b, 1e-5, FP64)
        bound = bounds.forward_train(ar, batch, w, b, 1e-5)
        return all(map(accepts, [BF16] * 8, y, exact, bound))

    def test_statistics_stored_in_bf16(self):
        assert self.accepted("storage")
        assert not self.accepted("strict")

    @pytest.mark.parametrize(("profile", "inside"), [("storage", True), ("strict", False)])
    def test_a_variance_about_a_stored_mean(self, profile, inside):
        x, stored = [-32.5, -31.75], -32.0  # the mean, -32.125, is no number of bf16
        tracked = sum((v - stored) ** 2 for v in x)
        batch, ar = Batch(x), arithmetic(BF16, BF16, profile)
        _, bound = bounds.running(ar, batch, 1e-5, 0.0, 1.0, 1.0)
        assert accepts(BF16, tracked, 2 * float(batch.var), bound) is inside

    def test_every_bound_is_wider(self):
        x, dy, _, w, b = self.results()
        for args in ((bounds.forward_train, w, b, 1e-5), (bounds.backward_train, dy, w, 1e-5)):
            function, *rest = args
            strict, storage = (
                np.hstack(function(arithmetic(BF16, BF16, profile), Batch(x), *rest))
                for profile in ("strict", "storage")
            )
            assert (strict < storage).all()


def second_derivatives(x, dy, gx, w, gw, gb, eps, *, threes=3):
    """The double backward pass in NumPy; `threes` is 3 in sound ones."""
    n = x.dtype.type(len(x))

    def mean(v):
        return pairwise(v) / n

    s = inverse_root(mean((x - mean(x)) ** 2), eps)
    xhat, g, d = (x - mean(x)) * s, gx - mean(gx), dy - mean(dy)
    a, c, cov = mean(gx * xhat), mean(dy * xhat), mean(gx * dy) - mean(gx) * mean(dy)
    by_dy = w * s * (g - a * xhat) + gw * xhat + gb
    by_x = -w * s * s * (xhat * (cov - threes * a * c) + c * g + a * d) + gw * s * (d - c * xhat)
    return by_x, by_dy, n * s * (cov - a * c)


class TestDoubleBackward:
    def judge(self, fmt, name, n, seed, **kwargs):
        dtype = DTYPES[fmt.name]
        x = data(name, n, dtype, seed)
        dy, gx = (data("kappa 10", n, dtype, seed + i) for i in (1, 2))
        w, gw, gb, eps = map(dtype, (1.25, -0.75, 0.5, 1e-5))
        got = second_derivatives(x, dy, gx, w, gw, gb, eps, **kwargs)
        batch, lists = Batch(x.tolist()), (dy.tolist(), gx.tolist())
        args = (lists[0], float(w), float(eps), lists[1], float(gw), float(gb))
        exact = channel.double_backward_train(batch, *args, FP64, FP64)
        bound = bounds.double_backward_train(arithmetic(fmt, fmt), batch, *args)
        yield all(map(accepts, [fmt] * n, got[0].tolist(), exact[0], bound[0]))
        yield all(map(accepts, [fmt] * n, got[1].tolist(), exact[1], bound[1]))
        yield accepts(fmt, float(got[2]), exact[2], bound[2])

    @pytest.mark.parametrize("fmt", [FP32, FP64], ids=lambda fmt: fmt.name)
    def test_the_formulas_conform(self, fmt):
        names = ("normal", "kappa 10", "kappa 1e2", "small", "outlier")
        for name, n, seed in product(names, (2, 3, 8, 33), range(3)):
            assert all(self.judge(fmt, name, n, seed)), (name, n, seed)

    def test_a_wrong_coefficient_does_not(self):
        for seed in range(3):
            by_x, by_dy, by_w = self.judge(FP32, "normal", 8, seed, threes=2)
            assert not by_x
            assert by_dy
            assert by_w

    def test_no_bound_where_there_is_none(self):
        ar = arithmetic(FP32, FP32)
        nothing = ([inf, inf], [inf, inf], inf)
        for x, dy in (([nan, 1.0], [1.0, 2.0]), ([1.0, 2.0], [inf, 1.0])):
            got = bounds.double_backward_train(ar, Batch(x), dy, 1.0, 1e-5, [1.0, 1.0], 0.0, 0.0)
            assert got == nothing
