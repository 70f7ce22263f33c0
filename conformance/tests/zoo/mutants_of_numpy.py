"""Plain classes and functions in NumPy, each with one defect of learners' code."""

from __future__ import annotations

import numpy as np
from plain import Plain
from register import mutant


@mutant("TRAIN-3", says="unbiased variance")
class PlainUnbiased(Plain):
    def statistics(self, x):
        mean, var = super().statistics(x)
        n = x.size // x.shape[1]
        return mean, var * n / (n - 1) if self.training else var


@mutant("STATS-2", says="biased variance is tracked", seen="callummcdougall/ARENA_3.0 #415")
class PlainTracksBiased(Plain):
    def track(self, mean, var, n):
        super().track(mean, var * (n - 1) / n, n)


@mutant("STATS-1", says="weight of the old value", seen="Jermmy/pytorch-quantization-demo #17")
class PlainInverted(Plain):
    def blend(self, running, new):
        wide = self.momentum * running.astype(np.float64) + (1 - self.momentum) * new
        return wide.astype(running.dtype)


@mutant("GRAD-1", says="mean and variance for constants")
class PlainConstants(Plain):
    def centred(self, dy):
        return dy


@mutant("GRAD-2", says="dweight sums dy·x,")
class PlainWeightGradient(Plain):
    def forward(self, x):
        self.x = x.astype(np.float64)
        return super().forward(x)

    def parameter_gradients(self, dy):
        return (dy * self.x).sum(self.axes), dy.sum(self.axes)


@mutant("EVAL-1", says="normalises by the batch")
class PlainAlwaysTrains(Plain):
    def statistics(self, x):
        if self.training:
            return super().statistics(x)
        return x.mean(self.axes), x.var(self.axes)


@mutant("CTOR-2", says="eps 1e-5 gives")
class PlainEps(Plain):
    def __init__(self, num_features, eps=1e-8, momentum=0.1):
        super().__init__(num_features, eps, momentum)


@mutant("COMP-1", says="changes its input")
class PlainCentresInPlace(Plain):
    def forward(self, x):
        y = super().forward(x)
        x -= x.mean(self.axes, keepdims=True)
        return y


def function(
    x, gamma, beta, running_mean, running_var, training, momentum, eps, *, ddof=1, outside=False
):
    """A right function, with two ways to go wrong."""
    axes = (0,) if x.ndim == 2 else (0, 2)
    wide, n = x.astype(np.float64), x.size // x.shape[1]
    mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    if training:
        mean, var = wide.mean(axes), wide.var(axes)
        running_mean[:] = (1 - momentum) * running_mean + momentum * mean
        running_var[:] = (1 - momentum) * running_var + momentum * var * n / (n - ddof)
    mean, var, gamma, beta = (
        v.reshape(1, -1, *[1] * (x.ndim - 2)) for v in (mean, var, gamma, beta)
    )
    root = np.sqrt(var) + eps if outside else np.sqrt(var + eps)
    return ((wide - mean) / root * gamma + beta).astype(x.dtype)


@mutant("STATS-2", says="biased variance is tracked", seen="CanReader/FastNN #11")
def batchnorm_biased(x, gamma, beta, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    return function(x, gamma, beta, running_mean, running_var, training, momentum, eps, ddof=0)


@mutant("TRAIN-4", says="outside the root")
def batchnorm_outside(x, gamma, beta, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    return function(
        x, gamma, beta, running_mean, running_var, training, momentum, eps, outside=True
    )
