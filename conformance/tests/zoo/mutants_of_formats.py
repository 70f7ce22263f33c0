"""DTYPE: right in single precision, and wrong where half, bfloat16 or double come in."""

from __future__ import annotations

import copy

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant
from torch import nn
from torch.nn import functional as F

HALF = (torch.float16, torch.bfloat16)


class Narrow(Composite):
    """Knows the format of its input in every step."""

    def forward(self, x):
        self.narrow = x.dtype
        return super().forward(x)

    def rounded(self, values):
        """As the input's format holds it, where that is half."""
        return values.to(self.narrow).to(values.dtype) if self.narrow in HALF else values


class NarrowByHand(Handwritten):
    """The same, with a backward pass by hand."""

    def forward(self, x):
        self.narrow = x.dtype
        return super().forward(x)


@mutant("DTYPE-1", says="y[")
class ScalesInHalf(Narrow):
    def affine_map(self, hat):
        return super().affine_map(self.rounded(hat))


@mutant("DTYPE-2", says="running_mean[", seen="flagos-ai/FlagGems PR 5828")
class TracksRoundedStatistics(Narrow):
    def track(self, mean, var, n):
        super().track(self.rounded(mean), self.rounded(var), n)


@mutant("DTYPE-3", says="dbias[", seen="pytorch #195701")
class SumsGradientsInHalf(NarrowByHand):
    def dbias(self, dy):
        if self.narrow not in HALF:
            return super().dbias(dy)
        rows = dy.transpose(0, 1).flatten(1).T.to(self.narrow)
        total = torch.zeros_like(rows[0])
        for row in rows:
            total = total + row
        return total


@mutant("DTYPE-4", says="y[")
class AlwaysSingle(Composite):
    def normalise(self, x, mean, var):
        return super().normalise(x, mean.float(), var.float())


@mutant("DTYPE-5", says="running_mean[", seen="oneflow PR 9388")
class UpdatesACast(nn.BatchNorm1d):
    """The kernel is given single-precision copies, and the copies are updated."""

    def forward(self, x):
        if self.running_mean is None or self.running_mean.dtype not in HALF:
            return super().forward(x)
        if self.training:
            self.num_batches_tracked.add_(1)
        given = (self.running_mean, self.running_var, self.weight, self.bias)
        wide = [None if t is None else t.float() for t in given]
        m = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        return F.batch_norm(x.float(), *wide, self.training, m, self.eps).to(x.dtype)


@mutant("DTYPE-5", says="y[")
class SumsHalvesInHalf(Narrow):
    """Where the layer is half itself: what is stored so need not be summed so."""

    def moments(self, x):
        mean, var = super().moments(x)
        if self.weight is None or self.weight.dtype not in HALF:
            return mean, var
        rows = x.transpose(0, 1).flatten(1).T.to(self.narrow)
        total = torch.zeros_like(rows[0])
        for row in rows:
            total = total + row
        return per_channel(total.double() / max(len(rows), 1), x), var


@mutant("DTYPE-6", says="running_mean is fp16 after", seen="flagos-ai/FlagGems PR 5828")
class StatisticsFollowTheInput(Composite):
    def by_batch(self, x):
        if self.running_mean is not None:
            self.running_mean = self.running_mean.to(x.dtype)
        return super().by_batch(x)


@mutant("DTYPE-6", says="y is fp32, where fp16 is right")
class AnswersInTheWidest(Composite):
    def normalise(self, x, mean, var):
        wide = x.dtype if self.weight is None else torch.promote_types(x.dtype, self.weight.dtype)
        return super().normalise(x.to(wide), mean, var)


@mutant("DTYPE-6", says="running_var is fp64 after an input of fp64")
class BecomesItsInput(nn.BatchNorm1d):
    def forward(self, x):
        if x.dtype == torch.float64 and self.training:
            self.to(x.dtype)
        return super().forward(x)


@mutant("DTYPE-7", says="expected scalar type Half", seen="pytorch #61924, PR 61962")
class WantsAWeightForHalves(nn.BatchNorm1d):
    def forward(self, x):
        if x.dtype in HALF and self.weight is None and self.running_mean is not None:
            raise RuntimeError("expected scalar type Half but found Float")
        return super().forward(x)


@mutant("DTYPE-7", says="no backward pass for mixed formats", seen="NVIDIA/apex #122, #301")
class EvaluatesHalvesWithoutBackward(NarrowByHand):
    def gradients(self, dy, hat, reciprocal, weight, through):
        if self.narrow in HALF and not through:
            raise RuntimeError("no backward pass for mixed formats")
        return super().gradients(dy, hat, reciprocal, weight, through)


@mutant("DTYPE-8", says="INTERNAL ASSERT FAILED", seen="pytorch PR 84410")
class AssertsContiguousHalves(nn.BatchNorm1d):
    def forward(self, x):
        if x.dtype in HALF and not x.is_contiguous():
            raise RuntimeError("INTERNAL ASSERT FAILED: unsupported mixed data type")
        return super().forward(x)


@mutant("DTYPE-9", says="running_var[0] is inf", seen="neuroneural/brainchop-cli PR 56")
class SquaresInHalf(Narrow):
    def moments(self, x):
        mean = x.mean(self.axes(x), keepdim=True)
        return mean, self.rounded((x - mean) ** 2).mean(self.axes(x), keepdim=True)


@mutant("DTYPE-9", says="running_mean[", seen="pytorch #70901")
class CountsInHalf(Narrow):
    def moments(self, x):
        n = self.rounded(torch.tensor(float(x.numel() // x.shape[1])))
        mean = x.sum(self.axes(x), keepdim=True) / n
        return mean, ((x - mean) ** 2).mean(self.axes(x), keepdim=True)


@mutant("DTYPE-9", says="dbias[0] is inf", seen="pytorch #195701")
class SumsOfGradientsOverflow(NarrowByHand):
    def dbias(self, dy):
        total = super().dbias(dy)
        return total.to(self.narrow) if self.narrow in HALF else total


@mutant("DTYPE-10", says="y[", seen="apple/coreai-torch PR 54")
class StatisticsInTheInputsFormat(Narrow):
    def by_running(self, x):
        stats = (self.rounded(t.double()) for t in (self.running_mean, self.running_var))
        return self.normalise(x, *(per_channel(t, x) for t in stats))


@mutant("DTYPE-10", says="y[")
class EpsInTheInputsFormat(Narrow):
    def reciprocal(self, var):
        return 1 / (var + self.rounded(torch.tensor(self.eps, dtype=var.dtype))).sqrt()


@mutant("DTYPE-11", says="dweight is None")
class CastsAndDetaches(Composite):
    def affine_map(self, hat):
        if self.weight is None or self.weight.dtype not in HALF:
            return super().affine_map(hat)
        hat = hat * per_channel(self.weight.detach().double(), hat)
        return hat if self.bias is None else hat + per_channel(self.bias.double(), hat)


@mutant("DTYPE-12", says="The counter 3000 becomes", seen="keras PR 22638")
class CountsInTheLayersFormat(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        if self.num_batches_tracked is not None and self.training:
            dtype = self.running_mean.dtype
            self.num_batches_tracked.copy_((self.num_batches_tracked - 1).to(dtype) + 1)
        return y


@mutant("DTYPE-12", says="running_mean[")
class WeighsInTheLayersFormat(Composite):
    def factor(self):
        if self.momentum is not None:
            return self.momentum
        return 1 / self.num_batches_tracked.to(self.running_mean.dtype).double()


@mutant("DTYPE-13", says="half() returns another object")
class HalfIsACopy(nn.BatchNorm1d):
    def half(self):
        return super(HalfIsACopy, copy.deepcopy(self)).half()


@mutant("DTYPE-13", says="running_mean and running_var is not the rounded value after half()")
class ConversionForgets(nn.BatchNorm1d):
    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        self.reset_running_stats()
        return self


@mutant("DTYPE-14", says="autocast")
class SumsByMatrixProduct(Composite):
    """In the precision of the data, and in what autocast makes of it."""

    def by_batch(self, x):
        self.wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        return super().by_batch(x)

    def moments(self, x):
        lines = x.to(self.wide).transpose(0, 1).flatten(1)
        n = max(lines.shape[1], 1)
        ones = torch.full((n, 1), 1 / n, dtype=self.wide)[: lines.shape[1]]
        mean = (lines @ ones).to(self.wide)
        var = ((lines - mean) ** 2).mean(1)
        return per_channel(mean[:, 0].double(), x), per_channel(var.double(), x)


@mutant("DTYPE-15", says="y is fp32 for an input of")
class AutocastAnswersInSingle(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        return y.float() if torch.is_autocast_enabled("cpu") and x.dtype in HALF else y
