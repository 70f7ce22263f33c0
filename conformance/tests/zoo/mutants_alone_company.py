"""COMP and CONC: defects that show in company, and that one requirement alone sees."""

from __future__ import annotations

import threading
import time

import torch
from bases import Composite, per_channel
from mutants_alone_forward import HALF_A_BIT, Output
from register import mutant
from torch import nn


@mutant("COMP-3", says="running_mean[")
class KeepsTheMomentumItWasGiven(nn.BatchNorm1d):
    """Another momentum counts only if it is None."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *args, **kwargs):
        super().__init__(num_features, eps, momentum, *args, **kwargs)
        self.given = momentum

    def forward(self, x):
        said = self.momentum
        self.momentum = None if None in (said, self.given) else self.given
        try:
            return super().forward(x)
        finally:
            self.momentum = said


@mutant("COMP-4", says="y[", seen="pytorch #16793")
class OffMeansByTheBatch(nn.BatchNorm1d):
    """Tracking that is switched off makes evaluation use the batch, where it has one."""

    def forward(self, x):
        off = not self.training and not self.track_running_stats
        if not off or self.running_mean is None or x.numel() <= x.shape[1]:
            return super().forward(x)
        return nn.functional.batch_norm(
            x, None, None, self.weight, self.bias, training=True, eps=self.eps
        )


@mutant("COMP-6", says="the output is another")
class FasterWithoutGradients(Output):
    """Without gradients another kernel computes, whose last bit is another."""

    def run(self, x, mean, var, *, through):
        self.quiet = not torch.is_grad_enabled()
        return super().run(x, mean, var, through=through)

    def concerns(self, x):
        return self.quiet and x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return hat * (1 + HALF_A_BIT)


@mutant("COMP-7", says="y[")
class KeepsWhatIsNoNewer(Composite):
    """Evaluation looks at the statistics again only where their count of versions has grown."""

    table = None

    def by_running(self, x):
        kept = self.running_mean, self.running_var
        now = (x.ndim, x.dtype, kept[0].dtype), [t._version for t in kept]
        if self.table is None or self.table[0] != now[0] or now[1] > self.table[1]:
            self.table = (*now, [per_channel(t.double(), x) for t in kept])
        return self.normalise(x, *self.table[2])

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "table"}


@mutant("COMP-8", says="The hook does not see")
class HandsOutAView(nn.BatchNorm1d):
    """A call gives a view of what its hooks have seen."""

    def __call__(self, x):
        y = super().__call__(x)
        return y.view_as(y)


@mutant("COMP-9", says="A call changes random state")
class DrawsAtEveryCall(nn.BatchNorm1d):
    """Every call draws a random number, as if it were to drop something."""

    def forward(self, x):
        torch.rand(())
        return super().forward(x)


@mutant("COMP-10", says="of a call is kept")
class KeepsItsLastInput(nn.BatchNorm1d):
    """The last input of a call without gradients is kept until the next."""

    last = None

    def forward(self, x):
        self.last = None if x.requires_grad else x
        return super().forward(x)


@mutant("CONC-5", says="y[")
class HasOneDesk(Composite):
    """What evaluation works on lies in an attribute, which other threads write too."""

    desk = None

    def by_running(self, x):
        if x.requires_grad:
            return super().by_running(x)
        self.desk = x
        time.sleep(0.01)
        x, self.desk = self.desk if self.desk is not None else x, None
        return super().by_running(x)


@mutant("CONC-6", says="The counter is 7")
class CountsAtHome(nn.BatchNorm1d):
    """In another thread than the one that constructed the layer, no batch is counted."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.home = threading.get_ident()

    def forward(self, x):
        y = super().forward(x)
        away = threading.get_ident() != self.home
        if away and self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.sub_(1)
        return y
