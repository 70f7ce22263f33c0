"""PyTorch from 1.0 on: torch.nn.BatchNorm1d on the CPU, in the formats that all of them have.

bn1d run --worker 'python bn1d_worker.py subjects/torch_modules.py'
"""

import inspect

import torch

ROLES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"
OPTIONS = ("eps", "momentum", "affine", "track_running_stats")
CAPABILITIES = [
    "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters", "buffers",
    "counter", "cumulative", "defaults", "3d", "eps-option", "momentum-option",
    "affine-option", "tracking-option", "fp32", "fp64",
]  # fmt: skip
HAS_BIAS = "bias" in inspect.signature(torch.nn.BatchNorm1d.__init__).parameters


class Layer:
    """torch.nn.BatchNorm1d; its bias can be declined alone since 2.13."""

    about = {
        "name": "torch.nn.BatchNorm1d",
        "version": torch.__version__,
        "homepage": "https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html",
        "capabilities": CAPABILITIES + ["bias-option"] * HAS_BIAS,
    }

    def __init__(self, config):
        """Construct, then convert to the dtype: old ones have no argument for it."""
        options = OPTIONS + ("bias",) * HAS_BIAS
        given = {k: config[k] for k in options if k in config}
        self.called = self.construct(config["num_features"], given)
        self.called.to(getattr(torch, config.get("dtype", "float32")))
        self.module = self.holder()

    def construct(self, num_features, options):
        """Return the module that is called."""
        return torch.nn.BatchNorm1d(num_features, **options)

    def holder(self):
        """Return the module that has the tensors."""
        return self.called

    def forward(self, x, training, grad):
        """Keep x and y for backward()."""
        self.called.train(training)
        self.x = torch.from_numpy(x)
        with torch.set_grad_enabled(grad):
            if grad:
                self.x.requires_grad_()
            self.y = self.called(self.x)
        return self.y.detach().numpy()

    def backward(self, dy):
        """Return the gradients of what is there."""
        own = [getattr(self.module, name) for name in ROLES[:2]]
        inputs = [self.x] + [t for t in own if t is not None]
        found = torch.autograd.grad([self.y], inputs, [torch.from_numpy(dy)])
        left = iter(found[1:])
        return [found[0].numpy()] + [None if t is None else next(left).numpy() for t in own]

    def state(self):
        """Return the tensors, copied."""
        tensors = {name: getattr(self.module, name, None) for name in (*ROLES, COUNTER)}
        return {k: None if t is None else t.detach().numpy().copy() for k, t in tensors.items()}

    def load(self, state):
        """Write the tensors that the module has."""
        with torch.no_grad():
            for name, value in state.items():
                tensor = getattr(self.module, name, None)
                if tensor is not None:
                    tensor.copy_(torch.as_tensor(value))
