"""Sound algorithms stay inside their bounds, on hard data too; unsound ones do not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from simulated import (
    DTYPES,
    GOOD,
    Simulation,
    State,
    centred,
    failures,
    fused,
    inverse_root,
    margins,
    one_pass,
    pairwise,
    quake,
    two_pass,
)

from bn1d_reference.bounds import VACUOUS, arithmetic, vacuity
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FP32, FP64


class TestSoundAlgorithms:
    @pytest.mark.parametrize("fmt", [FP32, FP64], ids=lambda fmt: fmt.name)
    @pytest.mark.parametrize("normalize", [centred, fused])
    @pytest.mark.parametrize("algorithm", GOOD)
    def test_every_sound_algorithm_conforms(self, algorithm, normalize, fmt):
        simulation, judged = Simulation(*GOOD[algorithm], normalize), 0
        names = ("normal", "kappa 10", "kappa 1e2", "kappa 1e3", "small", "sparse", "outlier")
        for name, n, seed in product(names, (2, 3, 8, 33, 129), range(3)):
            wrong = failures(simulation, name, n, fmt, seed=seed)
            judged += wrong is not None
            assert not wrong, (name, n, seed, wrong)
        assert judged >= 90  # of 105: the rest is vacuous

    @pytest.mark.parametrize("algorithm", GOOD)
    def test_systematic_rounding_of_long_constant_sums_conforms(self, algorithm):
        simulation = Simulation(*GOOD[algorithm])
        assert failures(simulation, "constant", 513, FP32, eps=1e-3) == []

    @pytest.mark.parametrize("algorithm", ["pairwise", "wide"])
    def test_trees_and_wide_accumulators_are_blocked(self, algorithm):
        simulation = Simulation(*GOOD[algorithm])
        for name, n in product(("normal", "kappa 10", "kappa 1e2", "sparse"), (33, 1025, 4097)):
            assert failures(simulation, name, n, FP32, grade="blocked") == [], (name, n)

    def test_sequential_sums_are_not_blocked(self):
        simulation = Simulation(*GOOD["sequential"])
        assert failures(simulation, "constant", 4097, FP32, grade="blocked", eps=1e-3)
        assert failures(simulation, "constant", 4097, FP32, eps=1e-3) == []

    def test_fp32_from_fp64_all_through_is_accurate(self):
        class InDouble(Simulation):
            def train(self, x, dy, state):
                double = State(np.float64)
                for key, value in vars(state).items():
                    setattr(double, key, np.float64(value))
                results = super().train(x.astype(np.float64), dy.astype(np.float64), double)
                return [np.float32(r) for r in results]

        for name, n in product(("normal", "kappa 1e2", "kappa 1e3"), (8, 129, 1025)):
            assert failures(InDouble(), name, n, FP32, grade="accurate") == [], (name, n)
            if name != "normal":
                assert failures(Simulation(), name, n, FP32, grade="accurate")


def unbiased(x):
    mean, var = two_pass(pairwise)(x)
    n = x.dtype.type(len(x))
    return mean, var * n / (n - 1)


def last_dropped(v):
    return pairwise(v[:-1]) if len(v) > 2 else pairwise(v)


def in_half(x):
    mean, var = two_pass(pairwise)(x)
    return x.dtype.type(np.float16(mean)), var


class WithoutXhat(Simulation):
    def backward(self, x, dy, mean, rstd, w):
        _, dw, db = super().backward(x, dy, mean, rstd, w)
        return w * rstd * (dy - db / x.dtype.type(len(x))), dw, db


class OverNMinusOne(Simulation):
    def backward(self, x, dy, mean, rstd, w):
        _, dw, db = super().backward(x, dy, mean, rstd, w)
        n = x.dtype.type(len(x) - 1)
        return w * rstd * (dy - db / n - (x - mean) * rstd * (dw / n)), dw, db


class Swapped(Simulation):
    def train(self, x, dy, state):
        swapped = State(type(state.w))
        vars(swapped).update(vars(state), m=type(state.m)(1) - state.m)
        return super().train(x, dy, swapped)


BAD = {
    "one-pass variance": (Simulation(statistics=one_pass), "kappa 1e3", 33, "y"),
    "unbiased normalisation": (Simulation(statistics=unbiased), "normal", 33, "y"),
    "mean in fp16": (Simulation(statistics=in_half), "kappa 10", 8, "running_mean"),
    "eps missing": (Simulation(rstd=lambda v, _: 1 / np.sqrt(v)), "small", 8, "y"),
    "eps outside the root": (Simulation(rstd=lambda v, e: 1 / (np.sqrt(v) + e)), "small", 8, "y"),
    "eps twice": (Simulation(rstd=lambda v, e: inverse_root(v, e + e)), "small", 8, "y"),
    "a rough rsqrt": (Simulation(rstd=quake), "normal", 8, "y"),
    "the last element dropped": (Simulation(last_dropped), "normal", 33, "dbias"),
    "dx without xhat": (WithoutXhat(), "normal", 33, "dx"),
    "dx over n - 1": (OverNMinusOne(), "normal", 33, "dx"),
    "momentum swapped": (Swapped(), "normal", 8, "running_var"),
}


class TestUnsoundAlgorithms:
    @pytest.mark.parametrize("defect", BAD)
    def test_every_defect_falls_outside(self, defect):
        simulation, name, n, where = BAD[defect]
        for seed in range(3):
            assert where in failures(simulation, name, n, FP32, seed=seed)

    @pytest.mark.parametrize(("fmt", "mean", "n"), [(FP32, 1e4, 8), (FP64, 1e5, 8)])
    def test_one_pass_variance_of_a_large_mean(self, fmt, mean, n):
        """In the data's own precision it is unstable; two passes on the same data are not."""
        dtype = DTYPES[fmt.name]
        rng = np.random.default_rng(5)
        x, dy = (rng.standard_normal(n) + mean).astype(dtype), rng.standard_normal(n).astype(dtype)
        state = State(dtype)
        assert vacuity(arithmetic(fmt, fmt), Batch(x.tolist()), float(state.eps)) <= VACUOUS
        bad = Simulation(statistics=one_pass).train(x, dy, state)
        good = Simulation().train(x, dy, state)
        assert not margins(fmt, "conforming", bad, x, dy, state)["y"]
        assert all(margins(fmt, "conforming", good, x, dy, state).values())
