"""e3nn: e3nn.nn.BatchNorm of C scalars, which are the last axis.

bn1d run --worker 'python bn1d_worker.py subjects/e3nn_nn.py'
"""

from importlib.metadata import version

import e3nn.nn
from torch_module import Layer as Module
from torch_module import torch

LACKING = ("bias-option", "tracking-option", "counter", "cumulative", "fp16", "bf16")


class Layer(Module):
    """In single and double precision: inputs of half it answers in single."""

    about = dict(
        Module.about,
        name="e3nn.nn.BatchNorm",
        version="%s, torch %s" % (version("e3nn"), torch.__version__),
        homepage="https://docs.e3nn.org/en/stable/api/nn/nn_batchnorm.html",
        capabilities=[c for c in Module.about["capabilities"] if c not in LACKING],
        dialect={
            "running_var": "biased",
            "single_value": "bias",
            "counter": "none",
            "layout": "channels-last",
        },
    )

    def construct(self, num_features, bias=True, track_running_stats=True, **options):
        """Return the module that is called; of what rotates, "0e" is what does not: a scalar."""
        return Scalars("%dx0e" % num_features, **options)


class Scalars(e3nn.nn.BatchNorm):
    """It is given (N, C, L) as (N, L, C)."""

    def forward(self, x):
        """Return y as PyTorch has it."""
        last = x.transpose(1, 2) if x.dim() > 2 else x
        y = super().forward(last)
        return y.transpose(1, 2) if x.dim() > 2 else y
