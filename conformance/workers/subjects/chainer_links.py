"""Chainer: chainer.links.BatchNormalization.

bn1d run --worker 'python bn1d_worker.py subjects/chainer_links.py'
"""

import chainer
from chainer.links import BatchNormalization

TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "avg_mean",
    "running_var": "avg_var",
}


class Layer:
    """chainer.links.BatchNormalization; its counter N is that of fine-tuning alone."""

    about = {
        "name": "chainer.links.BatchNormalization",
        "version": chainer.__version__,
        "homepage": "https://docs.chainer.org/en/stable/reference/generated/chainer.links.BatchNormalization.html",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "bias-option", "fp32", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old",
            "default_momentum": "0.9",
            "default_eps": "2e-5",
            "single_value": "bias",
            "counter": "none",
        },
        "names": TENSORS,
    }  # fmt: skip

    def __init__(self, config):
        """Construct; momentum is Chainer's decay."""
        affine = config.get("affine", True)
        options = {"use_gamma": affine, "use_beta": affine and config.get("bias", True)}
        if "eps" in config:
            options.update(eps=config["eps"], decay=1 - config["momentum"], dtype=config["dtype"])
        self.link = BatchNormalization(config["num_features"], **options)

    def forward(self, x, training, grad):
        """Keep the graph for backward()."""
        self.x = chainer.Variable(x)
        with chainer.using_config("train", training):
            self.y = self.link(self.x)
        return self.y.array

    def backward(self, dy):
        """Return the gradients of what is there."""
        own = [getattr(self.link, TENSORS[role], None) for role in ("weight", "bias")]
        inputs = [self.x] + [t for t in own if t is not None]
        found = chainer.grad([self.y], inputs, [chainer.Variable(dy)])
        left = iter(found[1:])
        return [found[0].array] + [None if t is None else next(left).array for t in own]

    def array(self, role):
        """The array of a role, or None."""
        tensor = getattr(self.link, TENSORS[role], None)
        return getattr(tensor, "array", tensor)

    def state(self):
        """Return the tensors, copied."""
        arrays = {role: self.array(role) for role in TENSORS}
        return {role: None if a is None else a.copy() for role, a in arrays.items()}

    def load(self, state):
        """Write the tensors that the link has."""
        for role, value in state.items():
            if self.array(role) is not None:
                self.array(role)[...] = value
