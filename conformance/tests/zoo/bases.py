"""Two right implementations in torch, made of steps that can each be got wrong.

`Composite` is made of torch operations in float64, `Handwritten` has a backward pass of its
own. What a mutant or a benign variant overrides is what is different about it.
"""

from __future__ import annotations

import torch
from torch import nn


def per_channel(values, x):
    """(C,) as something that broadcasts against x of shape (N, C) or (N, C, L)."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


class Checked(nn.BatchNorm1d):
    """torch's parameters, buffers and refusals, and a forward pass in named steps."""

    def forward(self, x):
        self.check(x)
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.uses_batch():
            return self.by_batch(x)
        return self.by_running(x)

    def uses_batch(self):
        return self.training or self.running_mean is None

    def check(self, x):
        self._check_input_dim(x)
        self.check_format(x)
        self.check_channels(x)
        self.check_statistics()
        self.check_size(x)
        self.check_eps()

    def check_format(self, x):
        if not x.is_floating_point():
            raise TypeError(f"expected a floating input, got {x.dtype}")

    def check_channels(self, x):
        for t in (self.weight, self.bias, self.running_mean, self.running_var):
            if t is not None and t.numel() != x.shape[1]:
                raise ValueError(f"expected {t.numel()} channels, got {x.shape[1]}")

    def check_statistics(self):
        if (self.running_mean is None) != (self.running_var is None):
            raise ValueError("running_mean and running_var: both, or neither")

    def check_size(self, x):
        if self.uses_batch() and x.numel() == x.shape[1]:
            raise ValueError(f"expected more than 1 value per channel, got size {tuple(x.shape)}")

    def check_eps(self):
        if self.eps < 0 or (self.training and self.eps == 0):
            raise ValueError(f"eps must be positive, got {self.eps}")

    def factor(self):
        """The weight of the new observation."""
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum

    def track(self, mean, var, n):
        """Blend in the batch's mean and biased variance, of shape (C,)."""
        with torch.no_grad():
            self.blend(self.running_mean, mean)
            self.blend(self.running_var, self.tracked_var(var, n))

    def tracked_var(self, var, n):
        return var * n / (n - 1)

    def blend(self, running, new):
        m = self.factor()
        running.copy_((1 - m) * running.double() + m * new.double())

    def tracks(self, x):
        wanted = self.training and self.track_running_stats
        return wanted and self.running_mean is not None and x.numel() > 0


class Composite(Checked):
    """torch operations in float64, differentiated by autograd."""

    def by_batch(self, x):
        mean, var = self.moments(x.double())
        if self.tracks(x):
            self.track(
                mean.detach().reshape(-1), var.detach().reshape(-1), x.numel() // x.shape[1]
            )
        return self.normalise(x, mean, var)

    def by_running(self, x):
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return self.normalise(x, mean, var)

    def axes(self, x):
        return [d for d in range(x.ndim) if d != 1]

    def moments(self, x):
        """Mean and biased variance, broadcastable to x."""
        mean = x.mean(self.axes(x), keepdim=True)
        return mean, ((x - mean) ** 2).mean(self.axes(x), keepdim=True)

    def normalise(self, x, mean, var):
        hat = (x.double() - mean) * self.reciprocal(var)
        return self.affine_map(hat).to(x.dtype)

    def reciprocal(self, var):
        return 1 / (var + self.eps).sqrt()

    def affine_map(self, hat):
        if self.weight is not None:
            hat = hat * per_channel(self.weight.double(), hat)
        return hat if self.bias is None else hat + per_channel(self.bias.double(), hat)


class Pass(torch.autograd.Function):
    """One forward and one backward pass; the layer says how."""

    @staticmethod
    def forward(ctx, layer, x, weight, bias, mean, reciprocal, through):
        hat = (x.double() - mean) * reciprocal
        ctx.layer, ctx.through = layer, through
        ctx.dtypes = [None if t is None else t.dtype for t in (x, weight, bias)]
        ctx.save_for_backward(hat, reciprocal, weight)
        return layer.output(x, hat, weight, bias, mean, reciprocal).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        hat, reciprocal, weight = ctx.saved_tensors
        found = ctx.layer.gradients(dy.double(), hat, reciprocal, weight, ctx.through)
        pairs = zip(found, ctx.dtypes, strict=True)
        given = [None if g is None or d is None else g.to(d) for g, d in pairs]
        return None, *given, None, None, None


class Handwritten(Checked):
    """A backward pass by hand, in float64."""

    def by_batch(self, x):
        wide, axes = x.detach().double(), self.axes(x)
        mean = wide.mean(axes, keepdim=True)
        var = ((wide - mean) ** 2).mean(axes, keepdim=True)
        if self.tracks(x):
            self.track(mean.reshape(-1), var.reshape(-1), x.numel() // x.shape[1])
        return self.run(x, mean, var, through=True)

    def by_running(self, x):
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return self.run(x, mean, var, through=False)

    def run(self, x, mean, var, *, through):
        return Pass.apply(self, x, self.weight, self.bias, mean, (var + self.eps) ** -0.5, through)

    def output(self, x, hat, weight, bias, mean, reciprocal):
        """y, of which the format may be wider than x's."""
        y = hat if weight is None else hat * per_channel(weight.double(), x)
        return y if bias is None else y + per_channel(bias.double(), x)

    def axes(self, x):
        return [d for d in range(x.ndim) if d != 1]

    def gradients(self, dy, hat, reciprocal, weight, through):
        """dx, dweight and dbias; `through`: mean and variance are functions of x."""
        return (
            self.dx(dy, hat, reciprocal, weight, through),
            self.dweight(dy, hat),
            self.dbias(dy),
        )

    def dx(self, dy, hat, reciprocal, weight, through):
        scale = reciprocal if weight is None else reciprocal * per_channel(weight.double(), dy)
        return scale * (self.centred(dy, hat) if through and dy.numel() else dy)

    def centred(self, dy, hat):
        mean = dy.mean(self.axes(dy), keepdim=True)
        return dy - mean - hat * (dy * hat).mean(self.axes(dy), keepdim=True)

    def dweight(self, dy, hat):
        return (dy * hat).sum(self.axes(dy))

    def dbias(self, dy):
        return dy.sum(self.axes(dy))
