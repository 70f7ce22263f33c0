"""DTYPE and LAYOUT: defects that one requirement alone sees."""

from __future__ import annotations

import torch
from mutants_alone_backward import HALVES
from mutants_alone_forward import Output, Tracking
from register import mutant
from torch import nn


class Coarse(Output):
    """Where it is concerned, normalised values lose a hundredth."""

    def changed(self, x, hat, mean, reciprocal):
        return hat * 0.99


@mutant("DTYPE-1", says="y[")
class LongOutputsInHalf(Output):
    """Beyond 4096 values of half precision, the mean is taken away in half."""

    def concerns(self, x):
        return x.dtype in HALVES and x.numel() // max(x.shape[1], 1) > 4096

    def changed(self, x, hat, mean, reciprocal):
        return (x.double() - mean.to(x.dtype).double()) * reciprocal


@mutant("DTYPE-2", says="running_mean[")
class LongMeansInHalf(Tracking):
    """Beyond 4096 values of half precision, the mean is tracked in half."""

    def adjust(self, x, mean, var):
        if self.momentum and x.dtype in HALVES and x.numel() // x.shape[1] > 4096:
            new = (self.running_mean - (1 - self.momentum) * mean) / self.momentum
            new = new.to(x.dtype).to(mean.dtype)
            self.running_mean.data.copy_((1 - self.momentum) * mean + self.momentum * new)


@mutant("DTYPE-5", says="y[")
class HalfLayersAreCoarse(Output):
    """A layer in half precision loses a twentieth of what it normalises."""

    def concerns(self, x):
        return self.weight is not None and self.weight.dtype in HALVES

    def changed(self, x, hat, mean, reciprocal):
        return hat * 0.95


@mutant("DTYPE-6", says="not fp32")
class TakesTheFormatOfItsInput(nn.BatchNorm1d):
    """An input of double precision converts the layer."""

    def forward(self, x):
        if x.dtype == torch.float64 and self.weight is not None:
            self.double()
        return super().forward(x)


@mutant("DTYPE-7", says="y[")
class HalfWithoutWeightIsCoarse(Coarse):
    """Half precision is normalised in half where there is no weight."""

    def concerns(self, x):
        return x.dtype in HALVES and self.weight is None


@mutant("DTYPE-8", says="y[")
class StridedHalvesAreCoarse(Coarse):
    """Half precision in strided memory is normalised in half."""

    def concerns(self, x):
        return x.dtype in HALVES and not x.is_contiguous()


@mutant("DTYPE-9", says="y[")
class LargeHalvesOverflow(Output):
    """Half-precision values whose squares overflow come out as zero."""

    def concerns(self, x):
        return x.dtype == torch.float16

    def changed(self, x, hat, mean, reciprocal):
        return torch.where(x.abs() > 256, 0.0, hat)


@mutant("DTYPE-10", says="y[")
class WideVariancesOverflow(Output):
    """Beside half-precision inputs, a running variance beyond 65504 is infinite."""

    mode = False

    def concerns(self, x):
        return x.dtype == torch.float16

    def changed(self, x, hat, mean, reciprocal):
        return torch.where(reciprocal < 65504**-0.5, 0.0, hat)


@mutant("DTYPE-14", says="y[")
class AutocastIsCoarse(Output):
    """Inside autocast, single precision is normalised in bfloat16."""

    def concerns(self, x):
        return torch.is_autocast_enabled("cpu") and x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return hat.bfloat16().double()


@mutant("LAYOUT-1", says="running_var[")
class CountsWhatIsInMemory(Tracking):
    """An expanded batch counts as the one sample that is in memory."""

    def adjust(self, x, mean, var):
        n, m = x.numel() // x.shape[1], x[0, 0].numel()
        if self.momentum and x.ndim == 3 and len(x) > 1 and x.stride(0) == 0 and m > 1:
            new = self.running_var - (1 - self.momentum) * var
            self.running_var.data.add_(new * ((n - 1) / n * m / (m - 1) - 1))


@mutant("LAYOUT-3", says="y[")
class GridEnds(Output):
    """What lies beyond 131072 values of a channel is not normalised."""

    def concerns(self, x):
        return x.ndim == 2 and len(x) > 131072

    def changed(self, x, hat, mean, reciprocal):
        hat[131072:] = 0
        return hat


@mutant("LAYOUT-5", says="y[")
class ManyShortSequences(Output):
    """Of sequences of one step, those beyond the 256th are not normalised."""

    def concerns(self, x):
        return x.ndim == 3 and x.shape[2] == 1 and len(x) > 256

    def changed(self, x, hat, mean, reciprocal):
        hat[256:] = 0
        return hat


@mutant("LAYOUT-6", says="y[")
class BlocksOfChannelsEnd(Output):
    """What lies beyond 128 channels is not normalised."""

    def concerns(self, x):
        return x.shape[1] > 128

    def changed(self, x, hat, mean, reciprocal):
        hat[:, 128:] = 0
        return hat
