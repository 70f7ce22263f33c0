"""Every output against a definition that knows nothing but y and the rules of differentiation.

The loss sum(dy*y) is evaluated on numbers that carry derivatives in two directions and their
mixed second derivative (hyper-dual numbers: Fike and Alonso, 2011).  Its derivatives are the
backward pass, and their derivatives the double backward pass, with no formula of either in sight.
All arithmetic is exact but for 1/sqrt(W), which is enclosed to several hundred bits: the answer
is what both ends of the enclosure round to.
"""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from math import isqrt

import pytest

from bn1d_reference.formats import FORMATS
from bn1d_reference.oracle import BatchNorm1d

BITS = 700
ZERO = Fraction(0)


def inverse_root(W, *, up):
    """1/sqrt(W) to `BITS` bits below its own size, from below or above; exact if rational."""
    inverse = 1 / W
    shift = BITS + abs(inverse.numerator.bit_length() - inverse.denominator.bit_length())
    n, d = isqrt(inverse.numerator), isqrt(inverse.denominator)
    if n * n == inverse.numerator and d * d == inverse.denominator:
        return Fraction(n, d)
    root = isqrt((inverse.numerator << 2 * shift) // inverse.denominator)
    return Fraction(root + up, 1 << shift)


class Jet:
    """v + a*e1 + b*e2 + c*e1*e2 with e1**2 = e2**2 = 0."""

    def __init__(self, v, a=ZERO, b=ZERO, c=ZERO):
        self.v, self.a, self.b, self.c = Fraction(v), a, b, c

    def __add__(self, o):
        return Jet(self.v + o.v, self.a + o.a, self.b + o.b, self.c + o.c)

    def __sub__(self, o):
        return Jet(self.v - o.v, self.a - o.a, self.b - o.b, self.c - o.c)

    def __mul__(self, o):
        cross = self.v * o.c + self.a * o.b + self.b * o.a + self.c * o.v
        return Jet(self.v * o.v, self.v * o.a + self.a * o.v, self.v * o.b + self.b * o.v, cross)

    def inverse_root(self, *, up):
        s = inverse_root(self.v, up=up)
        first, second = -s / (2 * self.v), 3 * s / (4 * self.v**2)
        mixed = first * self.c + second * self.a * self.b
        return Jet(s, first * self.a, first * self.b, mixed)


def total(jets):
    return sum(jets, Jet(0))


def outputs(x, w, b, eps, *, up, constants):
    """y by definition; `constants` are running statistics, or None for the batch's own."""
    if constants is None:
        n = Jet(Fraction(1, len(x)))
        mean = total(x) * n
        var = total((v - mean) * (v - mean) for v in x) * n
    else:
        mean, var = map(Jet, constants)
    s = (var + Jet(eps)).inverse_root(up=up)
    return [w * (s * (v - mean)) + b for v in x]


def loss(values, eps, *, up, constants):
    """sum(dy*y) of a dict of jets: x and dy are lists, w and b numbers."""
    y = outputs(values["x"], values["w"], values["b"], eps, up=up, constants=constants)
    return total(g * v for g, v in zip(values["dy"], y, strict=True))


def seeded(point, along, at):
    """Jets at `point`, with e1 along the direction `along` and e2 along one coordinate."""
    name, index = at

    def jet(key, i, value):
        return Jet(value, Fraction(along[key][i]), Fraction((key, i) == (name, index)))

    jets = {key: [jet(key, i, v) for i, v in enumerate(vs)] for key, vs in point.items()}
    return {**jets, "w": jets["w"][0], "b": jets["b"][0]}


def derivatives(point, along, at, eps, constants):
    """Both ends of the derivative of the loss by the coordinate `at`, and of that by `along`."""
    jets = seeded(point, along, at)
    ends = [loss(jets, eps, up=up, constants=constants) for up in (False, True)]
    return [e.b for e in ends], [e.c for e in ends]


class Comparison:
    def __init__(self, fmt):
        self.fmt, self.compared, self.wrong, self.undecided = fmt, Counter(), [], []

    def __call__(self, name, got, ends):
        low, high = (self.fmt.round(*e.as_integer_ratio()) for e in ends)
        self.compared[name] += 1
        if low != high:
            self.undecided.append((name, low, high))
        elif got != low:
            self.wrong.append((name, got.hex(), low.hex()))


def draw_channel(rng, fmt, n):
    shift, size = rng.choice([(0, 1), (0, 1), (100, 1), (1e4, 1), (0, 1e-3), (0, 0)])
    x = fmt.cast([rng.gauss(shift, size) for _ in range(n)])
    dy, gx = (fmt.cast([rng.gauss(0, 1) for _ in range(n)]) for _ in range(2))
    w, b, gw, gb, rm = fmt.cast([rng.gauss(0, 1) for _ in range(5)])
    (rv,) = fmt.cast([rng.random() + 0.01])
    point = {"x": x, "dy": dy, "w": [w], "b": [b]}
    direction = {"x": gx, "dy": [0.0] * n, "w": [gw], "b": [gb]}
    return point, direction, (rm, rv)


def layer(point, fmt, eps, running, *, training):
    bn = BatchNorm1d(1, eps=eps, format=fmt).train(training)
    bn.weight, bn.bias = list(point["w"]), list(point["b"])
    bn.running_mean, bn.running_var = [running[0]], [running[1]]
    return bn


def compare_channel(compare, point, direction, running, eps, *, training):
    bn = layer(point, compare.fmt, eps, running, training=training)
    constants = None if training else running
    (y,) = bn.forward_channels([point["x"]])
    first = bn.backward_channels([point["dy"]])
    gw, gb = direction["w"], direction["b"]
    second = bn.double_backward_channels([direction["x"]], gw, gb)

    jets = seeded(point, direction, ("none", 0))
    args = [jets[key] for key in ("x", "w", "b")]
    ends = [outputs(*args, eps, up=up, constants=constants) for up in (False, True)]
    for i, got in enumerate(y):
        compare("y", got, [end[i].v for end in ends])
    gradients = {"x": (first.x[0], second.x[0]), "w": (first.weight, second.weight)}
    gradients |= {"b": (first.bias, None), "dy": (y, second.dy[0])}
    for key, (by, by_by) in gradients.items():
        for i in range(len(by)):
            once, twice = derivatives(point, direction, (key, i), eps, constants)
            compare(f"d{key}", by[i], once)
            if by_by is not None:
                compare(f"dd{key}", by_by[i], twice)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
def test_every_output_and_gradient_follows_from_the_definition_of_y(fmt, training):
    rng, compare = random.Random(f"fraction {fmt.name} {training}"), Comparison(fmt)
    for _ in range(60):
        point, direction, running = draw_channel(rng, fmt, rng.choice([2, 3, 5]))
        eps = rng.choice([1e-5, 1e-3, 1.75])
        compare_channel(compare, point, direction, running, eps, training=training)
    assert not compare.wrong
    assert not compare.undecided
    assert set(compare.compared) == {"y", "dx", "dw", "db", "ddy", "dddy", "ddx", "ddw"}
    assert compare.compared.total() >= 900
