"""MLX: mlx.nn.BatchNorm, channels last, on the CPU.

bn1d run --worker 'python bn1d_worker.py subjects/mlx_nn.py'
"""

from importlib.metadata import version

import mlx.core as mx
import numpy as np
from mlx import nn

mx.set_default_device(mx.cpu)
BUFFERS = ("running_mean", "running_var")
ROLES = ("weight", "bias", *BUFFERS)


class Layer:
    """mlx.nn.BatchNorm in single precision: with half-precision inputs it answers in single."""

    about = {
        "name": "mlx.nn.BatchNorm",
        "version": version("mlx"),
        "homepage": "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary/mlx.nn.BatchNorm.html",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "tracking-option", "fp32",
        ],
        "dialect": {"counter": "none", "layout": "channels-last"},
    }  # fmt: skip

    def __init__(self, config):
        """Construct with what MLX has of the options."""
        options = ("num_features", "eps", "momentum", "affine", "track_running_stats")
        self.layer = nn.BatchNorm(**{k: config[k] for k in options if k in config})

    def forward(self, x, training, grad):
        """Keep what mx.vjp needs: parameters, input and mode."""
        self.layer.train(training)
        self.x = given(x)
        return taken(self.layer(self.x))

    def backward(self, dy):
        """Return the vector-Jacobian product; statistics stay as forward() left them."""
        kept = {k: self.layer[k] for k in BUFFERS if k in self.layer}
        names = [k for k in ROLES[:2] if k in self.layer]

        def call(x, *parameters):
            self.layer.update(dict(zip(names, parameters)))
            return self.layer(x)

        inputs = [self.x] + [self.layer[k] for k in names]
        _, found = mx.vjp(call, inputs, [given(dy)])
        self.layer.update(dict(kept, **dict(zip(names, inputs[1:]))))
        of = dict(zip(names, found[1:]))
        return taken(found[0]), array(of.get("weight")), array(of.get("bias"))

    def state(self):
        """Return the tensors."""
        return {k: array(self.layer[k]) for k in ROLES if k in self.layer}

    def load(self, state):
        """Write the tensors."""
        self.layer.update({k: mx.array(v) for k, v in state.items() if k in self.layer})


def given(x):
    """(N, C, L) as MLX's (N, L, C)."""
    last = np.moveaxis(x, 1, -1) if x.ndim > 2 else x
    return mx.array(np.ascontiguousarray(last))


def taken(y):
    """MLX's (N, L, C) as (N, C, L)."""
    return np.ascontiguousarray(np.moveaxis(array(y), -1, 1) if y.ndim > 2 else array(y))


def array(value):
    """An array of NumPy's, or None."""
    return None if value is None else np.array(value)
