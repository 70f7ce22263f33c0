"""LAYOUT: an input is its values, wherever they lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import MODES, drawn, requirement
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial

STRIDES: dict[str, Callable[[Any, Any], Any]] = {
    "transposed": lambda _, t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "sliced": lambda torch, t: torch.stack([t, t + 1], -1).flatten(-2)[..., ::2],
    "offset": lambda torch, t: torch.cat([t.flatten()[:5], t.flatten()])[5:].view(t.shape),
    "batch last": lambda _, t: t.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "flipped strides": lambda torch, t: torch.cat([t, t], 1)[:, : t.shape[1]],
}


@requirement("LAYOUT-1")
@MODES
@pytest.mark.parametrize("how", [*STRIDES, "expanded", "matrix"])
def test_strides(trial: Trial, how: str, training: bool) -> None:
    """Memory of any strides is read by value, forward and backward."""
    size = (6, 4) if how == "matrix" else (3, 4, 6)
    case = drawn(trial, f"strides {how}", *size, training=training)
    if how == "expanded":
        case = replace(case, x=np.ascontiguousarray(np.broadcast_to(case.x[:1, :, :], size)))
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        inner: Any = layer.layer
        x = _strided(trial.torch, case.x, how).to(inner.device).detach().requires_grad_()
        y = layer.call("forward", layer.module, x)
        inner.x, inner.y = x, y
        want = trial.expected(case)
        trial.compare("LAYOUT-1", y.detach().cpu().contiguous().numpy(), want.y, case)
        got = layer.backward(case.dy)
        for name, answer in (("x", want.dx), ("weight", want.dweight), ("bias", want.dbias)):
            trial.compare("LAYOUT-1", getattr(got, name), answer, case)
        if training:
            state = layer.state()
            for name in ("running_mean", "running_var"):
                trial.compare("LAYOUT-1", getattr(state, name), getattr(want, name), case)


def _strided(torch: Any, array: Array, how: str) -> Any:
    tensor = torch.from_numpy(array.copy())
    if how == "expanded":
        return tensor[:1].expand(array.shape)
    if how == "matrix":
        return tensor.t().contiguous().t()
    return STRIDES[how](torch, tensor)


@requirement("LAYOUT-2")
def test_state_in_views(trial: Trial) -> None:
    """Weight, bias and statistics are every other element of larger tensors."""
    torch = trial.torch
    case = drawn(trial, "views", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config)
        inner: Any = layer.layer
        wide = {role: torch.full((3, 2), 55.0, device=inner.device) for role in ROLES}
        for role, tensor in wide.items():
            name = trial.subject.names.get(role) or role
            half = tensor[:, 0]
            value = torch.nn.Parameter(half) if role in ("weight", "bias") else half
            layer.call(f"assigning {role}", setattr, layer.module, name, value)
        layer.load(case.state)
        y = layer.forward(case.x, grad=True)
        state, want = layer.state(), trial.expected(case)
        trial.compare("LAYOUT-2", y, want.y, case)
        for name in ("running_mean", "running_var"):
            trial.compare("LAYOUT-2", getattr(state, name), getattr(want, name), case)
            seen = wide[name].cpu().numpy()
            trial.compare("LAYOUT-2", seen[:, 0].copy(), getattr(want, name), case)
            untouched = bool((seen[:, 1] == 55).all())
            trial.expect("LAYOUT-2", untouched, f"What lies beside {name} is overwritten.")


@requirement("LAYOUT-3")
@MODES
@pytest.mark.parametrize("rows", [65537, 131073])
def test_many_rows(trial: Trial, rows: int, training: bool) -> None:
    """Constant channels and the very last rows: the answer is known without an oracle."""
    trial.require(*(["statistics"] * (not training)))
    small = drawn(trial, "rows", 4, 2, training=training)
    x = np.tile(np.array([[-1.0, 2.0], [1.0, 6.0]], small.x.dtype), (rows // 2 + 1, 1))[:rows]
    one = np.ones(2, small.state.weight.dtype)  # type: ignore[union-attr]
    state = replace(small.state, weight=one, bias=0 * one, running_mean=4 * one, running_var=one)
    with trial.case(f"{rows} rows/{'training' if training else 'evaluation'}"):
        y = trial.build(small.config, state, training=training).forward(x).astype(float)
        mean = x.astype(float).mean(0) if training else np.full(2, 4.0)
        var = x.astype(float).var(0) if training else np.ones(2)
        want = (x - mean) / np.sqrt(var + small.config.eps)
        bound = rows * 2.0**-24 * 8  # phi(n) = n, times the operations of the two passes
        worst = float(np.max(np.abs(y - want)))
        trial.expect(
            "LAYOUT-3", worst <= bound, f"y is off by up to {worst:.3g}, more than {bound:.3g}."
        )
