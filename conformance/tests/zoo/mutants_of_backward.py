"""GRAD: a right forward pass, and a backward pass by hand with one term wrong."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant


@mutant("GRAD-1", says="mean and variance for constants", seen="facebookresearch/CrypTen PR 143")
class Constants(Handwritten):
    def centred(self, dy, hat):
        return dy


@mutant("GRAD-1", says="lacks the term through the mean")
class NoMeanTerm(Handwritten):
    def centred(self, dy, hat):
        return dy - hat * (dy * hat).mean(self.axes(dy), keepdim=True)


@mutant("GRAD-1", says="lacks the term through the variance")
class NoVarianceTerm(Handwritten):
    def centred(self, dy, hat):
        return dy - dy.mean(self.axes(dy), keepdim=True)


@mutant("GRAD-1", says="divide by n − 1")
class DividesByOneLess(Handwritten):
    def centred(self, dy, hat):
        n = dy.numel() // dy.shape[1]
        return dy - (dy - super().centred(dy, hat)) * n / (n - 1)


@mutant("GRAD-1", says="the weight")
class NoWeightInGradient(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy, hat, reciprocal, None if through else weight, through)


@mutant("GRAD-1", says="takes sums where")
class SumsForMeans(Handwritten):
    def centred(self, dy, hat):
        axes = self.axes(dy)
        return dy - dy.sum(axes, keepdim=True) - hat * (dy * hat).sum(axes, keepdim=True)


@mutant("GRAD-1", says="through the variance is divided by n − 1")
class UnbiasedInTheVarianceTerm(Handwritten):
    def centred(self, dy, hat):
        axes, n = self.axes(dy), dy.numel() // dy.shape[1]
        share = (dy * hat).sum(axes, keepdim=True) / (n - 1)
        return dy - dy.mean(axes, keepdim=True) - hat * share


@mutant("GRAD-1", says="is not divided by sqrt")
class NotScaledBack(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        unscaled = torch.ones_like(reciprocal) if through else reciprocal
        return super().dx(dy, hat, unscaled, weight, through)


@mutant("GRAD-1", says="is divided by n")
class DividesByTheCount(Handwritten):
    """As if the loss had been a mean."""

    def dx(self, dy, *rest):
        return super().dx(dy, *rest) / max(dy.numel() // dy.shape[1], 1)


@mutant("GRAD-2", says="sums dy·x,")
class WeightGradientOfInput(Handwritten):
    def by_batch(self, x):
        self.seen = x.detach().double()
        return super().by_batch(x)

    def dweight(self, dy, hat):
        return (
            (dy * self.seen).sum(self.axes(dy)) if self.uses_batch() else super().dweight(dy, hat)
        )


@mutant("GRAD-2", says="dweight is a mean")
class WeightGradientIsAMean(Handwritten):
    def dweight(self, dy, hat):
        return super().dweight(dy, hat) / max(dy.numel() // dy.shape[1], 1)


@mutant("GRAD-3", says="dbias is a mean", seen="intel/ipex-llm PR 94")
class BiasGradientIsAMean(Handwritten):
    def dbias(self, dy):
        return super().dbias(dy) / max(dy.numel() // dy.shape[1], 1)


@mutant("GRAD-3", says="dbias is the gradient of the weight")
class GradientsExchanged(Handwritten):
    def dbias(self, dy):
        return self.dweight(dy, self.hat)

    def dx(self, dy, hat, reciprocal, weight, through):
        self.hat = hat
        return super().dx(dy, hat, reciprocal, weight, through)


@mutant("GRAD-3", says="dbias[", seen="PABannier/nanograd #2")
class BiasGradientOfOneStep(Handwritten):
    def dbias(self, dy):
        return dy.sum(0) if dy.ndim == 2 else dy.sum(0)[:, -1] if dy.numel() else super().dbias(dy)


@mutant("GRAD-4", says="the batch", seen="pytorch #586, pytorch/xla #913")
class EvaluationGradientOfTheBatch(Handwritten):
    def by_running(self, x):
        self.seen = x.detach().double()
        return super().by_running(x)

    def dx(self, dy, hat, reciprocal, weight, through):
        if through or not dy.numel():
            return super().dx(dy, hat, reciprocal, weight, through)
        mean, var = (f(self.axes(dy), keepdim=True) for f in (self.seen.mean, self.seen.var))
        n = dy.numel() // dy.shape[1]
        reciprocal = (var * (n - 1) / n + self.eps) ** -0.5
        return super().dx(dy, (self.seen - mean) * reciprocal, reciprocal, weight, through=True)


@mutant("GRAD-4", says="dx[", seen="apache/mxnet #9580")
class BackwardKnowsNoMode(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy, hat, reciprocal, weight, through=True)


@mutant("GRAD-4", says="the weight")
class EvaluationGradientWithoutWeight(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy, hat, reciprocal, weight if through else None, through)


@mutant("GRAD-5", says="centred by the batch's mean", seen="torch/nn PR 768")
class EvaluationWeightGradientIsCentred(Handwritten):
    """Centred by the batch's mean, which evaluation never computed."""

    def gradients(self, dy, hat, reciprocal, weight, through):
        dx, dw, db = super().gradients(dy, hat, reciprocal, weight, through)
        if not through:
            dw = self.dweight(dy, hat - hat.mean(self.axes(hat), keepdim=True))
        return dx, dw, db


@mutant("GRAD-6", says="dx[")
class NoWeightNoScale(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        if weight is None:
            reciprocal = torch.ones_like(reciprocal)
        return super().dx(dy, hat, reciprocal, weight, through)


@mutant("GRAD-7", says="detached", seen="Oneflow-Inc/oneflow PR 5665")
class UntrackedIsDetached(Handwritten):
    def by_batch(self, x):
        y = super().by_batch(x)
        return y if self.running_mean is not None else y.detach()


@mutant("GRAD-8", says="dbias is None", seen="csarofeen/pytorch PR 657")
class FrozenWeightStopsBias(Handwritten):
    def gradients(self, dy, hat, reciprocal, weight, through):
        dx, dw, db = super().gradients(dy, hat, reciprocal, weight, through)
        return (dx, dw, db) if weight is None or self.weight.requires_grad else (dx, None, None)


@mutant("GRAD-9", says="raises RuntimeError", seen="pytorch #1866, PR 2000")
class WantsContiguousGradients(Handwritten):
    def gradients(self, dy, *rest):
        return super().gradients(dy.view(-1).view(dy.shape), *rest)


@mutant("GRAD-9", says="[", seen="pytorch #42588")
class ReadsGradientsInOrder(Handwritten):
    def gradients(self, dy, *rest):
        if not dy.is_contiguous():
            dy = dy.transpose(0, -1).contiguous().view(dy.shape)
        return super().gradients(dy, *rest)


@mutant("GRAD-10", says="dweight is ((3,), 'fp16')", seen="pytorch #156513")
class GradientInTheInputsFormat(Handwritten):
    def by_batch(self, x):
        y = super().by_batch(x)
        if self.weight is not None and x.dtype == torch.float16:
            self.weight.register_post_accumulate_grad_hook(to_half)
        return y


def to_half(p):
    p.grad_dtype = None  # torch would refuse a gradient of another format
    p.grad = p.grad.half()


@mutant("GRAD-11", says="is not multiplied by")
class ClampsGradients(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        return super().dx(dy.clamp(-100, 100), hat, reciprocal, weight, through)


@mutant("GRAD-12", says="dx[", seen="ptrblck/pytorch_misc #5")
class KeepsTheLastPass(Handwritten):
    """What the backward pass needs is kept on the layer, where the next pass overwrites it."""

    def run(self, x, mean, var, *, through):
        self.last = (x.detach().double() - mean) * (var + self.eps) ** -0.5
        return super().run(x, mean, var, through=through)

    def dx(self, dy, hat, reciprocal, weight, through):
        last = self.last if self.last.shape == hat.shape else self.last[:1].expand(hat.shape)
        return super().dx(dy, last, reciprocal, weight, through)


class SavedConstants(torch.autograd.Function):
    """Differentiable in x, dy and weight, but mean and root were saved as numbers."""

    @staticmethod
    def forward(ctx, x, weight, mean, reciprocal):
        ctx.save_for_backward(x, weight, mean, reciprocal)
        return (x - mean) * reciprocal * per_channel(weight, x)

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, reciprocal = ctx.saved_tensors
        axes = [d for d in range(x.ndim) if d != 1]
        hat = (x - mean) * reciprocal
        centred = dy - dy.mean(axes, keepdim=True) - hat * (dy * hat).mean(axes, keepdim=True)
        dx = reciprocal * per_channel(weight, x) * centred
        return dx, (dy * hat).sum(axes), None, None


@mutant("GRAD-13", says="where", seen="pytorch #4422, PR 2207")
class SecondDerivativesOfConstants(Composite):
    def normalise(self, x, mean, var):
        if not self.uses_batch() or self.weight is None or self.bias is None or not x.numel():
            return super().normalise(x, mean, var)
        saved = mean.detach(), self.reciprocal(var).detach()
        y = SavedConstants.apply(x.double(), self.weight.double(), *saved)
        return (y + per_channel(self.bias.double(), x)).to(x.dtype)


@mutant("GRAD-14", says="dweight of an empty batch is")
class EmptyGivesNaN(Handwritten):
    def dweight(self, dy, hat):
        return (dy * hat).mean(self.axes(dy)) * (dy.numel() / dy.shape[1])


@mutant("GRAD-15", says="dbias is", seen="pytorch #195701")
class SumsInHalf(Handwritten):
    def dbias(self, dy):
        total = torch.zeros(dy.shape[1], dtype=torch.bfloat16)
        for row in dy.transpose(0, 1).flatten(1).T.bfloat16():
            total = total + row
        return total.double()


@mutant("GRAD-16", says="of other channels changes")
class OneOverflowStopsAll(Handwritten):
    """A gradient scaler that lives in the layer: one infinity zeroes the whole step."""

    def gradients(self, dy, *rest):
        return super().gradients(dy if dy.isfinite().all() else 0 * dy.nan_to_num(0, 0, 0), *rest)


@mutant("GRAD-17", says="after two passes")
class ReplacesGradients(Handwritten):
    def gradients(self, dy, hat, reciprocal, weight, through):
        dx, dw, db = super().gradients(dy, hat, reciprocal, weight, through)
        for p in (self.weight, self.bias):
            if p is not None:
                p.grad = None
        return dx, dw, db


@mutant("GRAD-18", says="[", seen="ROCm/MIOpen #1109")
class LosesLargeBatches(Handwritten):
    """Beyond 1024 values the sums stop at the last whole block of 64."""

    def centred(self, dy, hat):
        n = dy.numel() // dy.shape[1]
        if n <= 1024:
            return super().centred(dy, hat)
        kept = n // 64 * 64
        sums = [v.transpose(0, 1).flatten(1)[:, :kept].sum(1) / n for v in (dy, dy * hat)]
        return dy - per_channel(sums[0], dy) - hat * per_channel(sums[1], dy)
