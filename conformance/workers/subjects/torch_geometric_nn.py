"""PyTorch Geometric: torch_geometric.nn.BatchNorm.

bn1d run --worker 'python bn1d_worker.py subjects/torch_geometric_nn.py'
"""

import torch_geometric
from torch_modules import CAPABILITIES, OPTIONS, torch
from torch_modules import Layer as Module


class Layer(Module):
    """It holds a torch.nn.BatchNorm1d."""

    about = {
        "name": "torch_geometric.nn.BatchNorm",
        "version": "%s, torch %s" % (torch_geometric.__version__, torch.__version__),
        "homepage": "https://pytorch-geometric.readthedocs.io/en/latest/generated/torch_geometric.nn.norm.BatchNorm.html",
        "capabilities": CAPABILITIES,
    }

    def construct(self, num_features, options):
        """Return the module that is called; it has no option for the bias."""
        given = {k: v for k, v in options.items() if k in OPTIONS}
        return torch_geometric.nn.BatchNorm(num_features, **given)

    def holder(self):
        """Return the module that has the tensors."""
        return self.called.module
