"""Formats as NumPy has them: dtypes, rounding of fp64 arrays, and spacing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bn1d_conformance.subject import Array

    F64 = NDArray[np.float64]
    I64 = NDArray[np.int64]

DTYPES: dict[str, np.dtype[np.generic]] = {
    "fp16": np.dtype("float16"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp32": np.dtype("float32"),
    "fp64": np.dtype("float64"),
}
FORMATS = ("fp32", "fp64", "fp16", "bf16")  # in the order in which they are tried
PRECISION = {"fp16": 11, "bf16": 8, "fp32": 24, "fp64": 53}
EMIN = {"fp16": -14, "bf16": -126, "fp32": -126, "fp64": -1022}


def format_of(array: Array) -> str | None:
    """Return the name of the array's format; None for any other dtype."""
    return next((name for name, dtype in DTYPES.items() if dtype == array.dtype), None)


def to_format(values: F64, name: str) -> F64:
    """Round fp64 values to a format, ties to even; the result stays in an fp64 array.

    NumPy's casts to float32 and float16 round correctly. ml_dtypes goes from double to bfloat16
    by way of single, which rounds twice, so the bits of the double are rounded here instead.
    """
    if name == "bf16":
        return _to_bfloat16(values)
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(DTYPES[name]).astype(np.float64)


def _to_bfloat16(values: F64) -> F64:
    """Round to 8 bits by scaling to an integer significand; exact, subnormals included."""
    _, exponent = np.frexp(np.where(np.isfinite(values), values, 0.0))
    spacing = np.maximum(exponent - 8, EMIN["bf16"] - 7)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ldexp(np.rint(np.ldexp(values, -spacing)), spacing)
    too_big = np.abs(rounded) > float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    return np.where(
        too_big, np.copysign(np.inf, values), np.where(np.isfinite(values), rounded, values)
    )


def ulp(values: F64, name: str) -> F64:
    """Spacing of the format at |values|: that of the binade that holds each of them."""
    _, exponent = np.frexp(np.where(np.isfinite(values), values, 0.0))
    exponent = np.where(values == 0, EMIN[name], exponent)  # frexp calls the exponent of 0 zero
    least = EMIN[name] + 1 - PRECISION[name]
    return np.asarray(np.ldexp(1.0, np.maximum(exponent - PRECISION[name], least)))
