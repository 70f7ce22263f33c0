"""A right implementation in NumPy, made of steps that can each be got wrong."""

from __future__ import annotations

import numpy as np


class Plain:
    """NumPy alone: arrays in attributes, forward and backward by hand, in float64 within."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = (
            np.ones(num_features, "float32"),
            np.zeros(num_features, "float32"),
        )
        self.running_mean = np.zeros(num_features, "float32")
        self.running_var = np.ones(num_features, "float32")
        self.training = True

    def forward(self, x):
        self.axes = (0,) if x.ndim == 2 else (0, 2)
        if x.shape[1] != len(self.weight):
            raise ValueError(f"expected {len(self.weight)} channels, got {x.shape[1]}")
        wide = x.astype(np.float64)
        mean, var = self.statistics(wide)
        self.reciprocal = 1 / np.sqrt(self.as_x(var, x) + self.eps)
        self.hat = (wide - self.as_x(mean, x)) * self.reciprocal
        return self.affine_map(self.hat).astype(x.dtype)

    def as_x(self, values, x):
        return values.astype(np.float64).reshape(1, -1, *[1] * (x.ndim - 2))

    def statistics(self, x):
        if not self.training:
            return self.running_mean, self.running_var
        mean, var = x.mean(self.axes), x.var(self.axes)
        self.track(mean, var, x.size // x.shape[1])
        return mean, var

    def track(self, mean, var, n):
        self.running_mean = self.blend(self.running_mean, mean)
        self.running_var = self.blend(self.running_var, var * n / (n - 1))

    def blend(self, running, new):
        wide = (1 - self.momentum) * running.astype(np.float64) + self.momentum * new
        return wide.astype(running.dtype)

    def affine_map(self, hat):
        return hat * self.as_x(self.weight, hat) + self.as_x(self.bias, hat)

    def backward(self, dy):
        wide = dy.astype(np.float64)
        dweight, dbias = self.parameter_gradients(wide)
        scale = self.as_x(self.weight, dy) * self.reciprocal
        dx = scale * (self.centred(wide) if self.training else wide)
        own = self.weight.dtype
        return dx.astype(dy.dtype), dweight.astype(own), dbias.astype(own)

    def parameter_gradients(self, dy):
        return (dy * self.hat).sum(self.axes), dy.sum(self.axes)

    def centred(self, dy):
        mean = dy.mean(self.axes, keepdims=True)
        return dy - mean - self.hat * (dy * self.hat).mean(self.axes, keepdims=True)
