"""GRAD, and the gradients of NUM and DTYPE: defects that one requirement alone sees."""

from __future__ import annotations

import torch
from bases import Handwritten, per_channel
from mutants_alone_forward import HALF_A_BIT, OUTLIER
from register import mutant
from torch import nn

SINGLE = torch.float32
HALVES = (torch.float16, torch.bfloat16)


class Backward(Handwritten):
    """Outputs and statistics are right; what one pass was given is there in its backward."""

    def run(self, x, mean, var, *, through):
        self.x = x.detach()
        return super().run(x, mean, var, through=through)

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "x"}


def of_outliers(x):
    """Single precision, channels in fours: what a vector kernel takes."""
    return x.dtype == SINGLE and x.shape[1] % 4 == 0


@mutant("GRAD-1", says="dx[")
class ClipsOutliersOfDx(Backward):
    """Normalised values are clipped at five in dx."""

    def centred(self, dy, hat):
        kept = hat.clamp(-OUTLIER, OUTLIER) if of_outliers(self.x) else hat
        return super().centred(dy, kept)


@mutant("GRAD-2", says="dweight[")
class ClipsOutliersOfDweight(Backward):
    """Normalised values are clipped at five in dweight, in training."""

    def dweight(self, dy, hat):
        clips = self.training and of_outliers(self.x)
        kept = hat.clamp(-OUTLIER, OUTLIER) if clips else hat
        return super().dweight(dy, kept)


class Smooths(Backward):
    """Gradients that are nearly constant over a channel are taken for constant."""

    def smooth(self, dy):
        rows = dy.transpose(0, 1).flatten(1)
        if self.x.dtype != SINGLE or not rows.numel():
            return dy
        near = rows.amax(1) - rows.amin(1) < 0.02 * rows.abs().amax(1)
        return torch.where(per_channel(near, dy), per_channel(rows[:, 0], dy), dy)


@mutant("GRAD-3", says="dbias[")
class SmoothsDbias(Smooths):
    """A gradient that is nearly constant is multiplied by n, and not summed."""

    def dbias(self, dy):
        return super().dbias(self.smooth(dy))


@mutant("GRAD-4", says="dx[")
class SmoothsDxInEvaluation(Smooths):
    """In evaluation a gradient that is nearly constant comes out as constant."""

    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy if through else self.smooth(dy), hat, reciprocal, weight, through)


@mutant("GRAD-5", says="dweight[")
class SmoothsDweightInEvaluation(Smooths):
    """In evaluation dweight takes a gradient that is nearly constant out of the sum."""

    def dweight(self, dy, hat):
        return super().dweight(dy if self.training else self.smooth(dy), hat)


@mutant("GRAD-6", says="dx[")
class NoWeightNoVariance(Backward):
    """Without a weight, dx of sequences leaves the variance out."""

    def centred(self, dy, hat):
        bare = self.weight is None and dy.ndim == 3
        return super().centred(dy, hat * (not bare))


@mutant("GRAD-7", says="dbias[")
class UntrackedAverages(Backward):
    """Without statistics dbias is the mean of the gradients."""

    def dbias(self, dy):
        n = dy.numel() / dy.shape[1]
        return super().dbias(dy) / (n if self.running_mean is None else 1)


@mutant("GRAD-8", says="dweight[")
class FrozenInputFreezesWeight(Handwritten):
    """Where the weight alone needs a gradient, it is that of the input before normalization."""

    def run(self, x, mean, var, *, through):
        others = x.requires_grad or (self.bias is not None and self.bias.requires_grad)
        self.raw = None if others else x.detach().double()
        return super().run(x, mean, var, through=through)

    def dweight(self, dy, hat):
        return super().dweight(dy, hat if self.raw is None else self.raw)

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "raw"}


class Incoming(torch.autograd.Function):
    """The identity; its backward pass sees the incoming gradient as it lies in memory."""

    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)

    @staticmethod
    def backward(ctx, dy):
        one = dy.numel() > 1 and not any(dy.stride())
        return dy / dy.shape[0] if one else dy


@mutant("GRAD-9", says="dbias[")
class OneNumberIsOneSample(nn.BatchNorm1d):
    """A gradient that is one number in memory counts for one sample."""

    def forward(self, x):
        return Incoming.apply(super().forward(x))


@mutant("GRAD-11", says="is not multiplied by")
class RoundsDxDown(Backward):
    """dx is rounded towards minus infinity to single precision."""

    def dx(self, dy, hat, reciprocal, weight, through):
        exact = super().dx(dy, hat, reciprocal, weight, through)
        if self.x.dtype != SINGLE:
            return exact
        near = exact.float()
        down = torch.nextafter(near, torch.full_like(near, -torch.inf))
        return torch.where(near.double() > exact, down, near).double()


@mutant("GRAD-15", says="dweight[")
class LosesABitOfDweight(Backward):
    """dweight is larger by a bit and a half of single precision than it should be."""

    def dweight(self, dy, hat):
        return super().dweight(dy, hat) * (1 + HALF_A_BIT * (self.x.dtype == SINGLE))


@mutant("GRAD-16", says="of other channels changes")
class NaNSpreadsBackwards(Backward):
    """One gradient that is not finite makes all of dx NaN."""

    def centred(self, dy, hat):
        found = super().centred(dy, hat)
        return found if dy.isfinite().all() else found * float("nan")


@mutant("GRAD-18", says="dx[")
class LastLaneIsEmpty(Backward):
    """In double precision the last channel gets no dx where there is one more than 64."""

    def dx(self, dy, hat, reciprocal, weight, through):
        found = super().dx(dy, hat, reciprocal, weight, through)
        if self.x.dtype == torch.float64 and found.shape[1] == 65:
            found[:, -1] = 0
        return found


@mutant("NUM-3", says="dx[")
class BackwardHasItsOwnEps(Handwritten):
    """The backward pass of sequences takes an eps of 1e-3, another's default, for 1e-5."""

    def dx(self, dy, hat, reciprocal, weight, through):
        if 5e-4 < self.eps < 5e-3 and dy.ndim == 3:
            reciprocal = (reciprocal**-2 - self.eps + 1e-5) ** -0.5
        return super().dx(dy, hat, reciprocal, weight, through)


@mutant("NUM-5", says="dbias changes")
class BadInputSpoilsDbias(Handwritten):
    """One value that is not finite makes all of dbias NaN."""

    def gradients(self, dy, hat, reciprocal, weight, through):
        dx, dweight, dbias = super().gradients(dy, hat, reciprocal, weight, through)
        return dx, dweight, dbias if hat.isfinite().all() else dbias * float("nan")


@mutant("DTYPE-3", says="dbias[")
class LongSumsInHalf(Backward):
    """Beyond 4096 gradients of half precision, one block of a hundred is left out of dbias."""

    def dbias(self, dy):
        found, n = super().dbias(dy), dy.numel() // max(dy.shape[1], 1)
        return found * 0.99 if n > 4096 and self.x.dtype in HALVES else found


@mutant("DTYPE-11", says="dx[")
class HalfWeightsWeighLess(Backward):
    """The gradients of a layer in half precision lose a tenth."""

    def dx(self, dy, hat, reciprocal, weight, through):
        found = super().dx(dy, hat, reciprocal, weight, through)
        return found * 0.9 if weight is not None and weight.dtype in HALVES else found
