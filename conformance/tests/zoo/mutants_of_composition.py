"""COMP: layers that are right alone, and wrong in a network, under a transform or from a tool."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _LazyNormBase


@mutant("COMP-3", says="y[")
class EpsOfTheConstructor(Composite):
    """eps is made a tensor once."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.small = float(self.eps)

    def reciprocal(self, var):
        return 1 / (var + self.small).sqrt()


@mutant("COMP-4", says="Training without tracking changes running_mean", seen="pytorch #20967")
class TracksWhereItCan(Composite):
    """What is tracked into is there: the flag is not asked."""

    def tracks(self, x):
        return self.training and self.running_mean is not None and x.numel() > 0


@mutant("COMP-5", says="y[")
class HearsOnlyItsOwnName(Composite):
    """eval() is overridden, and train(False), which is what a parent calls, is not."""

    def eval(self):
        self.evaluating = True
        return super().eval()

    def train(self, mode=True):
        self.evaluating = False
        return super().train(mode)

    def uses_batch(self):
        return not getattr(self, "evaluating", False)


@mutant("COMP-6", says="the output is another")
class EvaluatesWithoutGradients(Composite):
    """Where nobody asks for gradients, it is taken for evaluation."""

    def uses_batch(self):
        return super().uses_batch() and torch.is_grad_enabled()


@mutant("COMP-7", says="y[")
class FoldsForServing(Composite):
    """The first evaluation makes one factor of weight and variance, and keeps it."""

    def train(self, mode=True):
        self.factor_kept = None
        return super().train(mode)

    def by_running(self, x):
        if self.factor_kept is None:
            weight = 1 if self.weight is None else self.weight.detach().double()
            self.factor_kept = weight / (self.running_var.double() + self.eps).sqrt()
        y = (x.double() - per_channel(self.running_mean.double(), x)) * per_channel(
            self.factor_kept, x
        )
        return (y if self.bias is None else y + per_channel(self.bias.double(), x)).to(x.dtype)


@mutant("COMP-8", says="the hook has run 0 times")
class CallsItsForward(Composite):
    """A call that saves the overhead of Module.__call__."""

    def __call__(self, x):
        return self.forward(x)


@mutant("COMP-9", says="random state")
class SeedsForReproducibility(Composite):
    def by_batch(self, x):
        torch.manual_seed(0)
        return super().by_batch(x)


@mutant("COMP-10", says="The input of a call is kept")
class KeepsItsInput(Composite):
    """For a backward pass that will never come."""

    def forward(self, x):
        self.saved = x
        return super().forward(x)


@mutant("COMP-11", says="running_mean[")
class FrozenIsEvaluation(Composite):
    """A layer that does not learn is taken out of training."""

    def uses_batch(self):
        frozen = self.weight is not None and not self.weight.requires_grad
        return super().uses_batch() and not frozen

    def tracks(self, x):
        return super().tracks(x) and self.uses_batch()


@mutant("COMP-12", says="backward of the network: raises RuntimeError")
class EvaluationNeedsNoGraph(Composite):
    @torch.no_grad()
    def by_running(self, x):
        return super().by_running(x)


@mutant("COMP-13", says="y[")
class HooksMayOnlyLook(Composite):
    """A call of its own, which runs the hooks and leaves aside what they return."""

    def __call__(self, x):
        for hook in self._forward_pre_hooks.values():
            hook(self, (x,))
        y = self.forward(x)
        for hook in self._forward_hooks.values():
            hook(self, (x,), y)
        return y


class Remembers(Composite):
    """Keeps a list of its statistics, as they were at construction."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept = [self.running_mean, self.running_var]


@mutant("COMP-14", says="changes running_mean and running_var of the layer itself",
        seen="pytorch #85533")  # fmt: skip
class TracksIntoItsOwn(Remembers):
    def track(self, mean, var, n):
        with torch.no_grad():
            self.blend(self.kept[0], mean)
            self.blend(self.kept[1], self.tracked_var(var, n))


@mutant("COMP-15", says="checkpointed backward: raises CheckpointError", profile="full")
class TunesAtFirst(Composite):
    """The first call goes the slow way, and finds out how the others go."""

    tuned = False

    def normalise(self, x, mean, var):
        if self.tuned or self.weight is None or self.bias is None:
            return super().normalise(x, mean, var)
        self.tuned = True
        y = super().normalise(x, mean, var)
        return y * torch.ones_like(y)


@mutant("COMP-16", says="backward of the network: raises RuntimeError")
class SavesOnTheLayer(Handwritten):
    """The backward pass finds what the last forward pass left."""

    def output(self, x, hat, weight, bias, mean, reciprocal):
        self.last = hat
        return super().output(x, hat, weight, bias, mean, reciprocal)

    def gradients(self, dy, hat, reciprocal, weight, through):
        return super().gradients(dy, self.last, reciprocal, weight, through)


@mutant("COMP-17", says="no longer share running_mean and running_var", seen="pytorch #1051")
class PutsNewStatisticsInPlace(Composite):
    def track(self, mean, var, n):
        m, kept = self.factor(), self.running_mean.dtype
        new = self.tracked_var(var, n)
        self.running_mean = ((1 - m) * self.running_mean.double() + m * mean).to(kept)
        self.running_var = ((1 - m) * self.running_var.double() + m * new).to(kept)


@mutant("COMP-18", says="y[")
class KeepsAListOfItsWeights(Composite):
    """As recurrent layers do for cuDNN."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.flat = [self.weight, self.bias]

    def affine_map(self, hat):
        weight, bias = self.flat
        if weight is not None:
            hat = hat * per_channel(weight.double(), hat)
        return hat if bias is None else hat + per_channel(bias.double(), hat)


class Normalised(torch.autograd.Function):
    """x̂ of (N, C) or (N, C, L) by the batch, with a vmap and a tangent of its own."""

    @staticmethod
    def forward(x, eps):
        axes = [d for d in range(x.ndim) if d != 1]
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) * (var + eps).rsqrt()

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.eps = inputs
        ctx.axes = [d for d in range(x.ndim) if d != 1]
        ctx.save_for_backward(x, output)
        ctx.save_for_forward(x, output)

    @staticmethod
    def backward(ctx, dy):
        x, hat = ctx.saved_tensors
        through = dy - dy.mean(ctx.axes, keepdim=True)
        through = through - hat * (dy * hat).mean(ctx.axes, keepdim=True)
        return through * (x.var(ctx.axes, correction=0, keepdim=True) + ctx.eps).rsqrt(), None


class Whole(Normalised):
    """Batches are laid end to end, and normalised as one."""

    @staticmethod
    def vmap(_info, in_dims, x, eps):
        rows = x.movedim(in_dims[0], 0)
        return Whole.apply(rows.flatten(0, 1), eps).unflatten(0, rows.shape[:2]), 0


class Constant(Normalised):
    """The tangent takes mean and variance for constants."""

    @staticmethod
    def jvp(ctx, tangent, _):
        x, _hat = ctx.saved_tensors
        return tangent * (x.var(ctx.axes, correction=0, keepdim=True) + ctx.eps).rsqrt()


class ByFunction(Composite):
    """Training by a function with derivatives of its own."""

    def normalise(self, x, mean, var):
        if not self.uses_batch() or not x.numel():
            return super().normalise(x, mean, var)
        return self.affine_map(self.function.apply(x.double(), self.eps)).to(x.dtype)


@mutant("COMP-19", says="y[")
class OneBatchOfAll(ByFunction):
    function = Whole


@mutant("COMP-20", says="y[")
class AllMembersAreTheFirst(Remembers):
    def by_running(self, x):
        mean, var = (per_channel(t.double(), x) for t in self.kept)
        return self.normalise(x, mean, var)


@mutant("COMP-21", says="tangent[", profile="full")
class TangentOfAConstant(ByFunction):
    function = Constant


@mutant("COMP-22", says="The counter is 7, where 8 is right")
class CountsInPythonAlone(nn.BatchNorm1d):
    def forward(self, x):
        self._check_input_dim(x)
        factor = 0.0 if self.momentum is None else self.momentum
        tracks = self.training and self.track_running_stats
        if tracks and self.num_batches_tracked is not None:
            if not torch.jit.is_scripting():
                self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        batch = self.training or self.running_mean is None
        mean = self.running_mean if tracks or not self.training else None
        var = self.running_var if tracks or not self.training else None
        return F.batch_norm(x, mean, var, self.weight, self.bias, batch, factor, self.eps)


@mutant("COMP-23", says="y[", seen="pytorch #18312")
class ReadsItsStatisticsAsNumbers(Composite):
    """By way of lists, which a trace writes down as they are."""

    def by_running(self, x):
        kept = (self.running_mean.tolist(), self.running_var.tolist())
        wide = (torch.tensor(t, dtype=torch.double) for t in kept)
        return self.normalise(x, *(per_channel(t, x) for t in wide))


@mutant("COMP-24", says="running_mean[", seen="pytorch #46808", profile="full")
class CompilesWithoutSideEffects(Composite):
    """Writes in place break the graph, so that the compiled path has none."""

    def tracks(self, x):
        return super().tracks(x) and not torch.compiler.is_dynamo_compiling()


@mutant("COMP-25", says="y[", seen="pytorch #75252", profile="full")
class ExportsByItsModeAlone(Composite):
    """Without statistics, evaluation is exported by those of a new layer."""

    def forward(self, x):
        if not torch.compiler.is_compiling() or self.training or self.running_mean is not None:
            return super().forward(x)
        return self.normalise(x, 0 * x.double().mean(0), 0 * x.double().mean(0) + 1)


@mutant("COMP-26", says="y[", profile="full")
class ResetsByArithmetic(Composite):
    """Zero times what is there, plus the start: NaN where the memory holds NaN."""

    made = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.made = True

    @torch.no_grad()
    def reset_parameters(self):
        super().reset_running_stats() if self.made else super().reset_parameters()
        for tensor, start in ((self.weight, 1), (self.bias, 0)):
            if self.made and tensor is not None:
                tensor.mul_(0).add_(start)


@mutant("COMP-27", says="running_var[")
class WithALazyForm(nn.BatchNorm1d):
    """Right by itself."""


class LazyWithALazyForm(_LazyNormBase, WithALazyForm):
    """The variance starts as zeros, like the mean."""

    cls_to_become = WithALazyForm

    def initialize_parameters(self, x):
        super().initialize_parameters(x)
        with torch.no_grad():
            self.running_var.zero_()


@mutant("COMP-28", says="y[")
class InventsStatistics(Composite):
    """What is to be tracked and is not there counts as zeros and ones."""

    def uses_batch(self):
        return self.training or (self.running_mean is None and not self.track_running_stats)

    def by_running(self, x):
        if self.running_mean is not None:
            return super().by_running(x)
        zeros = torch.zeros(self.num_features, dtype=torch.double)
        return self.normalise(x, per_channel(zeros, x), per_channel(zeros + 1, x))
