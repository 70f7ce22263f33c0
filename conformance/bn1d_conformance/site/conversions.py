"""From one convention to another: the code that the porting guide shows, and the tests run.

What is a float here may as well be an array of them.
"""

from __future__ import annotations

from typing import Any


def convert_momentum(momentum: float) -> float:
    """The weight of the old statistics from that of the new batch, or the other way round."""
    return 1 - momentum


def convert_state(state: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The same tensors under other names: evaluation gives the same, whoever tracked them."""
    return {names[name]: value for name, value in state.items() if name in names}


def convert_var(running_var: Any, n: int, start: Any, step: int) -> Any:
    """What another layer tracks over the same batches, by the same momentum from the same start.

    Args:
        running_var: after them.
        n: values of a channel in each, N or N*L; batches of several sizes have no one factor.
        start: what is left of the start: running_var then, times the weight of the old to the
            power of the number of batches.
        step: 1 from a variance divided by n - 1 to one divided by n, -1 back, 0 where both have
            the same; `STEP` has it by the number of dimensions of an input.
    """
    return (running_var - start) * ((n - 1) / n) ** step + start


def swap_layout(x: Any) -> Any:
    """(N, C, L) to (N, L, C), and back; (N, C) stays. Inputs, outputs and their gradients."""
    return x if x.ndim == 2 else x.swapaxes(1, 2)
