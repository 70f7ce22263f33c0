"""equinox.nn.BatchNorm, in both its modes.

    bn1d run --worker 'python bn1d_worker.py subjects/equinox_nn.py:EMA'

Statistics are loaded as those of a layer that has seen batches already.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax_functional import Functional

LONG = 10**6  # batches, after which a zero-debiased average is a plain one


class EMA(Functional):
    """mode="ema", which is what a layer without a mode has."""

    about = {
        "name": "equinox.nn.BatchNorm(mode='ema')",
        "version": eqx.__version__,
        "homepage": "https://docs.kidger.site/equinox/api/nn/normalisation/#equinox.nn.BatchNorm",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "defaults", "3d", "eps-option", "momentum-option", "affine-option",
            "fp32", "fp64",
        ],
        "dialect": {
            "momentum": "weight-of-old", "default_momentum": "0.99", "running_var": "biased",
            "single_value": "input", "counter": "none",
        },
    }  # fmt: skip
    mode = "ema"

    def __init__(self, config):
        """Construct, and take what is learned apart."""
        given = {"dtype": config.get("dtype", "float32"), "mode": self.mode}
        if "eps" in config:
            given["eps"] = config["eps"]
        if "momentum" in config:
            given["momentum"] = 1 - config["momentum"]
        layer, self.stats = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
            config["num_features"],
            axis_name="batch",
            channelwise_affine=config.get("affine", True),
            **given,
        )
        self.params, self.rest = eqx.partition(layer, eqx.is_inexact_array)

    def apply(self, params, stats, x, training):
        """Return y and the new statistics; Equinox names the axis of the examples."""
        layer = eqx.combine(params, self.rest)

        def one(x, stats):
            return layer(x, stats, inference=not training)

        return jax.vmap(one, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, stats)

    @staticmethod
    def named(params):
        """Equinox's parameters have PyTorch's names."""
        return {"weight": params.weight, "bias": params.bias}

    def state(self):
        """Return the tensors."""
        mean, var = self.stats.get(self.where())
        return dict(self.named(self.params), running_mean=mean, running_var=var)

    def load(self, state):
        """Replace tensors."""
        kept = {k: jnp.asarray(v) for k, v in state.items()}
        for role in {"weight", "bias"} & set(kept):
            self.params = eqx.tree_at(lambda p, r=role: getattr(p, r), self.params, kept[role])
        if {"running_mean", "running_var"} & set(kept):
            old = self.state()
            pair = [kept.get(role, old[role]) for role in ("running_mean", "running_var")]
            self.stats = self.settled().set(self.where(), tuple(pair))

    def where(self):
        """The place of the statistics."""
        return self.rest.ema_state_index

    def settled(self):
        """The state of a layer that has seen batches."""
        return self.stats.set(self.rest.ema_first_time_index, jnp.array(False))


class Batch(EMA):
    """mode="batch", which Equinox recommends."""

    about = dict(
        EMA.about,
        name="equinox.nn.BatchNorm(mode='batch')",
        dialect=dict(EMA.about["dialect"], running_average="zero-debiased", single_value="bias"),
    )
    mode = "batch"

    def where(self):
        """The place of the statistics, before Equinox divides by 1 - momentum**batches."""
        return self.rest.batch_state_index

    def settled(self):
        """The state of a layer that has seen so many batches that this is 1."""
        return self.stats.set(self.rest.batch_counter, jnp.array(LONG))
