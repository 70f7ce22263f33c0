"""Usual misreadings of the definition: the catalogue, as data.

Each is a change of a few knobs of one plain implementation (`simulation.py`), with the requirement
that it breaks and what it says to the user.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAINING, EVALUATION = "training", "evaluation"


@dataclass(frozen=True)
class Knobs:
    """What a reader of the definition may get wrong; defaults are right.

    Attributes:
        ddof: what is taken from n where the variance normalises.
        tracked_ddof: the same where it is tracked.
        count: what n is for the tracked variance: "values" (N·L) or "batch" (N).
        eps: where eps stands: "inside", "outside", "none", "twice", "root" (of eps, outside),
            "squared", "floor" (max(var, eps)), or a number that is used in its place.
        centre: "mean", or "none": nothing is subtracted.
        scale: "root", "square" (divided by var + eps) or "none": nothing divides.
        source: whose statistics normalise: "batch", "running", "updated" (after the update).
        axis: over what: "channel", "sample" (each n, c), "position" (each c, l), "layer", "row",
            "flat" (the columns of the memory of (N, C, L) taken for (N·L, C)).
        momentum: "new" (weight of the new), "old", "none" (no update), "one", "default",
            "double" (applied twice), "counted" (1/(count + 1)), "added" (the old keeps all of its weight); for the cumulative average "late" (1/(count before)), "early"
            (1/(count + 1)), "none-is-default", "none-is-zero".
        tracks: "var", "std", "1/root", "var+eps", "about-running", "output".
        affine: "wx+b", "w(x+b)", "no-weight", "no-bias", "none", "abs-weight", "twice",
            "(1+w)x+b", "wx-b", "bx+w", "input" (returned as it is).
        statistic: "var" or "std": what running_var is taken for in evaluation.
        gradient: "full", "constants", "no-mean", "no-xhat", "no-weight", "n-1", "n-batch" (means
            over N·L divide by N), "sums" (in place of the means), "var-n-1" (in the variance's
            term alone), "not-scaled" (without 1/root), "divided" (by n), "passed" (dy itself),
            "zero"; in evaluation "batch": through the batch's statistics; "formula": training's, on the running ones.
        dweight: "xhat", "y", "x", "centred", "mean", "one" (that of the bias), "zero", or
            "recentred" (x̂ less its mean over the batch).
        dbias: "sum", "mean", "xhat" (that of the weight) or "zero".
    """

    ddof: int = 0
    tracked_ddof: int = 1
    count: str = "values"
    eps: str | float = "inside"
    centre: str = "mean"
    scale: str = "root"
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
    _m("eps-floor", "TRAIN-4", "eps is a floor that smaller variances are raised to, and is not added", eps="floor"),
    _m("running-in-training", "TRAIN-7", "training normalises by the running statistics", source="running"),
    _m("updated-in-training", "TRAIN-7", "training normalises by the running statistics just updated", source="updated"),
    _m("instance-axis", "TRAIN-2", "mean and variance are taken over each sample's sequence alone", axis="sample"),
    _m("position-axis", "TRAIN-2", "mean and variance are taken over the batch, for each position alone", axis="position"),
    _m("reshaped-axis", "TRAIN-2", "(N, C, L) is reshaped to (N·L, C) without being transposed first", "y", axis="flat"),
    _m("layer-axis", "TRAIN-1", "mean and variance are taken over all channels together", axis="layer"),
    _m("row-axis", "TRAIN-1", "mean and variance are taken over the channels of each sample", axis="row"),
    _m("affine-swapped", "TRAIN-5", "the bias is added before the weight multiplies", "y", affine="w(x+b)"),
    _m("weight-ignored", "TRAIN-5", "the weight is ignored", "y", affine="no-weight"),
    _m("bias-ignored", "TRAIN-5", "the bias is ignored", "y", affine="no-bias"),
    _m("affine-ignored", "TRAIN-5", "weight and bias are ignored", "y", affine="none"),
    _m("weight-absolute", "TRAIN-5", "the weight loses its sign", "y", "dx", affine="abs-weight"),
    _m("affine-twice", "TRAIN-5", "weight and bias are applied twice", "y", affine="twice"),
    _m("weight-plus-one", "TRAIN-5", "the weight has 1 added to it", "y", affine="(1+w)x+b"),
    _m("bias-subtracted", "TRAIN-5", "the bias is subtracted", "y", affine="wx-b"),
    _m("affine-exchanged", "TRAIN-5", "weight and bias have changed places", "y", affine="bx+w"),
    _m("input-returned", "TRAIN-1", "the input is returned as it is", "y", affine="input"),
    _m("not-centred", "TRAIN-1", "the mean is not subtracted", "y", centre="none"),
    _m("not-divided", "TRAIN-1", "nothing is divided by the standard deviation", "y", scale="none"),
    _m("root-missing", "TRAIN-1", "it divides by var + eps, without the root", "y", scale="square"),
    _m("biased-tracking", "STATS-2", "the biased variance is tracked, divided by n and not by n − 1", "running_var", tracked_ddof=0),
    _m("count-without-length", "STATS-3", "the factor n/(n − 1) counts N where it should count N·L", "running_var", count="batch"),
    _m("tracking-ddof-2", "STATS-2", "the tracked variance is divided by n − 2", "running_var", tracked_ddof=2),
    _m("momentum-inverted", "STATS-1", "momentum is the weight of the old value, where it should be that of the new", "running_mean", "running_var", momentum="old"),
    _m("not-decayed", "STATS-1", "the old value is not multiplied by 1 − momentum", "running_mean", "running_var", momentum="added"),
    _m("not-tracked", "STATS-1", "the running statistics are not updated", "running_mean", "running_var", momentum="none"),
    _m("last-batch-tracked", "STATS-1", "the running statistics are replaced by the batch's, whatever momentum is", "running_mean", "running_var", momentum="one"),
    _m("momentum-default", "STATS-1", "momentum is always 0.1, whatever is given", "running_mean", "running_var", momentum="default"),
    _m("cumulative-always", "STATS-1", "the average is cumulative, whatever momentum is given", "running_mean", "running_var", momentum="counted"),
    _m("tracked-twice", "STATS-11", "the running statistics are updated twice by one forward pass", "running_mean", "running_var", momentum="double"),
    _m("cumulative-late", "STATS-5", "the cumulative average divides by the count before this batch", "running_mean", "running_var", momentum="late"),
    _m("cumulative-early", "STATS-5", "the cumulative average divides by one batch too many", "running_mean", "running_var", momentum="early"),
    _m("cumulative-default", "STATS-5", "momentum=None is taken for the default, 0.1", "running_mean", "running_var", momentum="none-is-default"),
    _m("cumulative-frozen", "STATS-5", "with momentum=None the running statistics are not updated", "running_mean", "running_var", momentum="none-is-zero"),
    _m("std-tracked", "STATS-2", "the standard deviation is tracked, where it should be the variance", "running_var", tracks="std"),
    _m("reciprocal-tracked", "STATS-2", "1/sqrt(var + eps) is tracked, where it should be the variance", "running_var", tracks="1/root"),
    _m("eps-tracked", "STATS-4", "the tracked variance contains eps", "running_var", tracks="var+eps"),
    _m("about-running-mean", "STATS-4", "the tracked variance is taken about the running mean, not the batch's", "running_var", tracks="about-running"),
    _m("output-tracked", "STATS-4", "the statistics of the output are tracked, not those of the input", "running_mean", "running_var", tracks="output"),
    _m("constants-gradient", "GRAD-1", "the gradient takes mean and variance for constants", "dx", gradient="constants"),
    _m("mean-term-dropped", "GRAD-1", "the gradient lacks the term through the mean", "dx", gradient="no-mean"),
    _m("variance-term-dropped", "GRAD-1", "the gradient lacks the term through the variance", "dx", gradient="no-xhat"),
    _m("weight-not-in-gradient", "GRAD-1", "the input's gradient is not multiplied by the weight", "dx", gradient="no-weight"),
    _m("gradient-n-1", "GRAD-1", "the means in the gradient divide by n − 1", "dx", gradient="n-1"),
    _m("gradient-n-batch", "GRAD-1", "the means in the gradient divide by N, where they should divide by N·L", "dx", gradient="n-batch"),
    _m("gradient-sums", "GRAD-1", "the gradient takes sums where it should take means", "dx", gradient="sums"),
    _m("variance-term-n-1", "GRAD-1", "the term through the variance is divided by n − 1", "dx", gradient="var-n-1"),
    _m("gradient-not-scaled", "GRAD-1", "the input's gradient is not divided by sqrt(var + eps)", "dx", gradient="not-scaled"),
    _m("gradient-divided", "GRAD-1", "the input's gradient is divided by n", "dx", gradient="divided"),
    _m("gradient-passed", "GRAD-1", "the gradient of the output is passed on as it is", "dx", gradient="passed"),
    _m("gradient-zero", "GRAD-1", "the input's gradient is zero", "dx", gradient="zero"),
    _m("dweight-from-output", "GRAD-2", "dweight sums dy·y, where it should sum dy·x̂", "dweight", dweight="y"),
    _m("dweight-from-input", "GRAD-2", "dweight sums dy·x, where it should sum dy·x̂", "dweight", dweight="x"),
    _m("dweight-not-scaled", "GRAD-2", "dweight sums dy·(x − mean), without 1/sqrt(var + eps)", "dweight", dweight="centred"),
    _m("dweight-mean", "GRAD-2", "dweight is a mean, where it should be a sum", "dweight", dweight="mean"),
    _m("dweight-of-bias", "GRAD-2", "dweight is the gradient of the bias", "dweight", dweight="one"),
    _m("dweight-zero", "GRAD-2", "dweight is zero", "dweight", dweight="zero"),
    _m("dbias-of-weight", "GRAD-3", "dbias is the gradient of the weight", "dbias", dbias="xhat"),
    _m("dbias-zero", "GRAD-3", "dbias is zero", "dbias", dbias="zero"),
    _m("dbias-mean", "GRAD-3", "dbias is a mean, where it should be a sum", "dbias", dbias="mean"),
    _m("batch-in-evaluation", "EVAL-1", "evaluation normalises by the batch", "y", "dweight", source="batch", gradient="batch", **_EV),
    _m("std-for-variance", "EVAL-1", "evaluation takes running_var for a standard deviation", statistic="std", **_EV),
    _m("eval-corrected-again", "EVAL-1", "evaluation multiplies running_var by n/(n − 1)", ddof=1, **_EV),
    _m("eval-eps-outside-root", "EVAL-4", "in evaluation eps is added outside the root", eps="outside", **_EV),
    _m("eval-eps-missing", "EVAL-4", "in evaluation eps is missing", eps="none", **_EV),
    _m("eval-eps-twice", "EVAL-4", "in evaluation eps is added twice", eps="twice", **_EV),
    _m("eval-eps-1e-5", "EVAL-4", "in evaluation eps is always 1e-5", eps=1e-5, **_EV),
    _m("eval-eps-1e-3", "EVAL-4", "in evaluation eps is always 1e-3", eps=1e-3, **_EV),
    _m("eval-eps-floor", "EVAL-4", "in evaluation eps is a floor that smaller variances are raised to", eps="floor", **_EV),
    _m("eval-weight-ignored", "EVAL-1", "evaluation ignores the weight", "y", affine="no-weight", **_EV),
    _m("eval-bias-ignored", "EVAL-1", "evaluation ignores the bias", "y", affine="no-bias", **_EV),
    _m("eval-affine-ignored", "EVAL-1", "evaluation ignores weight and bias", "y", affine="none", **_EV),
    _m("eval-weight-absolute", "EVAL-1", "in evaluation the weight loses its sign", "y", "dx", affine="abs-weight", **_EV),
    _m("eval-affine-swapped", "EVAL-1", "in evaluation the bias is added before the weight multiplies", "y", affine="w(x+b)", **_EV),
    _m("eval-weight-plus-one", "EVAL-1", "in evaluation the weight has 1 added to it", "y", affine="(1+w)x+b", **_EV),
    _m("eval-bias-subtracted", "EVAL-1", "in evaluation the bias is subtracted", "y", affine="wx-b", **_EV),
    _m("eval-affine-exchanged", "EVAL-1", "in evaluation weight and bias have changed places", "y", affine="bx+w", **_EV),
    _m("eval-input-returned", "EVAL-1", "evaluation returns its input as it is", "y", affine="input", **_EV),
    _m("eval-not-centred", "EVAL-1", "evaluation does not subtract the running mean", "y", centre="none", **_EV),
    _m("eval-not-divided", "EVAL-1", "evaluation does not divide by the running standard deviation", "y", scale="none", **_EV),
    _m("eval-root-missing", "EVAL-1", "evaluation divides by running_var + eps, without the root", "y", scale="square", **_EV),
    _m("eval-batch-gradient", "GRAD-4", "in evaluation the gradient is that of training, through the batch's statistics", "dx", gradient="batch", **_EV),
    _m("eval-training-formula", "GRAD-4", "in evaluation the gradient is training's formula, as if the statistics were the batch's", "dx", gradient="formula", **_EV),
    _m("eval-weight-not-in-gradient", "GRAD-4", "in evaluation the input's gradient lacks the weight", "dx", gradient="no-weight", **_EV),
    _m("eval-gradient-not-scaled", "GRAD-4", "in evaluation the input's gradient is not divided by sqrt(running_var + eps)", "dx", gradient="not-scaled", **_EV),
    _m("eval-gradient-passed", "GRAD-4", "in evaluation the gradient of the output is passed on as it is", "dx", gradient="passed", **_EV),
    _m("eval-gradient-zero", "GRAD-4", "in evaluation the input's gradient is zero", "dx", gradient="zero", **_EV),
    _m("eval-dweight-from-output", "GRAD-5", "in evaluation dweight sums dy·y", "dweight", dweight="y", **_EV),
    _m("eval-dweight-from-input", "GRAD-5", "in evaluation dweight sums dy·x", "dweight", dweight="x", **_EV),
    _m("eval-dweight-recentred", "GRAD-5", "in evaluation dweight is centred by the batch's mean", "dweight", dweight="recentred", **_EV),
    _m("eval-dweight-zero", "GRAD-5", "in evaluation dweight is zero", "dweight", dweight="zero", **_EV),
    _m("eval-dweight-mean", "GRAD-5", "in evaluation dweight is a mean, where it should be a sum", "dweight", dweight="mean", **_EV),
    _m("eval-dweight-of-bias", "GRAD-5", "in evaluation dweight is the gradient of the bias", "dweight", dweight="one", **_EV),
    _m("eval-dbias-mean", "GRAD-3", "in evaluation dbias is a mean, where it should be a sum", "dbias", dbias="mean", **_EV),
)  # fmt: skip
BY_NAME = {m.name: m for m in CATALOGUE}
