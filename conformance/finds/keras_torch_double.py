import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np

layer = keras.layers.BatchNormalization(dtype="float64", epsilon=0.0)
y = layer(keras.ops.convert_to_tensor(np.array([[1 / 3]])), training=False)
found = keras.ops.convert_to_numpy(y).item()
print(layer.compute_dtype, y.dtype, found, "where", 1 / 3, "is right")
assert found != 1 / 3  # it went through single precision
