"""torch.nn.BatchNorm1d after torch.compile, by Inductor: the subject `torch-compile`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
import torch._inductor.config

from bn1d_conformance.adapters.torch_script import Wrapped

if TYPE_CHECKING:
    from bn1d_conformance.subject import Request

LIMIT = 1 << 20  # recompilations; past its own limit, Dynamo runs the eager layer without a word


class Compiled(Wrapped):
    """An OptimizedModule around the layer, compiled for any shape.

    With `dynamic=True` a kernel is compiled for a configuration, a format and a rank, and not
    for every shape: the kit asks about thousands.
    """

    adapter = "torch-compile"
    wrapper = "torch.compile"

    def __init__(self, request: Request) -> None:
        """Compile at the first pass, in this process: it is one of several already."""
        torch._dynamo.config.recompile_limit = LIMIT  # noqa: SLF001 - where PyTorch documents it
        torch._dynamo.config.accumulated_recompile_limit = LIMIT  # noqa: SLF001 - the same
        torch._inductor.config.compile_threads = 1  # noqa: SLF001 - the same
        super().__init__(functools.partial(torch.compile, dynamic=True), request)
