"""Operators below torch.nn.functional.batch_norm, called through its signature.

The subjects `torch-batch-norm`, `torch-native` and `torch-decomp`. An operator takes
(x, weight, bias, running_mean, running_var, training, momentum, eps).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch._decomp import decomposition_table

from bn1d_conformance.adapters.function import Function

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.subject import Request

    Maybe: TypeAlias = torch.Tensor | None

LEGIT = torch.ops.aten._native_batch_norm_legit  # noqa: SLF001 - operators have no other name


class Operator(Function):
    """An operator of PyTorch's."""

    adapter = "torch-operator"

    def __init__(self, operator: Callable[..., torch.Tensor], name: str, request: Request) -> None:
        """Give the operator a signature that says what its arguments are."""

        def functional(  # noqa: PLR0913, PLR0917 - that of torch.nn.functional.batch_norm
            input: torch.Tensor,  # noqa: A002 - the same
            running_mean: Maybe,
            running_var: Maybe,
            weight: Maybe = None,
            bias: Maybe = None,
            training: bool = False,  # noqa: FBT001, FBT002 - the same
            momentum: float = 0.1,
            eps: float = 1e-5,
        ) -> torch.Tensor:
            state = (weight, bias, running_mean, running_var)
            return operator(input, *state, training, momentum, eps)

        super().__init__(functional, request)
        self.name, self.version = name, str(torch.__version__)


class BatchNorm(Operator):
    """What the functional calls once it has looked at the sizes."""

    def __init__(self, request: Request) -> None:
        """Use cuDNN where the functional would."""
        super().__init__(_batch_norm, "torch.batch_norm", request)


def _batch_norm(*arguments: Any) -> torch.Tensor:
    return torch.batch_norm(*arguments, torch.backends.cudnn.enabled)


class Native(Operator):
    """The kernel behind it, which looks at nothing."""

    def __init__(self, request: Request) -> None:
        """Keep what it does to memory that is not the state's away from everybody else's."""
        super().__init__(_native_batch_norm, "torch.native_batch_norm", request)


def _native_batch_norm(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    """Call the kernel, with memory behind each tensor of the state.

    Where `x` has more channels than the state, the kernel reads and writes beyond the state's
    end: there it meets zeros of its own, and spoils no other check.
    """
    channels = x.shape[1] if x.dim() > 1 else 0
    state, settings = arguments[:4], arguments[4:]
    roomy = [_roomy(tensor, channels) for tensor in state]
    y: torch.Tensor = torch.native_batch_norm(x, *roomy, *settings)[0]
    for own, lent in zip(state[2:], roomy[2:], strict=True):
        if own is not lent:
            own.copy_(lent)
    return y


def _roomy(tensor: Maybe, room: int) -> Maybe:
    """Return the tensor; where it is shorter than `room`, its values with zeros behind them."""
    if tensor is None or len(tensor) >= room:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(room - len(tensor))])[: len(tensor)]


class Decomposition(Operator):
    """The Python that compilers put in the kernel's place."""

    def __init__(self, request: Request) -> None:
        """Take both passes from PyTorch's table."""
        name = "torch._decomp.decomposition_table"
        super().__init__(Decomposed.apply, name, request)


class Decomposed(torch.autograd.Function):  # type: ignore[misc]
    """Forward and backward as a compiler uses them: below autograd, on the tensors as they are."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        """Answer, and update the statistics in place."""
        weight, bias, mean, var, *settings = arguments
        if mean is None:
            answer = decomposition_table[LEGIT.no_stats](x, weight, bias, *settings)
        else:
            answer = decomposition_table[LEGIT.default](x, weight, bias, mean, var, *settings)
        y: torch.Tensor = answer[0]
        ctx.save_for_backward(x, weight, mean, var, *answer[1:])
        ctx.training, _, ctx.eps = settings
        return y

    @staticmethod
    def backward(ctx: Any, *dy: torch.Tensor) -> Any:
        """Return the gradients of x, weight and bias."""
        rule = decomposition_table[torch.ops.aten.native_batch_norm_backward.default]
        wanted = list(ctx.needs_input_grad[:3])
        gradients = rule(dy[0], *ctx.saved_tensors, ctx.training, ctx.eps, wanted)
        return (*gradients, *[None] * 5)
