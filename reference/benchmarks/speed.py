"""Elements per second of the exact oracle, beside mpmath and plain fractions, in one run.

    python reference/benchmarks/speed.py [--repeats 5]

Forward means statistics and every y; backward means dx, dweight and dbias, with the statistics
computed anew.  Processor time, the best of the repeats, taken in turns so that a busy machine
slows all three alike.  mpmath computes with 50 digits and rounds what it gets, so it is not
exact; "fraction" is the textbook, element by element, with 1/sqrt to 200 bits.  Above
`PREFIX` elements both are timed on the first `PREFIX` of them only: their time grows with n.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

import mpmath

from bn1d_reference import channel
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FP32, FP64, Format

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (8, 1024, 65536)
PREFIX = 4096
W, B, EPS = 1.25, -0.5, 1e-5
DIGITS, BITS = 50, 200

Pass = tuple[list[float], list[float], Format]


def oracle_forward(x: list[float], _: list[float], fmt: Format) -> list[float]:
    """The oracle: exact, one rounding."""
    return channel.forward_train(Batch(x), W, B, EPS, fmt)


def oracle_backward(x: list[float], dy: list[float], fmt: Format) -> list[float]:
    """The oracle's dx, with dweight and dbias computed on the way."""
    return channel.backward_train(Batch(x), dy, W, EPS, fmt, fmt)[0]


def mpmath_forward(x: list[float], _: list[float], fmt: Format) -> list[float]:
    """The textbook in 50 digits."""
    mean, rstd, xs = mpmath_statistics(x)
    return [mpmath_round(W * ((v - mean) * rstd) + B, fmt) for v in xs]


def mpmath_backward(x: list[float], dy: list[float], fmt: Format) -> list[float]:
    """The textbook's dx, dweight and dbias in 50 digits."""
    mean, rstd, xs = mpmath_statistics(x)
    xhat, g, n = [(v - mean) * rstd for v in xs], list(map(mpmath.mpf, dy)), len(x)
    db, dw = mpmath.fsum(g), mpmath.fdot(g, xhat)
    scale, mean_dy, c = W * rstd, db / n, dw / n
    return [mpmath_round(scale * (d - mean_dy - h * c), fmt) for d, h in zip(g, xhat, strict=True)]


def mpmath_statistics(x: list[float]) -> tuple[mpmath.mpf, mpmath.mpf, list[mpmath.mpf]]:
    """Mean, 1/sqrt(var + eps) and the values, as mpmath's numbers."""
    xs = list(map(mpmath.mpf, x))
    mean = mpmath.fsum(xs) / len(x)
    var = mpmath.fsum((v - mean) ** 2 for v in xs) / len(x)
    return mean, 1 / mpmath.sqrt(var + EPS), xs


def mpmath_round(value: mpmath.mpf, fmt: Format) -> float:
    """To the format: fp64 by mpmath, fp32 over it."""
    return fmt.cast([float(value)])[0]


def fraction_forward(x: list[float], _: list[float], fmt: Format) -> list[float]:
    """The textbook in fractions."""
    mean, rstd, xs = fraction_statistics(x)
    w, b = Fraction(W), Fraction(B)
    return [fmt.round(*(w * ((v - mean) * rstd) + b).as_integer_ratio()) for v in xs]


def fraction_backward(x: list[float], dy: list[float], fmt: Format) -> list[float]:
    """The textbook's dx, dweight and dbias in fractions."""
    mean, rstd, xs = fraction_statistics(x)
    xhat, g, n = [(v - mean) * rstd for v in xs], list(map(Fraction, dy)), len(x)
    db, dw = sum(g), sum(d * h for d, h in zip(g, xhat, strict=True))
    scale, mean_dy, c = Fraction(W) * rstd, db / n, dw / n
    return [
        fmt.round(*(scale * (d - mean_dy - h * c)).as_integer_ratio())
        for d, h in zip(g, xhat, strict=True)
    ]


def fraction_statistics(x: list[float]) -> tuple[Fraction, Fraction, list[Fraction]]:
    """Mean, 1/sqrt(var + eps) to `BITS` bits and the values, as fractions."""
    xs = list(map(Fraction, x))
    mean = sum(xs, Fraction(0)) / len(x)
    var = sum((v - mean) ** 2 for v in xs) / len(x)
    inverse = 1 / (var + Fraction(EPS))
    root = isqrt((inverse.numerator << 2 * BITS) // inverse.denominator)
    return mean, Fraction(root, 1 << BITS), xs


METHODS = {
    "forward": (oracle_forward, mpmath_forward, fraction_forward),
    "backward": (oracle_backward, mpmath_backward, fraction_backward),
}


def rate(method: Callable[..., list[float]], data: Pass) -> float:
    """Elements a second of one timing, of enough calls to be felt."""
    n = len(data[0])
    calls = max(1, 2048 // n)
    start = time.process_time()
    for _ in range(calls):
        method(*data)
    return n * calls / (time.process_time() - start)


def prefix(data: Pass) -> Pass:
    """The first `PREFIX` elements."""
    return data[0][:PREFIX], data[1][:PREFIX], data[2]


def row(way: str, n: int, fmt: Format, repeats: int) -> str:
    """One line of the table."""
    rng = random.Random(n)  # noqa: S311 - data, not secrets
    x, dy = (fmt.cast([rng.gauss(0, 1) for _ in range(n)]) for _ in range(2))
    data = (x, dy, fmt)
    oracle, by_mpmath, by_fraction = METHODS[way]
    timings = [
        (rate(oracle, data), rate(by_mpmath, prefix(data)), rate(by_fraction, prefix(data)))
        for _ in range(repeats)
    ]
    ours, mp, fraction = map(max, zip(*timings, strict=True))
    note = f"  (the others on {PREFIX})" if n > PREFIX else ""
    return (
        f"{way:8} {fmt.name} {n:6d} {ours:12,.0f} {mp:12,.0f} {fraction:12,.0f}"
        f" {ours / mp:9.1f}x {ours / fraction:9.1f}x{note}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timings of which the best counts")
    repeats = parser.parse_args().repeats
    mpmath.mp.dps = DIGITS
    print(f"elements per second, best of {repeats}; Python {platform.python_version()},", end=" ")
    print(f"mpmath {mpmath.__version__} ({mpmath.libmp.BACKEND} integers, {DIGITS} digits)")
    print("pass     fmt       n       oracle       mpmath     fraction  /mpmath   /fraction")
    for way in METHODS:
        for fmt in (FP32, FP64):
            for n in SIZES:
                print(row(way, n, fmt, repeats), flush=True)


if __name__ == "__main__":
    main()
