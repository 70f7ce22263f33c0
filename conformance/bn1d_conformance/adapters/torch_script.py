"""torch.nn.BatchNorm1d after torch.jit.script: the subject `torch-script`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import torch

from bn1d_conformance.adapters.torch_module import TorchModule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bn1d_conformance.subject import Request


class Wrapped(TorchModule):
    """What a public function of PyTorch makes of torch.nn.BatchNorm1d, from construction on.

    Attributes:
        wrapper: the function's name, as a script imports it.
    """

    wrapper: str

    def __init__(self, wrap: Callable[[torch.nn.Module], Any], request: Request) -> None:
        """Construct, with the constructor's own signature, what `wrap` returns."""

        @functools.wraps(torch.nn.BatchNorm1d, updated=())
        def construct(*args: Any, **options: Any) -> Any:
            return wrap(torch.nn.BatchNorm1d(*args, **options))

        super().__init__(cast("type[torch.nn.Module]", construct), request)

    @property
    def calls(self) -> Mapping[str, str]:
        """What a script wraps a constructed layer in."""
        return {"wrapper": self.wrapper}


class Scripted(Wrapped):
    """A RecursiveScriptModule, which is a torch.nn.Module as far as it goes."""

    adapter = "torch-script"
    wrapper = "torch.jit.script"

    def __init__(self, request: Request) -> None:
        """Script every layer anew: TorchScript keeps the compiled type."""
        super().__init__(torch.jit.script, request)
