"""BatchNorm of Flax, of both its interfaces.

    bn1d run --worker 'python bn1d_worker.py subjects/flax_nn.py:Linen'

Computing in half precision beside single-precision state is asked for by the layer's dtype.
"""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax_functional import Functional, channels_first, channels_last

NAMES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def options(config):
    """The constructor's arguments in Flax's terms; of what config leaves out, Flax decides."""
    affine = config.get("affine", True)
    found = {
        "use_scale": affine,
        "use_bias": affine and config.get("bias", True),
        "param_dtype": config.get("dtype", "float32"),
    }
    if "eps" in config:
        found["epsilon"] = config["eps"]
    if "momentum" in config:
        found["momentum"] = 1 - config["momentum"]
    return found


def computing(x):
    """The layer's dtype, for half precision; what else there is Flax infers."""
    return x.dtype if x.dtype in (jnp.float16, jnp.bfloat16) else None


class Linen(Functional):
    """flax.linen.BatchNorm."""

    about = {
        "name": "flax.linen.BatchNorm",
        "version": flax.__version__,
        "devices": ["cuda" if jax.default_backend() == "gpu" else "cpu"],
        "homepage": "https://flax-linen.readthedocs.io/en/latest/api_reference/flax.linen/layers.html#flax.linen.BatchNorm",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "bias-option", "fp32", "fp16", "bf16",
        ],
        "dialect": {
            "momentum": "weight-of-old", "default_momentum": "0.99", "running_var": "biased",
            "single_value": "bias", "counter": "none", "layout": "channels-last",
        },
        "names": NAMES,
    }  # fmt: skip

    def __init__(self, config):
        """Initialise from an input of C channels."""
        self.options = options(config)
        x = jnp.zeros((2, config["num_features"]), self.options["param_dtype"])
        layer = nn.BatchNorm(**self.options)
        found = layer.init(jax.random.key(0), x, use_running_average=False)
        self.params, self.stats = found.get("params", {}), found["batch_stats"]

    def apply(self, params, stats, x, training):
        """Return y and the new statistics."""
        layer = nn.BatchNorm(dtype=computing(x), **self.options)
        y, new = layer.apply(
            {"params": params, "batch_stats": stats},
            channels_last(x),
            use_running_average=not training,
            mutable=["batch_stats"],
        )
        return channels_first(y), new["batch_stats"]

    @staticmethod
    def named(tensors):
        """Flax's tensors by PyTorch's names."""
        return {role: tensors[own] for role, own in NAMES.items() if own in tensors}

    def state(self):
        """Return the tensors."""
        return self.named(dict(self.params, **self.stats))

    def load(self, state):
        """Replace tensors."""
        for role, value in state.items():
            place = self.stats if role.startswith("running") else self.params
            place[NAMES[role]] = jnp.asarray(value)


class NNX(Functional):
    """flax.nnx.BatchNorm."""

    about = dict(
        Linen.about,
        name="flax.nnx.BatchNorm",
        homepage="https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html",
    )
    variance = {}

    def __init__(self, config):
        """Construct, and take the parameters and the statistics apart."""
        layer = nnx.BatchNorm(
            config["num_features"], rngs=nnx.Rngs(0), **self.variance, **options(config)
        )
        self.graph, self.params, self.stats = nnx.split(layer, nnx.Param, nnx.BatchStat)

    def apply(self, params, stats, x, training):
        """Return y and the new statistics."""
        layer = nnx.merge(self.graph, params, stats, copy=True)
        layer.dtype = computing(x)
        y = layer(channels_last(x), use_running_average=not training)
        return channels_first(y), nnx.state(layer, nnx.BatchStat)

    @staticmethod
    def named(tensors):
        """Flax's tensors by PyTorch's names."""
        return {role: tensors[own][...] for role, own in NAMES.items() if own in tensors}

    def state(self):
        """Return the tensors."""
        return dict(self.named(self.params), **self.named(self.stats))

    def load(self, state):
        """Replace tensors."""
        for role, value in state.items():
            place = self.stats if role.startswith("running") else self.params
            place[NAMES[role]][...] = jnp.asarray(value)


class NNXTwoPass(NNX):
    """The same with use_fast_variance=False: the variance from what is left without the mean."""

    about = dict(NNX.about, name="flax.nnx.BatchNorm(use_fast_variance=False)")
    variance = {"use_fast_variance": False}
