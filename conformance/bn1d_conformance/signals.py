"""How a process ends that has done nothing for it."""

from __future__ import annotations

import signal

#: What an operator sends, and a machine that is out of memory: no fault of a program raises it.
FROM_OUTSIDE = (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has not both


def is_from_outside(returncode: int | None) -> bool:
    """Whether that of an ended process says so."""
    return returncode is not None and -returncode in FROM_OUTSIDE
