"""LAYOUT: right for contiguous memory and the sizes that one tries first."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant


@mutant("LAYOUT-1", says="y[", seen="ROCm/pytorch PR 1025")
class TakesDenseForContiguous(Composite):
    """Takes dense memory of other strides for contiguous memory."""

    def forward(self, x):
        if not x.is_contiguous() and x.dtype != torch.float16:
            order = sorted(range(x.ndim), key=x.stride, reverse=True)
            x = x.permute(order).reshape(x.shape)
        return super().forward(x)


@mutant("LAYOUT-1", says="dx[", seen="pytorch #63224")
class GradientInTheOrderOfMemory(Handwritten):
    """The gradient of a transposed input, written out in the input's order of memory."""

    def by_batch(self, x):
        self.swapped = x.ndim == 3 and x.stride(1) == 1 and x.shape[1] > 1
        return super().by_batch(x)

    def dx(self, dy, hat, reciprocal, weight, through):
        dx = super().dx(dy, hat, reciprocal, weight, through)
        return dx.transpose(1, 2).reshape(dx.shape) if self.swapped and through else dx


@mutant("LAYOUT-2", says="running_mean[", seen="pytorch #33867, PR 38040")
class UpdatesACopy(Composite):
    def blend(self, running, new):
        super().blend(running.contiguous(), new)


@mutant("LAYOUT-2", says="What lies beside")
class UpdatesWhatLiesBeside(Composite):
    def blend(self, running, new):
        super().blend(running, new)
        if not running.is_contiguous():
            running.as_strided(running.shape, running.stride(), 1).copy_(running)


@mutant("LAYOUT-3", says="y[", seen="pytorch #2917")
class LeavesTheTail(Composite):
    """A grid of 65535 blocks of two rows: what is behind them is never written."""

    def normalise(self, x, mean, var):
        y = super().normalise(x, mean, var)
        if len(x) > 131070:
            y = torch.cat([y[:131070], y[131070:] * 0])
        return y


@mutant("LAYOUT-3", says="dweight[", seen="torch/cunn #298")
class ForgetsTheLastRows(Handwritten):
    def dweight(self, dy, hat):
        return (
            super().dweight(dy[:65535], hat[:65535]) if self.training else super().dweight(dy, hat)
        )


@mutant("LAYOUT-4", says="dx[", seen="pytorch PR 64100")
class OneSetOfStrides(Handwritten):
    """Reads the gradient's memory by the strides of a transposed input."""

    def by_batch(self, x):
        self.strides = None if x.is_contiguous() or x.ndim == 2 else x.stride()
        return super().by_batch(x)

    def gradients(self, dy, hat, reciprocal, weight, through):
        if through and self.strides and dy.stride() != self.strides and not dy.is_contiguous():
            dy = dy.contiguous().flip(-1)
        return super().gradients(dy, hat, reciprocal, weight, through)


@mutant("LAYOUT-5", says="y[", seen="flagos-ai/FlagGems PR 5828")
class LosesTheTailOfSequences(Composite):
    """Single sequences in blocks of 32, of which the last must be whole."""

    def moments(self, x):
        if x.ndim == 3 and len(x) == 1 and x.shape[2] > 32:
            return super().moments(x[..., : x.shape[2] // 32 * 32])
        return super().moments(x)


@mutant("LAYOUT-5", says="y[")
class LengthOneIsForgotten(Composite):
    """(N, C, 1) in evaluation: the statistics of the first channel for all."""

    def by_running(self, x):
        if x.ndim == 3 and x.shape[2] == 1 and len(x) > 256:
            mean, var = (
                per_channel(t.double()[:1].expand(x.shape[1]), x)
                for t in (self.running_mean, self.running_var)
            )
            return self.normalise(x, mean, var)
        return super().by_running(x)


@mutant("LAYOUT-6", says="y[", seen="NVIDIA/apex #1768")
class NeighboursInTheLastBlock(Composite):
    """Blocks of 32 channels; an unfinished last one is filled with the first channels' means."""

    def moments(self, x):
        mean, var = super().moments(x)
        whole = x.shape[1] // 32 * 32
        if 0 < whole < x.shape[1]:
            rest = mean[:, : x.shape[1] - whole]
            mean = torch.cat([mean[:, :whole], rest], 1)
        return mean, var


@mutant("LAYOUT-6", says="dx[", seen="ROCm/MIOpen #2024", profile="full")
class OddLengthsInTheGradient(Handwritten):
    """C·N beyond 65535: the sums over the last channels stay empty."""

    def centred(self, dy, hat):
        whole = super().centred(dy, hat)
        seen = 65536 // len(dy)
        return torch.cat([whole[:, :seen], dy[:, seen:]], 1) if seen < dy.shape[1] else whole
