"""PaddlePaddle: paddle.nn.BatchNorm1D on the CPU.

bn1d run --worker 'python bn1d_worker.py subjects/paddle_nn.py'
"""

import paddle

TENSORS = {
    "weight": "weight",
    "bias": "bias",
    "running_mean": "_mean",
    "running_var": "_variance",
}
paddle.set_device("cpu")


class Layer:
    """paddle.nn.BatchNorm1D. Statistics can't be declined: use_global_stats leaves them there."""

    about = {
        "name": "paddle.nn.BatchNorm1D",
        "version": paddle.__version__,
        "homepage": "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/nn/BatchNorm1D_en.html",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "bias-option", "fp32", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old",
            "default_momentum": "0.9",
            "running_var": "biased",
            "single_value": "input",
            "counter": "none",
        },
        "names": TENSORS,
    }  # fmt: skip

    def __init__(self, config):
        """Construct, with parameters and statistics of the dtype."""
        options, affine = {}, config.get("affine", True)
        if "eps" in config:
            options = {"epsilon": config["eps"], "momentum": 1 - config["momentum"]}
        if not affine:
            options["weight_attr"] = False
        if not (affine and config.get("bias", True)):
            options["bias_attr"] = False
        paddle.set_default_dtype(config.get("dtype", "float32"))
        self.layer = paddle.nn.BatchNorm1D(config["num_features"], **options)

    def forward(self, x, training, grad):
        """Keep x and y for backward()."""
        self.layer.training = training
        self.x = paddle.to_tensor(x, stop_gradient=not grad)
        self.y = self.layer(self.x)
        return self.y.numpy()

    def backward(self, dy):
        """Return the gradients of what is there."""
        inputs = [t for t in (self.x, self.layer.weight, self.layer.bias) if t is not None]
        found = iter(paddle.grad([self.y], inputs, [paddle.to_tensor(dy)]))
        dx = next(found).numpy()
        own = (self.layer.weight, self.layer.bias)
        return (dx, *(None if t is None else next(found).numpy() for t in own))

    def state(self):
        """Return the tensors."""
        tensors = {role: getattr(self.layer, name) for role, name in TENSORS.items()}
        return {role: None if t is None else t.numpy() for role, t in tensors.items()}

    def load(self, state):
        """Write the tensors that the layer has."""
        for role, value in state.items():
            if getattr(self.layer, TENSORS[role]) is not None:
                getattr(self.layer, TENSORS[role]).set_value(value)
