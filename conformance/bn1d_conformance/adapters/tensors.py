"""NumPy arrays to torch tensors and back, bit for bit, bfloat16 included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch

from bn1d_conformance.subject import SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.subject import Array

DTYPES = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "fp64": torch.float64,
}


def to_tensor(array: Array, device: str = "cpu") -> torch.Tensor:
    """Return a new tensor of the array's shape, format and values."""
    array = np.array(array, order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def to_array(value: Any, stage: str = "read") -> Array:
    """Return a new array of the tensor's shape, format and values.

    Raises:
        SubjectError: if `value` is no tensor.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if not isinstance(value, torch.Tensor):
        raise SubjectError(stage, f"returned {type(value).__name__}, not a tensor")
    tensor = value.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return np.array(tensor.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
    return np.array(tensor.numpy())


def write(target: Any, values: Array) -> None:
    """Write `values`, of shape (C,), into a tensor or array of C elements, in place."""
    if isinstance(target, torch.Tensor):
        with torch.no_grad():
            target.copy_(to_tensor(values).reshape(target.shape))
    else:
        target[...] = np.asarray(values).reshape(target.shape)
