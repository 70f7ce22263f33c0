import numpy as np
import tensorflow as tf

x = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((16, 1, 32, 3)).astype("float32")
one, zero = tf.ones(3), tf.zeros(3)


def normalised(x):
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=one, offset=zero, mean=zero, variance=one, is_training=True
    )[0]


print("eager", abs(normalised(x).numpy()).max())
compiled = tf.function(normalised, jit_compile=True)(x).numpy()
assert np.isnan(compiled).any() or abs(compiled).max() > 10
