"""BatchNorm1d in plain Python: lists of floats, and sums that do not round.

    bn1d run --worker 'python -S bn1d_worker.py subjects/plain_python.py'

With -S the worker finds no NumPy, so that arrays are the `Array` of bn1d_worker.py.
"""

import math
import platform

from bn1d_worker import Array


class Layer:
    """One layer: one list of values for each channel."""

    about = {
        "name": "plain Python",
        "version": platform.python_version(),
        "homepage": "https://docs.python.org/3/library/math.html#math.fsum",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "counter", "cumulative", "defaults", "3d", "eps-option",
            "momentum-option", "affine-option", "bias-option", "tracking-option", "fp32", "fp64",
        ],
    }  # fmt: skip

    def __init__(self, config):
        """Start as PyTorch's layer starts."""
        size = config["num_features"]
        self.size, self.dtype = size, config.get("dtype", "float32")
        self.eps, self.momentum = config.get("eps", 1e-5), config.get("momentum", 0.1)
        tracks, affine = config.get("track_running_stats", True), config.get("affine", True)
        starts = {"weight": (affine, 1), "bias": (affine and config.get("bias", True), 0)}
        starts.update(running_mean=(tracks, 0), running_var=(tracks, 1))
        self.tensors = {role: [float(v)] * size for role, (has, v) in starts.items() if has}
        self.count = 0 if tracks else None

    def forward(self, x, training, grad):
        """Normalise by the batch, or in evaluation by what was tracked."""
        columns, tracks = self.columns(x), self.count is not None
        self.batch = training or not tracks
        mean, var = self.tensors.get("running_mean"), self.tensors.get("running_var")
        if self.batch:
            if self.eps <= 0:
                raise ValueError("eps must be positive, got %r" % self.eps)
            mean, var = moments(columns, x.shape)
        if training and tracks:
            self.track(mean, var, len(columns[0]))
        self.rstd = [(v + self.eps) ** -0.5 if v + self.eps > 0 else math.nan for v in var]
        self.hat = [[(v - m) * r for v in c] for c, m, r in zip(columns, mean, self.rstd)]
        w, b = self.tensors.get("weight"), self.tensors.get("bias", [0.0] * self.size)
        self.w = w or [1.0] * self.size
        y = [[h * w + b for h in hat] for hat, w, b in zip(self.hat, self.w, b)]
        return whole(y, x)

    def columns(self, x):
        """The values of each channel; N, C, L and N, C alike."""
        if len(x.shape) not in (2, 3) or x.shape[1] != self.size:
            raise ValueError("expected (N, %d) or (N, %d, L), got shape %r"
                             % (self.size, self.size, x.shape))  # fmt: skip
        step = x.shape[2] if len(x.shape) == 3 else 1
        starts = [range(c * step, len(x.values), self.size * step) for c in range(self.size)]
        return [[v for k in places for v in x.values[k : k + step]] for places in starts]

    def track(self, mean, var, n):
        """Move the running statistics, unless there was nothing to see."""
        self.count += 1
        m = 1 / self.count if self.momentum is None else self.momentum
        for role, new in (
            ("running_mean", mean),
            ("running_var", [v * n / (n - 1 or 1) for v in var]),
        ):
            old = self.tensors[role]
            moved = [(1 - m) * a + m * b for a, b in zip(old, new)]
            self.tensors[role] = Array(moved, [self.size], self.dtype).rounded() if n else old

    def backward(self, dy):
        """Return dx, dweight and dbias."""
        columns = self.columns(dy)
        dbias = [total(c) for c in columns]
        dweight = [total(g * h for g, h in zip(c, hat)) for c, hat in zip(columns, self.hat)]
        n = len(columns[0]) or 1
        through = [
            [g - b / n - h * a / n for g, h in zip(c, hat)] if self.batch else c
            for c, hat, a, b in zip(columns, self.hat, dweight, dbias)
        ]
        dx = [[w * r * v for v in c] for c, w, r in zip(through, self.w, self.rstd)]
        return whole(dx, dy), self.learned("weight", dweight), self.learned("bias", dbias)

    def learned(self, role, gradient):
        """The gradient of what there is."""
        return Array(gradient, [self.size], self.dtype) if role in self.tensors else None

    def state(self):
        """Return the tensors that this configuration has."""
        found = {k: Array(v, [self.size], self.dtype) for k, v in self.tensors.items()}
        return dict(found, num_batches_tracked=self.count)

    def load(self, state):
        """Write the tensors that are there."""
        if self.count is not None:
            self.count = state.get("num_batches_tracked", self.count)
        self.tensors.update((k, v.values) for k, v in state.items() if k in self.tensors)


def total(values):
    """A sum that is rounded once; a plain one where there is an infinity or a NaN."""
    values = list(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def moments(columns, shape):
    """Mean and biased variance of each channel."""
    n = len(columns[0])
    if n == 1:
        raise ValueError("expected more than 1 value per channel, got shape %r" % (shape,))
    mean = [total(c) / (n or 1) for c in columns]
    return mean, [total((v - m) * (v - m) for v in c) / (n or 1) for c, m in zip(columns, mean)]


def whole(columns, like):
    """The channels put together again, in the shape and the dtype of `like`."""
    size, step = len(columns), like.shape[2] if len(like.shape) == 3 else 1
    rows = range(like.shape[0])
    values = [v for n in rows for c in range(size) for v in columns[c][n * step : (n + 1) * step]]
    return Array(values, like.shape, like.dtype)
