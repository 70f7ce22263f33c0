"""keras.layers.BatchNormalization of Keras 3, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=torch bn1d run --worker 'python bn1d_worker.py subjects/keras_layers.py'

Keras does not differentiate: each backend does it in its own way, or not at all.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets

import keras

BACKEND = keras.backend.backend()
NAMES = {
    "weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
    "running_var": "moving_variance",
}  # fmt: skip
MIXED = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


class Normalization:
    """The layer, with axis=1."""

    about = {
        "name": "keras.layers.BatchNormalization on " + BACKEND,
        "version": keras.__version__,
        "homepage": "https://keras.io/api/layers/normalization_layers/batch_normalization/",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "bias-option", "fp32", "fp16", "bf16", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old", "default_momentum": "0.99", "default_eps": "1e-3",
            "running_var": "biased", "single_value": "bias", "counter": "none",
        },
        "names": NAMES,
    }  # fmt: skip

    def __init__(self, config):
        """Construct a layer for inputs of two axes."""
        affine = config.get("affine", True)
        self.options = {
            "axis": 1,
            "scale": affine,
            "center": affine and config.get("bias", True),
            "dtype": config.get("dtype", "float32"),
        }
        if "eps" in config:
            self.options["epsilon"] = config["eps"]
        if "momentum" in config:
            self.options["momentum"] = 1 - config["momentum"]
        self.shapes = {2: (None, config["num_features"]), 3: (None, config["num_features"], None)}
        self.make(2)

    def make(self, axes):
        """Build a layer for inputs of so many axes: Keras's takes no others."""
        self.axes, self.layer = axes, keras.layers.BatchNormalization(**self.options)
        self.layer.build(self.shapes[axes])

    def forward(self, x, training, grad):
        """Return y, from the policy that goes with the dtype of x."""
        if x.ndim in self.shapes and x.ndim != self.axes:
            tensors = self.layer.get_weights()
            self.make(x.ndim)
            self.layer.set_weights(tensors)
        self.layer.dtype_policy = MIXED.get(str(x.dtype), self.options["dtype"])
        return keras.ops.convert_to_numpy(self.passed(tensor(x), training, grad))

    def backward(self, dy):
        """Return dx, and what there is of dweight and dbias."""
        dx, *learned = map(keras.ops.convert_to_numpy, self.pull(tensor(dy)))
        found = dict(zip([v.name for v in self.layer.trainable_variables], learned))
        return dx, found.get("gamma"), found.get("beta")

    def state(self):
        """Return the tensors."""
        own = {v.name: keras.ops.convert_to_numpy(v) for v in self.layer.variables}
        return {role: own.get(name) for role, name in NAMES.items()}

    def load(self, state):
        """Assign tensors."""
        for role, value in state.items():
            getattr(self.layer, NAMES[role]).assign(value)


def tensor(x):
    """The backend's tensor of the same dtype."""
    return keras.ops.convert_to_tensor(x, dtype=str(x.dtype))


class OnTensorFlow(Normalization):
    """Gradients from a tape."""

    def passed(self, x, training, grad):
        """Return y."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = self.layer(x, training=training)
        wanted = [x] + [v.value for v in self.layer.trainable_variables]
        self.pull = lambda dy: tape.gradient(y, wanted, output_gradients=dy)
        return y


class OnTorch(Normalization):
    """Gradients from autograd."""

    def passed(self, x, training, grad):
        """Return y."""
        import torch

        y = self.layer(x.requires_grad_(grad), training=training)
        wanted = [x] + [v.value for v in self.layer.trainable_variables]
        self.pull = lambda dy: torch.autograd.grad(y, wanted, dy)
        return y.detach()


class OnJAX(Normalization):
    """Gradients of a pure function; the statistics that it returns are assigned."""

    def passed(self, x, training, grad):
        """Return y."""
        import jax

        fixed = [v.value for v in self.layer.non_trainable_variables]

        def call(x, learned):
            return self.layer.stateless_call(learned, fixed, x, training=training)

        learned = [v.value for v in self.layer.trainable_variables]
        if grad:
            y, self.vjp, new = jax.vjp(call, x, learned, has_aux=True)
        else:
            y, new = call(x, learned)
        for variable, value in zip(self.layer.non_trainable_variables, new):
            variable.assign(value)
        return y

    def pull(self, dy):
        """Return dx, and the gradients of what is learned."""
        dx, found = self.vjp(dy)
        return [dx] + found


class WithoutGradients(Normalization):
    """What NumPy and OpenVINO have of it."""

    about = dict(
        Normalization.about,
        capabilities=[c for c in Normalization.about["capabilities"] if "grad" not in c],
    )

    def passed(self, x, training, grad):
        """Return y."""
        return self.layer(x, training=training)


BACKENDS = {"tensorflow": OnTensorFlow, "torch": OnTorch, "jax": OnJAX}
Layer = BACKENDS.get(BACKEND, WithoutGradients)
if BACKEND == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)  # float64 inputs stay what they are
