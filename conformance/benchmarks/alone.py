"""PyTorch alone: each kind of call that a run makes of it, once, and nothing of the kit.

    python conformance/benchmarks/alone.py quick|full

What it imports for them stays, so that its memory is the least that a run could need.
"""

from __future__ import annotations

import sys

import torch

VALUES = {"quick": 4097, "full": 65537}  # of a channel, in the longest batches


def passes(layer: torch.nn.Module, values: int) -> None:
    """A training pass, and its backward pass with a gradient of its own."""
    x = torch.randn(values, 4, requires_grad=True)
    layer(x).backward(torch.ones(values, 4))


def compiled() -> None:
    """The layer in the other forms that `full` asks for."""
    layer, x = torch.nn.BatchNorm1d(4), torch.randn(8, 4)
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    torch.compile(layer, backend="aot_eager")(x)
    torch.export.export(layer.eval(), (x,))
    torch.jit.script(layer)


def main() -> None:
    """Make the calls of the profile."""
    profile = sys.argv[1]
    passes(torch.nn.BatchNorm1d(4), VALUES[profile])
    if profile == "full":
        compiled()


if __name__ == "__main__":
    main()
