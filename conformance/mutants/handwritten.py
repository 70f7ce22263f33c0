"""A drop-in BatchNorm1d whose backward pass is written by hand, in double precision.

Every line of it matters: a line that could be changed without changing an answer would make a
mutant that nothing can kill.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def column(values: Tensor) -> Tensor:
    """(C,) as (C, 1), in double precision."""
    return values.double().reshape(-1, 1)


class Normalise(torch.autograd.Function):
    """(x − mean)·rstd·weight + bias, channels first: x is (C, n), all others are (C, 1)."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - what autograd hands over
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        rstd: Tensor,
        through: bool,  # noqa: FBT001
    ) -> Tensor:
        """Return y, of shape (C, n); `through`: mean and rstd are functions of x."""
        hat = (x - mean) * rstd
        ctx.save_for_backward(weight, hat, rstd)
        ctx.through = through
        return hat * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        weight, hat, rstd = ctx.saved_tensors
        dweight = torch.sum(dy * hat, 1, keepdim=True)
        dbias = torch.sum(dy, 1, keepdim=True)
        dx = dy
        if ctx.through:
            n = dy.shape[1]
            dx = dy - (dbias + hat * dweight) / n
        return dx * rstd * weight, dweight, dbias, None, None, None


class BatchNorm1d(nn.Module):
    """Normalises each channel of x, of shape (N, C) or (N, C, L)."""

    _version = 2  # with num_batches_tracked

    def __init__(  # noqa: PLR0913, PLR0917 - the signature of torch.nn.BatchNorm1d
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,  # noqa: FBT001, FBT002
        track_running_stats: bool = True,  # noqa: FBT001, FBT002
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        """Make what was asked for, and let reset_parameters fill it."""
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            empty = torch.empty(num_features, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(empty) if wanted else None)
        for name in ("running_mean", "running_var"):
            empty = torch.empty(num_features, device=device, dtype=dtype)
            self.register_buffer(name, empty if track_running_stats else None)
        count = torch.empty((), device=device, dtype=torch.long)
        self.register_buffer("num_batches_tracked", count if track_running_stats else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Forget what was learned and tracked."""
        if self.weight is not None:
            self.weight.fill_(1)
        if self.bias is not None:
            self.bias.fill_(0)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget what was tracked."""
        for name, buffer in self.named_buffers():
            buffer.fill_(1 if name == "running_var" else 0)

    def extra_repr(self) -> str:
        """Name the arguments."""
        said = f"eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        return f"{self.num_features}, {said}, track_running_stats={self.track_running_stats}"

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        """A dict of version 1 has no counter: this layer keeps its own, or starts at zero."""
        key = prefix + "num_batches_tracked"
        old = local_metadata.get("version") in (None, 1)
        if old and key not in state_dict and self.num_batches_tracked is not None:
            own = self.num_batches_tracked
            state_dict[key] = torch.zeros_like(own, device="cpu") if own.is_meta else own
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, in the shape and format of x.

        Raises:
            ValueError: for another rank, for one value a channel where the batch normalises, for
                eps <= 0 in training.
            RuntimeError: for another number of channels, or half of the statistics.
            TypeError: for an integer or complex x.
        """
        through = self.training or self.running_mean is None
        self.check(x, through=through)
        turned = x.double().transpose(0, 1)
        rows = turned.flatten(1)
        if through:
            mean, var = self.moments(rows.detach())
        else:
            mean, var = column(self.running_mean), column(self.running_var)
        rstd = torch.rsqrt(var + self.eps)
        weight = column(x.new_ones(1) if self.weight is None else self.weight)
        bias = column(x.new_zeros(1) if self.bias is None else self.bias)
        y = Normalise.apply(rows, weight, bias, mean, rstd, through)
        return y.reshape(turned.shape).transpose(0, 1).to(x.dtype)

    def check(self, x: Tensor, *, through: bool) -> None:
        """Refuse what can't be normalised; `through`: the batch normalises."""
        if not 2 <= x.dim() <= 3:
            raise ValueError(f"expected 2D or 3D input (got {x.dim()}D input)")
        if not x.dtype.is_floating_point:
            raise TypeError("expected a floating input")
        tracked = [t for t in (self.running_mean, self.running_var) if t is not None]
        if len(tracked) == 1:
            raise RuntimeError("expected both of running_mean and running_var, or neither")
        if {t.numel() for t in (*self.parameters(), *tracked)} - {x.size(1)}:
            raise RuntimeError("expected as many channels as there are features")
        if through and x.numel() == x.size(1):
            raise ValueError(f"expected more than 1 value per channel, got size {list(x.shape)}")
        if self.training and not self.eps > 0:
            raise ValueError("expected a positive eps")

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance, of shape (C, 1), of rows (C, n), and track them."""
        var, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
        if self.track_running_stats and self.running_mean is not None:
            self.num_batches_tracked += 1
            n = rows.shape[1]
            if n:
                self.track(self.running_mean, mean)
                self.track(self.running_var, var * n / (n - 1))
        return mean, var

    def track(self, running: Tensor, new: Tensor) -> None:
        """Move a running statistic towards a new one, of shape (C, 1)."""
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / self.num_batches_tracked.item()
        running += momentum * (new.flatten() - running)
