import numpy as np
import paddle

layer = paddle.nn.BatchNorm1D(3)
layer.weight.set_value(np.array([5, 5, 5], "float32"))
x = paddle.to_tensor(np.array([[1, 2, 3]], "float32"))  # one value a channel
y = layer(x)
print(y.numpy())
assert (y.numpy() == x.numpy()).all()  # neither normalised nor multiplied by 5
