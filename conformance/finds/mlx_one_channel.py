import mlx.core as mx
from mlx import nn

layer = nn.BatchNorm(3)
x = mx.array([[1.0], [2.0], [4.0], [8.0]])  # one channel, for a layer of three
y = layer(x)
print(y.shape, layer.running_mean)
assert y.shape == (4, 3)
