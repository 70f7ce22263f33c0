"""torch.nn.BatchNorm1d after torch.compile: the subjects `torch-compile` and `torch-aot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch._inductor.config

from bn1d_conformance.adapters.torch_module import TorchLayer
from bn1d_conformance.adapters.torch_script import Wrapped

if TYPE_CHECKING:
    from bn1d_conformance.subject import Request

LIMIT = 1 << 20  # recompilations; past its own limit, Dynamo runs the eager layer without a word


class CompiledLayer(TorchLayer):
    """A layer that is compiled whatever went before."""

    def call(self, x: torch.Tensor) -> Any:
        """Pass `x` through the module; what is refused is forgotten by Dynamo.

        From a refusal on it would run the eager layer, of this configuration and all others.
        """
        try:
            return super().call(x)
        except Exception:
            torch._dynamo.reset()  # noqa: SLF001 - where PyTorch documents it
            raise


class Compiled(Wrapped):
    """An OptimizedModule around the layer, compiled by Inductor for any shape.

    With `dynamic=True` a kernel is compiled for a configuration, a format and a rank, and not
    for every shape: the kit asks about thousands.
    """

    adapter = "torch-compile"
    wrapper = "torch.compile"
    backend = "inductor"

    def __init__(self, request: Request) -> None:
        """Compile at the first pass, in this process: it is one of several already."""
        torch._dynamo.config.recompile_limit = LIMIT  # noqa: SLF001 - where PyTorch documents it
        torch._dynamo.config.accumulated_recompile_limit = LIMIT  # noqa: SLF001 - the same
        torch._inductor.config.compile_threads = 1  # noqa: SLF001 - the same
        super().__init__(self.compile, request)

    @property
    def capabilities(self) -> frozenset[str]:
        """What is compiled is not compiled or exported once more.

        With momentum=None it is the eager layer that answers (pytorch #194504).
        """
        return super().capabilities - {"cumulative", "compile", "export"}

    def wrap(self, module: torch.nn.Module) -> CompiledLayer:
        """A layer of a compiled module."""
        return CompiledLayer(module, self.request)

    def compile(self, module: torch.nn.Module) -> Any:
        """What a user calls, with the options that the kit's many questions need."""
        return torch.compile(module, dynamic=True, backend=self.backend)


class Decomposed(Compiled):
    """The same without kernels: the graphs that Inductor gets, in PyTorch's own operators.

    These take a tenth of a second each, and Inductor's a C++ compiler.
    """

    adapter = "torch-aot"
    backend = "aot_eager_decomp_partition"
