"""tinygrad: tinygrad.nn.BatchNorm, where DEV says: DEV=PYTHON, or DEV=CPU with clang or LLVM.

bn1d run --worker 'env DEV=PYTHON python bn1d_worker.py subjects/tinygrad_nn.py'
"""

from importlib.metadata import version

from tinygrad import Device, Tensor, nn
from tinygrad.helpers import Context

ROLES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


class Layer:
    """tinygrad.nn.BatchNorm in single precision."""

    about = {
        "name": "tinygrad.nn.BatchNorm on %s" % Device.DEFAULT,
        "version": version("tinygrad"),
        "homepage": "https://docs.tinygrad.org/nn/",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "counter", "defaults", "3d", "eps-option", "momentum-option",
            "affine-option", "tracking-option", "fp32",
        ],
    }  # fmt: skip

    def __init__(self, config):
        """Construct with what tinygrad has of the options."""
        options = ("eps", "momentum", "affine", "track_running_stats")
        given = {k: config[k] for k in options if k in config}
        self.layer = nn.BatchNorm(config["num_features"], **given)

    def tensors(self):
        """Return what the layer has, by name."""
        names = ROLES + ((COUNTER,) if self.layer.track_running_stats else ())
        found = {name: getattr(self.layer, name, None) for name in names}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def forward(self, x, training, grad):
        """Compute y and the statistics now: tinygrad is lazy."""
        self.x, self.training = x, training
        with Context(TRAINING=int(training)):
            y = self.layer(Tensor(x))
        Tensor.realize(y, *self.tensors().values())
        return y.numpy()

    def backward(self, dy):
        """Differentiate a second pass: what is computed has no graph; the statistics stay."""
        kept, x = self.state(), Tensor(self.x)
        with Context(TRAINING=int(self.training)):
            y = self.layer(x)
        names = [name for name in ROLES[:2] if name in self.tensors()]
        inputs = [x] + [self.tensors()[name] for name in names]
        dx, *learned = [g.numpy() for g in y.gradient(*inputs, gradient=Tensor(dy))]
        self.load({name: kept[name] for name in kept if name not in names})
        of = dict(zip(names, learned))
        return (dx, *(of.get(name) for name in ROLES[:2]))

    def state(self):
        """Return the tensors."""
        return {name: tensor.numpy() for name, tensor in self.tensors().items()}

    def load(self, state):
        """Write the tensors that the layer has."""
        own = self.tensors()
        for name in state:
            if name in own:
                own[name].assign(Tensor(state[name], dtype=own[name].dtype)).realize()
