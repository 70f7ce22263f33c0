"""The example of a kernel author's layer, with PyTorch's operations for kernels."""

import sys
from pathlib import Path

import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
try:
    from kernel_layer import KernelBatchNorm1d
finally:
    sys.path.remove(str(EXAMPLES))


def column(values):
    return values[:, None]


class OperationsForKernels(KernelBatchNorm1d):
    def takes(self, x):
        return x.device.type == "cpu"

    @staticmethod
    def moments(x, mean, var):
        var[:], mean[:] = torch.var_mean(x.to(mean.dtype), (0, 2), correction=0)

    @staticmethod
    def normalise(x, y, mean, rstd, weight, bias):
        apart = x.to(mean.dtype) - column(mean)
        y[:] = apart * column(rstd * weight) + column(bias)

    @staticmethod
    def gradients(x, dy, dx, dweight, dbias, mean, rstd, weight, *, through):
        wide = dy.to(mean.dtype)
        hat = (x.to(mean.dtype) - column(mean)) * column(rstd)
        dweight[:], dbias[:] = (wide * hat).sum((0, 2)), wide.sum((0, 2))
        n = x.numel() / x.shape[1]
        back = (column(dbias) + hat * column(dweight)) / n if through else 0
        dx[:] = (wide - back) * column(rstd * weight)


BENIGN = [OperationsForKernels]
