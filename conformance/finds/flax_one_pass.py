import jax.numpy as jnp
import numpy as np
from flax import nnx

x = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
layer = nnx.BatchNorm(3, momentum=0.0, rngs=nnx.Rngs(0))
y = layer(jnp.asarray(x), use_running_average=False)
print("true variance", x.var(0, dtype="float64"), "tracked", layer.var[...])
print("largest output", abs(y).max(), "of data that is normal")
assert (layer.var[...] == 0).any() or (layer.var[...] > 1).any()  # it is 1e-4
