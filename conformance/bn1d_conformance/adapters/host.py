"""Where a subject's arrays live: NumPy, or the torch that it imported itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.subject import SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.subject import Array


def about(value: Any) -> tuple[str, str]:
    """Return the qualified name and the version of what is judged; "" where it has none."""
    module = getattr(value, "__module__", None) or ""
    root = sys.modules.get(module.partition(".")[0])
    name = f"{module}.{getattr(value, '__qualname__', type(value).__name__)}"
    return name, str(getattr(root, "__version__", ""))


def mentions(value: Any, framework: str) -> bool:
    """Whether the module that defines `value` is, or imported, `framework`."""
    if framework not in sys.modules:
        return False
    module = getattr(value, "__module__", None) or ""
    defined_in = vars(sys.modules.get(module, object)) if module in sys.modules else {}
    imported = {getattr(v, "__name__", "") for v in defined_in.values() if _is_module(v)}
    return framework in {name.partition(".")[0] for name in (module, *imported)}


def _is_module(value: Any) -> bool:
    return isinstance(value, type(sys))


@dataclass(frozen=True)
class Host:
    """Puts arrays where the subject takes them, and gets them back.

    Attributes:
        autograd: whether that is torch, with gradients of its own.
        device: for torch.
    """

    autograd: bool
    device: str

    @property
    def name(self) -> str:
        """What the arrays are."""
        return "torch" if self.autograd else "numpy"

    @classmethod
    def of_object(cls, layer: Any, device: str) -> Host:
        """The host of a constructed layer: what its attributes are; failing that, its module."""
        held = vars(layer).values() if hasattr(layer, "__dict__") else ()
        arrays = {type(v).__module__.partition(".")[0] for v in held if hasattr(v, "shape")}
        if "torch" in arrays or "numpy" in arrays:
            return cls("torch" in arrays, device)
        return cls(mentions(type(layer), "torch"), device)

    @classmethod
    def of_function(
        cls,
        function: Any,
        arguments: dict[str, tuple[int, ...]],
        settings: dict[str, Any],
        device: str,
    ) -> Host:
        """The host of a function: torch if its module uses torch and a call with tensors works."""
        tensors = cls(autograd=True, device=device)
        if mentions(function, "torch"):
            given = {
                name: tensors.put(np.ones(size, "float32")) for name, size in arguments.items()
            }
            try:
                answer = function(**given, **settings)
            except Exception:  # noqa: BLE001 - it takes no tensors, so it takes arrays
                return cls(autograd=False, device=device)
            first = answer[0] if isinstance(answer, (tuple, list)) else answer
            return cls(not isinstance(first, np.ndarray), device)
        return cls(autograd=False, device=device)

    def put(self, array: Array | None, *, grad: bool = False) -> Any:
        """Make a fresh array or tensor of these values."""
        if array is None or not self.autograd:
            return None if array is None else np.array(array, order="C")
        from bn1d_conformance.adapters.tensors import to_tensor  # noqa: PLC0415

        return to_tensor(array, self.device).requires_grad_(grad)

    def get(self, value: Any) -> Array:
        """Copy values back.

        Raises:
            SubjectError: if they are no array of numbers.
        """
        if self.autograd and not isinstance(value, (np.ndarray, np.generic, float, int, list)):
            from bn1d_conformance.adapters.tensors import to_array  # noqa: PLC0415

            return to_array(value)
        array = np.array(value)
        if array.dtype == object:
            raise SubjectError("answer", f"returned {type(value).__name__}, not an array")
        return array

    def backward(self, y: Any, dy: Array) -> None:
        """Run autograd from `y`.

        Raises:
            SubjectError: if `y` is detached from what it was computed from.
        """
        if not getattr(y, "requires_grad", False):
            raise SubjectError("backward", "the output is detached: it requires no gradient")
        y.backward(self.put(dy))

    def forget(self, *tensors: Any) -> None:
        """Drop the gradients of an earlier backward pass, which autograd would add to."""
        for tensor in tensors:
            if self.autograd and tensor is not None:
                tensor.grad = None

    def gradient(self, tensor: Any) -> Array | None:
        """The gradient that autograd left in `tensor`."""
        gradient = getattr(tensor, "grad", None)
        return None if gradient is None else self.get(gradient)
