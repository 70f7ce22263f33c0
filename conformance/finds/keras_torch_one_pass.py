import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np

x = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
layer = keras.layers.BatchNormalization(momentum=0.0)
y = keras.ops.convert_to_numpy(layer(x, training=True))
variance = keras.ops.convert_to_numpy(layer.moving_variance)
print("moving_variance", variance, "y", y[0])
assert np.isnan(y).any() or (variance < 0).any() or variance.max() > 1  # it is 1e-4
