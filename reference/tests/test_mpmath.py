"""Every output of the oracle against mpmath at 160 digits, straight from the textbook.

160 digits, because 50 or 60 are not enough: where n = 2 the input's gradient cancels to eps/var,
which is 1e-89 on data of size 1e42.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from math import isfinite

import mpmath
import pytest
from mpmath import mpf

from bn1d_reference import channel
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FORMATS
from bn1d_reference.oracle import BatchNorm1d

DIGITS = 160

DISTRIBUTIONS = {
    "normal": lambda rng: rng.gauss(0, 1),
    "mean 1e4": lambda rng: rng.gauss(1e4, 1),
    "mean 1e7": lambda rng: rng.gauss(1e7, 1),
    "size 1e-30": lambda rng: rng.gauss(0, 1e-30),
    "size 1e30": lambda rng: rng.gauss(0, 1e30),
    "120 binades": lambda rng: rng.gauss(0, 1) * 2.0 ** rng.randint(-60, 60),
    "sparse": lambda rng: rng.gauss(0, 1) if rng.random() < 0.2 else 0.0,
}
EPS = (1e-5, 1e-3, 1e-12, 0.0)
SIZES = (2, 3, 8, 19)


def representable(fmt, values):
    """The values in `fmt` where it can hold them; else as they are, for a wider input."""
    cast = fmt.cast(values)
    return cast if all(map(isfinite, cast)) and len(set(cast)) > 1 else values


def rounded(fmt, value):
    """An mpf rounded to `fmt`."""
    sign, man, exp, _ = value._mpf_
    num = -man if sign else man
    return fmt.round(int(num) << max(exp, 0), 1 << max(-exp, 0))


def textbook(x, dy, w, b, mean, var, eps, *, constants):
    """y, dx, dw, db as Ioffe and Szegedy write them, in mpmath's arithmetic."""
    n, root = len(x), mpmath.sqrt(var + eps)
    xhat = [(v - mean) / root for v in x]
    y = [w * h + b for h in xhat]
    dw, db = mpmath.fsum(map(mpmath.fmul, dy, xhat)), mpmath.fsum(dy)
    if constants:
        return y, [w * g / root for g in dy], dw, db
    dx = [w / root * (g - db / n - h * dw / n) for g, h in zip(dy, xhat, strict=True)]
    return y, dx, dw, db


def moments(x):
    mean = mpmath.fsum(x) / len(x)
    return mean, mpmath.fsum((v - mean) ** 2 for v in x) / len(x)


class Comparison:
    def __init__(self):
        self.compared, self.wrong = Counter(), []

    def __call__(self, name, fmt, got, exact):
        expected = rounded(fmt, exact)
        self.compared[fmt.name, name] += 1
        if got != expected:
            self.wrong.append((name, fmt.name, got.hex(), expected.hex()))

    def all(self, name, fmt, got, exact):
        assert len(got) == len(exact)
        for g, e in zip(got, exact, strict=True):
            self(name, fmt, g, e)


def layer(fmt, rng, eps):
    bn = BatchNorm1d(1, eps=eps or 1e-5, momentum=rng.choice([0.1, 0.75, None]), format=fmt)
    bn.weight, bn.bias = fmt.cast([rng.gauss(0, 1)]), fmt.cast([rng.gauss(0, 1)])
    bn.running_mean, bn.running_var = fmt.cast([rng.gauss(0, 1)]), fmt.cast([rng.random() + 0.1])
    bn.num_batches_tracked = rng.randrange(5)
    return bn


def compare_training(compare, bn, x, dy, fmt):
    old_mean, old_var = mpf(bn.running_mean[0]), mpf(bn.running_var[0])
    (y,) = bn.forward_channels([x])
    (dx,), (dw,), (db,) = bn.backward_channels([dy])
    xs, dys = list(map(mpf, x)), list(map(mpf, dy))
    mean, var = moments(xs)
    w, b = mpf(bn.weight[0]), mpf(bn.bias[0])
    ys, dxs, dws, dbs = textbook(xs, dys, w, b, mean, var, mpf(bn.eps), constants=False)
    compare.all("y", fmt, y, ys)
    compare.all("dx", fmt, dx, dxs)
    compare("dweight", fmt, dw, dws)
    compare("dbias", fmt, db, dbs)
    m = mpf(1) / bn.num_batches_tracked if bn.momentum is None else mpf(bn.momentum)
    n = len(x)
    compare("running_mean", fmt, bn.running_mean[0], (1 - m) * old_mean + m * mean)
    compare("running_var", fmt, bn.running_var[0], (1 - m) * old_var + m * var * n / (n - 1))


def compare_evaluation(compare, bn, x, dy, fmt, eps):
    bn.eval().eps = eps
    (y,) = bn.forward_channels([x])
    (dx,), (dw,), (db,) = bn.backward_channels([dy])
    xs, dys = list(map(mpf, x)), list(map(mpf, dy))
    w, b = mpf(bn.weight[0]), mpf(bn.bias[0])
    rm, rv = mpf(bn.running_mean[0]), mpf(bn.running_var[0])
    ys, dxs, dws, dbs = textbook(xs, dys, w, b, rm, rv, mpf(eps), constants=True)
    compare.all("evaluated y", fmt, y, ys)
    compare.all("evaluated dx", fmt, dx, dxs)
    compare("evaluated dweight", fmt, dw, dws)
    compare("evaluated dbias", fmt, db, dbs)


def compare_without_eps(compare, bn, x, dy, fmt):
    """In training, which the layer refuses and the formulas know.

    Of three values or more: where x has but two, dx is exactly 0, and mpmath has 1e-161.
    """
    w, b, batch = bn.weight[0], bn.bias[0], Batch(x)
    dx, dw, _ = channel.backward_train(batch, dy, w, 0.0, fmt, fmt)
    xs, dys = list(map(mpf, x)), list(map(mpf, dy))
    mean, var = moments(xs)
    exact = textbook(xs, dys, mpf(w), mpf(b), mean, var, mpf(0), constants=False)
    compare.all("y, eps = 0", fmt, channel.forward_train(batch, w, b, 0.0, fmt), exact[0])
    compare.all("dx, eps = 0", fmt, dx, exact[1])
    compare("dweight, eps = 0", fmt, dw, exact[2])


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
def test_every_output_is_mpmaths_correctly_rounded(fmt):
    rng, compare = random.Random(f"mpmath {fmt.name}"), Comparison()
    with mpmath.workdps(DIGITS):
        for draw, eps, n in product(DISTRIBUTIONS.values(), EPS, SIZES):
            x = representable(fmt, [draw(rng) for _ in range(n)])
            dy = fmt.cast([rng.gauss(0, 1) for _ in range(n)])
            bn = layer(fmt, rng, eps)
            compare_training(compare, bn, x, dy, fmt)
            if len(set(x)) > 2:
                compare_without_eps(compare, bn, x, dy, fmt)
            compare_evaluation(compare, layer(fmt, rng, eps), x, dy, fmt, eps)
    assert not compare.wrong
    assert compare.compared.total() >= 5000, compare.compared  # four formats: 20 000 and more
    assert min(compare.compared.values()) >= 70
    assert len(compare.compared) == 13
