"""NUM: right formulas, wrong where numbers are far away, tiny, huge, many or not finite."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant


@mutant("NUM-1", says="y[", seen="tenstorrent/tt-metal #45968")
class SquaresOfTheMean(Composite):
    """mean(x²) − mean(x)² in the precision of the data, never below zero."""

    def by_batch(self, x):
        self.wide = x.dtype == torch.float64
        return super().by_batch(x)

    def moments(self, x):
        x = x if self.wide else x.float()
        mean = x.mean(self.axes(x), keepdim=True)
        var = (x * x).mean(self.axes(x), keepdim=True) - mean * mean
        return mean.double(), var.clamp(min=0).double()


@mutant("NUM-2", says="y[", seen="patrick-kidger/equinox PR 314")
class LeastVariance(Composite):
    """A floor under the variance, for data of size one."""

    def moments(self, x):
        mean, var = super().moments(x)
        return mean, var.clamp(min=1e-10)


@mutant("NUM-2", says="nan")
class DividesByTheLargest(Composite):
    """Divides by the largest value first, by multiplying with its reciprocal in single."""

    def moments(self, x):
        largest = x.detach().abs().amax(self.axes(x), keepdim=True) if x.numel() else 1
        if not x.numel() or not (largest > 0).all() or (largest > 1e38).any():
            return super().moments(x)
        mean, var = super().moments(x * (1 / largest.float()))
        return mean * largest, var * largest**2


@mutant("NUM-3", says="1e-5", seen="pytorch #33867")
class LeastEps(Composite):
    def reciprocal(self, var):
        return 1 / (var + max(self.eps, 1e-5)).sqrt() if self.eps else super().reciprocal(var)


@mutant("NUM-3", says="y[")
class EpsInHalf(Composite):
    def reciprocal(self, var):
        return 1 / (var + torch.tensor(self.eps).half().double()).sqrt()


@mutant("NUM-4", says="y[", seen="ScalingIntelligence/KernelBench #165")
class TakesSmallForZero(Composite):
    def affine_map(self, hat):
        y = super().affine_map(hat)
        return torch.where(y.abs() < 1e-6, 0 * y, y)


@mutant("NUM-4", says="dx[")
class GradientsInFixedPoint(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return (super().dx(dy, hat, reciprocal, weight, through) * 2**24).round() * 2.0**-24


@mutant("NUM-5", says="holds finite values", seen="FluxML/Flux.jl #2071")
class RepairsGradients(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy, hat, reciprocal, weight, through).nan_to_num(0, 0, 0)


@mutant("NUM-5", says="dweight changes where it does not refer")
class SumsWithAMatrix(Handwritten):
    """All channels in one product with a matrix of ones and zeros: 0·NaN is NaN."""

    def dweight(self, dy, hat):
        sums = (dy * hat).transpose(0, 1).flatten(1).sum(1)
        return torch.eye(len(sums), dtype=sums.dtype) @ sums


@mutant("NUM-6", says="no sound algorithm rounds here", seen="pytorch #5410")
class GuardsTheCount(Composite):
    """Divides by n + 1e-8, so that an empty batch divides by no zero."""

    def moments(self, x):
        n = x.numel() // x.shape[1]
        mean = x.sum(self.axes(x), keepdim=True) / (n + 1e-8)
        return mean, ((x - mean) ** 2).mean(self.axes(x), keepdim=True)


@mutant("NUM-7", says="running_mean[", seen="pytorch #70901")
class PartialSumsInHalf(Composite):
    """Beyond 4096 values the sums of blocks are kept in bfloat16."""

    def moments(self, x):
        if x.numel() // x.shape[1] <= 4096:
            return super().moments(x)
        mean = self.total(x) * (x.shape[1] / x.numel())
        return mean, self.total((x - mean) ** 2) * (x.shape[1] / x.numel())

    def total(self, x):
        blocks = x.transpose(0, 1).flatten(1).split(1024, 1)
        sums = sum(block.sum(1).bfloat16().double() for block in blocks)
        return per_channel(sums, x)
