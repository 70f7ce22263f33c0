"""Nested lists of shape (N, C) or (N, C, L), to one column a channel and back."""

from __future__ import annotations

from typing import Any, TypeAlias

Nested: TypeAlias = "list[Any]"
"""Numbers nested as (N, C) or (N, C, L)."""

Columns: TypeAlias = "list[list[float]]"
"""One list a channel, of its N*L values: sample by sample, each in its own order."""


def shape(x: Nested) -> tuple[int, ...]:
    """The lengths of nested lists, outermost first; an empty list hides those inside it.

    Raises:
        ValueError: the lists are ragged.
    """
    if list not in set(map(type, x)):
        return (len(x),)
    inner = {shape(v) if isinstance(v, list) else () for v in x}
    if len(inner) > 1:
        raise ValueError(f"ragged input: its parts have the shapes {sorted(inner)}")
    return (len(x), *inner.pop())


def columns(x: Nested, num_features: int) -> Columns:
    """The values of each channel of x, its second axis."""  # TRAIN-2, STATS-3, INPUT-4
    if len(shape(x)) < 3:
        return [[float(sample[c]) for sample in x] for c in range(num_features)]
    return [[float(v) for sample in x for v in sample[c]] for c in range(num_features)]


def nest(by_channel: Columns, like: tuple[int, ...]) -> Nested:
    """Columns as nested lists of the shape `like`."""  # TRAIN-10
    samples = range(like[0])
    if len(like) < 3:
        return [[column[i] for column in by_channel] for i in samples]
    L = like[2]
    return [[column[i * L : (i + 1) * L] for column in by_channel] for i in samples]
