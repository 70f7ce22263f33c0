"""What makes a subject out of somebody's code: one file a kind, each with its own imports."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from bn1d_conformance import naming
from bn1d_conformance.subject import Request, Subject, TargetError

if TYPE_CHECKING:
    from pathlib import Path


def adapt(value: Any, request: Request) -> Subject:
    """Choose the adapter that fits `value`: an nn.Module class, a class, a function.

    A Subject is taken as it is, and a class of Subjects is constructed from the request.
    Frameworks are looked for among what the target itself imported, so that none is imported
    for a subject that does not use it.

    Raises:
        TargetError: if nothing fits, or the device is not there.
    """
    if hasattr(value, "build") and hasattr(value, "capabilities"):
        subject: Subject = value(request) if isinstance(value, type) else value
        return subject
    _require_device(request)
    if _is_torch_module(value):
        from bn1d_conformance.adapters.torch_module import TorchModule  # noqa: PLC0415

        return TorchModule(value, request)
    if inspect.isclass(value):
        from bn1d_conformance.adapters.plain import PlainClass  # noqa: PLC0415

        return PlainClass(value, request)
    _refuse_instance(value, request)
    if callable(value):
        return _function(value, request)
    raise TargetError(
        f"{request.target} is {type(value).__name__}, and nothing callable.",
        "Name a class that constructs a layer, or a function that normalises.",
    )


def recorded(folder: Path, answers: Path, request: Request) -> Subject:
    """What a device answered to the vectors of a folder.

    Raises:
        TargetError: if one of the folders can't be read.
    """
    from bn1d_conformance.adapters.recorded import RecordedSubject  # noqa: PLC0415

    return RecordedSubject(folder, answers, request)


def worker(request: Request) -> Subject:
    """What speaks the wire.

    Raises:
        TargetError: if it can't be started, or does not speak it.
    """
    from bn1d_conformance.adapters.wire import WireSubject  # noqa: PLC0415

    return WireSubject(request)


def _function(value: Any, request: Request) -> Subject:
    """A function with an input to normalise; a factory of modules has none."""
    from bn1d_conformance.adapters.function import Function  # noqa: PLC0415

    known = naming.parameters(value)
    if known and not naming.find("input", known, request.names) and len(known) < 2:
        raise TargetError(
            f"{request.target} takes {', '.join(known)} and no input to normalise.",
            "Name a class, or a function such as f(x, running_mean, running_var, weight, bias).",
        )
    return Function(value, request)


def _require_device(request: Request) -> None:
    """Refuse a device on which no tensor can be made, rather than blame the subject for it."""
    if request.device == "cpu":
        return
    torch = sys.modules.get("torch")
    if torch is None:
        hint = "Only what uses torch, or is a worker, can be asked for another."
        raise TargetError(f"{request.target} computes on the CPU.", hint)
    try:
        torch.empty(1, device=request.device)
    except Exception as error:  # noqa: BLE001 - torch raises several kinds
        why = str(error).strip().partition("\n")[0].rstrip(".")
        hint = "Leave out --device to judge on the CPU."
        raise TargetError(f"There is no device {request.device!r} here: {why}.", hint) from None


def _is_torch_module(value: Any) -> bool:
    """Whether `value` is a class of modules of the torch that the target imported."""
    nn = sys.modules.get("torch.nn")
    return bool(nn and inspect.isclass(value) and issubclass(value, nn.Module))


def _refuse_instance(value: Any, request: Request) -> None:
    """A layer that is constructed already can't be judged from construction on."""
    nn = sys.modules.get("torch.nn")
    is_layer = callable(getattr(value, "forward", None)) and not inspect.isclass(value)
    if is_layer or (nn and isinstance(value, nn.Module)):
        raise TargetError(
            f"{request.target} is a layer that is constructed already.",
            f"Name its class, {type(value).__name__}: the kit constructs layers of many shapes.",
        )
