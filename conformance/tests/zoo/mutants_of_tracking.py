"""STATS: torch operations in float64, what is tracked wrong."""

from __future__ import annotations

import torch
from bases import Composite
from register import mutant


@mutant("STATS-1", says="weight of the old value", seen="d2l-ai/d2l-en PR 2213")
class MomentumIsInverted(Composite):
    def factor(self):
        return super().factor() if self.momentum is None else 1 - self.momentum


@mutant("STATS-1", says="not updated", seen="paiml/aprender PR 2166")
class NeverTracks(Composite):
    def track(self, mean, var, n):
        pass


@mutant("STATS-1", says="running_mean[", seen="patrick-kidger/equinox #659")
class FirstBatchReplaces(Composite):
    def factor(self):
        return 1.0 if self.num_batches_tracked == 1 else super().factor()


@mutant("STATS-1", says="is not multiplied by 1 − momentum")
class KeepsTheOldWhole(Composite):
    def blend(self, running, new):
        running.add_((self.factor() * new.double()).to(running.dtype))


@mutant("STATS-2", says="biased variance is tracked", seen="kakaobrain/trident PR 125")
class TracksBiased(Composite):
    def tracked_var(self, var, n):
        return var


@mutant("STATS-2", says="standard deviation is tracked")
class TracksDeviation(Composite):
    def tracked_var(self, var, n):
        return super().tracked_var(var, n).sqrt()


@mutant("STATS-3", says="counts N where", seen="NervanaSystems/ngraph-tf PR 357")
class CountsSamples(Composite):
    def by_batch(self, x):
        self.batch = x.shape[0]
        return super().by_batch(x)

    def tracked_var(self, var, n):
        return var * self.batch / (self.batch - 1)


@mutant("STATS-4", says="running_var[", seen="keras-contrib PR 287")
class TracksEps(Composite):
    def tracked_var(self, var, n):
        return super().tracked_var(var, n) + self.eps


@mutant("STATS-4", says="about the running mean", seen="tensorflow #13064")
class AboutTheRunningMean(Composite):
    def track(self, mean, var, n):
        super().track(mean, var + (mean - self.running_mean.double()) ** 2, n)


@mutant("STATS-5", says="the count before this batch")
class CumulativeIsLate(Composite):
    def factor(self):
        if self.momentum is None:
            return 1 / max(float(self.num_batches_tracked) - 1, 1)
        return self.momentum


@mutant("STATS-6", says="running_mean[", seen="pytorch PR 5766")
class CountsForItself(Composite):
    """A count of its own, that no checkpoint holds."""

    def factor(self):
        if self.momentum is not None:
            return self.momentum
        return 1 / self.own

    def by_batch(self, x):
        self.own = getattr(self, "own", 0) + self.training
        return super().by_batch(x)


@mutant(
    "STATS-7",
    says="With momentum 0.0 a training step changes",
    seen="Lightning-AI/pytorch-lightning #14866",
)
class ZeroIsFalse(Composite):
    def factor(self):
        return self.momentum or 1 / float(self.num_batches_tracked)


@mutant("STATS-8", says="The counter is 41 where 42 is right")
class CountsWhereNeeded(Composite):
    def by_batch(self, x):
        y = super().by_batch(x)
        if self.tracks(x) and self.momentum is not None:
            self.num_batches_tracked.sub_(1)
        return y


@mutant("STATS-9", says="running_mean[")
class MomentumStaysBelowOne(Composite):
    def factor(self):
        return super().factor() if self.momentum is None else min(self.momentum, 0.999)


@mutant("STATS-10", says="not updated", seen="facebookresearch/fairscale #1035")
class TracksWithGradientsOnly(Composite):
    def tracks(self, x):
        learns = any(p.requires_grad for p in self.parameters()) or not self.affine
        return super().tracks(x) and torch.is_grad_enabled() and learns


@mutant("STATS-11", says="The backward pass changes", seen="pytorch #96136")
class TracksAgainInBackward(Composite):
    """Checkpointing: the forward pass is run again when the backward pass needs it."""

    def by_batch(self, x):
        y = super().by_batch(x)
        if y.requires_grad and self.tracks(x):
            y.register_hook(lambda _: self.track(*self.seen))
        return y

    def track(self, mean, var, n):
        self.seen = mean, var, n
        super().track(mean, var, n)


@mutant("STATS-12", says="An empty batch changes", seen="pytorch #12013")
class EmptyIsTracked(Composite):
    def tracks(self, x):
        return self.training and self.track_running_stats and self.running_mean is not None

    def tracked_var(self, var, n):
        return var * n / max(n - 1, 1)


@mutant("STATS-13", says="after a batch that held nan")
class SkipsBadBatches(Composite):
    def blend(self, running, new):
        super().blend(running, torch.where(new.isfinite(), new, running.to(new.dtype)))


@mutant("STATS-14", says="running_mean becomes fp16", seen="flagos-ai/FlagGems PR 5828")
class TracksInTheInputsFormat(Composite):
    def by_batch(self, x):
        if self.running_mean is not None and x.dtype == torch.float16:
            self.running_mean, self.running_var = self.running_mean.half(), self.running_var.half()
        return super().by_batch(x)


@mutant("STATS-15", says="running_var[", seen="patrick-kidger/equinox PR 314")
class ClipsItsVariance(Composite):
    """One pass in single precision for what is tracked, clipped so that nobody sees."""

    def by_batch(self, x):
        wide = x.detach().transpose(0, 1).flatten(1).float()
        self.squares = (wide * wide).mean(1) - wide.mean(1) ** 2
        return super().by_batch(x)

    def tracked_var(self, var, n):
        return super().tracked_var(self.squares.clamp(min=0), n)


@mutant("STATS-16", says="no sound algorithm rounds here")
class TracksInHalf(Composite):
    def blend(self, running, new):
        super().blend(running, new.bfloat16())
