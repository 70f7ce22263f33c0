"""A drop-in BatchNorm1d in plain torch operations, in double precision, by autograd.

Every line of it matters: a line that could be changed without changing an answer would make a
mutant that nothing can kill.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) in double precision, as it broadcasts against x of shape (N, C) or (N, C, L)."""
    return values.double().reshape(-1, *[1] * (x.ndim - 2))


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
        """Register what is learned and what is tracked; what is declined is a registered None."""
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        one = torch.ones(num_features, device=device, dtype=dtype)
        zero = torch.zeros_like(one)
        count = torch.tensor(0, device=device)
        self.register_parameter("weight", nn.Parameter(one.clone()) if affine else None)
        self.register_parameter("bias", nn.Parameter(zero.clone()) if affine and bias else None)
        self.register_buffer("running_mean", zero if track_running_stats else None)
        self.register_buffer("running_var", one if track_running_stats else None)
        self.register_buffer("num_batches_tracked", count if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Forget what was tracked."""
        if self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget what was learned and tracked."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Name the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        """Give a dict of version 1 the counter that it lacks: this layer's own."""
        counter = self.num_batches_tracked
        if local_metadata.get("version") in (None, 1) and counter is not None:
            start = torch.tensor(0) if counter.is_meta else counter
            state_dict.setdefault(prefix + "num_batches_tracked", start)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, in the shape and format of x.

        Raises:
            ValueError: for another rank, for one value a channel where the batch normalises, for
                eps <= 0 in training.
            RuntimeError: for another number of channels, or half of the statistics.
            TypeError: for an integer or complex x.
        """
        by_batch = self.training or self.running_mean is None
        self.check(x, by_batch=by_batch)
        if by_batch:
            mean, var = self.batch_statistics(x)
        else:
            mean, var = self.running_mean, self.running_var
        deviation = torch.sqrt(per_channel(var, x) + self.eps)
        y = (x - per_channel(mean, x)) / deviation
        if self.weight is not None:
            y = y * per_channel(self.weight, x)
        if self.bias is not None:
            y = y + per_channel(self.bias, x)
        return y.to(x.dtype)

    def check(self, x: Tensor, *, by_batch: bool) -> None:
        """Refuse what can't be normalised; `by_batch`: the batch normalises."""
        if x.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {x.ndim}D input)")
        if not x.is_floating_point():
            raise TypeError("expected a floating input")
        for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
            if tensor is not None and len(tensor) != x.shape[1]:
                raise RuntimeError("expected as many channels as there are features")
        if (self.running_mean is None) != (self.running_var is None):
            raise RuntimeError("expected running_mean and running_var, or neither")
        if by_batch and x.numel() == x.shape[1]:
            raise ValueError(f"expected more than 1 value per channel, got {tuple(x.shape)}")
        if self.training and self.eps <= 0:
            raise ValueError("expected a positive eps")

    def batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's mean and biased variance, of shape (C,), and track them."""
        axes = (0, 2)[: x.ndim - 1]
        mean = x.double().mean(axes)
        var = (x - per_channel(mean, x)).square().mean(axes)
        if self.track_running_stats and self.running_mean is not None:
            self.num_batches_tracked.add_(1)
            if x.numel():
                n = x.numel() // x.shape[1]
                self.track(mean.detach(), var.detach() * n / (n - 1))
        return mean, var

    def track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards mean and var, of shape (C,)."""
        weight = self.momentum
        if weight is None:
            weight = 1 / int(self.num_batches_tracked)
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.copy_(running - weight * (running - new))
