"""DTYPE: what a torch module is converted to, wrapped in, and fed from strided memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bn1d_conformance.checks.common import MODES, drawn, requirement, same
from bn1d_conformance.checks.test_dtype import HALF
from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

TORCH = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64"}
STRIDES: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "sliced": lambda t: t.repeat_interleave(2, -1)[..., ::2],
}


@requirement("DTYPE-8")
@MODES
@pytest.mark.parametrize("how", STRIDES)
@pytest.mark.parametrize("fmt", HALF)
def test_strided_halves(trial: Trial, fmt: str, how: str, training: bool) -> None:
    """(N, C, L) whose channels lie side by side, or with gaps."""
    case = drawn(trial, f"strided halves {how}", 4, 5, 6, fmt=fmt, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        inner: Any = layer.layer
        wide = trial.torch.from_numpy(case.x.astype("float32")).to(inner.device)
        x = STRIDES[how](wide.to(getattr(trial.torch, TORCH[fmt]))).requires_grad_()
        y = layer.call("forward", layer.module, x)
        inner.x, inner.y = x, y
        want = trial.expected(case)
        trial.compare("DTYPE-8", y.detach().float().cpu().numpy(), want.y, case)
        got = layer.backward(case.dy)
        for name, answer in (("x", want.dx), ("weight", want.dweight), ("bias", want.dbias)):
            trial.compare("DTYPE-8", getattr(got, name), answer, case)
        if training:
            state = layer.state()
            for name in ("running_mean", "running_var"):
                trial.compare("DTYPE-8", getattr(state, name), getattr(want, name), case)


CONVERSIONS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "half()": ("fp16", lambda _, m: m.half()),
    "bfloat16()": ("bf16", lambda _, m: m.bfloat16()),
    "double()": ("fp64", lambda _, m: m.double()),
    "to(float16)": ("fp16", lambda torch, m: m.to(torch.float16)),
    "to(dtype=bfloat16)": ("bf16", lambda torch, m: m.to(dtype=torch.bfloat16)),
}


@requirement("DTYPE-13")
@pytest.mark.parametrize("how", CONVERSIONS)
def test_conversion_of_values(trial: Trial, how: str) -> None:
    """There, rounded once; and back by float(), unchanged."""
    fmt, convert = CONVERSIONS[how]
    case = drawn(trial, "conversion", 6, 3, eps=0.5)
    with trial.case(how):
        layer = trial.build(case.config, case.state, training=False)
        there = layer.call(how, convert, trial.torch, layer.module)
        _converted(trial, layer, there, how, fmt)
        narrow = {r: getattr(case.state, r).astype(DTYPES[fmt]) for r in ROLES}
        again = {r: v.astype("float32") for r, v in narrow.items()}
        _values(trial, layer, how, narrow)
        back = layer.method("float")
        _converted(trial, layer, back, f"{how} and float()", "fp32")
        _values(trial, layer, f"{how} and float()", again)
        count = layer.state().num_batches_tracked
        trial.expect("DTYPE-13", count == 7, f"The counter 7 becomes {count}.")


def _converted(trial: Trial, layer: Guard, returned: Any, how: str, fmt: str) -> None:
    """The same object, as it was but for the format."""
    itself = returned is layer.module
    trial.expect("DTYPE-13", itself, f"{how} returns another object than the layer.")
    now = tuple(getattr(layer.module, name, "missing") for name in ("training", "eps", "momentum"))
    same_as_before = now == (False, 0.5, 0.3)
    trial.expect(
        "DTYPE-13", same_as_before, f"training, eps and momentum are {now} after {how} to {fmt}."
    )


def _values(trial: Trial, layer: Guard, how: str, want: dict[str, Any]) -> None:
    state = layer.state()
    wrong = [r for r in ROLES if not same(getattr(state, r), want[r])]
    trial.expect(
        "DTYPE-13", not wrong, f"{' and '.join(wrong)} is not the rounded value after {how}."
    )


@requirement("DTYPE-14", "DTYPE-15")
@MODES
@pytest.mark.parametrize("fmt", ["fp32", *HALF])
@pytest.mark.parametrize("size", [(33, 3), (4, 3, 5)], ids=["2d", "3d"])
def test_autocast(trial: Trial, fmt: str, size: tuple[int, ...], training: bool) -> None:
    """The forward pass inside, the backward pass outside, as autocast is meant to be used."""
    base = drawn(trial, "autocast", *size, fmt=fmt, training=training)
    case = replace(base, id=f"{base.id}/autocast")
    torch = trial.torch
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        inner: Any = layer.layer
        with torch.autocast(torch.device(inner.device).type, torch.bfloat16):
            y = layer.forward(case.x, grad=True)
        got = format_of(y) or str(y.dtype)
        trial.expect("DTYPE-15", got == fmt, f"y is {got} for an input of {fmt}.")
        want, state, gradients = trial.expected(case), layer.state(), layer.backward(case.dy)
        trial.compare("DTYPE-14", y, want.y, case)
        for name in ("running_mean", "running_var") if training else ():
            trial.compare("DTYPE-14", getattr(state, name), getattr(want, name), case)
        for name, answer in (("x", want.dx), ("weight", want.dweight), ("bias", want.dbias)):
            trial.compare("DTYPE-14", getattr(gradients, name), answer, case)
