"""torch.nn.BatchNorm1d of any PyTorch from 1.0 on.

    bn1d run --worker 'python bn1d_worker.py subjects/torch_module.py'

What a version lacks, it does not offer: bias=False came with 2.1, and bfloat16 needs ml_dtypes,
which NumPy's arrays of it are made of.
"""

import inspect

import torch

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

OPTIONS = inspect.signature(torch.nn.BatchNorm1d.__init__).parameters


def accepts_half():
    """Whether half-precision inputs go with single-precision parameters."""
    try:
        torch.nn.BatchNorm1d(2)(torch.ones(2, 2, dtype=torch.half))
    except RuntimeError:
        return False
    return True


class Layer:
    """One module; its mode is set before each forward pass."""

    about = {
        "name": "torch.nn.BatchNorm1d",
        "version": torch.__version__,
        "homepage": "https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html",
        "capabilities": [
            "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters",
            "buffers", "counter", "cumulative", "defaults", "3d", "eps-option",
            "momentum-option", "affine-option", "tracking-option", "fp32", "fp64",
        ]
        + ["bias-option"] * ("bias" in OPTIONS)
        + ["fp16"] * accepts_half()
        + ["bf16"] * (accepts_half() and bfloat16 is not None),
        "devices": ["cpu"] + ["cuda"] * torch.cuda.is_available(),
    }  # fmt: skip

    def __init__(self, config):
        """Construct, and convert; every option goes by PyTorch's own name."""
        given = {k: v for k, v in config.items() if k in OPTIONS and k != "dtype"}
        dtype = getattr(torch, config.get("dtype", "float32"))
        self.called = self.construct(**given).to(self.device, dtype)
        self.module = self.holder()

    def construct(self, **options):
        """Return the module that is called."""
        return torch.nn.BatchNorm1d(**options)

    def holder(self):
        """Return the module that has the tensors."""
        return self.called

    def put(self, array):
        """An array as a tensor where the layer is."""
        if bfloat16 is not None and array.dtype == bfloat16:  # old dtypes equal None
            tensor = torch.from_numpy(array.view("int16")).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        return tensor.clone().to(self.device)

    @staticmethod
    def get(tensor):
        """A tensor as an array; None for None."""
        if tensor is None:
            return None
        tensor = tensor.detach().cpu().contiguous()
        if tensor.dtype == getattr(torch, "bfloat16", None):
            return tensor.view(torch.int16).numpy().view(bfloat16)
        return tensor.numpy()

    def forward(self, x, training, grad):
        """Call the module."""
        self.called.train(training)
        self.called.zero_grad()
        self.x = self.put(x)
        if grad:
            self.x.requires_grad_()
        self.y = self.called(self.x)
        return self.get(self.y)

    def backward(self, dy):
        """Run autograd."""
        self.y.backward(self.put(dy))
        learned = (self.module.weight, self.module.bias)
        return [self.get(self.x.grad)] + [None if p is None else self.get(p.grad) for p in learned]

    def state(self):
        """Read the state dict, which has PyTorch's names."""
        return {name: self.get(tensor) for name, tensor in self.module.state_dict().items()}

    def load(self, state):
        """Write in place."""
        for name, value in state.items():
            tensor = value if isinstance(value, int) else self.put(value)
            getattr(self.module, name).data.copy_(torch.as_tensor(tensor))
