"""The oracle as a subject: its answers are right, and so must every check find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.cases import columns, from_columns
from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import ROLES, Gradients, State
from bn1d_reference.formats import FORMATS
from bn1d_reference.oracle import BatchNorm1d

if TYPE_CHECKING:
    from bn1d_conformance.subject import Array, Config


class ExactLayer:
    """One layer of the oracle: exact answers, rounded once to the format of each output."""

    def __init__(self, config: Config) -> None:
        """Construct as the configuration says."""
        c = config
        self.format = c.format
        self.bn = BatchNorm1d(
            c.num_features,
            c.eps,
            c.momentum,
            c.affine,
            c.track_running_stats,
            bias=c.bias,
            format=FORMATS[c.format],
        )
        self.shape: tuple[int, ...] = ()

    def state(self) -> State:
        """Read the tensors."""
        values = {role: self._array(getattr(self.bn, role), self.format) for role in ROLES}
        return State(**values, num_batches_tracked=self.bn.num_batches_tracked)

    def load(self, state: State) -> None:
        """Write the tensors that are given and that the layer has."""
        for role, value in vars(state).items():
            if value is not None and getattr(self.bn, role) is not None:
                setattr(self.bn, role, value if isinstance(value, int) else _floats(value))

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch the mode."""
        self.bn.train(mode)

    def forward(self, x: Array) -> Array:
        """Answer for x.

        Raises:
            ValueError: as the oracle does, and where x is no (N, C) or (N, C, L).
        """
        if x.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {x.ndim}D input)")
        self.shape, fmt = x.shape, str(format_of(x))
        y = self.bn.forward_channels(columns(x).tolist(), FORMATS[fmt])
        return self._whole(y, fmt)

    def backward(self, dy: Array) -> Gradients:
        """Return the gradients of the last forward pass."""
        fmt = str(format_of(dy))
        g = self.bn.backward_channels(columns(dy).tolist(), FORMATS[fmt])
        learned = (self._array(v, self.format) for v in (g.weight, g.bias))
        return Gradients(self._whole(g.x, fmt), *learned)

    def _whole(self, values: list[list[float]], fmt: str) -> Array:
        """By channel, back to the shape of the input."""
        rows = np.array(values, np.float64).reshape(self.shape[1], -1)
        return np.ascontiguousarray(from_columns(rows, self.shape).astype(DTYPES[fmt]))

    @staticmethod
    def _array(values: list[float] | None, fmt: str) -> Array | None:
        return None if values is None else np.array(values, np.float64).astype(DTYPES[fmt])


def _floats(array: Array) -> list[float]:
    values: list[float] = array.astype(np.float64).tolist()
    return values
