"""A layer whose arithmetic is three Triton kernels: a kernel author's subject.

    bn1d run conformance/examples/triton_layer.py:TritonBatchNorm1d --device cuda
    TRITON_INTERPRET=1 bn1d run conformance/examples/triton_layer.py:TritonBatchNorm1d

One program a channel, which goes over its N·L values block by block. Sums are in single precision,
in double where the input is; a second pass sums the squares around the mean, so that a mean far
from zero costs no digits.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import triton
import triton.language as tl
from kernel_layer import KernelBatchNorm1d

BLOCK = 512  # values that a program holds at a time
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@triton.jit
def places(start, channel, n, c, length, BLOCK: tl.constexpr):
    """Where the block's values of a channel lie in (N, C, L), and which of them there are."""
    at = start + tl.arange(0, BLOCK)
    row = (at // length).to(tl.int64)  # times c, it may be more than 31 bits hold
    return (row * c + channel) * length + at % length, at < n * length


@triton.jit
def moments_kernel(x_ptr, mean_ptr, var_ptr, n, c, length, BLOCK: tl.constexpr):
    """Mean and biased variance of a channel."""
    channel = tl.program_id(0)
    wide = mean_ptr.dtype.element_ty
    count = n * length
    total = tl.zeros((BLOCK,), wide)
    for start in range(0, count, BLOCK):
        place, there = places(start, channel, n, c, length, BLOCK)
        total += tl.load(x_ptr + place, mask=there, other=0.0).to(wide)
    mean = tl.sum(total) / count
    squares = tl.zeros((BLOCK,), wide)
    for start in range(0, count, BLOCK):
        place, there = places(start, channel, n, c, length, BLOCK)
        apart = tl.load(x_ptr + place, mask=there, other=0.0).to(wide) - mean
        squares += tl.where(there, apart * apart, 0.0)
    tl.store(mean_ptr + channel, mean)
    tl.store(var_ptr + channel, tl.sum(squares) / count)


@triton.jit
def normalise_kernel(
    x_ptr, y_ptr, mean_ptr, rstd_ptr, weight_ptr, bias_ptr, n, c, length, BLOCK: tl.constexpr
):
    """(x − mean)·rstd·weight + bias of a channel."""
    channel = tl.program_id(0)
    mean = tl.load(mean_ptr + channel)
    scale = tl.load(rstd_ptr + channel) * tl.load(weight_ptr + channel)
    shift = tl.load(bias_ptr + channel)
    for start in range(0, n * length, BLOCK):
        place, there = places(start, channel, n, c, length, BLOCK)
        apart = tl.load(x_ptr + place, mask=there, other=0.0).to(mean.dtype) - mean
        y = apart * scale + shift
        tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty), mask=there)


@triton.jit
def backward_kernel(
    x_ptr, dy_ptr, dx_ptr, dweight_ptr, dbias_ptr, mean_ptr, rstd_ptr, weight_ptr, n, c, length,
    THROUGH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of a channel; THROUGH: mean and rstd are functions of x."""
    channel = tl.program_id(0)
    mean, rstd = tl.load(mean_ptr + channel), tl.load(rstd_ptr + channel)
    wide = mean.dtype
    sums, products = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
    for start in range(0, n * length, BLOCK):
        place, there = places(start, channel, n, c, length, BLOCK)
        dy = tl.load(dy_ptr + place, mask=there, other=0.0).to(wide)
        apart = tl.load(x_ptr + place, mask=there, other=0.0).to(wide) - mean
        sums += dy
        products += tl.where(there, dy * apart, 0.0)
    dbias, dweight = tl.sum(sums), tl.sum(products) * rstd
    tl.store(dbias_ptr + channel, dbias)
    tl.store(dweight_ptr + channel, dweight)
    scale = rstd * tl.load(weight_ptr + channel)
    for start in range(0, n * length, BLOCK):
        place, there = places(start, channel, n, c, length, BLOCK)
        dx = tl.load(dy_ptr + place, mask=there, other=0.0).to(wide)
        if THROUGH:
            hat = (tl.load(x_ptr + place, mask=there, other=0.0).to(wide) - mean) * rstd
            dx -= (dbias + hat * dweight) / (n * length)
        tl.store(dx_ptr + place, (dx * scale).to(dx_ptr.dtype.element_ty), mask=there)


class TritonBatchNorm1d(KernelBatchNorm1d):
    """BatchNorm1d by these kernels."""

    def takes(self, x: torch.Tensor) -> bool:
        """On a GPU, or anywhere under the interpreter."""
        return x.is_cuda or (INTERPRETED and x.device.type == "cpu")

    @staticmethod
    def moments(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> None:
        """Fill mean and biased variance, (C,), of x, (N, C, L)."""
        n, c, length = x.shape
        moments_kernel[(c,)](x, mean, var, n, c, length, BLOCK=BLOCK)

    @staticmethod
    def normalise(x: torch.Tensor, y: torch.Tensor, *columns: torch.Tensor) -> None:
        """Fill y; `columns`, (C,): mean, rstd, weight, bias."""
        n, c, length = x.shape
        normalise_kernel[(c,)](x, y, *columns, n, c, length, BLOCK=BLOCK)

    @staticmethod
    def gradients(x: torch.Tensor, *tensors: Any, through: bool) -> None:
        """Fill dx, dweight and dbias; `tensors`: dy, these three, mean, rstd, weight."""
        n, c, length = x.shape
        backward_kernel[(c,)](x, *tensors, n, c, length, THROUGH=through, BLOCK=BLOCK)
