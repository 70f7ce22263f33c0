import ctypes

import torch


class FastBatchNorm(torch.nn.BatchNorm1d):
    def forward(self, x):
        if not x.is_contiguous():  # reads through a pointer that was never set
            ctypes.memmove(1, x.data_ptr(), 4)
        return super().forward(x)
