"""What others have reported and no other mutant shows: defects of some sizes, of odd states."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from register import mutant
from torch import nn

BLOCK = 1024


@mutant("STATS-2", says="running_var[", seen="mlpack/mlpack PR 2474")
class EpsInTheCorrection(Composite):
    def tracked_var(self, var, n):
        return var * n / (n - 1 + self.eps)


@mutant("STATS-2", says="running_var[", seen="tinygrad PR 807")
class CountsAllChannels(Composite):
    def tracked_var(self, var, n):
        total = n * var.numel()
        return var * total / (total - 1)


@mutant("STATS-1", says="running_mean[", seen="pfnet/pytorch-pfn-extras PR 117")
class HalvesItsMomentum(Composite):
    """Made for a second update of the same batch, which does not come."""

    def factor(self):
        return super().factor() if self.momentum is None else 1 - (1 - self.momentum) ** 0.5


@mutant("STATS-17", says="running_mean[", seen="PaddlePaddle/Paddle PR 51120")
class LargeBatchesDecayTwice(Composite):
    def track(self, mean, var, n):
        if n > BLOCK:
            with torch.no_grad():
                self.running_mean.mul_(1 - self.factor())
        super().track(mean, var, n)


@mutant("STATS-17", says="running_mean[", seen="flagos-ai/FlagGems PR 5828")
class MaskedLanesCount(Composite):
    """What is tracked is divided by whole blocks; what normalises is right."""

    def track(self, mean, var, n):
        padded = -(-n // 32) * 32 if n > BLOCK else n
        super().track(mean * n / padded, var, n)


@mutant("LAYOUT-6", says="invalid argument", seen="torch/cunn #298", profile="full")
class OneBlockAChannel(nn.BatchNorm1d):
    def forward(self, x):
        if x.ndim > 1 and x.shape[1] > 65535:
            raise RuntimeError("invalid argument: a grid dimension is above 65535")
        return super().forward(x)


@mutant("EVAL-12", says="y[", seen="apache/mxnet #21111")
class KeepsTheBatchsRoot(Composite):
    """Evaluation goes on with the deviation that the last training batch had."""

    saved = None

    def by_batch(self, x):
        self.saved = self.moments(x.detach().double())[1] if x.numel() else None
        return super().by_batch(x)

    def by_running(self, x):
        if self.saved is None:
            return super().by_running(x)
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.saved.flatten()))
        return self.normalise(x, mean, var)


@mutant("GRAD-1", says="dx[", seen="pytorch PR 94351")
class VarianceForItsRoot(Handwritten):
    def dx(self, dy, hat, reciprocal, weight, through):
        saved = reciprocal**-2 if through else reciprocal
        return super().dx(dy, hat, saved, weight, through)


@mutant("GRAD-19", says="the input of 2 of the first two is still", seen="pytorch #2309, #2287")
class KeepsEveryGraph(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        self.losses = [*getattr(self, "losses", ()), y.sum()]
        return y


@mutant("PARAM-9", says="raises", seen="fastai/fastai2 PR 9")
class ResetExpectsAWeight(nn.BatchNorm1d):
    """The constructor fills what it makes; reset_parameters() fills what may not be there."""

    made = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.made = True

    def reset_parameters(self):
        super().reset_parameters()
        if self.made:
            self.weight.data.fill_(1.0)


@mutant("INPUT-15", says="It is accepted", seen="pytorch #169208")
class TakesEmptyForNone(Composite):
    def check_channels(self, x):
        for role in ("running_mean", "running_var"):
            tensor = getattr(self, role)
            if tensor is not None and not tensor.numel():
                setattr(self, role, torch.ones(x.shape[1]))
        super().check_channels(x)


@mutant("INPUT-17", says="It is accepted", seen="pytorch #65520")
class AsksForTheMeanAlone(Composite):
    def check_statistics(self):
        """Do not: `uses_batch` decides by running_mean."""

    def blend(self, running, new):
        if running is not None:
            super().blend(running, new)
