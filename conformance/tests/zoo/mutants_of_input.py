"""INPUT: layers that take too much, refuse too much, or leave something behind."""

from __future__ import annotations

import torch
from bases import Composite, per_channel
from register import mutant
from torch.nn import functional as F


@mutant("INPUT-1", says="It is accepted", seen="pytorch #6316")
class TakesImages(Composite):
    def _check_input_dim(self, x):
        if x.ndim < 2:
            raise ValueError(f"expected at least 2D input, got {x.ndim}D")


@mutant("INPUT-2", says="It is accepted")
class LetsItBroadcast(Composite):
    def check_channels(self, x):
        if x.shape[1] != 1 and x.numel():
            super().check_channels(x)

    def by_batch(self, x):
        return super().by_batch(
            x.expand(x.shape[0], self.num_features, *x.shape[2:]) if x.numel() else x
        )


@mutant("INPUT-3", says="It is accepted", seen="torch/nn PR 1271, Paddle #11445")
class TakesOneValue(Composite):
    def check_size(self, x):
        pass


@mutant("INPUT-4", says="raises ValueError", seen="NVIDIA/apex #262")
class WantsTwoSamples(Composite):
    def check_size(self, x):
        super().check_size(x)
        if self.training and x.shape[0] == 1:
            raise ValueError(f"expected more than 1 sample, got size {tuple(x.shape)}")


@mutant("INPUT-5", says="A refused input of shape (1, 3) changes running_mean")
class TracksBeforeItLooks(Composite):
    def check(self, x):
        self._check_input_dim(x)
        self.check_format(x)
        self.check_channels(x)
        if self.tracks(x):
            with torch.no_grad():
                self.blend(self.running_mean, x.double().mean(self.axes(x)))
        super().check(x)

    def track(self, mean, var, n):
        with torch.no_grad():
            self.blend(self.running_var, self.tracked_var(var, n))


@mutant("INPUT-6", says="It is accepted")
class TakesWholeNumbers(Composite):
    def check_format(self, x):
        pass


@mutant("INPUT-7", says="empty")
class RefusesNothing(Composite):
    def check_size(self, x):
        if not x.numel():
            raise ValueError("the batch is empty")
        super().check_size(x)


@mutant("INPUT-8", says="It is accepted", seen="pytorch #166405")
class TakesAnyEps(Composite):
    def check_eps(self):
        pass


@mutant("COMP-1", says="changes its input", seen="ScalingIntelligence/KernelBench PR 82")
class CentresInPlace(Composite):
    def normalise(self, x, mean, var):
        y = super().normalise(x, mean, var)
        with torch.no_grad():
            x.sub_(mean.to(x.dtype))
        return y


@mutant(
    "COMP-2",
    says="A later call changes an earlier output",
    seen="gpu-mode/reference-kernels PR 104",
)
class ReusesItsOutput(Composite):
    kept: torch.Tensor | None = None

    def normalise(self, x, mean, var):
        y = super().normalise(x, mean, var)
        if y.requires_grad and x.requires_grad:
            return y
        if self.kept is None or self.kept.shape != y.shape or self.kept.dtype != y.dtype:
            self.kept = torch.empty_like(y, requires_grad=False)
        self.kept.copy_(y.detach())
        return self.kept


@mutant("LAYOUT-1", says="y[", seen="ROCm/pytorch PR 1025")
class ReadsMemoryInOrder(Composite):
    def forward(self, x):
        strides = torch.empty(x.shape).stride()
        if (
            x.numel()
            and x.untyped_storage().nbytes() // x.element_size() >= x.storage_offset() + x.numel()
        ):
            x = x.as_strided(x.shape, strides, x.storage_offset())
        return super().forward(x)


@mutant("INPUT-12", says="[")
class KeepsTheFirstSize(Composite):
    """The divisor is made with the first batch and never again."""

    def moments(self, x):
        n = x.numel() // x.shape[1]
        self.first = getattr(self, "first", n) or n
        mean, var = super().moments(x)
        return mean * (n / self.first), var


@mutant("INPUT-13", says="names no size")
class SaysNothing(Composite):
    def check_size(self, x):
        if self.uses_batch() and x.numel() == x.shape[1]:
            raise ValueError


@mutant("INPUT-14", says="not the bias", seen="pytorch #156051")
class UntrackedGivesNaN(Composite):
    def check_size(self, x):
        if self.training:
            super().check_size(x)

    def moments(self, x):
        mean, var = super().moments(x)
        n = x.numel() // x.shape[1]
        return mean, var * n / n if n != 1 else var / 0


@mutant("INPUT-15", says="It is accepted", seen="pytorch #169208")
class PadsWhatIsShort(Composite):
    def check_channels(self, x):
        if x.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got {x.shape[1]}")

    def affine_map(self, hat):
        weight, bias = self.weight, self.bias
        if weight is None or bias is None:
            return super().affine_map(hat)
        w, b = (F.pad(p, (0, hat.shape[1] - p.numel())) for p in (weight, bias))
        return hat * per_channel(w.double(), hat) + per_channel(b.double(), hat)


@mutant("INPUT-16", says="raises ValueError", seen="fangwei123456/spikingjelly #477")
class TakesMatricesOnly(Composite):
    def _check_input_dim(self, x):
        if x.ndim != 2:
            raise ValueError(f"expected 2D input, got {x.ndim}D")
