"""A layer whose arithmetic is CUDA, compiled by PyTorch when it is first imported.

    bn1d run conformance/examples/cuda_layer.py:CudaBatchNorm1d --device cuda --timeout 120

It needs nvcc and ninja. One block of threads a channel; partial sums meet in shared memory. Sums
are in single precision, in double where the input is, and the squares are summed around the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from kernel_layer import KernelBatchNorm1d
from torch.utils.cpp_extension import load

kernels: Any = load("bn1d_example", [str(Path(__file__).with_name("cuda_layer.cu"))])


class CudaBatchNorm1d(KernelBatchNorm1d):
    """BatchNorm1d by the kernels of cuda_layer.cu."""

    def takes(self, x: torch.Tensor) -> bool:
        """On a GPU."""
        return x.is_cuda

    @staticmethod
    def moments(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> None:
        """Fill mean and biased variance, (C,), of x, (N, C, L)."""
        kernels.moments(x, mean, var)

    @staticmethod
    def normalise(x: torch.Tensor, y: torch.Tensor, *columns: torch.Tensor) -> None:
        """Fill y; `columns`, (C,): mean, rstd, weight, bias."""
        kernels.normalise(x, y, *columns)

    @staticmethod
    def gradients(x: torch.Tensor, *tensors: torch.Tensor, through: bool) -> None:
        """Fill dx, dweight and dbias; `tensors`: dy, these three, mean, rstd, weight."""
        kernels.gradients(x, *tensors, through)
