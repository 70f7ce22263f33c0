"""One plain fp64 BatchNorm1d with knobs, so that a failure can be told by its numbers.

A wrong answer that equals what a misreading of the catalogue gives, and is not what the oracle
gives, is diagnosed; no name, text or source of a subject is ever looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.cases import columns, from_columns
from bn1d_conformance.misreadings import CATALOGUE, EVALUATION, TRAINING, Misreading
from bn1d_conformance.numbers import ulp

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.cases import Case
    from bn1d_conformance.misreadings import Knobs
    from bn1d_conformance.numbers import F64


class Simulation:
    """One plain fp64 BatchNorm on a case, with knobs; arrays are (C, n)."""

    def __init__(self, case: Case, knobs: Knobs) -> None:
        """Take the case's arrays as fp64."""
        self.case, self.knobs, self.eps = case, knobs, case.config.eps
        self.x, self.dy = columns(case.x), columns(case.dy)
        C, n = self.x.shape
        s = case.state
        self.n = n
        one, zero = np.ones(C), np.zeros(C)
        self.w = one if s.weight is None else s.weight.astype(float)
        self.b = zero if s.bias is None else s.bias.astype(float)
        self.rm = zero if s.running_mean is None else s.running_mean.astype(float)
        self.rv = one if s.running_var is None else s.running_var.astype(float)

    def mean(self, values: F64) -> F64:
        """Means over the axis of the knobs, each at the places that it stands for: (C, n)."""
        C, n = values.shape
        if self.knobs.axis == "flat":
            rows = from_columns(values, self.case.x.shape).reshape(-1, C)
            return self.spread(rows.mean(0))
        N = self.case.x.shape[0]
        grouped = values.reshape(C, N, n // max(N, 1))
        axes = {
            "channel": (1, 2), "sample": (2,), "position": (1,), "layer": (0, 1, 2), "row": (0,),
        }[self.knobs.axis]  # fmt: skip
        means = grouped.mean(axes, keepdims=True)
        return np.asarray(np.broadcast_to(means, grouped.shape).reshape(values.shape))

    def spread(self, values: F64) -> F64:
        """Values of shape (C,) at the places that each stands for: broadcastable to (C, n)."""
        if self.knobs.axis == "flat":
            return columns(np.resize(values, self.case.x.shape))
        return values[:, None]

    def moments(self) -> tuple[F64, F64]:
        """Mean and biased variance of the batch."""
        mean = self.mean(self.x)
        return mean, self.mean((self.x - mean) ** 2)

    def factor(self) -> float:
        """The weight of the new observation."""
        k = self.case.state.num_batches_tracked or 0
        m = self.case.config.momentum
        right = 1 / (k + 1) if m is None else m
        if m is None:
            counted = {"late": 1 / max(k, 1), "early": 1 / (k + 2)}
            choices = {**counted, "none-is-default": 0.1, "none-is-zero": 0.0}
        else:
            choices = {"old": 1 - m, "none": 0.0, "default": 0.1, "counted": 1 / (k + 1)}
        choices |= {"one": 1.0, "double": 1 - (1 - right) ** 2}
        return choices.get(self.knobs.momentum, right)

    def tracked(self) -> tuple[F64, F64]:
        """running_mean and running_var after the pass."""
        data = columns(self.y()) if self.knobs.tracks == "output" else self.x
        centre = (
            self.rm[:, None]
            if self.knobs.tracks == "about-running"
            else data.mean(1, keepdims=True)
        )
        count = self.case.x.shape[0] if self.knobs.count == "batch" else self.n
        var = ((data - centre) ** 2).mean(1) * correction(count, self.knobs.tracked_ddof)
        added = var + self.eps
        forms = {"std": np.sqrt(var), "1/root": 1 / np.sqrt(added), "var+eps": added}
        seen = forms.get(self.knobs.tracks, var)
        m = self.factor()
        kept = 1.0 if self.knobs.momentum == "added" else 1 - m
        return kept * self.rm + m * data.mean(1), kept * self.rv + m * seen

    def normaliser(self) -> tuple[F64, F64]:
        """The mean that is subtracted, and 1/(root), broadcastable to (C, n)."""
        batch = self.case.uses_batch
        if batch or self.knobs.gradient == "batch":
            mean, var = self.moments()
        else:
            mean, var = self.rm[:, None], self.rv[:, None]
        if batch and self.knobs.source == "running":
            mean, var = self.rm[:, None], self.rv[:, None]
        if batch and self.knobs.source == "updated":
            mean, var = (v[:, None] for v in replace_knobs(self, source="batch").tracked())
        var = var * correction(self.n, self.knobs.ddof)
        r = self._reciprocal(var**2 if self.knobs.statistic == "std" else var)
        r = {"none": np.ones_like(r), "square": r * r}.get(self.knobs.scale, r)
        return np.zeros_like(mean) if self.knobs.centre == "none" else mean, r

    def _reciprocal(self, var: F64) -> F64:
        eps, where = self.eps, self.knobs.eps
        if isinstance(where, float):
            return 1 / np.sqrt(var + where)
        if where == "floor":
            return np.asarray(1 / np.sqrt(np.maximum(var, eps)))
        outside = {"outside": eps, "root": eps**0.5}
        if where in outside:
            return np.asarray(1 / (np.sqrt(var) + outside[where]))
        added = {"inside": eps, "none": 0.0, "twice": 2 * eps, "squared": eps * eps}[where]
        return 1 / np.sqrt(var + added)

    def y(self) -> F64:
        """The output, in the input's shape."""
        mean, r = self.normaliser()
        hat, w, b = (self.x - mean) * r, self.spread(self.w), self.spread(self.b)
        forms: dict[str, Callable[[], F64]] = {
            "wx+b": lambda: hat * w + b,
            "w(x+b)": lambda: (hat + b) * w,
            "no-weight": lambda: hat + b,
            "no-bias": lambda: hat * w,
            "none": lambda: hat,
            "abs-weight": lambda: hat * np.abs(w) + b,
            "twice": lambda: (hat * w + b) * w + b,
            "(1+w)x+b": lambda: hat * (1 + w) + b,
            "wx-b": lambda: hat * w - b,
            "bx+w": lambda: hat * b + w,
            "input": lambda: self.x,
        }
        return from_columns(forms[self.knobs.affine](), self.case.x.shape)

    def dx(self) -> F64:
        """The input's gradient."""
        mean, r = self.normaliser()
        hat, kind = (self.x - mean) * r, self.knobs.gradient
        w = np.abs(self.w) if self.knobs.affine == "abs-weight" else self.w
        bare = kind == "no-weight" or self.knobs.affine in ("none", "no-weight")
        scale = (1.0 if bare else w[:, None]) * (1.0 if kind == "not-scaled" else r)
        scale = scale / (self.n if kind == "divided" else 1.0)
        if kind in ("passed", "zero"):
            return from_columns(self.dy * (kind == "passed"), self.case.x.shape)
        N = self.case.x.shape[0]
        counts = {"n-1": correction(self.n, 1), "n-batch": self.n / max(N, 1), "sums": self.n}
        count = counts.get(kind, 1.0)
        m_dy = self.mean(self.dy) * (kind != "no-mean") * count
        m_h = self.mean(self.dy * hat) * (kind != "no-xhat") * count
        m_h = m_h * correction(self.n, 1 if kind == "var-n-1" else self.knobs.ddof)
        constants = kind == "constants" or self.knobs.source != "batch"
        through = kind in ("batch", "formula") or (self.case.uses_batch and not constants)
        d = self.dy - m_dy - hat * m_h if through else self.dy
        return from_columns(scale * d, self.case.x.shape)

    def dweight(self) -> F64:
        """The weight's gradient."""
        mean, r = self.normaliser()
        hat = (self.x - mean) * r
        factors: dict[str, Callable[[], F64]] = {
            "y": lambda: hat * self.w[:, None] + self.b[:, None],
            "x": lambda: self.x,
            "centred": lambda: self.x - mean,
            "mean": lambda: hat / self.n,
            "one": lambda: np.ones_like(hat),
            "zero": lambda: np.zeros_like(hat),
            "recentred": lambda: hat - hat.mean(1, keepdims=True),
        }
        factor = factors.get(self.knobs.dweight, lambda: hat)()
        return np.asarray((self.dy * factor).sum(1))

    def dbias(self) -> F64:
        """The bias's gradient."""
        if self.knobs.dbias == "xhat":
            return self.dweight()
        factor = {"mean": 1 / max(self.n, 1), "zero": 0.0}.get(self.knobs.dbias, 1.0)
        return np.asarray(self.dy.sum(1) * factor)

    def quantity(self, name: str) -> F64:
        """Any output by name."""
        if name in ("running_mean", "running_var"):
            return self.tracked()[name == "running_var"]
        return np.asarray(getattr(self, name)())


def correction(n: int, ddof: int) -> float:
    """The factor from the biased variance to one divided by n − ddof; infinite at 0."""
    return n / (n - ddof) if n > ddof else float("inf")


def replace_knobs(sim: Simulation, **knobs: str) -> Simulation:
    """The same case with other knobs."""
    return Simulation(sim.case, replace(sim.knobs, **knobs))  # type: ignore[arg-type]


def identify(case: Case, got: F64, answer: Answer) -> Misreading | None:
    """Return the misreading whose numbers are the subject's; of several that fit, the nearest.

    Args:
        case: the input.
        got: the subject's wrong answer, as fp64, of the right shape.
        answer: what is right.
    """
    mode = TRAINING if case.uses_batch else EVALUATION
    asked = [m for m in CATALOGUE if m.mode == mode and answer.quantity in m.quantities]
    with np.errstate(all="ignore"):
        misfits = [_misfit(m, case, got, answer) for m in asked]
    best = min(misfits, default=np.inf)
    if not np.isfinite(best):
        return None
    return next(m for m, k in zip(asked, misfits, strict=True) if k <= best + 1)


def _misfit(m: Misreading, case: Case, got: F64, answer: Answer) -> float:
    """How far, in ulp, the subject is from the misreading; infinite where it is another thing.

    It fits where the two are equal everywhere, the special values included, where the misreading
    is further than that from what is right, and where it explains the error that is seen.
    """
    predicted = Simulation(case, m.knobs).quantity(answer.quantity)
    if predicted.shape != got.shape or not _same_special(predicted, got):
        return float("inf")
    finite = np.isfinite(predicted) & np.isfinite(answer.exact)
    if not finite.any():
        return 0.0 if np.isfinite(answer.exact).any() else float("inf")
    away, size = (
        np.abs(got - predicted)[finite],
        np.maximum(np.abs(predicted), answer.scale)[finite],
    )
    grown = max(1.0, np.max(np.abs(predicted[finite])) / max(float(np.max(answer.scale)), 1e-300))
    slack = 4 * grown * answer.bound[finite] + 4 * ulp(size, answer.format)
    wrong = np.abs(got - answer.exact)[finite]
    apart = np.abs(predicted - answer.exact)[finite] > 2 * slack
    special = not finite.all() and bool(np.isfinite(answer.exact).all())
    explained = special or (apart.any() and np.max(away) <= np.max(wrong) / 8)
    if not ((away <= slack).all() and explained):
        return float("inf")
    return float((away / ulp(answer.scale[finite], answer.format)).max())


def _same_special(a: F64, b: F64) -> bool:
    """Whether NaN and infinities stand in the same places, the infinities with their signs."""
    special = ~(np.isfinite(a) & np.isfinite(b))
    return bool(np.array_equal(a[special], b[special], equal_nan=True))
