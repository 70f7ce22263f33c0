"""What tests of bounds share: a layer of one channel in NumPy, its data, and what is accepted."""

from __future__ import annotations

import random

import numpy as np

from bn1d_reference import bounds, channel
from bn1d_reference.bounds import VACUOUS, accepts, arithmetic, vacuity
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FP64

DTYPES = {"fp32": np.float32, "fp64": np.float64}


# ------------------------------------------------------------------ sums and statistics


def sequential(v):
    return np.add.accumulate(v)[-1]


def pairwise(v):
    if len(v) == 1:
        return v[0]
    return pairwise(v[: len(v) // 2]) + pairwise(v[len(v) // 2 :])


def wide(v):
    return v.dtype.type(np.sum(v.astype(np.longdouble)))


def two_pass(total):
    def statistics(x):
        n = x.dtype.type(len(x))
        mean = total(x) / n
        return mean, total((x - mean) ** 2) / n

    return statistics


def welford(x):
    mean, m2 = x.dtype.type(0), x.dtype.type(0)
    for k, v in enumerate(x, start=1):
        delta = v - mean
        mean = mean + delta / x.dtype.type(k)
        m2 = m2 + delta * (v - mean)
    return mean, m2 / x.dtype.type(len(x))


def one_pass(x):
    n = x.dtype.type(len(x))
    mean = pairwise(x) / n
    return mean, np.maximum(pairwise(x * x) / n - mean * mean, x.dtype.type(0))


GOOD = {
    "sequential": (sequential, two_pass(sequential)),
    "pairwise": (pairwise, two_pass(pairwise)),
    "wide": (wide, two_pass(wide)),
    "Welford": (pairwise, welford),
}


# ------------------------------------------------------------------ whole passes


def centred(x, mean, rstd, w, b):
    return (x - mean) * rstd * w + b


def fused(x, mean, rstd, w, b):
    scale = rstd * w
    return x * scale + (b - mean * scale)


def inverse_root(var, eps):
    return var.dtype.type(1) / np.sqrt(var + eps)


def quake(var, eps):
    """0x5f3759df and one Newton step."""
    value = np.asarray(var + eps, dtype=np.float32)
    guess = (np.int32(0x5F3759DF) - (value.view(np.int32) >> 1)).view(np.float32)
    return var.dtype.type(guess * (np.float32(1.5) - np.float32(0.5) * value * guess * guess))


class Simulation:
    """A layer of one channel in NumPy's arithmetic, of which any part can be replaced."""

    def __init__(self, total=pairwise, statistics=None, normalize=centred, rstd=inverse_root):
        self.total, self.normalize, self.rstd = total, normalize, rstd
        self.statistics = statistics or two_pass(total)

    def train(self, x, dy, state):
        n = x.dtype.type(len(x))
        mean, var = self.statistics(x)
        rstd = self.rstd(var, state.eps)
        y = self.normalize(x, mean, rstd, state.w, state.b)
        one, m = x.dtype.type(1), state.m
        rm = (one - m) * state.rm + m * mean
        rv = (one - m) * state.rv + m * (var * n / (n - one))
        return (y, rm, rv, *self.backward(x, dy, mean, rstd, state.w))

    def backward(self, x, dy, mean, rstd, w):
        n = x.dtype.type(len(x))
        xhat = (x - mean) * rstd
        db, dw = self.total(dy), self.total(dy * xhat)
        return w * rstd * (dy - db / n - xhat * (dw / n)), dw, db


class State:
    """The layer's numbers in the arithmetic's own format, as the subject would hold them."""

    def __init__(self, dtype, seed=0, eps=1e-5):
        rng = random.Random(seed)
        w, b, rm = (rng.gauss(0, 1) for _ in range(3))
        self.w, self.b, self.rm, self.rv = map(dtype, (w, b, rm, rng.random() + 0.1))
        self.eps, self.m = dtype(eps), dtype(0.1)

    def floats(self):
        return map(float, (self.w, self.b, self.eps, self.rm, self.rv, self.m))


def data(name, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    draw = {
        "normal": z,
        "kappa 10": z + 10,
        "kappa 1e2": z + 100,
        "kappa 1e3": z + 1000,
        "small": 3e-3 * z,
        "constant": np.full(n, 0.1),
        "sparse": z * (rng.random(n) < 0.05),
        "outlier": np.where(np.arange(n) == 0, 1e3, z),
    }
    return draw[name].astype(dtype)


def margins(fmt, grade, got, x, dy, state):
    """Whether each result is accepted: y, running_mean, running_var, dx, dweight, dbias."""
    ar, batch = arithmetic(fmt, fmt, grade=grade), Batch(x.tolist())
    w, b, eps, rm, rv, m = state.floats()
    g = dy.tolist()
    dx, dw, db = channel.backward_train(batch, g, w, eps, FP64, FP64)
    exact_rm, exact_rv = channel.running(batch, rm, rv, m, 1, FP64)
    b_dx, b_dw, b_db = bounds.backward_train(ar, batch, g, w, eps)
    b_rm, b_rv = bounds.running(ar, batch, eps, rm, rv, m)
    exact_y = channel.forward_train(batch, w, b, eps, FP64)
    b_y = bounds.forward_train(ar, batch, w, b, eps)
    y, got_rm, got_rv, got_dx, got_dw, got_db = got
    return {
        "y": all(map(accepts, [fmt] * len(b_y), y.tolist(), exact_y, b_y)),
        "running_mean": accepts(fmt, float(got_rm), exact_rm, b_rm),
        "running_var": accepts(fmt, float(got_rv), exact_rv, b_rv),
        "dx": all(map(accepts, [fmt] * len(b_dx), got_dx.tolist(), dx, b_dx)),
        "dweight": accepts(fmt, float(got_dw), dw, b_dw),
        "dbias": accepts(fmt, float(got_db), db, b_db),
    }


def failures(simulation, name, n, fmt, grade="conforming", seed=0, eps=1e-5):
    """What the bounds do not accept; None where the case is vacuous."""
    dtype = DTYPES[fmt.name]
    x, dy = data(name, n, dtype, seed), data("normal", n, dtype, seed + 1)
    state = State(dtype, seed, eps)
    ar = arithmetic(fmt, fmt, grade=grade)
    if vacuity(ar, Batch(x.tolist()), float(state.eps)) > VACUOUS:
        return None
    accepted = margins(fmt, grade, simulation.train(x, dy, state), x, dy, state)
    return [key for key, fine in accepted.items() if not fine]
