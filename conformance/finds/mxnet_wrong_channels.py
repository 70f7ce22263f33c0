import mxnet as mx
from mxnet.gluon.nn import BatchNorm

layer = BatchNorm(in_channels=3)
layer.initialize()
y = layer(mx.nd.ones((2, 4)))  # four channels
print(y.asnumpy())
assert y.shape == (2, 4)
