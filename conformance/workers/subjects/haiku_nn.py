"""haiku.BatchNorm.

    bn1d run --worker 'python bn1d_worker.py subjects/haiku_nn.py'

It has no default decay rate, and parameters of the dtype of its first input.
Statistics are loaded as those of a layer that has seen many batches.
"""

import haiku as hk
import jax
import jax.numpy as jnp
from jax_functional import Functional

NAMES = {"weight": "scale", "bias": "offset", "running_mean": "mean_ema", "running_var": "var_ema"}
LONG = 10**6  # batches, after which a zero-debiased average is a plain one


class Layer(Functional):
    """The layer, transformed into functions; it takes channels first if told so."""

    about = {
        "name": "haiku.BatchNorm",
        "version": hk.__version__,
        "homepage": "https://dm-haiku.readthedocs.io/en/latest/api.html#batchnorm",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "3d", "eps-option", "momentum-option", "affine-option", "bias-option",
            "fp32", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old", "running_var": "biased", "single_value": "bias",
            "running_average": "zero-debiased", "counter": "none",
        },
        "names": NAMES,
    }  # fmt: skip

    def __init__(self, config):
        """Transform, and initialise from an input of C channels."""
        affine = config["affine"]

        def layer(x, training):
            return hk.BatchNorm(
                create_scale=affine,
                create_offset=affine and config["bias"],
                decay_rate=1 - config["momentum"],
                eps=config["eps"],
                data_format="channels_first",
                name="bn",
            )(x, is_training=training)

        self.pure = hk.transform_with_state(layer)
        x = jnp.zeros((2, config["num_features"]), config["dtype"])
        self.params, self.stats = self.pure.init(jax.random.key(0), x, True)

    def apply(self, params, stats, x, training):
        """Return y and the new statistics, each in the shape that goes with x."""
        shape = [1, -1] + [1] * (x.ndim - 2)
        params, stats = jax.tree.map(lambda v: v.reshape(shape) if v.ndim else v, (params, stats))
        return self.pure.apply(params, stats, None, x, training)

    @staticmethod
    def named(params):
        """The parameters by PyTorch's names."""
        own = params.get("bn", {})
        return {role: own[NAMES[role]] for role in ("weight", "bias") if NAMES[role] in own}

    def backward(self, dy):
        """Return dx, and the gradients of the parameters as (C,)."""
        dx, *learned = super().backward(dy)
        return (dx, *(None if g is None else g.reshape(-1) for g in learned))

    def state(self):
        """Return the tensors."""
        averages = {
            role: self.stats["bn/~/" + NAMES[role]]["average"]
            for role in ("running_mean", "running_var")
        }
        return dict(self.named(self.params), **averages)

    def load(self, state):
        """Replace tensors."""
        for role, given in state.items():
            value = jnp.asarray(given).reshape(1, -1)
            if role in ("weight", "bias"):
                self.params["bn"][NAMES[role]] = value
            else:
                settled = {"counter": jnp.array(LONG, "int32"), "hidden": value, "average": value}
                self.stats["bn/~/" + NAMES[role]] = settled
