"""Right implementations that differ from torch's in how they come to the answer."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten, per_channel
from torch import nn
from torch.nn import functional as F


class ByHandInDouble(Handwritten):
    """A backward pass by hand, in float64."""


class TwoPassInDouble(Composite):
    """Mean first, squares of the deviations second, in float64."""


class OnePassShifted(Composite):
    """One pass over x − x₀ in float64: what a shift saves from cancellation."""

    def moments(self, x):
        shift = x[:1].detach() if x.ndim == 2 else x[:1, :, :1].detach()
        d = x - shift
        mean = d.mean(self.axes(x), keepdim=True)
        return mean + shift, (d * d).mean(self.axes(x), keepdim=True) - mean * mean


class VarMean(Composite):
    """torch.var_mean in float64."""

    def moments(self, x):
        var, mean = torch.var_mean(x, self.axes(x), correction=0, keepdim=True)
        return mean, var


class ScaleAndShift(Handwritten):
    """One multiplication and one addition a value: y = x·a + b, in float64."""

    def output(self, x, hat, weight, bias, mean, reciprocal):
        a = reciprocal if weight is None else reciprocal * per_channel(weight.double(), x)
        b = 0 if bias is None else per_channel(bias.double(), x)
        return x.double() * a + (b - mean * a)


class Transposed(Composite):
    """Computed channels first, on memory in another order, and turned back."""

    def by_batch(self, x):
        turned = x.transpose(0, 1).contiguous().transpose(0, 1)
        return super().by_batch(turned).contiguous()


class ChannelByChannel(Composite):
    """A loop over channels, each flattened to a line."""

    def moments(self, x):
        lines = [x[:, c].reshape(-1) for c in range(x.shape[1])]
        means = torch.stack([line.mean() for line in lines])
        pairs = zip(lines, means, strict=True)
        variances = torch.stack([((line - m) ** 2).mean() for line, m in pairs])
        return per_channel(means, x), per_channel(variances, x)


class Reordered(Composite):
    """Sums from the last value to the first."""

    def moments(self, x):
        dims = self.axes(x)
        return super().moments(x.flip(dims))


class Lerp(Composite):
    """running + momentum·(new − running)."""

    def blend(self, running, new):
        running.add_((new.double() - running.double()) * self.factor())


class InSingle(Composite):
    """Each step of the statistics in the precision of the data, float32 at least."""

    def moments(self, x):
        narrow = self.narrow if self.narrow == torch.float64 else torch.float32
        mean, var = self.single(x.to(narrow))
        return mean.double(), var.double()

    def by_batch(self, x):
        self.narrow = x.dtype
        return super().by_batch(x)

    def single(self, x):
        mean = x.mean(self.axes(x), keepdim=True)
        return mean, ((x - mean) ** 2).mean(self.axes(x), keepdim=True)


def lines(x):
    """(N, C) or (N, C, L) as (n, C)."""
    return x.transpose(0, 1).flatten(1).T


class Pairwise(InSingle):
    """Halves are summed, and halves of halves."""

    def single(self, x):
        flat = lines(x)
        mean = self.total(flat) / len(flat) if len(flat) else flat.mean(0)
        var = self.total((flat - mean) ** 2) / len(flat) if len(flat) else flat.mean(0)
        return per_channel(mean, x), per_channel(var, x)

    def total(self, rows):
        while len(rows) > 1:
            odd = rows[len(rows) // 2 * 2 :]
            rows = torch.cat([rows[0 : len(rows) - len(odd) : 2] + rows[1::2], odd])
        return rows[0]


class Kahan(Pairwise):
    """Compensated sums, in as many lanes as a long channel fills."""

    def total(self, rows):
        lanes = 32 if len(rows) >= 1024 else 1
        whole = len(rows) // lanes * lanes
        sums = compensated(rows[:whole].reshape(-1, lanes, rows.shape[1]))
        return compensated(torch.cat([sums, rows[whole:]]))


def compensated(values):
    total = lost = torch.zeros_like(values[0])
    for value in values:
        y = value - lost
        t = total + y
        lost, total = (t - total) - y, t
    return total


class Welford(InSingle):
    """One value after the other, in 32 lanes where a channel is long; lanes are merged."""

    def single(self, x):
        flat = lines(x)
        lanes = 32 if len(flat) >= 1024 else 1
        whole = len(flat) // lanes * lanes
        mean = m2 = torch.zeros_like(flat[:whole].reshape(-1, lanes, x.shape[1]).sum(0))
        for k, row in enumerate(flat[:whole].reshape(-1, lanes, x.shape[1]), 1):
            delta = row - mean
            mean = mean + delta / k
            m2 = m2 + delta * (row - mean)
        parts = [(whole // lanes, *lane) for lane in zip(mean, m2, strict=True)]
        return self.merge(x, parts + [(1, row, torch.zeros_like(row)) for row in flat[whole:]])

    def merge(self, x, parts):
        count, mean, m2 = parts[0]
        for part in parts[1:]:
            count, mean, m2 = merged(count, mean, m2, *part)
        return per_channel(mean, x), per_channel(m2 / max(count, 1), x)


def merged(n, mean, m2, k, other, other2):
    """Chan, Golub and LeVeque: two counts, means and sums of squares made one."""
    delta = other - mean
    return n + k, mean + delta * (k / (n + k)), m2 + other2 + delta**2 * (n * k / (n + k))


class Chunked(Welford):
    """Two passes in each chunk of 256 rows, the chunks merged."""

    def single(self, x):
        parts = [(len(rows), rows.mean(0), rows) for rows in lines(x).split(256)]
        return self.merge(x, [(n, mean, ((rows - mean) ** 2).sum(0)) for n, mean, rows in parts])


class ByHandInSingle(Handwritten):
    """The backward pass in the precision of the data, float32 at least."""

    def gradients(self, dy, hat, reciprocal, weight, through):
        wide = self.weight is None or self.weight.dtype == torch.float64
        narrow = torch.float64 if wide else torch.float32
        given = (dy.to(narrow), hat.to(narrow), reciprocal.to(narrow))
        return super().gradients(*given, weight, through)

    def dx(self, dy, hat, reciprocal, weight, through):
        scale = reciprocal if weight is None else reciprocal * per_channel(weight, dy)
        return scale * (self.centred(dy, hat) if through and dy.numel() else dy)


class FromScratch(nn.Module):
    """A module of its own around torch.nn.functional.batch_norm, refusals included."""

    _version = 2

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True,
        device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        options = {"device": device, "dtype": dtype}
        for name, start in (("weight", torch.ones), ("bias", torch.zeros)):
            value = nn.Parameter(start(num_features, **options)) if affine else None
            self.register_parameter(name, value)
        for name, start in (("running_mean", torch.zeros), ("running_var", torch.ones)):
            self.register_buffer(
                name, start(num_features, **options) if track_running_stats else None
            )
        counter = torch.tensor(0, dtype=torch.long, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", counter)

    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        key = f"{prefix}num_batches_tracked"
        own = self.num_batches_tracked
        if (metadata.get("version") or 1) < 2 and own is not None:
            state_dict.setdefault(key, torch.tensor(0) if own.is_meta else own.clone())
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

    def reset_running_stats(self):
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        self.reset_running_stats()
        if self.affine:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def extra_repr(self):
        names = ("eps", "momentum", "affine", "track_running_stats")
        return f"{self.num_features}, " + ", ".join(f"{n}={getattr(self, n)}" for n in names)

    def forward(self, x):
        if x.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {x.ndim}D input)")
        tracks = self.training and self.track_running_stats
        running, factor = (None, None), self.momentum or 0.0
        if tracks or not self.training:
            running = (self.running_mean, self.running_var)
        if tracks:
            self.num_batches_tracked += 1
            factor = 1 / float(self.num_batches_tracked) if self.momentum is None else factor
        batch = self.training or running[0] is None
        return F.batch_norm(x, *running, self.weight, self.bias, batch, factor, self.eps)


def batchnorm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """torch.nn.functional.batch_norm's signature, in torch operations."""
    axes = [d for d in range(x.ndim) if d != 1]
    for t in (running_mean, running_var, weight, bias):
        if t is not None and t.shape != x.shape[1:2]:
            raise RuntimeError(f"expected {t.shape[0]} channels, got {x.shape[1]}")
    mean, var = running_mean, running_var
    if training or mean is None:
        wide, n = x.double(), x.numel() // x.shape[1]
        mean = wide.mean(axes)
        var = ((wide - per_channel(mean, x)) ** 2).mean(axes)
        with torch.no_grad():
            for running, new in ((running_mean, mean), (running_var, var * n / (n - 1))):
                if running is not None:
                    running.copy_((1 - momentum) * running.double() + momentum * new)
    y = (x.double() - per_channel(mean.double(), x)) / per_channel(var.double() + eps, x).sqrt()
    y = y if weight is None else y * per_channel(weight.double(), x)
    return (y if bias is None else y + per_channel(bias.double(), x)).to(x.dtype)


BENIGN = [
    ByHandInDouble, TwoPassInDouble, OnePassShifted, VarMean, ScaleAndShift, Transposed,
    ChannelByChannel, Reordered, Lerp, InSingle, Pairwise, Kahan, Welford, Chunked,
    ByHandInSingle, FromScratch, batchnorm,
]  # fmt: skip
