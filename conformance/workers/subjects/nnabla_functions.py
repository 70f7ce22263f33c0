"""nnabla: nnabla.functions.batch_normalization on the CPU.

bn1d run --worker 'python bn1d_worker.py subjects/nnabla_functions.py'
"""

import nnabla
import numpy as np
from nnabla.functions import batch_normalization

NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


class Layer:
    """Parameters and statistics are the caller's; nnabla writes into the statistics."""

    about = {
        "name": "nnabla.functions.batch_normalization",
        "version": nnabla.__version__,
        "homepage": "https://nnabla.readthedocs.io/en/latest/python/api/function.html#nnabla.functions.batch_normalization",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "defaults", "3d",
            "eps-option", "momentum-option", "fp32",
        ],
        "dialect": {
            "momentum": "weight-of-old", "default_momentum": "0.9", "single_value": "nan",
            "counter": "none",
        },
        "names": NAMES,
    }  # fmt: skip

    def __init__(self, config):
        """Make what the caller keeps."""
        size = config["num_features"]
        starts = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        self.tensors = {role: np.full(size, v, "float32") for role, v in starts.items()}
        self.options = {}
        if "eps" in config:
            self.options = {"eps": config["eps"], "decay_rate": 1 - config["momentum"]}

    def forward(self, x, training, grad):
        """Keep the graph for backward(), and the statistics that come out of it."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        self.x = nnabla.Variable.from_numpy_array(x).apply(need_grad=True)
        self.own = {
            role: nnabla.Variable.from_numpy_array(value.reshape(shape)).apply(
                need_grad=role in ("weight", "bias")
            )
            for role, value in self.tensors.items()
        }
        tensors = [self.own[k] for k in ("bias", "weight", "running_mean", "running_var")]
        self.y = batch_normalization(
            self.x, *tensors, axes=[1], batch_stat=training, **self.options
        )
        self.y.forward()
        if training:
            moved = ("running_mean", "running_var")
            self.tensors.update({k: self.own[k].d.ravel().copy() for k in moved})
        return self.y.d.copy()

    def backward(self, dy):
        """Return the gradients."""
        wanted = (self.x, self.own["weight"], self.own["bias"])
        for variable in wanted:
            variable.g = 0
        self.y.backward(dy)
        dx, dweight, dbias = (variable.g.copy() for variable in wanted)
        return dx, dweight.ravel(), dbias.ravel()

    def state(self):
        """Return what the caller keeps."""
        return self.tensors

    def load(self, state):
        """Keep what is given."""
        self.tensors.update(state)
