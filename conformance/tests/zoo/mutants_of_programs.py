"""COMP-30: right in every single test, wrong after a sequence of operations."""

from __future__ import annotations

import torch
from bases import Composite
from register import mutant


@mutant("COMP-30", says="bn.eps = ", profile="full")
class FoldsAtEval(Composite):
    """eval() computes the root; an eps that is assigned afterwards comes too late."""

    def train(self, mode=True):
        self.seen = None if mode else self.eps
        return super().train(mode)

    def by_running(self, x):
        self.seen = self.eps if self.seen is None else self.seen
        return super().by_running(x)

    def reciprocal(self, var):
        eps = self.eps if self.uses_batch() else self.seen
        return 1 / (var + eps).sqrt()


@mutant("COMP-30", says="bn.half(); ", profile="full")
class OnceNarrow(Composite):
    """A cast to half precision is never undone."""

    narrow = None

    def _apply(self, fn, *args):
        made = super()._apply(fn, *args)
        kept = self.running_mean if self.running_mean is not None else self.weight
        if kept is not None and kept.dtype is torch.float16:
            self.narrow = kept.dtype
        return made

    def affine_map(self, hat):
        y = super().affine_map(hat)
        return y if self.narrow is None else y.to(self.narrow)


@mutant("COMP-30", says="momentum = None")
class CumulativeForgets(Composite):
    """An average that begins in the middle weighs the old batches as one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.first = self.momentum

    def factor(self):
        if self.momentum is None and self.first is not None:
            return 0.5 if self.num_batches_tracked > 1 else 1.0
        return super().factor()
