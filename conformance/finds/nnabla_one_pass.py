import nnabla as nn
import numpy as np
from nnabla.functions import batch_normalization

x = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
beta, gamma, mean, var = (nn.Variable((1, 3)) for _ in range(4))
beta.d, gamma.d, mean.d, var.d = 0, 1, 0, 1
y = batch_normalization(nn.Variable.from_numpy_array(x), beta, gamma, mean, var, decay_rate=0.0)
y.forward()
print("variance", var.d.ravel(), "y", y.d[0])
assert (var.d < 0).any() or np.isnan(y.d).any()
