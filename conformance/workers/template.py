"""NAME, for bn1d_worker.py: what to change stands in capitals.

bn1d run --worker 'python bn1d_worker.py FILE'
"""

import numpy as np


class Layer:
    """One layer. It imports its own framework, and nothing of the kit's."""

    about = {
        "name": "NAME",
        "version": np.__version__,  # OF THE FRAMEWORK
        "homepage": "https://example.org/NAME",
        # WHAT IT CAN DO: of what is left out, nothing is asked (docs/wire.md has the list)
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "3d",
            "eps-option", "momentum-option", "fp32", "fp64",
        ],
        # IN WHAT IT DIFFERS FROM PyTorch BY DESIGN (docs/wire.md has the table)
        "dialect": {},
        # ITS OWN NAMES, if they differ
        "names": {"weight": "gamma", "bias": "beta"},
    }  # fmt: skip

    def __init__(self, config):
        """config: num_features, eps, momentum, affine, track_running_stats, bias, dtype.

        As torch.nn.BatchNorm1d understands them: momentum is the weight of the new batch.
        """
        self.eps, self.momentum = config["eps"], config["momentum"]
        size, dtype = config["num_features"], config["dtype"]
        self.gamma, self.beta = np.ones(size, dtype), np.zeros(size, dtype)
        self.mean, self.var = np.zeros(size, dtype), np.ones(size, dtype)

    def forward(self, x, training, grad):
        """Return y for x of shape (N, C) or (N, C, L). grad: backward() will be called next."""
        if x.ndim not in (2, 3) or x.shape[1] != len(self.gamma):
            raise ValueError("unexpected shape %s" % (x.shape,))
        self.training, self.axes = training, (0,) + tuple(range(2, x.ndim))
        mean, var = self.mean.astype("float64"), self.var.astype("float64")
        wide, n = x.astype("float64"), x.size // len(self.gamma)
        if training:
            if n < 2:
                raise ValueError(
                    "expected more than 1 value per channel, got shape %s" % (x.shape,)
                )
            mean, var = wide.mean(self.axes), wide.var(self.axes)
            self.track(mean, var * n / (n - 1))
        self.rstd = self.rows(1 / np.sqrt(var + self.eps), x)
        self.hat = (wide - self.rows(mean, x)) * self.rstd
        return (self.hat * self.rows(self.gamma, x) + self.rows(self.beta, x)).astype(x.dtype)

    def track(self, mean, var):
        """Move the running statistics."""
        m, dtype = self.momentum, self.mean.dtype
        self.mean = ((1 - m) * self.mean.astype("float64") + m * mean).astype(dtype)
        self.var = ((1 - m) * self.var.astype("float64") + m * var).astype(dtype)

    @staticmethod
    def rows(values, x):
        """(C,), so that it goes with x."""
        return values.reshape((1, -1) + (1,) * (x.ndim - 2))

    def backward(self, dy):
        """Return dx, dweight and dbias of the last forward pass, None where there is none."""
        wide, own = dy.astype("float64"), self.gamma.dtype
        through = wide
        if self.training:
            mean = wide.mean(self.axes, keepdims=True)
            through = wide - mean - self.hat * (wide * self.hat).mean(self.axes, keepdims=True)
        dx = through * self.rstd * self.rows(self.gamma, dy)
        dweight, dbias = (wide * self.hat).sum(self.axes), wide.sum(self.axes)
        return dx.astype(dy.dtype), dweight.astype(own), dbias.astype(own)

    def state(self):
        """Return the tensors, under the names of PyTorch; what is left out it does not have."""
        return {
            "weight": self.gamma,
            "bias": self.beta,
            "running_mean": self.mean,
            "running_var": self.var,
        }

    def load(self, state):
        """Write the tensors that `state` has; the others stay as they are."""
        self.gamma = state.get("weight", self.gamma)
        self.beta = state.get("bias", self.beta)
        self.mean = state.get("running_mean", self.mean)
        self.var = state.get("running_var", self.var)
