import jax.numpy as jnp
from flax import linen, nnx

x = jnp.array([[300.0]], "float16")
layer = nnx.BatchNorm(1, dtype=jnp.float16, rngs=nnx.Rngs(0))
layer.var[...] = jnp.array([90000.0])  # in single precision, as it is kept
y = layer(x, use_running_average=True)

variables = {"params": {"scale": jnp.ones(1), "bias": jnp.zeros(1)}}
variables["batch_stats"] = {"mean": jnp.zeros(1), "var": jnp.array([90000.0])}
right = linen.BatchNorm(dtype=jnp.float16).apply(variables, x, use_running_average=True)
print("nnx", y, "linen", right)
assert y[0, 0] == 0  # 300 / sqrt(90000) is 1: the variance was cast to half, and is infinite
