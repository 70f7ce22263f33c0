"""LAYOUT: an input is its values, wherever they lie and however many they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.cases import from_columns, make
from bn1d_conformance.checks.common import (
    MODES,
    cases_of,
    drawn,
    families,
    judge_arranged,
    judge_gradients,
    judge_state,
    requirement,
)
from bn1d_conformance.checks.test_eval import evaluated, full
from bn1d_conformance.checks.test_grad import left
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.cases import Case
    from bn1d_conformance.expected import Expected
    from bn1d_conformance.subject import Array, Gradients
    from bn1d_conformance.trial import Trial

#: Ways to lay out a tensor of shape (N, C, L), values kept; expanded ones have values to match.
STRIDES: dict[str, Callable[[Any, Any], Any]] = {
    "transposed": lambda _, t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "sliced": lambda torch, t: torch.stack([t, t + 1], -1).flatten(-2)[..., ::2],
    "offset": lambda torch, t: torch.cat([t.flatten()[:5], t.flatten()])[5:].view(t.shape),
    "batch last": lambda _, t: t.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "channels first": lambda _, t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "every other channel": lambda torch, t: torch.stack([t, t + 1], 2).flatten(1, 2)[:, ::2],
    "some of the channels": lambda torch, t: torch.cat([t, t], 1)[:, : t.shape[1]],
    "expanded": lambda _, t: t[:1].expand(t.shape),
    "expanded channels": lambda _, t: t[:, :1].expand(t.shape),
    "expanded positions": lambda _, t: t[..., :1].expand(t.shape),
}
ALIKE = {"expanded": 0, "expanded channels": 1, "expanded positions": 2}
#: The same for (N, C).
MATRICES: dict[str, Callable[[Any, Any], Any]] = {
    "matrix": lambda _, t: t.t().contiguous().t(),
    "columns of a matrix": lambda torch, t: torch.stack([t, t + 1], 2).flatten(1)[:, ::2],
    "rows of a matrix": lambda torch, t: torch.stack([t, t + 1], 1).flatten(0, 1)[::2],
}
LAYOUTS = {**STRIDES, **MATRICES}


@requirement("LAYOUT-1")
@MODES
@pytest.mark.parametrize("how", LAYOUTS)
def test_strides(trial: Trial, how: str, training: bool) -> None:
    """Memory of any strides is read by value, forward and backward."""
    sizes: list[tuple[int, ...]] = [(6, 4), (5, 5)] if how in MATRICES else [(3, 4, 6), (4, 4, 4)]
    for size in sizes[: 1 if trial.profile == "quick" else 2]:
        case = _alike(drawn(trial, f"strides {how}", *size, training=training), how)
        _judge_strided(trial, "LAYOUT-1", case, how, "")


def _alike(case: Case, how: str) -> Case:
    """The case, its values equal along the axis that is expanded."""
    if how not in ALIKE:
        return case
    first = case.x.take([0], ALIKE[how])
    return replace(case, x=np.ascontiguousarray(np.broadcast_to(first, case.x.shape)))


def _judge_strided(trial: Trial, ident: str, case: Case, how: str, handed: str) -> None:
    """Lay x out as `how`, dy as `handed` ("" for contiguous), and judge every answer."""
    with trial.case(f"{case.id}/{handed or 'contiguous'}"):
        layer = trial.build(case.config, case.state, training=case.training)
        inner: Any = layer.layer
        x = _laid(trial, case.x, how).to(inner.device).detach().requires_grad_()
        y = layer.call("forward", layer.module, x)
        inner.x, inner.y = x, y
        want = trial.expected(case)
        trial.compare(ident, y.detach().cpu().contiguous().numpy(), want.y, case)
        judge_state(trial, ident, layer.state(), want)
        dy = _laid(trial, case.dy, handed).to(inner.device)
        layer.call("backward", y.backward, dy)
        judge_gradients(trial, ident, left(inner), want)


def _laid(trial: Trial, array: Array, how: str) -> Any:
    tensor = trial.torch.from_numpy(array.copy())
    return LAYOUTS[how](trial.torch, tensor) if how else tensor


@requirement("LAYOUT-4")
@MODES
@pytest.mark.parametrize("how", [h for h in LAYOUTS if h not in ALIKE])
def test_strides_of_both(trial: Trial, how: str, training: bool) -> None:
    """Input in one layout, dy in another, expanded ones among them."""
    size = (6, 4) if how in MATRICES else (3, 4, 6)
    others = [h for h in (MATRICES if how in MATRICES else STRIDES) if h != how]
    if trial.profile == "quick":
        others = others[:1] + others[-1:]
    base = drawn(trial, f"strides {how}", *size, training=training)
    for handed in others:
        dy = _alike(replace(base, x=base.dy), handed).x
        _judge_strided(trial, "LAYOUT-4", replace(base, dy=dy), how, handed)


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
        _judge_views(trial, layer.backward(case.dy), want)
        judge_state(trial, "LAYOUT-2", state, want)
        for name in ("running_mean", "running_var"):
            seen = wide[name].cpu().numpy()
            trial.compare("LAYOUT-2", seen[:, 0].copy(), getattr(want, name), case)
            untouched = bool((seen[:, 1] == 55).all())
            trial.expect("LAYOUT-2", untouched, f"What lies beside {name} is overwritten.")
        layer.train(False)
        now = replace(case, training=False, state=full(state, case))
        trial.compare("LAYOUT-2", layer.forward(case.x), trial.expected(now).y, now)


def _judge_views(trial: Trial, got: Gradients, want: Expected) -> None:
    """Judge dweight and dbias: the spec says why dx is left out."""
    trial.compare("LAYOUT-2", got.weight, want.dweight, want.case)
    trial.compare("LAYOUT-2", got.bias, want.dbias, want.case)


@requirement("LAYOUT-3")
@MODES
def test_many_rows(trial: Trial, training: bool) -> None:
    """131074 = 2·65537 values a channel: as rows, as positions, and as both."""
    trial.require(*(["statistics"] * (not training)))
    small = _marked(131074, 1 if trial.profile == "quick" else 2, trial.format)
    C = small.config.num_features
    sizes: list[tuple[int, ...]] = [(131074, C)]
    if trial.profile != "quick":
        sizes += [(65537, C, 2), (2, C, 65537), (1, C, 131074)] * trial.has("3d")
    elif not training:
        small = _marked(65537, 1, trial.format)
        sizes = [(65537, 1)]
    case = small if training else evaluated(small)
    for size in sizes:
        judge_arranged(trial, "LAYOUT-3", case, *size)


def _marked(n: int, C: int, fmt: str) -> Case:
    """Values of zero, but for four marks over a channel, or one at its end; dy as sparse."""
    x, dy = np.zeros((C, n)), np.zeros((C, n))
    x[0, [0, n // 3, 2 * n // 3, n - 1]] = 1.0
    dy[0, [0, n // 3, 2 * n // 3, n - 1]] = 1.0, 2.0, -1.0, 3.0
    x[1:, n - 1], dy[1:, n - 1], dy[1:, n // 2] = 1.0, 1.0, -2.0
    dy = from_columns(dy, (n, C))
    return make(f"marked/{fmt}/{n}", from_columns(x, (n, C)), fmt, 0, dy=dy)


@families("A6", ("fp32",), d2=("LAYOUT-5",))
def test_edges_of_blocks(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Marked values; n as N, as L, and as N·L; in both modes."""
    trial.require("eval", "statistics")
    longest = 300 if trial.profile == "quick" else 5000
    for base in cases_of(trial, family, fmt, rank):
        n, C = base.x.shape
        for case in (base, evaluated(base)) if n < longest else ():
            for size in [(n, C), *_splits(n, C)] if trial.has("3d") else [(n, C)]:
                judge_arranged(trial, "LAYOUT-5", case, *size)


def _splits(n: int, C: int) -> list[tuple[int, ...]]:
    """(n, C, 1), (1, C, n), and n as a product with the largest factor up to 33."""
    L = max(d for d in range(1, 34) if n % d == 0)
    return [(n, C, 1), (1, C, n), *([(n // L, C, L), (L, C, n // L)] if 1 < L < n else [])]


EDGES = (31, 32, 33, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025)
#: (N, L) and the numbers of channels that they are tried with, by profile.
LAUNCH_LIMIT = 65536  # of blocks in two of a grid's three dimensions
CROWDS: dict[str, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "quick": [((4,), (33, 257)), ((3, 2), (65, 129))],
    "full": [
        ((4,), EDGES),
        ((3, 2), EDGES),
        ((65,), (1025,)),
        ((4097,), (65,)),
        ((147,), (73,)),
        ((73, 5), (147,)),
        ((147, 35), (73,)),
        ((35, 147), (73,)),
        ((3,), (65537,)),
    ],
    "deep": [((2, 2), (65537, 70001))],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many crowds as the profile asks for, each with the time of an item."""
    if "crowd" in metafunc.fixturenames:
        profile = metafunc.config.getoption("--bn1d-profile")
        crowds = CROWDS[profile] + (CROWDS["full"] if profile == "deep" else [])
        names = ["x".join(map(str, size)) + f", {max(numbers)}" for size, numbers in crowds]
        metafunc.parametrize(("size", "crowd"), crowds, ids=names)


@requirement("LAYOUT-6")
@MODES
def test_many_channels(
    trial: Trial, training: bool, size: tuple[int, ...], crowd: tuple[int, ...]
) -> None:
    """Seven channels, repeated to numbers around blocks, lanes and launch limits."""
    N, *length = size
    trial.require(*(["statistics"] * (not training)), *(["3d"] * len(length)))
    small = drawn(trial, "crowd", N, 7, *length, training=training)
    for C in crowd:  # autograd's time for a loop over channels grows with their square
        backwards = C < LAUNCH_LIMIT or trial.profile == "deep"
        judge_arranged(trial, "LAYOUT-6", small, N, C, *length, gradients=backwards)
