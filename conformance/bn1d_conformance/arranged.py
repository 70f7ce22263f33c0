"""Large cases at the price of small ones: channels of a small case, repeated and reshaped.

BatchNorm1d treats each channel alone, and its N·L values alike wherever they stand. So the oracle
need answer each different channel once, whatever the number of channels that are like it and the
shape that its values are given in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.cases import columns, from_columns
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.cases import Case
    from bn1d_conformance.expected import Expected
    from bn1d_conformance.numbers import F64, I64
    from bn1d_conformance.subject import Config, State


def repeated(small: Case, order: I64) -> tuple[Config, State]:
    """Configuration and state of a layer whose channel c is channel order[c] of a case's."""
    values = {r: a[order] for r in ROLES if (a := getattr(small.state, r)) is not None}
    config = replace(small.config, num_features=len(order))
    return config, replace(small.state, **values)


class Arranged:
    """The oracle's answers to a case that is made of another one's channels.

    Attributes:
        case: of shape `size`, whose channel c is channel c mod C of the small case. Where the
            two are C and 2^k apart, they differ: give C an odd number of channels.
    """

    def __init__(self, small: Case, want: Expected, size: Sequence[int]) -> None:
        """Put the channels of `small` where `size` has them."""
        self.want, self.size = want, tuple(size)
        self.order: I64 = np.arange(size[1]) % small.config.num_features
        x, dy = (
            from_columns(columns(a)[self.order], size).astype(a.dtype) for a in (small.x, small.dy)
        )
        config, state = repeated(small, self.order)
        self.case = replace(
            small,
            id=f"{small.id}/{'x'.join(map(str, size))}",
            x=x,
            dy=dy,
            config=config,
            state=state,
        )

    def __getattr__(self, quantity: str) -> Answer:
        """The answer to "y", "running_mean", "running_var", "dx", "dweight" or "dbias"."""
        answer: Answer = getattr(self.want, quantity)
        if quantity not in ("y", "dx"):
            return answer.part(self.order)
        return replace(
            answer,
            exact=self._moved(answer.exact),
            bound=self._moved(answer.bound),
            scale=self._moved(answer.scale),
        )

    def _moved(self, values: F64) -> F64:
        return from_columns(columns(values)[self.order], self.size)
