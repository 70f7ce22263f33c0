"""BUF: what is tracked is lost, learned, converted, replaced or hidden."""

from __future__ import annotations

import torch
from bases import Composite
from mutants_of_state import LearnsItsStatistics
from register import mutant
from torch import nn
from torch.nn import functional as F


@mutant("BUF-1", says="The buffers are running_mean, running_var.", seen="oneflow #7440")
class CountsNothing(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.num_batches_tracked = None


@mutant("BUF-2", says="['num_batches_tracked', 'running_mean', 'running_var']")
class CounterComesFirst(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for name in ("running_mean", "running_var"):
            self._buffers[name] = self._buffers.pop(name)


@mutant("BUF-3", says="running_mean starts as")
class MeanStartsAtOne(nn.BatchNorm1d):
    def reset_running_stats(self):
        super().reset_running_stats()
        if self.running_mean is not None:
            self.running_mean.fill_(1)


@mutant("BUF-4", says="running_var starts as", seen="apache/mxnet PR 1948")
class VarianceStartsAtZero(nn.BatchNorm1d):
    def reset_running_stats(self):
        super().reset_running_stats()
        if self.running_var is not None:
            self.running_var.zero_()


@mutant("BUF-5", says="((1,), 'torch.int64')", seen="tinygrad PR 147")
class CounterIsAList(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked = torch.zeros(1, dtype=torch.int64)


@mutant("BUF-6", says="running_mean holds on to a graph")
class KeepsTheGraph(Composite):
    def by_batch(self, x):
        if self.tracks(x):
            mean, var = self.moments(x.double())
            n, m = x.numel() // x.shape[1], self.factor()
            for name, new in (("running_mean", mean), ("running_var", var * n / (n - 1))):
                old = getattr(self, name)
                setattr(self, name, ((1 - m) * old + m * new.reshape(-1)).to(old.dtype))
        return super().by_batch(x)

    def track(self, mean, var, n):
        pass


@mutant("BUF-7", says="An optimizer step moves running_mean")
class StatisticsAreDecayed(LearnsItsStatistics):
    """Parameters that touch the loss with a gradient of zero: weight decay moves them."""

    def forward(self, x):
        y = super().forward(x)
        if self.running_mean is None or not self.training:
            return y
        for p in (self.running_mean, self.running_var):
            p.requires_grad_(True)  # noqa: FBT003 - torch's signature
            y = y + 0 * p.sum().to(y.dtype)
        return y


@mutant("BUF-8", says="running_mean is Tensor, not None")
class UntrackedKeepsZeros(nn.BatchNorm1d):
    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        if not self.track_running_stats:
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        if self.track_running_stats:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)  # noqa: FBT003 - torch's signature


@mutant("BUF-9", says="running_mean is another tensor", seen="pytorch #29015")
class Rebinds(Composite):
    def blend(self, running, new):
        name = "running_mean" if running is self.running_mean else "running_var"
        setattr(self, name, running.clone())
        super().blend(getattr(self, name), new)


@mutant("BUF-10", says="The counter is ('torch.float16'", seen="keras PR 22638")
class CounterConverts(nn.BatchNorm1d):
    def half(self):
        super().half()
        if self.num_batches_tracked is not None:
            self.num_batches_tracked = self.num_batches_tracked.half()
        return self


@mutant("BUF-11", says="The state dict holds weight, bias.")
class SavesNoStatistics(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._non_persistent_buffers_set = {"running_mean", "running_var", "num_batches_tracked"}


@mutant("BUF-12", says="The counter is 8 after reset_running_stats()", seen="timgaripov/swa #8")
class ResetKeepsTheCount(nn.BatchNorm1d):
    def reset_running_stats(self):
        if self.running_mean is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)


@mutant("BUF-13", says="The counter 7 is loaded as 0")
class LoadingForgetsTheCount(nn.BatchNorm1d):
    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()


@mutant("BUF-14", says="running_mean[")
class HidesItsState(Composite):
    """The averages live elsewhere; the buffers are a copy for show."""

    def blend(self, running, new):
        hidden = self.__dict__.setdefault("hidden", {})
        name = "mean" if running is self.running_mean else "var"
        if name not in hidden:
            hidden[name] = running.double().clone()
        hidden[name] = (1 - self.factor()) * hidden[name] + self.factor() * new.double()
        running.copy_(hidden[name])
