"""Cases on which no sound algorithm rounds: judged bit for bit (docs: zero-tolerance cases).

Everything is dyadic, var + eps is a power of four, and momentum is 1/4, which unlike 1/2 shows
an exchange of old and new. Running statistics and dbias involve no root: they must be exact for
everybody. y, dx and dweight must be where 1/sqrt is exact at powers of four, which a probe
finds out (`checks.exact_root`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.cases import Case, from_columns, shape
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import Config, State

if TYPE_CHECKING:
    from bn1d_conformance.numbers import F64

#: Large odd numbers M, and distances d, so that M ± d fills the significand of the format.
WIDE = {
    "fp32": ((524289.0, -786433.0, 655361.0), 0.125),
    "fp64": ((2.0**48 + 1, -(2.0**48) - 5, 2.0**47 + 3), 0.125),
    "fp16": ((65.0, -97.0, 81.0), 0.5),
    "bf16": ((9.0, -13.0, 11.0), 0.5),
}
QUARTERS = {
    "fp32": (131073.0, -262145.0),
    "fp64": (2.0**46 + 1, -(2.0**45) - 1),
    "fp16": (33.0, -17.0),
    "bf16": (5.0, -3.0),
}
#: A constant far away, of few bits: 64 of them, their squares too, are summed without rounding.
CONSTANT = {"fp32": 7 * 2.0**30, "fp64": 7 * 2.0**60, "fp16": 3 * 2.0**13, "bf16": 7 * 2.0**30}


@lru_cache(maxsize=16)
def exact(fmt: str, rank: int) -> tuple[Case, ...]:
    """Return the zero-tolerance cases of a format, of shape (n, C) or (n/L, C, L)."""
    (wide, d), far = WIDE[fmt], CONSTANT[fmt]
    rows = {
        "E1": _case([[3.0] * 64, [-5.0] * 64], 2.0**-16, fmt, rank),
        "E1w": _case([[far] * 64, [-far] * 64], 2.0**-16, fmt, rank, bias=0.0, old_mean=0.0),
        "E2": _case([[m - 1.5, m + 1.5] for m in (2.0, -3.0, 0.5)], 1.75, fmt, rank),
        "E2w": _case(  # dy sums to 0, so that no product of dy and x fills more than x does
            [[m - d, m + d] for m in wide], 3 * d * d, fmt, rank, bias=0.0, dy=[1.0, -1.0]
        ),
        "E4w": _case(
            [[m + q for q in (0.75, -0.75, -0.75, 0.75)] for m in QUARTERS[fmt]],
            7 / 16, fmt, rank, bias=0.0, dy=[1.0, -1.0, 0.0, 0.0],
        ),
        "E5": _case(  # n = 3: gradients are multiples of 3, so that their means are exact
            [[-3.0, 3.0, 0.0], [3.0, 0.0, -3.0]], 10.0, fmt, rank, dy=[3.0, 12.0, -3.0],
        ),
    }  # fmt: skip
    return tuple(
        Case(f"{name}/{fmt}/{rank}d", x, config, state, dy, exact=True)
        for name, (x, config, state, dy) in rows.items()
    )


def _case(  # noqa: PLR0913 - a case has as many parts
    rows: list[list[float]],
    eps: float,
    fmt: str,
    rank: int,
    *,
    bias: float = 0.5,
    old_mean: float = 4.0,
    dy: list[float] | None = None,
) -> tuple[F64, Config, State, F64]:
    """Arrays, configuration and state of one case, from the rows of its channels."""
    C, n = len(rows), len(rows[0])
    params = "fp64" if fmt == "fp64" else "fp32"
    pattern = dy or [1.0, 4.0, -1.0, 2.0, 0.0, -2.0][:n] * -(-n // 6)
    grads = np.array([np.roll(pattern[:n], c) for c in range(C)])
    size = shape(n, C, rank) if n > 2 or rank == 2 else (1, C, 2)
    weight = np.array([1.0, -2.0, 0.5, -0.25])[:C]
    values = {
        "weight": weight,
        "bias": np.full(C, bias),
        "running_mean": np.full(C, old_mean),
        "running_var": np.ones(C),
    }
    state = State(
        **{k: v.astype(DTYPES[params]) for k, v in values.items()}, num_batches_tracked=3
    )
    config = Config(C, eps=eps, momentum=0.25, format=params)
    x, g = (from_columns(np.array(v), size).astype(DTYPES[fmt]) for v in (rows, grads))
    return x, config, state, g
