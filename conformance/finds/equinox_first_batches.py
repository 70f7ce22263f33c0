import equinox as eqx
import jax
import jax.numpy as jnp

layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, axis_name="batch", mode="batch")
x = jnp.array([[-3.0], [3.0]])  # of mean 0 and variance 9
_, state = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)
still = eqx.nn.inference_mode(layer)
y, _ = still(jnp.array([3.0]), state)
variance = (3.0 / float(y[0])) ** 2
print("in evaluation the variance is", variance)
assert variance > 100  # 9, and 99 that are what is left of the 1 that it began with
