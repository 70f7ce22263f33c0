import numpy as np
import paddle

paddle.set_default_dtype("float64")
layer = paddle.nn.BatchNorm1D(1, epsilon=1e-5)
layer._variance.set_value(np.zeros(1))
layer.eval()
y = layer(paddle.to_tensor(np.ones((1, 1)))).numpy().item()
print(y, "where", 1 / np.sqrt(1e-5), "is right")
assert abs(y * np.sqrt(1e-5) - 1) > 1e-9  # epsilon went through single precision
