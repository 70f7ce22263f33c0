"""Batch normalisation as TensorFlow's functions have it, without a layer.

    bn1d run --worker 'python bn1d_worker.py subjects/tensorflow_nn.py:Moments'

Weights and statistics are the caller's, and so are kept here.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets

import numpy as np
import tensorflow as tf

WEIGHTS = ("weight", "bias")


class Moments:
    """tf.nn.moments, and tf.nn.batch_normalization by what it returns; nothing is tracked."""

    about = {
        "name": "tf.nn.batch_normalization of tf.nn.moments",
        "version": tf.__version__,
        "homepage": "https://www.tensorflow.org/api_docs/python/tf/nn/batch_normalization",
        "capabilities": [
            "train", "grad", "param-grad", "weights", "3d", "eps-option", "affine-option",
            "bias-option", "fp32", "fp64",
        ],
        "dialect": {"single_value": "bias", "counter": "none"},
        "names": {"weight": "scale", "bias": "offset"},
    }  # fmt: skip

    def __init__(self, config):
        """Make what the caller keeps."""
        size, self.dtype = config["num_features"], config.get("dtype", "float32")
        self.config, affine = config, config.get("affine", True)
        has = {"weight": affine, "bias": affine and config.get("bias", True)}
        has.update(running_mean=True, running_var=True)
        starts = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        self.tensors = {k: np.full(size, starts[k], self.dtype) for k in starts if has[k]}

    def forward(self, x, training, grad):
        """Return y, computed under a tape."""
        x = tf.constant(x)
        self.wanted = dict({"x": x}, **{k: tf.constant(v) for k, v in self.tensors.items()})
        with tf.GradientTape() as self.tape:
            self.tape.watch(list(self.wanted.values()))
            self.y = self.call(x, self.wanted, training)
        return self.y.numpy()

    def call(self, x, tensors, training):
        """Normalise over every axis but the second."""
        axes = [axis for axis in range(len(x.shape)) if axis != 1]
        mean, var = tf.nn.moments(x, axes, keepdims=True)
        scale, offset = (rows(tensors.get(role), x) for role in WEIGHTS)
        return tf.nn.batch_normalization(x, mean, var, offset, scale, self.config["eps"])

    def backward(self, dy):
        """Return dx, and what there is of dweight and dbias."""
        wanted = [self.wanted["x"]] + [self.wanted[k] for k in WEIGHTS if k in self.wanted]
        dx, *learned = self.tape.gradient(self.y, wanted, output_gradients=tf.constant(dy))
        found = dict(zip([k for k in WEIGHTS if k in self.wanted], learned))
        return dx, found.get("weight"), found.get("bias")

    def state(self):
        """Return what the caller keeps."""
        return self.tensors

    def load(self, state):
        """Keep what is given."""
        self.tensors.update((k, v) for k, v in state.items() if k in self.tensors)


def rows(values, x):
    """(C,), so that it goes with x."""
    return None if values is None else tf.reshape(values, [1, -1] + [1] * (len(x.shape) - 2))


class Fused(Moments):
    """tf.raw_ops.FusedBatchNormV3, which takes four axes on a CPU, with channels last."""

    about = {
        "name": "tf.raw_ops.FusedBatchNormV3",
        "version": tf.__version__,
        "homepage": "https://www.tensorflow.org/api_docs/python/tf/raw_ops/FusedBatchNormV3",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "defaults", "3d",
            "eps-option", "momentum-option", "fp32", "fp16", "bf16",
        ],
        "dialect": {
            "default_momentum": "1.0", "default_eps": "1e-4", "single_value": "bias",
            "counter": "none", "layout": "channels-last",
        },
        "names": {
            "weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance",
        },
    }  # fmt: skip

    def call(self, x, tensors, training):
        """Normalise, and in training keep the statistics that come back."""
        options = {"is_training": training}
        if "eps" in self.config:
            options["epsilon"] = self.config["eps"]
        if "momentum" in self.config:
            options["exponential_avg_factor"] = self.config["momentum"]
        y, mean, var = self.op(four_axes(x), *[tensors[k] for k in self.tensors], **options)
        if training:
            self.tensors.update(running_mean=mean.numpy(), running_var=var.numpy())
        return as_before(y, x)

    @staticmethod
    def op(x, scale, offset, mean, variance, **options):
        """Call the op as it is."""
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, **options
        )[:3]


def four_axes(x):
    """(N, C) and (N, C, L) as (N, 1, L, C); whatever else as it is."""
    if len(x.shape) == 2:
        return x[:, None, None, :]
    return tf.transpose(x, [0, 2, 1])[:, None] if len(x.shape) == 3 else x


def as_before(y, x):
    """What four_axes(x) has become, in the shape of x."""
    if len(x.shape) == 2:
        return y[:, 0, 0, :]
    return tf.transpose(y[:, 0], [0, 2, 1]) if len(x.shape) == 3 else y


class XLA(Fused):
    """The same op, compiled by XLA."""

    about = dict(Fused.about, name="tf.raw_ops.FusedBatchNormV3, compiled by XLA")
    op = staticmethod(tf.function(Fused.op, jit_compile=True))
