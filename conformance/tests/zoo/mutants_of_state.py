"""CTOR and PARAM: subclasses that call torch's kernel, each with one defect in its state."""

from __future__ import annotations

import torch
from bases import Composite
from register import mutant
from torch import nn
from torch.nn import functional as F

# CTOR


@mutant("CTOR-1", says="missing 1 required positional argument")
class NeedsEps(nn.BatchNorm1d):
    def __init__(self, num_features, eps, momentum=0.1, affine=True, track_running_stats=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)


@mutant(
    "CTOR-2", says="eps 1e-5 gives", seen="Keras documentation, BatchNormalization, epsilon=0.001"
)
class EpsOfKeras(nn.BatchNorm1d):
    def __init__(self, num_features, eps=1e-3, *args, **kwargs):
        super().__init__(num_features, eps, *args, **kwargs)


@mutant("CTOR-3", says="0.1 gives 1.1")
class MomentumOfKeras(nn.BatchNorm1d):
    def __init__(self, num_features, eps=1e-5, momentum=0.01, *args, **kwargs):
        super().__init__(num_features, eps, momentum, *args, **kwargs)


@mutant("CTOR-4", says="has no weight, bias")
class NotAffineUnlessAsked(nn.BatchNorm1d):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, *args, **kwargs):
        super().__init__(num_features, eps, momentum, affine, *args, **kwargs)


@mutant("CTOR-5", says="arrive as")
class MomentumBeforeEps(nn.BatchNorm1d):
    def __init__(self, num_features, momentum=0.1, eps=1e-5, *args, **kwargs):
        super().__init__(num_features, eps, momentum, *args, **kwargs)


@mutant("CTOR-6", says="momentum is 0.0 after momentum=None", seen="pytorch #43592")
class KeepsNoNone(nn.BatchNorm1d):
    """Cumulative all the same: only who reads the attribute is misled."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *args, **kwargs):
        super().__init__(num_features, eps, momentum or 0.0, *args, **kwargs)
        self.cumulative = momentum is None

    def forward(self, x):
        if not self.cumulative:
            return super().forward(x)
        self.momentum = None
        try:
            return super().forward(x)
        finally:
            self.momentum = 0.0


@mutant("CTOR-7", says="module.training is False", seen="dmzou/RSRAE #2")
class StartsInEvaluation(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.eval()


@mutant("CTOR-8", says="num_batches_tracked is torch.float16", seen="oneflow #7440")
class CounterTakesDtype(nn.BatchNorm1d):
    def __init__(self, *args, dtype=None, **kwargs):
        super().__init__(*args, dtype=dtype, **kwargs)
        if dtype is not None:
            self.num_batches_tracked = self.num_batches_tracked.to(dtype)


@mutant("CTOR-9", says="bias is positional", seen="pytorch PR 157198")
class BiasHasAPosition(nn.BatchNorm1d):
    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        bias=True,
        device=None,
        dtype=None,
    ):
        options = {"bias": bias, "device": device, "dtype": dtype}
        super().__init__(num_features, eps, momentum, affine, track_running_stats, **options)


@mutant("CTOR-10", says="momentum", seen="tensorflow #38459")
class RefusesMomentumZero(nn.BatchNorm1d):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, *args, **kwargs):
        if momentum is not None and not 0 < momentum <= 1:
            raise ValueError("momentum must be between 0 and 1")
        super().__init__(num_features, eps, momentum, *args, **kwargs)


@mutant("CTOR-11", says="of another")
class SharesItsStart(nn.BatchNorm1d):
    start: dict[int, torch.Tensor] = {}  # noqa: RUF012 - that it is shared is the defect

    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        if self.running_mean is not None:
            self.running_mean = self.start.setdefault(num_features, self.running_mean)


@mutant("CTOR-12", says="random state of torch", seen="pytorch #12259")
class DrawsAndDiscards(nn.BatchNorm1d):
    def reset_parameters(self):
        if self.affine:
            nn.init.uniform_(self.weight)
        super().reset_parameters()


@mutant("CTOR-13", says="momentum=0.375")
class PrintsNoMomentum(nn.BatchNorm1d):
    def extra_repr(self):
        shown = ("eps", "affine", "track_running_stats")
        return ", ".join([f"{self.num_features}", *(f"{n}={getattr(self, n)}" for n in shown)])


@mutant("CTOR-14", says="running_mean is missing", seen="NVIDIA/apex #653")
class NoAffineNoTracking(nn.BatchNorm1d):
    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, **kwargs
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats and affine, **kwargs
        )


@mutant("CTOR-15", says="num_batches_tracked is on cpu", seen="pytorch PR 115285")
class CounterStaysBehind(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked = torch.tensor(0)


# PARAM


@mutant("PARAM-1", says="running_mean (", seen="keras-team/keras #6818")
class LearnsItsStatistics(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for name in ("running_mean", "running_var"):
            if (value := self._buffers.pop(name)) is not None:
                setattr(self, name, nn.Parameter(value, requires_grad=False))
            else:
                self.register_buffer(name, None)


@mutant("PARAM-2", says="has shape (1, 5)")
class WeightIsARow(Composite):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.affine:
            self.weight = nn.Parameter(self.weight.detach().reshape(1, -1))


@mutant("PARAM-3", says="weight starts as", seen="pytorch #12259, PR 12325")
class WeightIsDrawn(nn.BatchNorm1d):
    def reset_parameters(self):
        super().reset_parameters()
        if self.affine:
            nn.init.uniform_(self.weight)


@mutant("PARAM-4", says="bias starts as")
class BiasStartsAtOne(nn.BatchNorm1d):
    def reset_parameters(self):
        super().reset_parameters()
        if self.bias is not None:
            nn.init.ones_(self.bias)


@mutant("PARAM-5", says="requires_grad False")
class WeightIsFrozen(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.affine:
            self.weight.requires_grad_(False)  # noqa: FBT003 - torch's signature


@mutant("PARAM-6", says="weight is in the state dict", seen="oneflow PR 8000")
class ConstantsForNoAffine(nn.BatchNorm1d):
    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        if not self.affine:
            del self.weight, self.bias
            self.register_buffer("weight", torch.ones(num_features))
            self.register_buffer("bias", torch.zeros(num_features))


@mutant("PARAM-7", says="bias=False learns nothing")
class NoBiasNoWeight(nn.BatchNorm1d):
    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        affine = affine and bias
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)


@mutant("PARAM-8", says="['bias', 'weight']")
class BiasComesFirst(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._parameters["weight"] = self._parameters.pop("weight")


@mutant("PARAM-8", says="The weight is called gamma")
class GammaAndBeta(nn.Module):
    """Right but for its names."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.register_buffer("moving_var", torch.ones(num_features))

    def forward(self, x):
        if x.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input, got {x.ndim}D")
        return F.batch_norm(
            x,
            self.moving_mean,
            self.moving_var,
            self.gamma,
            self.beta,
            self.training,
            self.momentum,
            self.eps,
        )


@mutant("PARAM-9", says="another tensor after reset_parameters()")
class ResetReplaces(nn.BatchNorm1d):
    def reset_parameters(self):
        super().reset_parameters()
        if self.affine:
            self.weight = nn.Parameter(self.weight.detach().clone())


@mutant("PARAM-9", says="running_mean is", seen="torch/nn PR 434, PR 577")
class ResetKeepsStatistics(nn.BatchNorm1d):
    def reset_parameters(self):
        if self.affine:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias) if self.bias is not None else None


@mutant("PARAM-10", says="weight is fp64")
class DoubleAlways(Composite):
    def __init__(self, *args, dtype=torch.float64, **kwargs):
        super().__init__(*args, dtype=dtype, **kwargs)


@mutant("PARAM-11", says="changes weight")
class ClampsItsWeight(nn.BatchNorm1d):
    def forward(self, x):
        if self.affine:
            self.weight.data.clamp_(min=0.01)
        return super().forward(x)


@mutant("PARAM-12", says="y[")
class KeepsFirstBias(Composite):
    def affine_map(self, hat):
        if self.bias is None:
            return super().affine_map(hat)
        if not hasattr(self, "kept"):
            self.kept = self.bias.detach().double().clone()
        shape = (1, -1, *[1] * (hat.ndim - 2))
        return hat * self.weight.double().reshape(shape) + self.kept.reshape(shape)


@mutant("PARAM-12", says="y[")
class SkipsTheIdentityForEver(nn.BatchNorm1d):
    def forward(self, x):
        if not hasattr(self, "identity") and self.affine and self.bias is not None:
            self.identity = bool((self.weight == 1).all() and (self.bias == 0).all())
        y = super().forward(x)
        if not getattr(self, "identity", False):
            return y
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (y - self.bias.reshape(shape)) / self.weight.reshape(shape)


@mutant("PARAM-13", says="evaluation ignores weight and bias")
class AffineIsBakedIn(nn.BatchNorm1d):
    def forward(self, x):
        if self.affine:
            return super().forward(x)
        running = (self.running_mean, self.running_var)
        trains = self.training or self.running_mean is None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        factor = (
            1 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
        )
        return F.batch_norm(x, *running, None, None, trains, factor, self.eps)


@mutant("PARAM-14", says="weight becomes")
class HandsOutCopies(nn.BatchNorm1d):
    def parameters(self, recurse=True):
        for p in super().parameters(recurse):
            yield nn.Parameter(p.detach().clone())
