"""Ways in which PyTorch's layer computes on a GPU: the verdict of each is its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WithoutCudnn(nn.BatchNorm1d):
    """By PyTorch's own kernels, also where cuDNN has one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y, in the shape and format of x."""
        with torch.backends.cudnn.flags(enabled=False):
            return super().forward(x)


class Synchronized(nn.SyncBatchNorm):
    """The layer for several processes, in one: there is nobody to synchronise with."""
