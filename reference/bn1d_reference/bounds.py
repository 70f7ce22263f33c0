"""How much a backward stable BatchNorm may lose: componentwise bounds, derived and never tuned.

An answer `got` passes when `RN(t - B) <= got <= RN(t + B)`, where t is the exact value, RN rounds
to the output's format and B, the bound, covers everything that happens before that last rounding.
B is the growth of a sum times the condition number with respect to relative changes of x, with
constants that count roundings: Welford, Chan, two-pass and fused scale and shift are inside it;
mean(x**2) - mean(x)**2 is not.  To first order in u, except where noted:

    tau  = (phi + 2) u mean|x|                        error of the computed mean
    dvar = (phi + 4) u var + 2 tau sigma + tau_el**2  of the biased variance, about a stored mean
    t    = dvar/(var + eps)
    e_r  = (1 - t)**(-1/2) - 1 + 4 u_el                of 1/sqrt(var + eps), relative
    u_el (|x_i| + 3 |mean|) s                         of a fused x*scale + (b - mean*scale)

Sources: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), sections 3.1 and 4.2;
Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).

All bounds are evaluated in plain fp64: they need no more than a few digits.  A batch that holds a
non-finite value, is empty, has var + eps = 0 or is vacuous has no bound: it is inf, which
accepts any answer, so that a case must assert `vacuity(...) <= VACUOUS` before it judges.  The
bounds know underflow, but not overflow: sums of squares, n * max(x)**2, must be finite in the
accumulator.
"""
# ruff: noqa: PLR0913, PLR0917 - a bound takes what its formula is a function of

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from math import inf, isfinite, isnan, log2
from operator import add, mul
from typing import TYPE_CHECKING

from bn1d_reference.channel import finite
from bn1d_reference.errors import (
    by_batch,
    by_buffers,
    covariance,
    error_of_mean,
    error_with_xhat,
    means,
    moments_of,
)
from bn1d_reference.formats import FP32, FP64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bn1d_reference.channel import Batch
    from bn1d_reference.errors import Means, Normalizing
    from bn1d_reference.formats import Format

#: A case judges something only while its vacuity is at most this.
VACUOUS = 0.25


def _any_order(n: int) -> float:
    """A sum in any order: Higham (2002), equation 4.4; structured data do reach it."""
    return float(n)  # NUM-7


def _blocks(n: int) -> float:
    """A sum by trees, blocks or wide accumulators."""
    return 8 + 2 * log2(n)


def _wide(_: int) -> float:
    """A sum in twice the precision, or compensated, and then rounded."""
    return 2.0


_GROWTH: dict[str, Callable[[int], float]] = {
    "conforming": _any_order,
    "blocked": _blocks,
    "accurate": _wide,
}


@dataclass(frozen=True)
class Arithmetic:
    """What a subject is taken to compute with.

    Attributes:
        u: unit roundoff of the sums.
        u_el: unit roundoff of everything else.
        tiny: smallest normal number; what is smaller may be flushed to zero.
        phi: growth of a sum of n terms, |computed - exact| <= phi(n) * u * sum|terms|.
        grade: "conforming" (sums in any order), "blocked" (trees, blocks) or "accurate"
            (statistics in twice the precision, and a mean that is never rounded).
    """

    u: float
    u_el: float
    tiny: float
    phi: Callable[[int], float]
    grade: str

    @property
    def accurate(self) -> bool:
        """Whether nothing may be lost before the end."""
        return self.grade == "accurate"

    def growth(self, n: int) -> float:
        """Error of a sum of n terms, relative to the sum of their magnitudes."""
        return self.phi(n) * (self.u_el if self.accurate else self.u)

    def centring(self, mean: float) -> tuple[float, float]:
        """(k0, kx): computing x_i - mean costs k0 + kx*|x_i|, fused forms included."""
        return (0.0, 0.0) if self.accurate else (3 * self.u_el * abs(mean), self.u_el)

    @property
    def storing(self) -> float:
        """Relative cost of keeping a sum in a storage format narrower than its accumulator."""
        return 0.0 if self.u_el == self.u else 2 * self.u_el


def arithmetic(
    data: Format, params: Format, profile: str = "strict", grade: str = "conforming"
) -> Arithmetic:
    """The arithmetic that data and parameters of these formats call for.

    Sums are accumulated in fp64 for fp64 data and in fp32 for all others.  Profile "strict"
    computes everything so; "storage" may round every intermediate to the narrower of the two
    formats, as PyTorch does where the parameters are half precision and in its half backward.

    Raises:
        ValueError: an unknown profile or grade.
    """
    if profile not in {"strict", "storage"} or grade not in _GROWTH:
        raise ValueError(f"no profile {profile!r} or no grade {grade!r}")
    accumulator = FP64 if data == FP64 else FP32  # DTYPE-2, DTYPE-4, DTYPE-30
    storage = (data, params) if profile == "storage" else ()  # DTYPE-3, DTYPE-5, DTYPE-11
    return Arithmetic(
        u=accumulator.unit_roundoff,
        u_el=max(f.unit_roundoff for f in (accumulator, *storage)),
        tiny=max(f.smallest_normal for f in (accumulator, *storage)),
        phi=_GROWTH[grade],
        grade=grade,
    )


def accepts(fmt: Format, got: float, exact: float, bound: float) -> bool:
    """Whether RN(t - B) <= got <= RN(t + B), for `got` in `fmt`.

    `exact` is t rounded to fp64, for which half an ulp of fp64 is added to the bound.  A nan
    wants a nan, an infinity the same one.  A bound that is not finite accepts anything else.
    """
    if not isfinite(exact):
        return got == exact or (isnan(got) and isnan(exact))
    if not isfinite(bound):
        return True
    if abs(got - exact) < bound * (1 - 2.0**-50):
        return True  # rounding is monotonic, and leaves `got` where it is
    radius = Fraction(bound) + Fraction(FP64.ulp(exact)) / 2
    low, high = Fraction(exact) - radius, Fraction(exact) + radius
    return fmt.round(*low.as_integer_ratio()) <= got <= fmt.round(*high.as_integer_ratio())


def vacuity(ar: Arithmetic, batch: Batch, eps: float) -> float:
    """The t of the module's text: how much of var + eps the computed variance may be wrong by.

    As t approaches 1 the bounds grow without limit; a case is usable while it is at most
    `VACUOUS`.  It is inf where there is no bound at all.
    """
    moments = moments_of(ar, batch)
    return moments.vacuity(ar, eps) if moments else inf


def forward_train(ar: Arithmetic, batch: Batch, w: float, b: float, eps: float) -> list[float]:
    """B_i for each y_i of a training forward pass."""
    return _forward(ar, by_batch(ar, batch, eps), batch.values, w, b)


def forward_eval(
    ar: Arithmetic, x: list[float], rm: float, rv: float, w: float, b: float, eps: float
) -> list[float]:
    """B_i for each y_i of an evaluation with running_mean rm and running_var rv."""
    return _forward(ar, by_buffers(ar, rm, rv, eps), x, w, b)


def running(
    ar: Arithmetic,
    batch: Batch,
    eps: float,  # noqa: ARG001 - the statistics know no eps; the signature is that of the others
    rm: float,
    rv: float,
    m: float,
    correction: int = 1,
) -> tuple[float, float]:
    """B for the new running_mean and running_var; m = 1/count for the cumulative average."""
    moments = moments_of(ar, batch)
    if moments is None:
        return inf, inf
    bessel = batch.n / (batch.n - correction)
    old_mean, old_var = abs(rm) + m * abs(moments.mean), abs(rv) + m * bessel * moments.var
    return (
        m * (moments.tau + ar.tiny) + 4 * ar.u_el * old_mean + ar.tiny,
        m * bessel * (moments.dvar + 4 * ar.tiny) + 4 * ar.u_el * old_var + ar.tiny,
    )


def backward_train(
    ar: Arithmetic, batch: Batch, dy: list[float], w: float, eps: float
) -> tuple[list[float], float, float]:
    """B_i for each dx_i of a training backward pass, B for dweight and B for dbias."""
    cost = by_batch(ar, batch, eps)
    if cost is None or not finite(dy):
        return [inf] * batch.n, inf, inf
    n, u, w, x = batch.n, ar.u_el, abs(w), batch.values
    xhat = cost.xhat(x)
    m = means(ar, dy, x, xhat)
    e_c, e_m = error_with_xhat(ar, cost, m, n), error_of_mean(ar, m, n)
    c, ws = abs(m.vh) + e_c, w * cost.s  # c keeps the product of two errors
    # what w*rstd multiplies in dx_i
    bracket = [d - m.v - m.vh * h for d, h in zip(dy, xhat, strict=True)]
    constant = ws * (4 * u * abs(m.v) + e_m + c * cost.s * cost.k0) + ar.tiny * (2 + ws)
    dx = _sum_abs(
        n,
        constant,
        (ws * c * cost.s * cost.kx, x),
        (ws * (e_c + (2 * cost.e_r + 4 * u) * c), xhat),
        (ws * 4 * u, dy),
        (w * cost.rstd * (cost.e_r + 3 * u), bracket),
    )
    return dx, n * (e_c + ar.storing * abs(m.vh) + ar.tiny), _dbias(ar, m, n)


def backward_eval(
    ar: Arithmetic, x: list[float], dy: list[float], rm: float, rv: float, w: float, eps: float
) -> tuple[list[float], float, float]:
    """B_i for each dx_i of an evaluation's backward pass, B for dweight and B for dbias."""
    cost, n = by_buffers(ar, rm, rv, eps), len(x)
    if cost is None or not n or not (finite(x) and finite(dy)):
        return [inf] * n, inf, inf
    ws = abs(w) * cost.s
    m = means(ar, dy, x, cost.xhat(x))
    dx = _sum_abs(n, ar.tiny * (2 + ws), (7 * ar.u_el * ws, dy))
    e_c = error_with_xhat(ar, cost, m, n) + (ar.u_el + ar.storing) * abs(m.vh)
    return dx, n * (e_c + ar.tiny), _dbias(ar, m, n)


def double_backward_train(
    ar: Arithmetic,
    batch: Batch,
    dy: list[float],
    w: float,
    eps: float,
    gx: list[float],
    gw: float,
    gb: float,
) -> tuple[list[float], list[float], float]:
    """B_i for the gradients of sum(gx*dx) + gw*dweight + gb*dbias by x_i and dy_i, and B by w."""
    cost = by_batch(ar, batch, eps)
    if cost is None or not (finite(dy) and finite(gx)):
        return [inf] * batch.n, [inf] * batch.n, inf
    n, u, w, gw, gb = batch.n, ar.u_el, abs(w), abs(gw), abs(gb)
    x, xhat, s = batch.values, cost.xhat(batch.values), cost.s
    d, g = means(ar, dy, x, xhat), means(ar, gx, x, xhat)
    e_c, e_a = error_with_xhat(ar, cost, d, n), error_with_xhat(ar, cost, g, n)
    e_d, e_g = error_of_mean(ar, d, n), error_of_mean(ar, g, n)
    c, a = abs(d.vh) + e_c, abs(g.vh) + e_a
    cov, e_cov = covariance(ar, gx, dy, g, d)
    K, e_K = cov + 3 * a * c, e_cov + 3 * (a * e_c + c * e_a)  # of cov - 3*a*c
    # the error of xhat_i is e0 + ex*|x_i| + eh*|xhat_i|
    e0, ex, eh = s * cost.k0, s * cost.kx, cost.e_r + 3 * u
    q, r = cost.e_r + 6 * u, 2 * cost.e_r + 8 * u

    ws = w * s
    by_dy = _sum_abs(
        n,
        ws * (e_g + a * e0 + q * abs(g.v)) + gw * e0 + 3 * u * gb + ar.tiny * (2 + ws + gw),
        ((ws * a + gw) * ex, x),
        (ws * (a * eh + e_a + q * a) + gw * (eh + 2 * u), xhat),
        (ws * q, gx),
    )
    wss, gws = ws * s, gw * s
    on_xhat = wss * (K + e_K) + gws * c  # what multiplies the error of xhat_i
    kg, kd = wss * (e_c + r * c), wss * (e_a + r * a) + gws * q
    constant = on_xhat * e0 + wss * (c * e_g + a * e_d) + gws * e_d
    by_x = _sum_abs(
        n,
        constant + kg * abs(g.v) + kd * abs(d.v) + ar.tiny * (2 + wss + gws),
        (on_xhat * ex, x),
        (on_xhat * eh + wss * (e_K + r * K) + gws * (e_c + q * c), xhat),
        (kg, gx),
        (kd, dy),
    )
    by_w = n * s * (e_cov + a * e_c + c * e_a + q * (cov + a * c)) + ar.tiny * n
    return by_x, by_dy, by_w


def _forward(
    ar: Arithmetic, cost: Normalizing | None, x: list[float], w: float, b: float
) -> list[float]:
    if cost is None:
        return [inf] * len(x)
    w, ws, u = abs(w), abs(w) * cost.s, ar.u_el
    constant = ws * cost.k0 + 2 * u * abs(b) + ar.tiny * (2 + ws)
    return _sum_abs(len(x), constant, (ws * cost.kx, x), (w * (cost.e_r + 5 * u), cost.xhat(x)))


def _dbias(ar: Arithmetic, m: Means, n: int) -> float:
    return n * (ar.growth(n) * m.abs_v + ar.storing * abs(m.v)) + ar.tiny


def _sum_abs(n: int, constant: float, *terms: tuple[float, list[float]]) -> list[float]:
    """Add sum(k*|v_i|) over the terms (k, v) to the constant."""
    total: Iterable[float] = repeat(constant, n)
    for k, v in terms:
        total = map(add, total, map(mul, repeat(k), map(abs, v)))
    return list(total)
