"""Usual misreadings of the definition, computed, so that a failure can be told by its numbers.

Each misreading is a change of a few knobs of one plain fp64 implementation, with the requirement
that it breaks. A wrong answer that equals what a misreading gives, and is not what the oracle
gives, is diagnosed; no name, text or source of a subject is ever looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.cases import columns, from_columns
from bn1d_conformance.numbers import ulp

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.cases import Case
    from bn1d_conformance.expected import Answer
    from bn1d_conformance.numbers import F64

TRAINING, EVALUATION = "training", "evaluation"


@dataclass(frozen=True)
class Knobs:
    """What a reader of the definition may get wrong; defaults are right.

    Attributes:
        ddof: what is taken from n where the variance normalises.
        tracked_ddof: the same where it is tracked.
        count: what n is for the tracked variance: "values" (N·L) or "batch" (N).
        eps: where eps stands: "inside", "outside", "none", "twice", "root" (of eps, outside),
            "squared", or a number that is used in its place.
        source: whose statistics normalise: "batch", "running", "updated" (after the update).
        axis: over what: "channel", "sample" (each n, c), "position" (each c, l), "layer", "row".
        momentum: "new" (weight of the new), "old", "none" (no update), "one", "default",
            "double" (applied twice); for the cumulative average "late" (1/(count before)), "early"
            (1/(count + 1)), "none-is-default", "none-is-zero".
        tracks: "var", "std", "var+eps", "about-running", "output".
        affine: "wx+b", "w(x+b)", "no-weight", "no-bias", "none", "abs-weight", "twice".
        statistic: "var" or "std": what running_var is taken for in evaluation.
        gradient: "full", "constants", "no-mean", "no-xhat", "no-weight", "n-1"; in evaluation
            "batch": through the batch's statistics; "formula": training's, on the running ones.
        dweight: "xhat", "y", "x", "centred", "mean", "transposed".
        dbias: "sum" or "mean".
    """

    ddof: int = 0
    tracked_ddof: int = 1
    count: str = "values"
    eps: str | float = "inside"
    source: str = "batch"
    axis: str = "channel"
    momentum: str = "new"
    tracks: str = "var"
    affine: str = "wx+b"
    statistic: str = "var"
    gradient: str = "full"
    dweight: str = "xhat"
    dbias: str = "sum"


@dataclass(frozen=True)
class Misreading:
    """A named wrong turn: the requirement it breaks, what it says, where and how."""

    name: str
    requirement: str
    says: str
    knobs: Knobs
    mode: str = TRAINING
    quantities: tuple[str, ...] = ("y", "dx", "dweight")


def _m(name: str, requirement: str, says: str, *quantities: str, **knobs: object) -> Misreading:
    mode = str(knobs.pop("mode", TRAINING))
    chosen = quantities or ("y", "dx", "dweight")
    return Misreading(name, requirement, says, Knobs(**knobs), mode, chosen)  # type: ignore[arg-type]


_EV = {"mode": EVALUATION}
CATALOGUE: tuple[Misreading, ...] = (
    _m("unbiased-normalisation", "TRAIN-3", "it normalises by the unbiased variance, divided by n − 1", ddof=1),
    _m("eps-outside-root", "TRAIN-4", "eps is added outside the root: sqrt(var) + eps", eps="outside"),
    _m("eps-missing", "TRAIN-4", "eps is missing", eps="none"),
    _m("eps-twice", "TRAIN-4", "eps is added twice", eps="twice"),
    _m("eps-root-outside", "TRAIN-4", "sqrt(eps) is added to the standard deviation", eps="root"),
    _m("eps-squared", "TRAIN-4", "eps is squared before it is added", eps="squared"),
    _m("eps-1e-5", "TRAIN-4", "eps is always 1e-5, whatever is given", eps=1e-5),
    _m("eps-1e-3", "TRAIN-4", "eps is always 1e-3, whatever is given", eps=1e-3),
    _m("eps-1e-8", "TRAIN-4", "eps is always 1e-8, whatever is given", eps=1e-8),
    _m("running-in-training", "TRAIN-7", "training normalises by the running statistics", source="running"),
    _m("updated-in-training", "TRAIN-7", "training normalises by the running statistics just updated", source="updated"),
    _m("instance-axis", "TRAIN-2", "mean and variance are taken over each sample's sequence alone", axis="sample"),
    _m("position-axis", "TRAIN-2", "mean and variance are taken over the batch, for each position alone", axis="position"),
    _m("layer-axis", "TRAIN-1", "mean and variance are taken over all channels together", axis="layer"),
    _m("row-axis", "TRAIN-1", "mean and variance are taken over the channels of each sample", axis="row"),
    _m("affine-swapped", "TRAIN-5", "the bias is added before the weight multiplies", "y", affine="w(x+b)"),
    _m("weight-ignored", "TRAIN-5", "the weight is ignored", "y", affine="no-weight"),
    _m("bias-ignored", "TRAIN-5", "the bias is ignored", "y", affine="no-bias"),
    _m("affine-ignored", "TRAIN-5", "weight and bias are ignored", "y", affine="none"),
    _m("weight-absolute", "TRAIN-5", "the weight loses its sign", "y", "dx", affine="abs-weight"),
    _m("affine-twice", "TRAIN-5", "weight and bias are applied twice", "y", affine="twice"),
    _m("biased-tracking", "STATS-2", "the biased variance is tracked, divided by n and not by n − 1", "running_var", tracked_ddof=0),
    _m("count-without-length", "STATS-3", "the factor n/(n − 1) counts N where it should count N·L", "running_var", count="batch"),
    _m("tracking-ddof-2", "STATS-2", "the tracked variance is divided by n − 2", "running_var", tracked_ddof=2),
    _m("momentum-inverted", "STATS-1", "momentum is the weight of the old value, where it should be that of the new", "running_mean", "running_var", momentum="old"),
    _m("not-tracked", "STATS-1", "the running statistics are not updated", "running_mean", "running_var", momentum="none"),
    _m("last-batch-tracked", "STATS-1", "the running statistics are replaced by the batch's, whatever momentum is", "running_mean", "running_var", momentum="one"),
    _m("momentum-default", "STATS-1", "momentum is always 0.1, whatever is given", "running_mean", "running_var", momentum="default"),
    _m("tracked-twice", "STATS-11", "the running statistics are updated twice by one forward pass", "running_mean", "running_var", momentum="double"),
    _m("cumulative-late", "STATS-5", "the cumulative average divides by the count before this batch", "running_mean", "running_var", momentum="late"),
    _m("cumulative-early", "STATS-5", "the cumulative average divides by one batch too many", "running_mean", "running_var", momentum="early"),
    _m("cumulative-default", "STATS-5", "momentum=None is taken for the default, 0.1", "running_mean", "running_var", momentum="none-is-default"),
    _m("cumulative-frozen", "STATS-5", "with momentum=None the running statistics are not updated", "running_mean", "running_var", momentum="none-is-zero"),
    _m("std-tracked", "STATS-2", "the standard deviation is tracked, where it should be the variance", "running_var", tracks="std"),
    _m("eps-tracked", "STATS-4", "the tracked variance contains eps", "running_var", tracks="var+eps"),
    _m("about-running-mean", "STATS-4", "the tracked variance is taken about the running mean, not the batch's", "running_var", tracks="about-running"),
    _m("output-tracked", "STATS-4", "the statistics of the output are tracked, not those of the input", "running_mean", "running_var", tracks="output"),
    _m("constants-gradient", "GRAD-1", "the gradient takes mean and variance for constants", "dx", gradient="constants"),
    _m("mean-term-dropped", "GRAD-1", "the gradient lacks the term through the mean", "dx", gradient="no-mean"),
    _m("variance-term-dropped", "GRAD-1", "the gradient lacks the term through the variance", "dx", gradient="no-xhat"),
    _m("weight-not-in-gradient", "GRAD-1", "the input's gradient is not multiplied by the weight", "dx", gradient="no-weight"),
    _m("gradient-n-1", "GRAD-1", "the means in the gradient divide by n − 1", "dx", gradient="n-1"),
    _m("dweight-from-output", "GRAD-2", "dweight sums dy·y, where it should sum dy·x̂", "dweight", dweight="y"),
    _m("dweight-from-input", "GRAD-2", "dweight sums dy·x, where it should sum dy·x̂", "dweight", dweight="x"),
    _m("dweight-not-scaled", "GRAD-2", "dweight sums dy·(x − mean), without 1/sqrt(var + eps)", "dweight", dweight="centred"),
    _m("dweight-mean", "GRAD-2", "dweight is a mean, where it should be a sum", "dweight", dweight="mean"),
    _m("dbias-mean", "GRAD-3", "dbias is a mean, where it should be a sum", "dbias", dbias="mean"),
    _m("batch-in-evaluation", "EVAL-1", "evaluation normalises by the batch", "y", "dweight", source="batch", gradient="batch", **_EV),
    _m("std-for-variance", "EVAL-1", "evaluation takes running_var for a standard deviation", statistic="std", **_EV),
    _m("eval-eps-outside-root", "EVAL-4", "in evaluation eps is added outside the root", eps="outside", **_EV),
    _m("eval-eps-missing", "EVAL-4", "in evaluation eps is missing", eps="none", **_EV),
    _m("eval-eps-twice", "EVAL-4", "in evaluation eps is added twice", eps="twice", **_EV),
    _m("eval-eps-1e-5", "EVAL-4", "in evaluation eps is always 1e-5", eps=1e-5, **_EV),
    _m("eval-eps-1e-3", "EVAL-4", "in evaluation eps is always 1e-3", eps=1e-3, **_EV),
    _m("eval-weight-ignored", "EVAL-1", "evaluation ignores the weight", "y", affine="no-weight", **_EV),
    _m("eval-bias-ignored", "EVAL-1", "evaluation ignores the bias", "y", affine="no-bias", **_EV),
    _m("eval-affine-ignored", "EVAL-1", "evaluation ignores weight and bias", "y", affine="none", **_EV),
    _m("eval-weight-absolute", "EVAL-1", "in evaluation the weight loses its sign", "y", "dx", affine="abs-weight", **_EV),
    _m("eval-affine-swapped", "EVAL-1", "in evaluation the bias is added before the weight multiplies", "y", affine="w(x+b)", **_EV),
    _m("eval-batch-gradient", "GRAD-4", "in evaluation the gradient is that of training, through the batch's statistics", "dx", gradient="batch", **_EV),
    _m("eval-training-formula", "GRAD-4", "in evaluation the gradient is training's formula, as if the statistics were the batch's", "dx", gradient="formula", **_EV),
    _m("eval-weight-not-in-gradient", "GRAD-4", "in evaluation the input's gradient lacks the weight", "dx", gradient="no-weight", **_EV),
    _m("eval-dweight-from-output", "GRAD-5", "in evaluation dweight sums dy·y", "dweight", dweight="y", **_EV),
    _m("eval-dweight-from-input", "GRAD-5", "in evaluation dweight sums dy·x", "dweight", dweight="x", **_EV),
)  # fmt: skip
BY_NAME = {m.name: m for m in CATALOGUE}


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
        N = self.case.x.shape[0]
        grouped = values.reshape(C, N, n // max(N, 1))
        axes = {
            "channel": (1, 2), "sample": (2,), "position": (1,), "layer": (0, 1, 2), "row": (0,),
        }[self.knobs.axis]  # fmt: skip
        means = grouped.mean(axes, keepdims=True)
        return np.asarray(np.broadcast_to(means, grouped.shape).reshape(values.shape))

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
            choices = {"old": 1 - m, "none": 0.0, "default": 0.1}
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
        seen = {"std": np.sqrt(var), "var+eps": var + self.eps}.get(self.knobs.tracks, var)
        m = self.factor()
        return (1 - m) * self.rm + m * data.mean(1), (1 - m) * self.rv + m * seen

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
        return mean, self._reciprocal(var**2 if self.knobs.statistic == "std" else var)

    def _reciprocal(self, var: F64) -> F64:
        eps, where = self.eps, self.knobs.eps
        if isinstance(where, float):
            return 1 / np.sqrt(var + where)
        outside = {"outside": eps, "root": eps**0.5}
        if where in outside:
            return np.asarray(1 / (np.sqrt(var) + outside[where]))
        added = {"inside": eps, "none": 0.0, "twice": 2 * eps, "squared": eps * eps}[where]
        return 1 / np.sqrt(var + added)

    def y(self) -> F64:
        """The output, in the input's shape."""
        mean, r = self.normaliser()
        hat, w, b = (self.x - mean) * r, self.w[:, None], self.b[:, None]
        forms: dict[str, Callable[[], F64]] = {
            "wx+b": lambda: hat * w + b,
            "w(x+b)": lambda: (hat + b) * w,
            "no-weight": lambda: hat + b,
            "no-bias": lambda: hat * w,
            "none": lambda: hat,
            "abs-weight": lambda: hat * np.abs(w) + b,
            "twice": lambda: (hat * w + b) * w + b,
        }
        return from_columns(forms[self.knobs.affine](), self.case.x.shape)

    def dx(self) -> F64:
        """The input's gradient."""
        mean, r = self.normaliser()
        hat, kind = (self.x - mean) * r, self.knobs.gradient
        w = np.abs(self.w) if self.knobs.affine == "abs-weight" else self.w
        bare = kind == "no-weight" or self.knobs.affine in ("none", "no-weight")
        scale = (1.0 if bare else w[:, None]) * r
        count = correction(self.n, 1) if kind == "n-1" else 1.0
        m_dy = self.mean(self.dy) * (kind != "no-mean") * count
        m_h = self.mean(self.dy * hat) * (kind != "no-xhat") * count
        m_h = m_h * correction(self.n, self.knobs.ddof)
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
        }
        factor = factors.get(self.knobs.dweight, lambda: hat)()
        return np.asarray((self.dy * factor).sum(1))

    def dbias(self) -> F64:
        """The bias's gradient."""
        return np.asarray(self.dy.mean(1) if self.knobs.dbias == "mean" else self.dy.sum(1))

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
