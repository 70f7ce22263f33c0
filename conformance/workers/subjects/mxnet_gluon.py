"""MXNet: mxnet.gluon.nn.BatchNorm on the CPU.

    bn1d run --worker 'python bn1d_worker.py subjects/mxnet_gluon.py'

MXNet moves the statistics in its backward pass, at every one of them. A pass forward in training
is therefore followed by one backward, as in use, and the one that is asked for moves nothing more.
"""

import mxnet as mx
from mxnet.gluon.nn import BatchNorm

TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "running_mean",
    "running_var": "running_var",
}
BUFFERS = ("running_mean", "running_var")


class Layer:
    """The block of Gluon. What it does not scale by it has all the same, as a constant."""

    about = {
        "name": "mxnet.gluon.nn.BatchNorm",
        "version": mx.__version__,
        "homepage": "https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/gluon/nn/index.html#mxnet.gluon.nn.BatchNorm",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "fp32", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old", "default_momentum": "0.9", "running_var": "biased",
            "single_value": "bias", "counter": "none",
        },
        "names": TENSORS,
    }  # fmt: skip

    def __init__(self, config):
        """Construct, initialise, and convert."""
        options = {"in_channels": config["num_features"]}
        if "eps" in config:
            options.update(epsilon=config["eps"], momentum=1 - config["momentum"])
        self.block = BatchNorm(**options)
        self.block.initialize()
        self.block.cast(config.get("dtype", "float32"))

    def forward(self, x, training, grad):
        """Keep the graph for backward()."""
        self.x = mx.nd.array(x, dtype=x.dtype)
        self.x.attach_grad()
        with mx.autograd.record(train_mode=training):
            self.y = self.block(self.x)
        if training:
            self.y.backward(mx.nd.zeros_like(self.y), retain_graph=True, train_mode=True)
        self.training = training
        return self.y.asnumpy()

    def backward(self, dy):
        """Return the gradients; the statistics stay as forward() left them."""
        kept = {role: self.state()[role] for role in BUFFERS}
        self.y.backward(
            mx.nd.array(dy, dtype=dy.dtype), retain_graph=True, train_mode=self.training
        )
        mx.nd.waitall()
        self.load(kept)
        own = (self.block.gamma.grad(), self.block.beta.grad())
        return [self.x.grad.asnumpy()] + [g.asnumpy() for g in own]

    def state(self):
        """Return the tensors, when they are there: MXNet computes later."""
        mx.nd.waitall()
        return {role: self.parameter(role).data().asnumpy() for role in TENSORS}

    def parameter(self, role):
        """Gluon's parameter of a role."""
        return getattr(self.block, TENSORS[role])

    def load(self, state):
        """Write tensors."""
        for role, value in state.items():
            self.parameter(role).set_data(mx.nd.array(value, dtype=value.dtype))
