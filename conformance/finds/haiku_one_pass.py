import haiku as hk
import jax
import numpy as np

x = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((16, 32, 3)).astype("float32")
layer = hk.transform_with_state(
    lambda x: hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, True)
)
params, state = layer.init(jax.random.key(0), x)
y, state = layer.apply(params, state, None, x)
print(y[0, 0], state["batch_norm/~/var_ema"]["average"])
assert np.isnan(y).any()  # the variance came out negative
