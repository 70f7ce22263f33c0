"""Right implementations in NumPy."""

from __future__ import annotations

import numpy as np
from plain import Plain


class PlainTwoPass(Plain):
    """NumPy without a framework, statistics replaced by new arrays."""


class PlainStandardisesFirst(Plain):
    """Variance from values that were divided by their largest first."""

    def statistics(self, x):
        if not self.training:
            return super().statistics(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = 2.0 ** np.ceil(np.log2(np.abs(x).max(self.axes)))
        size = np.where(np.isfinite(size) & (size > 0), size, 1)
        scaled = x / self.as_x(size, x)
        mean, var = scaled.mean(self.axes) * size, scaled.var(self.axes) * size**2
        self.track(mean, var, x.size // x.shape[1])
        return mean, var


class PlainProducts(Plain):
    """Sums over the batch as products of matrices, forward and backward."""

    def lines(self, values):
        return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)

    def statistics(self, x):
        if not self.training:
            return super().statistics(x)
        rows = self.lines(x)
        share = np.full(rows.shape[1], 1 / max(rows.shape[1], 1))
        mean = rows @ share
        var = (rows - mean[:, None]) ** 2 @ share
        self.track(mean, var, rows.shape[1])
        return mean, var

    def parameter_gradients(self, dy):
        rows, hat = self.lines(dy), self.lines(self.hat)
        return np.einsum("ck,ck->c", rows, hat), rows @ np.ones(rows.shape[1])


BENIGN = [PlainTwoPass, PlainStandardisesFirst, PlainProducts]
