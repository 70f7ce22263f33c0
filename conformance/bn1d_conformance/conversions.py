"""From one convention to another: the code that the porting guide shows, and the tests run.

What is a float here may as well be an array of them.
"""

from __future__ import annotations

from typing import Any


def convert_momentum(momentum: float) -> float:
    """The weight of the old statistics from that of the new batch, or the other way round."""
    return 1 - momentum


def to_biased(running_var: float, n: int, start: float = 0.0) -> float:
    """running_var as if every batch's variance had been divided by n, and not by n - 1.

    Args:
        running_var: as it was tracked.
        n: values of a channel in each batch, N or N*L; exact where it was always the same.
        start: what the first value, 1, still weighs: (1 - weight of new)**batches.
    """
    return (running_var - start) * (n - 1) / n + start


def to_unbiased(running_var: float, n: int, start: float = 0.0) -> float:
    """running_var as if every batch's variance had been divided by n - 1, and not by n.

    Args:
        running_var: as it was tracked.
        n: values of a channel in each batch, N or N*L; exact where it was always the same.
        start: what the first value, 1, still weighs: (1 - weight of new)**batches.
    """
    return (running_var - start) * n / (n - 1) + start


def swap_layout(x: Any) -> Any:
    """(N, C, L) to (N, L, C), and back; (N, C) stays. Inputs, outputs and their gradients."""
    return x if x.ndim == 2 else x.swapaxes(1, 2)
