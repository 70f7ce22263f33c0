"""torch.nn.BatchNorm1d as a graph that PyTorch records: `torch-trace` and `torch-export`.

A graph has the mode, the options and the checks of the moment when it was recorded. So a layer
has one for each mode, as somebody has who saves both, recorded from small examples.
"""

from __future__ import annotations

import copy
import threading
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from bn1d_conformance.adapters.torch_module import TorchLayer, TorchModule

if TYPE_CHECKING:
    from bn1d_conformance.subject import Request

#: What a graph is not: it has no registries to assign to, and no constructor.
LACKING = frozenset(["torch-module", "pickle", "dtype-option"])
#: PyTorch records one graph at a time: what it is doing stands in stacks of the process.
RECORDING = threading.Lock()
ROWS, LENGTH = 4, 5  # of an example; neither is a size that PyTorch specialises on (0 and 1)


class Graph(TorchModule):
    """A layer whose every pass goes through a recorded graph of it."""

    layer: type[GraphLayer]

    def __init__(self, request: Request) -> None:
        """Nothing is recorded before a check asks for a pass."""
        super().__init__(torch.nn.BatchNorm1d, request)

    @property
    def capabilities(self) -> frozenset[str]:
        """What the layer promises, of which a graph keeps the numbers."""
        return super().capabilities - LACKING

    def wrap(self, module: torch.nn.Module) -> GraphLayer:
        """A layer that is recorded."""
        return self.layer(module, self.request)


class GraphLayer(TorchLayer):
    """The layer, which holds the tensors, and its graphs by mode and by what they are for."""

    def __init__(self, module: torch.nn.Module, request: Request) -> None:
        """Start without a graph."""
        super().__init__(module, request)
        self.graphs: dict[Any, Any] = {}

    def call(self, x: torch.Tensor) -> Any:
        """Pass `x` through the graph of this mode, rank and format."""
        key = (self.module.training, x.dim() == 3, x.dtype)
        with RECORDING:
            if key not in self.graphs:
                self.graphs[key] = self.record(self._example(x))
        return self.graphs[key](x)

    def _example(self, x: torch.Tensor) -> torch.Tensor:
        """Ones of x's format and rank, or of rank 2 where that is none of the layer's."""
        size = (ROWS, self.module.num_features, *([LENGTH] if x.dim() == 3 else []))
        return torch.ones(size, dtype=x.dtype, device=x.device)

    def record(self, example: torch.Tensor) -> Any:
        """Return the graph of the layer as it is now, sharing its tensors."""
        raise NotImplementedError


class TracedLayer(GraphLayer):
    """A ScriptModule for each mode."""

    def record(self, example: torch.Tensor) -> Any:
        """Trace a pass, and take back what it did to the statistics."""
        kept = {name: value.clone() for name, value in self.module.named_buffers()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # what it bakes in is judged
            graph = torch.jit.trace(self.module, example, check_trace=False)
        for name, value in kept.items():
            self.module.get_buffer(name).copy_(value)
        return graph


class Traced(Graph):
    """The subject `torch-trace`."""

    adapter = "torch-trace"
    layer = TracedLayer


class ExportedLayer(GraphLayer):
    """An ExportedProgram's module for each mode."""

    #: Exporting takes a fifth of a second: layers of the same options copy what one exported.
    exported: ClassVar[dict[Any, Any]] = {}

    def record(self, example: torch.Tensor) -> Any:
        """Export for any batch, and any length; num_features is fixed."""
        kinds = tuple(v.dtype for v in self.module.state_dict().values())
        key = (repr(self.module), kinds, self.module.training, example.shape, example.dtype)
        if key not in self.exported:
            dynamic = {d: torch.export.Dim.DYNAMIC for d in range(example.dim()) if d != 1}
            program = torch.export.export(self.module, (example,), dynamic_shapes=(dynamic,))
            self.exported[key] = program.module()
        graph = copy.deepcopy(self.exported[key])
        for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
            setattr(graph, name, tensor)
        return graph


class Exported(Graph):
    """The subject `torch-export`."""

    adapter = "torch-export"
    layer = ExportedLayer

    @property
    def capabilities(self) -> frozenset[str]:
        """PyTorch exports no layer with momentum=None, and says so."""
        return super().capabilities - {"cumulative"}
