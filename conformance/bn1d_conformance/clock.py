"""Where the time of a run goes: nested spans, each second counted once, for the innermost."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds so far, by the name of the work.
spent: Counter[str] = Counter()
_open: list[float] = []


@contextmanager
def of(name: str) -> Iterator[None]:
    """Count the time of a block for `name`, less what blocks within it count for others."""
    start = time.perf_counter()
    _open.append(0.0)
    try:
        yield
    finally:
        took = time.perf_counter() - start
        spent[name] += took - _open.pop()  # type: ignore[assignment]
        if _open:
            _open[-1] += took
