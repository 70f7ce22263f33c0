"""What layers of JAX have in common: a pure function of parameters, statistics and input."""

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)  # float64 inputs stay what they are


class Functional:
    """Keeps `params` and `stats`, and calls `apply(params, stats, x, training)` of the subclass.

    That one returns y and the new statistics.
    """

    def forward(self, x, training, grad):
        """Return y; with grad, keep what pulls gradients back through it."""

        def call(params, x):
            return self.apply(params, self.stats, x, training)

        if grad:
            y, self.pull, stats = jax.vjp(call, self.params, jnp.asarray(x), has_aux=True)
        else:
            y, stats = call(self.params, jnp.asarray(x))
        if training:
            self.stats = stats
        return y

    def backward(self, dy):
        """Return dx and the gradients of the parameters."""
        params, dx = self.pull(jnp.asarray(dy))
        found = self.named(params)
        return dx, found.get("weight"), found.get("bias")


def channels_last(x):
    """(N, C, L) as (N, L, C); whatever has no L is as it is."""
    return jnp.moveaxis(x, 1, -1) if x.ndim > 2 else x


def channels_first(y):
    """(N, L, C) as (N, C, L)."""
    return jnp.moveaxis(y, -1, 1) if y.ndim > 2 else y
