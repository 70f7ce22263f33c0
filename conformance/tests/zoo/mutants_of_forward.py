"""TRAIN and EVAL: torch operations in float64, one step of each layer wrong."""

from __future__ import annotations

import torch
from bases import Composite, per_channel
from register import mutant

# TRAIN


@mutant("TRAIN-1", says="over all channels together")
class OverTheLayer(Composite):
    def moments(self, x):
        return x.mean(), x.var(correction=0)

    def track(self, mean, var, n):
        shape = self.running_mean.shape
        super().track(mean.expand(shape), var.expand(shape), n)


@mutant("TRAIN-2", says="each sample's sequence alone")
class OverTheSequence(Composite):
    """An instance norm: right for (N, C), and the statistics too."""

    def by_batch(self, x):
        if x.ndim == 2:
            return super().by_batch(x)
        mean, var = self.moments(x.double())
        if self.tracks(x):
            self.track(
                mean.detach().reshape(-1), var.detach().reshape(-1), x.numel() // x.shape[1]
            )
        wide = x.double()
        return self.normalise(
            x, wide.mean(2, keepdim=True), wide.var(2, correction=0, keepdim=True)
        )


@mutant("TRAIN-2", says="y[", seen="pytorch/ao #4116")
class LastIsChannelIfItFits(Composite):
    """(N, L, C) wherever the last axis has the right length."""

    def forward(self, x):
        if x.ndim == 3 and x.shape[2] == self.num_features:
            return super().forward(x.transpose(1, 2)).transpose(1, 2)
        return super().forward(x)


@mutant("TRAIN-2", says="without being transposed first")
class ReshapesFirst(Composite):
    def forward(self, x):
        if x.ndim != 3 or x.shape[1] != self.num_features or not self.training:
            return super().forward(x)
        return super().forward(x.reshape(-1, x.shape[1])).reshape(x.shape)


@mutant("TRAIN-3", says="unbiased variance", seen="karpathy/nn-zero-to-hero #44")
class UnbiasedNormalises(Composite):
    def normalise(self, x, mean, var):
        n = x.numel() // x.shape[1]
        return super().normalise(x, mean, var * n / (n - 1) if self.uses_batch() and n else var)


@mutant("TRAIN-4", says="outside the root")
class EpsOutside(Composite):
    def reciprocal(self, var):
        return 1 / (var.sqrt() + self.eps) if self.training else super().reciprocal(var)


@mutant("TRAIN-4", says="always 1e-5", seen="pytorch Normalization.cpp, batchnormMinEpsilonCuDNN")
class EpsIsFixed(Composite):
    def reciprocal(self, var):
        return 1 / (var + 1e-5).sqrt() if self.training else super().reciprocal(var)


@mutant("TRAIN-4", says="eps is a floor")
class EpsIsAFloor(Composite):
    def reciprocal(self, var):
        return var.clamp(min=self.eps) ** -0.5 if self.training else super().reciprocal(var)


@mutant("TRAIN-5", says="bias is added before")
class ShiftsFirst(Composite):
    def affine_map(self, hat):
        if self.bias is None:
            return super().affine_map(hat)
        return (hat + per_channel(self.bias.double(), hat)) * per_channel(
            self.weight.double(), hat
        )


@mutant("TRAIN-5", says="loses its sign", seen="jakc4103/DFQ #20")
class WeightIsAbsolute(Composite):
    def affine_map(self, hat):
        if self.bias is None:
            return super().affine_map(hat)
        return hat * per_channel(self.weight.double().abs(), hat) + per_channel(
            self.bias.double(), hat
        )


@mutant("TRAIN-5", says="weight and bias are ignored", seen="kakaobrain/trident PR 123")
class PassesNoWeights(Composite):
    def affine_map(self, hat):
        return hat if self.training else super().affine_map(hat)


@mutant("TRAIN-6", says="raises", seen="Oneflow-Inc/oneflow #7574")
class WantsAWeight(Composite):
    def affine_map(self, hat):
        return hat * per_channel(self.weight.double(), hat) + per_channel(self.bias.double(), hat)


@mutant("TRAIN-7", says="just updated", seen="microsoft/onnxruntime #29790")
class NormalisesByTheUpdated(Composite):
    def normalise(self, x, mean, var):
        if self.tracks(x):
            mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return super().normalise(x, mean, var)


@mutant("TRAIN-8", says="other channels changes")
class OneBadValueSpoilsAll(Composite):
    def by_batch(self, x):
        y = super().by_batch(x)
        return y if x.isfinite().all() else y * float("nan")


@mutant("TRAIN-9", says="y[", seen="google/flax #1491")
class OnePass(Composite):
    """E[x²] − E[x]² in single precision."""

    def moments(self, x):
        x = x.float()
        mean = x.mean(self.axes(x), keepdim=True)
        return mean.double(), ((x * x).mean(self.axes(x), keepdim=True) - mean * mean).double()


@mutant("TRAIN-10", says="y is fp32 for an input of fp16")
class SingleOut(Composite):
    def normalise(self, x, mean, var):
        y = super().normalise(x, mean, var)
        return y.float() if y.dtype == torch.float16 else y


@mutant("TRAIN-11", says="y[")
class UntrackedPassesThrough(Composite):
    def by_batch(self, x):
        if self.running_mean is None and self.training:
            return self.affine_map(x.double()).to(x.dtype)
        return super().by_batch(x)


@mutant("TRAIN-12", says="not the same to the bit")
class FloorsItsVariance(Composite):
    def reciprocal(self, var):
        return 1 / (var + self.eps).sqrt().clamp(min=1e-3)


@mutant("TRAIN-13", says="gives finite values", seen="FluxML/Flux.jl #2071")
class HidesNaN(Composite):
    def normalise(self, x, mean, var):
        y = super().normalise(x, mean, var)
        return y.nan_to_num(0.0) if self.training else y


@mutant("TRAIN-14", says="no sound algorithm rounds here")
class HalfWithin(Composite):
    """fp32 and fp64 are read as bfloat16: mixed precision switched on for good."""

    def by_batch(self, x):
        return super().by_batch(x.bfloat16().to(x.dtype) if x.dtype != torch.float16 else x)


@mutant("TRAIN-15", says="y[", seen="flagos-ai/FlagGems PR 5828")
class DropsTheTail(Composite):
    """Beyond one block of 1024 values, a tail that fills no lane of 32 is left out."""

    def moments(self, x):
        flat = x.transpose(0, 1).flatten(1)
        if flat.shape[1] <= 1024:
            return super().moments(x)
        kept = flat[:, : flat.shape[1] // 32 * 32]
        return (per_channel(f, x) for f in (kept.mean(1), kept.var(1, correction=0)))


# EVAL


@mutant("EVAL-1", says="normalises by the batch", seen="apache/tvm #18703")
class EvaluatesByTheBatch(Composite):
    def by_running(self, x):
        return self.normalise(x, *self.moments(x.double()))


@mutant("EVAL-1", says="for a standard deviation")
class TakesVarianceForDeviation(Composite):
    def by_running(self, x):
        mean, std = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return self.normalise(x, mean, std**2)


@mutant("EVAL-1", says="multiplies running_var by")
class CorrectsAgain(Composite):
    """Evaluation corrects a variance that is tracked without bias."""

    def by_running(self, x):
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        n = x.numel() // x.shape[1]
        return self.normalise(x, mean, var * n / (n - 1) if n > 1 else var)


@mutant("EVAL-2", says="Evaluation moves the counter")
class CountsInEvaluation(Composite):
    def by_running(self, x):
        self.num_batches_tracked.add_(1)
        return super().by_running(x)


@mutant("EVAL-2", says="Evaluation changes running_mean", seen="keras-team/keras #9965")
class NeverStopsTracking(Composite):
    def by_running(self, x):
        y = super().by_running(x)
        if x.numel() > x.shape[1]:
            mean, _ = self.moments(x.detach().double())
            with torch.no_grad():
                self.running_mean.lerp_(mean.reshape(-1).to(self.running_mean.dtype), 0.001)
        return y


@mutant("EVAL-3", says="raises ValueError")
class RefusesASingleRow(Composite):
    def check_size(self, x):
        if x.numel() == x.shape[1]:
            raise ValueError(f"expected more than 1 value per channel, got size {tuple(x.shape)}")


@mutant("EVAL-4", says="is inf, where", seen="chainer PR 2214")
class EvaluatesWithoutEps(Composite):
    def reciprocal(self, var):
        return super().reciprocal(var) if self.uses_batch() else 1 / var.sqrt()


@mutant("EVAL-5", says="nan", seen="patrick-kidger/equinox #1010")
class Debiases(Composite):
    """As Adam does; before the first batch that is 0/0."""

    def by_running(self, x):
        if self.momentum is None or self.num_batches_tracked > 0:
            return super().by_running(x)
        weight = 1 - (1 - self.momentum) ** self.num_batches_tracked
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return self.normalise(x, mean / weight, var / weight)


@mutant("EVAL-6", says="y[", seen="pytorch #75252")
class UntrackedEvaluatesTheStart(Composite):
    def uses_batch(self):
        return self.training

    def by_running(self, x):
        if self.running_mean is not None:
            return super().by_running(x)
        return self.normalise(
            x, torch.zeros((), dtype=torch.double), torch.ones((), dtype=torch.double)
        )


@mutant("EVAL-7", says="y[", seen="pytorch PR 14016")
class ModeIsBakedIn(Composite):
    """The mode of the first call is the mode of them all, as in a trace."""

    def uses_batch(self):
        if not hasattr(self, "first"):
            self.first = self.training
        return self.first or self.running_mean is None


@mutant("EVAL-8", says="where nan is right", seen="FluxML/Flux.jl #2071")
class RepairsItsInput(Composite):
    def by_running(self, x):
        return super().by_running(x.nan_to_num(0.0))


@mutant("EVAL-9", says="y[")
class FoldsOnce(Composite):
    """Mean and scale are folded at the first evaluation and kept until train() is called."""

    def by_running(self, x):
        if not hasattr(self, "folded"):
            self.folded = self.running_mean.double().clone(), self.running_var.double().clone()
        return self.normalise(x, *(per_channel(t, x) for t in self.folded))

    def train(self, mode=True):
        self.__dict__.pop("folded", None)
        return super().train(mode)


@mutant("EVAL-10", says="raises ValueError")
class WantsEpsInEvaluation(Composite):
    def check_eps(self):
        if self.eps <= 0:
            raise ValueError(f"eps must be positive, got {self.eps}")


@mutant("EVAL-11", says="times the bound")
class FastInverseRoot(Composite):
    """The bit trick of 1999 with one Newton step: three digits."""

    def reciprocal(self, var):
        if self.uses_batch():
            return super().reciprocal(var)
        v = (var + self.eps).float()
        y = (0x5F3759DF - (v.view(torch.int32) >> 1)).view(torch.float32)
        return (y * (1.5 - 0.5 * v * y * y)).double()


@mutant("EVAL-12", says="y[")
class EvaluatesTheLastButOne(Composite):
    """Evaluation reads a copy that is taken before the update."""

    def by_batch(self, x):
        if self.running_mean is not None:
            self.before = self.running_mean.clone(), self.running_var.clone()
        return super().by_batch(x)

    def by_running(self, x):
        stale = getattr(self, "before", (self.running_mean, self.running_var))
        return self.normalise(x, *(per_channel(t.double(), x) for t in stale))


@mutant("EVAL-13", says="A running variance of −1 gives", seen="pytorch #106605")
class RepairsItsVariance(Composite):
    def by_running(self, x):
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return self.normalise(x, mean, var.clamp(min=0))
