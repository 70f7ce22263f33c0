"""What each step of a normalisation may lose: its moments, 1/sqrt, centring and sums.

The pieces that `bounds` puts together; its text says what they rest on.  Everything here is plain
fp64, in which `x`, `v` and `w` are the values of a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import fsum, inf, isfinite, sqrt
from operator import mul
from typing import TYPE_CHECKING

from bn1d_reference.formats import FP64

if TYPE_CHECKING:
    from bn1d_reference.bounds import Arithmetic
    from bn1d_reference.channel import Batch


@dataclass(frozen=True)
class Moments:
    """A batch's mean and biased variance in fp64, and the errors tau, tau_el and dvar.

    tau is the error of the mean, tau_el that of the mean as the elements meet it.
    """

    mean: float
    var: float
    tau: float
    tau_el: float
    dvar: float

    def vacuity(self, ar: Arithmetic, eps: float) -> float:
        """The error of the variance, relative to var + eps."""
        W = self.var + eps
        return (self.dvar + 4 * ar.tiny) / W if W > 0 else inf


def moments_of(ar: Arithmetic, batch: Batch) -> Moments | None:
    """The moments of a batch; None where it has none, or they leave the range of fp64."""
    if not (batch.finite and batch.n):
        return None
    mean, var = float(batch.mean), _to_float(batch.var)
    if not isfinite(var):
        return None
    if ar.accurate:
        tau = batch.n * ar.u * ar.u * batch.abs_mean
        return Moments(mean, var, tau, tau, 4 * ar.u * var)
    growth = ar.growth(batch.n)
    tau = (growth + 2 * ar.u) * batch.abs_mean
    # Deviations may be taken from the mean as it is stored. That it was rounded costs its square
    # alone: the mean of (x_i - m)**2 is var + (mean - m)**2 for any m.
    tau_el = tau + (ar.u_el - ar.u) * abs(mean)
    dvar = (growth + 4 * ar.u) * var + 2 * tau * sqrt(var) + tau_el * tau_el  # NUM-1
    return Moments(mean, var, tau, tau_el, dvar)


@dataclass(frozen=True)
class Normalizing:
    """What normalising by given statistics costs.

    Attributes:
        mean: the exact mean, as a sum of two floats.
        rstd: 1/sqrt(var + eps); s: the same, at most, as computed; e_r: its relative error.
        k0, kx: the error of x_i - mean is at most k0 + kx*|x_i|.
    """

    mean: tuple[float, float]
    rstd: float
    s: float
    e_r: float
    k0: float
    kx: float

    def xhat(self, x: list[float]) -> list[float]:
        """The normalised x, to fp64 accuracy even where the mean is large."""
        high, low = self.mean
        s = self.rstd
        return [s * ((v - high) - low) for v in x]


def by_batch(ar: Arithmetic, batch: Batch, eps: float) -> Normalizing | None:
    """By the batch's own statistics; None where there is no bound."""
    moments = moments_of(ar, batch)
    t = moments.vacuity(ar, eps) if moments else inf
    if moments is None or t >= 1:
        return None
    e_r = 1 / sqrt(1 - t) - 1 + 4 * ar.u_el
    rstd = 1 / sqrt(moments.var + eps)
    k0, kx = ar.centring(moments.mean)
    tau = moments.tau_el + ar.tiny
    two = (moments.mean, float(batch.mean - Fraction(moments.mean)))
    return Normalizing(two, rstd, (1 + e_r) * rstd, e_r, tau + k0, kx)


def by_buffers(ar: Arithmetic, rm: float, rv: float, eps: float) -> Normalizing | None:
    """By running statistics, which are given and hence exact; None where there is no bound."""
    if not (isfinite(rm) and isfinite(rv) and rv + eps > 0):
        return None
    rstd = 1 / sqrt(rv + eps)
    return Normalizing((rm, 0.0), rstd, rstd, 4 * ar.u_el, *ar.centring(rm))


@dataclass(frozen=True)
class Means:
    """Means over the channel: of v, |v|, v*xhat, |v*xhat| and |v*x|."""

    v: float
    abs_v: float
    vh: float
    abs_vh: float
    abs_vx: float


def means(ar: Arithmetic, v: list[float], x: list[float], xhat: list[float]) -> Means:
    """The means of v; an accurate sum loses only in proportion to its result."""
    products = list(map(mul, v, xhat))
    mean, abs_mean = _mean(v), _mean_abs(v)
    if ar.accurate:
        abs_mean = abs(mean) + 2 * ar.u_el * abs_mean
    abs_vx = _mean_abs(list(map(mul, v, x)))
    return Means(mean, abs_mean, _mean(products), _mean_abs(products), abs_vx)


def error_of_mean(ar: Arithmetic, m: Means, n: int) -> float:
    """Of mean(v)."""
    return ar.growth(n) * m.abs_v + ar.u_el * abs(m.v)


def error_with_xhat(ar: Arithmetic, cost: Normalizing, m: Means, n: int) -> float:
    """Of mean(v*xhat)."""
    summing = (ar.growth(n) + 4 * ar.u_el) * m.abs_vh
    centring = cost.s * (cost.k0 * m.abs_v + cost.kx * m.abs_vx)
    return summing + cost.e_r * abs(m.vh) + centring


def covariance(
    ar: Arithmetic, v: list[float], w: list[float], of_v: Means, of_w: Means
) -> tuple[float, float]:
    """|mean(v*w) - mean(v)*mean(w)| and its error."""
    products = list(map(mul, v, w))
    size = _mean_abs(products) + of_v.abs_v * of_w.abs_v
    error = (ar.growth(len(v)) + 4 * ar.u_el) * size
    return abs(_mean(products) - of_v.v * of_w.v), error


def _mean(v: list[float]) -> float:
    """The mean, rounded once; inf where the sum leaves the range, and with it every bound."""
    try:
        return fsum(v) / len(v)
    except (OverflowError, ValueError):  # beyond the range, or inf - inf among products
        return inf


def _mean_abs(v: list[float]) -> float:
    return sum(map(abs, v)) / len(v)


def _to_float(x: Fraction) -> float:
    """The nearest fp64 number, inf beyond the range."""
    return FP64.round(*x.as_integer_ratio())
