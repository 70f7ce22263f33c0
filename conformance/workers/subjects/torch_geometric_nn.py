"""PyTorch Geometric: torch_geometric.nn.BatchNorm.

bn1d run --worker 'python bn1d_worker.py subjects/torch_geometric_nn.py'
"""

import torch_geometric
from torch_module import Layer as Module
from torch_module import torch


class Layer(Module):
    """It holds a torch.nn.BatchNorm1d, and has no option for the bias."""

    about = dict(
        Module.about,
        name="torch_geometric.nn.BatchNorm",
        version="%s, torch %s" % (torch_geometric.__version__, torch.__version__),
        homepage="https://pytorch-geometric.readthedocs.io/en/latest/generated/torch_geometric.nn.norm.BatchNorm.html",
        capabilities=[c for c in Module.about["capabilities"] if c != "bias-option"],
    )

    def construct(self, num_features, bias=True, **options):
        """Return the module that is called."""
        return torch_geometric.nn.BatchNorm(num_features, **options)

    def holder(self):
        """Return the module that has the tensors."""
        return self.called.module
