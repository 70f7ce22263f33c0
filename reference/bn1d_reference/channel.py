"""The textbook formulas of BatchNorm for one channel, exact until the last rounding.

Notation, that of Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1, with n = N*L
values x_i in the channel:

    mean = sum(x)/n      var = sum((x - mean)**2)/n      s = 1/sqrt(var + eps)
    xhat_i = s*(x_i - mean)                              y_i = w*xhat_i + b

Each result is an affine function of the element's own inputs, with coefficients p + q*s that the
formulas below give literally.  Inputs are Python floats, taken exactly; results are rounded once,
to `fmt`, or to `param_fmt` where they have one value a channel.

Where a result is not defined (0/0, an evaluation with running_var + eps <= 0, the gradient
through a batch with a non-finite value) it is nan.
"""

# ruff: noqa: PLR0913, PLR0917 - a formula takes what it is a function of

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from math import isfinite, nan
from typing import TYPE_CHECKING

from bn1d_reference.exact import Vec, affine
from bn1d_reference.surd import Surd

if TYPE_CHECKING:
    from bn1d_reference.exact import Term
    from bn1d_reference.formats import Format


class Batch:
    """What one channel of a mini-batch says: its values and their exact statistics.

    `mean`, `var` and what needs them exist for finite, non-empty batches only.
    """

    def __init__(self, x: list[float]) -> None:
        """Take the channel's n = N*L values."""
        self.values = x
        self.n = len(x)
        #: Whether every value is finite.
        self.finite = finite(x)

    @cached_property
    def x(self) -> Vec:
        """The values as an exact vector."""
        return Vec(self.values)

    @cached_property
    def mean(self) -> Fraction:
        """The mean."""
        return self.x.sum() / self.n

    @cached_property
    def var(self) -> Fraction:
        """The biased variance, mean((x - mean)**2)."""  # TRAIN-3
        return self.x.dot(self.x) / self.n - self.mean**2

    @cached_property
    def abs_mean(self) -> float:
        """mean|x|, rounded to fp64: only bounds ask for it."""
        return float(self.x.abs_sum() / self.n)

    def rstd(self, eps: float) -> Surd | None:
        """1/sqrt(var + eps), or None where the batch does not define it."""
        return rstd(self.var, eps) if self.finite and self.n else None


def rstd(var: Fraction, eps: float) -> Surd | None:
    """1/sqrt(var + eps) as a number of its own field, or None unless var + eps > 0."""
    W = var + Fraction(eps)  # TRAIN-4: eps is inside the root
    return Surd(Fraction(0), Fraction(1), W) if W > 0 else None  # EVAL-13


def forward_train(batch: Batch, w: float, b: float, eps: float, fmt: Format) -> list[float]:
    """y_i = w*xhat_i + b with the batch's own mean and biased variance."""  # TRAIN-1
    s = batch.rstd(eps)
    if s is None:
        return [nan] * batch.n  # TRAIN-13
    return _normalize(batch.x, s, batch.mean, w, b, fmt)


def forward_eval(
    x: list[float], rm: float, rv: float, w: float, b: float, eps: float, fmt: Format
) -> list[float]:
    """y_i = w*(x_i - running_mean)/sqrt(running_var + eps) + b."""  # EVAL-1, EVAL-3
    s = _running_rstd(rm, rv, eps)
    if s is None:
        return [nan] * len(x)
    # EVAL-8: what is not finite goes its own way, and no other element with it
    y = _normalize(Vec([v if isfinite(v) else 0.0 for v in x]), s, Fraction(rm), w, b, fmt)
    return [r if isfinite(v) else v * w + b for r, v in zip(y, x, strict=True)]


def _normalize(x: Vec, s: Surd, mean: Fraction, w: float, b: float, fmt: Format) -> list[float]:
    if not (isfinite(w) and isfinite(b)):  # what IEEE arithmetic makes of w*xhat + b
        return [w * h + b for h in _normalize(x, s, mean, 1.0, 0.0, fmt)]
    ws = s * w  # TRAIN-5
    return affine(fmt, b - ws * mean, (ws, x))


def _running_rstd(rm: float, rv: float, eps: float) -> Surd | None:
    return rstd(Fraction(rv), eps) if isfinite(rm) and isfinite(rv) else None  # EVAL-4


def running(
    batch: Batch,
    rm: float,
    rv: float,
    momentum: float | None,
    count: int,
    fmt: Format,
    correction: int = 1,
) -> tuple[float, float]:
    """New running_mean and running_var, each (1 - m)*old + m*new; needs n > correction.

    m is `momentum`, or 1/count when it is None, where `count` includes this batch: the
    cumulative average.  The variance that is tracked is divided by n - correction.  A non-finite
    batch gives nan for the variance, and for the mean what IEEE arithmetic makes of its
    non-finite values.
    """
    m = Fraction(1, count) if momentum is None else Fraction(momentum)  # STATS-1, STATS-5
    if not batch.finite:  # STATS-13
        return _blend(rm, _nonfinite_sum(batch.values), m, fmt), nan
    tracked = batch.var * batch.n / (batch.n - correction)  # STATS-2, STATS-4
    return _blend(rm, batch.mean, m, fmt), _blend(rv, tracked, m, fmt)


def _blend(old: float, new: Fraction | float, m: Fraction, fmt: Format) -> float:
    """(1 - m)*old + m*new, rounded once; in IEEE arithmetic where one of them is not finite."""
    if isinstance(new, Fraction) and isfinite(old):
        return _round((1 - m) * Fraction(old) + m * new, fmt)  # STATS-7, STATS-9
    return float(1 - m) * old + (0.0 if isinstance(new, Fraction) else float(m) * new)


def backward_train(
    batch: Batch, dy: list[float], w: float, eps: float, fmt: Format, param_fmt: Format
) -> tuple[list[float], float, float]:
    """dx, dweight and dbias through the batch's own statistics.

    With c = mean(dy*xhat):  dx_i = w*s*(dy_i - mean(dy) - xhat_i*c),  dweight = n*c and
    dbias = sum(dy).  Source: Ioffe and Szegedy (2015), section 3, simplified.
    """
    s = batch.rstd(eps)
    if s is None or not finite(dy):
        return [nan] * batch.n, nan if dy else 0.0, _total(dy, param_fmt)  # GRAD-14
    x, g = batch.x, Vec(dy)
    sum_dy = g.sum()
    mean_dy = sum_dy / g.n
    c = _mean_with_xhat(g, mean_dy, batch, s)
    k = -s * s * c  # GRAD-1: dx = w*(s*dy + k*x + const)
    dx = _times(w, fmt, -s * mean_dy - k * batch.mean, (s, g), (k, x))
    return dx, (c * batch.n).round(param_fmt), _round(sum_dy, param_fmt)  # GRAD-2, GRAD-3


def backward_eval(
    x: list[float],
    dy: list[float],
    rm: float,
    rv: float,
    w: float,
    eps: float,
    fmt: Format,
    param_fmt: Format,
) -> tuple[list[float], float, float]:
    """dx_i = w*s*dy_i, dweight = sum(dy*(x - rm))*s and dbias = sum(dy): statistics are constants.

    rm and rv are running_mean and running_var, and s = 1/sqrt(rv + eps).
    """
    db = _total(dy, param_fmt)
    s = _running_rstd(rm, rv, eps)
    if s is None:
        return [nan] * len(x), nan, db
    g = Vec([v if isfinite(v) else 0.0 for v in dy])
    dx = _times(w, fmt, s * 0, (s, g))  # GRAD-4
    dx = [r if isfinite(v) else w * v for r, v in zip(dx, dy, strict=True)]
    if not (finite(x) and finite(dy)):
        return dx, _nonfinite_sum([g * (v - rm) for g, v in zip(dy, x, strict=True)]), db
    dw = s * (g.dot(Vec(x)) - g.sum() * Fraction(rm))  # GRAD-5
    return dx, dw.round(param_fmt), db


def double_backward_train(
    batch: Batch,
    dy: list[float],
    w: float,
    eps: float,
    gx: list[float],
    gw: float,
    gb: float,
    fmt: Format,
    param_fmt: Format,
) -> tuple[list[float], list[float], float]:
    """Gradients of sum(gx*dx) + gw*dweight + gb*dbias with respect to x, dy and w.

    With a = mean(gx*xhat), c = mean(dy*xhat), cov = mean(gx*dy) - mean(gx)*mean(dy), and
    g' = gx - mean(gx), d' = dy - mean(dy):

        by dy_i:  w*s*(g'_i - a*xhat_i) + gw*xhat_i + gb
        by x_i:  -w*s*s*(xhat_i*(cov - 3*a*c) + c*g'_i + a*d'_i) + gw*s*(d'_i - c*xhat_i)
        by w:     n*s*(cov - a*c)

    Source: the derivatives of `backward_train`'s formulas.
    """  # GRAD-13
    s = batch.rstd(eps)
    if s is None or not (finite(dy) and finite(gx) and finite([w, gw, gb])):
        return [nan] * batch.n, [nan] * batch.n, nan if dy else 0.0
    x, g, d, n, mean = batch.x, Vec(gx), Vec(dy), batch.n, batch.mean
    mean_g, mean_d = g.sum() / n, d.sum() / n
    a, c = _mean_with_xhat(g, mean_g, batch, s), _mean_with_xhat(d, mean_d, batch, s)
    cov, ac, ws = g.dot(d) / n - mean_g * mean_d, a * c, s * w

    k = s * (gw - ws * a)  # coefficient of x_i - mean
    by_dy = affine(fmt, gb - ws * mean_g - k * mean, (ws, g), (k, x))

    kg, kd = -ws * s * c, s * gw - ws * s * a  # coefficients of g'_i and d'_i
    kx = -s * (ws * s * (cov - 3 * ac) + s * gw * c)  # and of x_i - mean
    by_x = affine(fmt, -kg * mean_g - kd * mean_d - kx * mean, (kg, g), (kd, d), (kx, x))
    return by_x, by_dy, (n * s * (cov - ac)).round(param_fmt)


def double_backward_eval(
    x: list[float],
    dy: list[float],
    rm: float,
    rv: float,
    w: float,
    eps: float,
    gx: list[float],
    gw: float,
    gb: float,
    fmt: Format,
    param_fmt: Format,
) -> tuple[list[float], list[float], float]:
    """What `double_backward_train` gives, with running_mean and running_var for constants.

    by dy_i: w*s*gx_i + gw*s*(x_i - rm) + gb;  by x_i: gw*s*dy_i;  by w: s*sum(gx*dy).
    """
    s = _running_rstd(rm, rv, eps)
    if s is None or not (finite(x) and finite(dy) and finite(gx) and finite([w, gw, gb])):
        return [nan] * len(x), [nan] * len(x), nan
    g, d, k = Vec(gx), Vec(dy), s * gw
    by_dy = affine(fmt, gb - k * Fraction(rm), (s * w, g), (k, Vec(x)))
    return affine(fmt, s * 0, (k, d)), by_dy, (s * g.dot(d)).round(param_fmt)


def _mean_with_xhat(v: Vec, mean_v: Fraction, batch: Batch, s: Surd) -> Surd:
    """mean(v * xhat)."""
    return s * (v.dot(batch.x) / v.n - mean_v * batch.mean)


def _times(w: float, fmt: Format, const: Surd, *terms: Term) -> list[float]:
    """W times an affine map; what IEEE arithmetic makes of it where w is not finite."""
    if not isfinite(w):
        return [w * v for v in affine(fmt, const, *terms)]
    return affine(fmt, const * w, *((coef * w, x) for coef, x in terms))


def _total(dy: list[float], fmt: Format) -> float:
    """The sum, rounded once; what IEEE arithmetic makes of its non-finite terms."""  # GRAD-3
    if finite(dy):
        return _round(Vec(dy).sum(), fmt)
    return _nonfinite_sum(dy)


def finite(values: list[float]) -> bool:
    """Whether every value is; their sum shows it faster, unless it overflows."""
    return isfinite(sum(values)) or all(map(isfinite, values))


def _round(x: Fraction, fmt: Format) -> float:
    return fmt.round(*x.as_integer_ratio())


def _nonfinite_sum(values: list[float]) -> float:
    """The IEEE sum of values of which some are not finite, in whatever order."""
    return sum(v for v in values if not isfinite(v))
