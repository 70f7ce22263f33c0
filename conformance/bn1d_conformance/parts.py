"""Parts of a run that are judged apart: `--shard K/N`. What joins them again is in `merge`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")
MOST = 1000  # parts of one run


def shard(text: str) -> tuple[int, int]:
    """Read K/N: part K of N, 1 <= K <= N.

    Raises:
        ValueError: if it is anything else.
    """
    k, sign, n = text.partition("/")
    if not (sign and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n) <= MOST):
        raise ValueError(text)
    return int(k), int(n)


def split(items: Sequence[T], group: Callable[[T], Hashable], k: int, n: int) -> list[T]:
    """Return part k of n: groups stay whole, and each goes to the part with the fewest items.

    Whoever splits the same items gets the same parts.
    """
    loads = [0] * n
    owner = {}
    for name, size in Counter(map(group, items)).items():
        owner[name] = min(range(n), key=loads.__getitem__)
        loads[owner[name]] += size
    return [item for item in items if owner[group(item)] == k - 1]
