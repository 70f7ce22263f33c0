"""What a layer is besides its kernels: when they are called, and what becomes of their answers.

`triton_layer.py` and `cuda_layer.py` fill in the arithmetic. Whatever a kernel does not take (an
empty batch, a wrong shape, another device) goes to PyTorch's own layer, which answers or refuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Normalise(torch.autograd.Function):
    """The forward and backward pass of x, (N, C, L); the other tensors are (C,), and wide."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        rstd: Tensor,
        layer: KernelBatchNorm1d,
        through: bool,  # noqa: FBT001
    ) -> Tensor:
        """Return y; `through`: mean and rstd are functions of x."""
        y = torch.empty_like(x)
        layer.normalise(x, y, mean, rstd, weight, bias)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.layer, ctx.through = layer, through
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, mean, rstd = ctx.saved_tensors
        dx, dweight, dbias = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
        tensors = (dy.contiguous(), dx, dweight, dbias, mean, rstd, weight)
        ctx.layer.gradients(x, *tensors, through=ctx.through)
        return dx, dweight, dbias, None, None, None, None


class KernelBatchNorm1d(nn.BatchNorm1d):
    """nn.BatchNorm1d, whose forward and backward passes are somebody's kernels."""

    def takes(self, x: Tensor) -> bool:
        """Whether the kernels run where x is."""
        raise NotImplementedError

    @staticmethod
    def moments(x: Tensor, mean: Tensor, var: Tensor) -> None:
        """Fill mean and biased variance, (C,), of x, (N, C, L)."""
        raise NotImplementedError

    @staticmethod
    def normalise(x: Tensor, y: Tensor, *columns: Tensor) -> None:
        """Fill y; `columns`, (C,): mean, rstd, weight, bias."""
        raise NotImplementedError

    @staticmethod
    def gradients(x: Tensor, *tensors: Tensor, through: bool) -> None:
        """Fill dx, dweight and dbias; `tensors`: dy, these three, mean, rstd, weight."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return y, in the shape and format of x."""
        through = self.training or self.running_mean is None or self.running_var is None
        if not (self.takes(x) and self.is_usual(x, through=through)):
            return super().forward(x)
        wide = torch.promote_types(x.dtype, torch.float32)
        rows = x.contiguous().view(x.shape[0], x.shape[1], -1)
        if through:
            mean, var = self.batch_statistics(rows.detach(), wide)
        else:
            mean, var = self.running_mean.to(wide), self.running_var.to(wide)
        rstd = torch.rsqrt(var + self.eps)
        weight = torch.ones_like(rstd) if self.weight is None else self.weight.to(wide)
        bias = torch.zeros_like(rstd) if self.bias is None else self.bias.to(wide)
        columns = (t.contiguous() for t in (weight, bias, mean, rstd))
        return Normalise.apply(rows, *columns, self, through).view(x.shape)

    def is_usual(self, x: Tensor, *, through: bool) -> bool:
        """Whether x is a batch that PyTorch's layer would answer with numbers."""
        tracked = [t for t in (self.running_mean, self.running_var) if t is not None]
        tensors = [*self.parameters(), *tracked]
        others = {t.dtype for t in tensors} - {x.dtype}
        narrow = x.dtype in {torch.half, torch.bfloat16}
        return (
            x.dim() in {2, 3}
            and x.is_floating_point()
            and len(tracked) != 1
            and {t.numel() for t in tensors} <= {x.shape[1]}
            and x.numel() > (x.shape[1] if through else 0)
            and (not self.training or self.eps > 0)
            and others <= ({torch.float32} if narrow else set())
            and {t.device for t in tensors} <= {x.device}
        )

    def batch_statistics(self, x: Tensor, wide: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of x, (N, C, L), and track them."""
        n, c, length = x.shape
        mean, var = x.new_empty(c, dtype=wide), x.new_empty(c, dtype=wide)
        self.moments(x, mean, var)
        if self.training and self.track_running_stats and self.running_mean is not None:
            self.track(mean, var * (n * length) / (n * length - 1))
        return mean, var

    @torch.no_grad()
    def track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of the batch, the variance unbiased."""
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / self.num_batches_tracked.item()
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.copy_(running.to(new.dtype) * (1 - momentum) + new * momentum)
