"""What the tests of adapters share: a request, a state, and an input."""

import numpy as np

from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import Request, State

TRAINING, EVALUATION = True, False
X = np.array([[1.0, 2.0, -1.0], [3.0, -1.0, 0.5], [0.0, 5.0, 2.0], [2.0, 2.0, 2.0]], "float32")


def request(**names):
    return Request("somewhere:Something", names=names)


def state(fmt="fp32"):
    dtype = DTYPES[fmt]
    return State(
        weight=np.array([1.5, -2.0, 0.25], dtype),
        bias=np.array([0.5, 0.0, -3.0], dtype),
        running_mean=np.array([0.125, -7.0, 2.0], dtype),
        running_var=np.array([2.0, 0.5, 1.0], dtype),
        num_batches_tracked=5,
    )


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
