"""The example of a layer in Triton kernels, conformance/examples/triton_layer.py.

bn1d run --worker 'env TRITON_INTERPRET=1 python bn1d_worker.py subjects/triton_example.py'
"""

import os
import sys

import triton
from torch_module import Layer as Module
from torch_module import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "examples"))
from triton_layer import INTERPRETED, TritonBatchNorm1d  # noqa: E402 - it lies there


class Layer(Module):
    """It is judged as PyTorch's own layer is."""

    about = dict(
        Module.about,
        name="TritonBatchNorm1d" + ", interpreted" * INTERPRETED,
        version="triton %s, torch %s" % (triton.__version__, torch.__version__),
        homepage="https://triton-lang.org/",
    )

    def construct(self, **options):
        """Return the module that is called."""
        return TritonBatchNorm1d(**options)
