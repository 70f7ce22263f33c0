"""CONC and its neighbours: no memory, no call and no input is a special one.

What these checks look for passes an ordinary comparison: answers kept from earlier calls, output
that is never written, shortcuts for inputs on which they are nearly right.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.cases import rng
from bn1d_conformance.checks.common import MODES, drawn, equal, require_repeats, requirement
from bn1d_conformance.expected import Expected
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial

CALLS = {"quick": 30, "full": 120, "deep": 400}
SHAPES = {"quick": 3, "full": 8, "deep": 24}
BLOCKS = 48  # of each size: more than an allocator sets aside for the next of the same size
RANKS = pytest.mark.parametrize("size", [(6, 3), (3, 2, 5)], ids=["2d", "3d"])


def _offered(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Decline what the subject does not offer for this rank and mode."""
    trial.require(*(["3d"] * (len(size) == 3)), *(["eval", "statistics"] * (not training)))


def _judge(trial: Trial, ident: str, layer: Guard, case: Case) -> None:
    """One pass, and all that comes of it."""
    want = trial.expected(case)
    trial.compare(ident, layer.forward(case.x, grad=trial.has("grad")), want.y, case)
    if case.training and trial.has("statistics"):
        state = layer.state()
        trial.compare(ident, state.running_mean, want.running_mean, case)
        trial.compare(ident, state.running_var, want.running_var, case)
    if trial.has("grad"):
        _judge_gradients(trial, ident, layer, case)


def _judge_gradients(trial: Trial, ident: str, layer: Guard, case: Case) -> None:
    got, want = layer.backward(case.dy), trial.expected(case)
    trial.compare(ident, got.x, want.dx, case)
    if trial.has("param-grad"):
        trial.compare(ident, got.weight, want.dweight, case)
        trial.compare(ident, got.bias, want.dbias, case)


# Calls


@requirement("CONC-3")
@MODES
def test_every_call(trial: Trial, training: bool) -> None:
    """Each of many calls is judged, the seventh and the hundredth like the first."""
    _offered(trial, (), training)
    case = drawn(trial, "every call", 5, 3, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        for k in range(CALLS[trial.profile]):
            now = replace(case, id=f"{case.id}/call{k + 1}")
            want = trial.expected(case)
            trial.compare("CONC-3", layer.forward(case.x, grad=trial.has("grad")), want.y, now)
            if trial.has("grad"):
                trial.compare("CONC-3", layer.backward(case.dy).x, want.dx, now)


@requirement("COMP-2")
@MODES
def test_earlier_answers_stay(trial: Trial, training: bool) -> None:
    """Outputs and gradients of a first call, after twelve more of the same shape."""
    trial.require("torch-module")
    case = drawn(trial, "earlier", 6, 3, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        first = _answers(layer, case, 1)
        kept = {name: tensor.clone() for name, tensor in first.items()}
        for k in range(2, 14):
            _answers(layer, case, k)
        changed = [
            name for name, tensor in first.items() if not bool((tensor == kept[name]).all())
        ]
        said = " and ".join(changed)
        trial.expect("COMP-2", not changed, f"Later calls change the {said} of an earlier one.")


def _answers(layer: Guard, case: Case, k: int) -> dict[str, Any]:
    """The tensors themselves that a call and its backward pass return."""
    layer.forward(case.x * case.x.dtype.type(k), grad=True)
    layer.backward(case.dy)
    inner: Any = layer.layer
    return {"output": inner.y.detach(), "gradient": inner.x.grad}


# Memory


@requirement("CONC-30")
@MODES
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 5), (67, 17)], ids=["2d", "3d", "odd"])
def test_what_memory_held(trial: Trial, training: bool, size: tuple[int, ...]) -> None:
    """Freed memory of all sizes at hand is full of NaN, or of huge numbers."""
    _offered(trial, size, training)
    case = drawn(trial, "poison", *size, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        before = layer.state()
        for value in (float("nan"), 1e30):
            layer.load(before)
            _poison(trial, layer, case, value)
            want = trial.expected(case)
            trial.compare("CONC-30", layer.forward(case.x, grad=trial.has("grad")), want.y, case)
            if training and trial.has("statistics"):
                state = layer.state()
                trial.compare("CONC-30", state.running_mean, want.running_mean, case)
                trial.compare("CONC-30", state.running_var, want.running_var, case)
            if trial.has("grad"):
                _poison(trial, layer, case, value)
                _judge_gradients(trial, "CONC-30", layer, case)


def _poison(trial: Trial, layer: Guard, case: Case, value: float) -> None:
    """Fill memory of the sizes of inputs and statistics, in two formats, and let go of it."""
    sizes = [case.x.shape, case.x.shape[1:2]]
    make = _maker(trial, layer)
    for dtype in ("float32", "float64"):
        blocks = [make(size, dtype, value) for size in sizes for _ in range(BLOCKS)]
        del blocks[::2]  # first every other one, so that the allocator keeps them apart
        blocks.clear()


def _maker(trial: Trial, layer: Guard) -> Callable[[tuple[int, ...], str, float], Any]:
    """Tensors where the subject keeps its own; arrays for one that uses NumPy."""
    inner: Any = layer.layer
    offer = trial.memory.offer
    if not trial.has("torch-module") and (offer is None or offer.host != "torch"):
        return lambda size, dtype, value: np.full(size, value, dtype)
    torch, device = trial.torch, getattr(inner, "device", "cpu")
    return lambda size, dtype, value: torch.full(
        size, value, dtype=getattr(torch, dtype), device=device
    )


@requirement("LAYOUT-30")
@MODES
@RANKS
def test_inside_larger_memory(trial: Trial, training: bool, size: tuple[int, ...]) -> None:
    """Input, gradient, parameters and statistics between guards of NaN, and then of ones."""
    case = drawn(trial, "guarded", *size, training=training)
    for guard in (float("nan"), 1.0):
        with trial.case(f"{case.id}/guards of {guard}"):
            layer = trial.build(case.config, training=training)
            inner: Any = layer.layer
            places = _Places(trial.torch, inner.device, guard)
            for role in ROLES:
                value = places.put(role, getattr(case.state, role))
                if role in ("weight", "bias"):
                    value = trial.torch.nn.Parameter(value)
                name = trial.subject.names.get(role) or role
                layer.call(f"assigning {role}", setattr, layer.module, name, value)
            inner.x = places.put("x", case.x).requires_grad_()
            inner.y = layer.call("forward", layer.module, inner.x)
            want, state = trial.expected(case), layer.state()
            y = inner.y.detach().cpu().numpy()
            trial.compare("LAYOUT-30", y, want.y, case)
            if training:
                trial.compare("LAYOUT-30", state.running_mean, want.running_mean, case)
                trial.compare("LAYOUT-30", state.running_var, want.running_var, case)
            layer.call("backward", inner.y.backward, places.put("dy", case.dy))
            trial.compare("LAYOUT-30", inner.x.grad.cpu().numpy(), want.dx, case)
            beside = places.changed()
            trial.expect("LAYOUT-30", not beside, f"What lies beside {beside} is overwritten.")


class _Places:
    """Tensors in the middle of larger ones, whose other elements are guards."""

    ROOM = 33  # elements on either side: more than a vector register or a warp holds

    def __init__(self, torch: Any, device: str, guard: float) -> None:
        """Nothing is placed yet."""
        self.torch, self.device, self.guard = torch, device, guard
        self.whole: dict[str, Any] = {}

    def put(self, name: str, values: Array | None) -> Any:
        """A contiguous tensor of these values between its guards."""
        inside = self.torch.from_numpy(np.array(values)).to(self.device)
        room = self.torch.full(
            (inside.numel() + 2 * self.ROOM,), self.guard, dtype=inside.dtype, device=self.device
        )
        room[self.ROOM : -self.ROOM] = inside.flatten()
        self.whole[name] = room
        return room[self.ROOM : -self.ROOM].view(inside.shape)

    def changed(self) -> str:
        """Which of them have lost a guard."""
        return " and ".join(name for name, room in self.whole.items() if not self._intact(room))

    def _intact(self, room: Any) -> bool:
        ends = self.torch.cat([room.detach()[: self.ROOM], room.detach()[-self.ROOM :]])
        kept = ends.isnan() if np.isnan(self.guard) else ends == self.guard
        return bool(kept.all())


# Inputs


@requirement("CONC-31")
@MODES
@pytest.mark.parametrize("start", ["new", "ones and zeros"])
@pytest.mark.parametrize("n", [2, 8, 1024])
def test_normalised_already(trial: Trial, training: bool, start: str, n: int) -> None:
    """Data of mean 0 and variance 1 in a layer of ones and zeros are still divided.

    By sqrt(1 + eps): in fp32 that is 84 ulp with the default eps. Many values are tried in fp64,
    where the bound on their sums leaves eps to be seen.
    """
    _offered(trial, (), training)
    fmt = "fp64" if n > 64 and trial.has("fp64") else trial.format
    eps = 1e-5 if n <= 64 or fmt == "fp64" else 0.1
    base = drawn(trial, "identity", n, 3, fmt=fmt, training=training, eps=eps)
    dtype = DTYPES[fmt]
    signs = np.where(np.arange(n) % 2, 1, -1)[:, None] * np.array([1, -1, 1])
    one, zero = np.ones(3, dtype), np.zeros(3, dtype)
    state = State(one, zero, zero, one, num_batches_tracked=0)
    case = replace(base, x=signs.astype(dtype), state=state)
    with trial.case(f"{case.id}/{start}"):
        fresh = start == "new" and fmt == "fp32"
        given = None if fresh else _own(trial, state)
        _judge(trial, "CONC-31", trial.build(case.config, given, training=training), case)
        if trial.has("torch-module"):  # where no gradient is asked for, shortcuts tempt more
            layer = trial.build(case.config, given, training=training)
            with trial.torch.no_grad():
                y = layer.forward(case.x)
            trial.compare("CONC-31", y, trial.expected(case).y, case)


def _own(trial: Trial, state: State) -> State:
    """The part of a state that the subject has."""
    weights, statistics = trial.has("weights"), trial.has("statistics")
    return State(
        state.weight if weights else None,
        state.bias if weights else None,
        state.running_mean if statistics else None,
        state.running_var if statistics else None,
        state.num_batches_tracked,
    )


def _variants(x: Array, r: np.random.Generator) -> dict[str, Array]:
    """The same numbers elsewhere, and other numbers in the same place."""
    one = x.copy()
    one[-1, -1] += x.dtype.type(1)
    return {
        "as drawn": x,
        "permuted": np.ascontiguousarray(r.permutation(x, axis=0)),
        "one value changed": one,
        "channels exchanged": np.ascontiguousarray(x[:, ::-1]),
        "negated": -x,
        "doubled": x * x.dtype.type(2),
        "zeros": np.zeros_like(x),
        "ones": np.ones_like(x),
        "again": x,
    }


@requirement("CONC-32")
@MODES
@RANKS
def test_answers_follow_the_values(trial: Trial, training: bool, size: tuple[int, ...]) -> None:
    """One layer, one shape, one variant after the other; gradients of ones too."""
    _offered(trial, size, training)
    base = drawn(trial, "follow", *size, training=training)
    variants = _variants(base.x, rng(trial.seed, "variants", *size))
    with trial.case(base):
        layer = trial.build(base.config, base.state, training=training)
        for name, x in variants.items():
            dy = np.ones_like(x) if name in {"negated", "zeros"} else base.dy
            layer.load(base.state)
            _judge(trial, "CONC-32", layer, replace(base, id=f"{base.id}/{name}", x=x, dy=dy))


@requirement("CONC-32")
@MODES
@RANKS
def test_overwritten_in_place(trial: Trial, training: bool, size: tuple[int, ...]) -> None:
    """One tensor for all calls: its values, and the layer's, change behind its back."""
    trial.require("torch-module")
    base = drawn(trial, "in place", *size, training=training)
    other = drawn(trial, "in place, other state", *size, training=training).state
    torch = trial.torch
    with trial.case(base):
        layer = trial.build(base.config, base.state, training=training)
        inner: Any = layer.layer
        memory = torch.from_numpy(base.x.copy()).to(inner.device)
        for state in (base.state, other):
            layer.load(state)
            for name, x in _variants(base.x, rng(trial.seed, "variants", *size)).items():
                memory.data.copy_(torch.from_numpy(x))  # .data: no count of versions tells of it
                y = layer.call("forward", layer.module, memory)
                case = replace(base, id=f"{base.id}/{name}", x=x, state=state)
                trial.compare("CONC-32", y.detach().cpu().numpy(), trial.expected(case).y, case)


@requirement("CONC-32")
@MODES
def test_shapes_of_no_other_check(trial: Trial, training: bool) -> None:
    """Sizes drawn from the seed, in one layer after the other."""
    _offered(trial, (), training)
    r = rng(trial.seed, "shapes")
    for _ in range(SHAPES[trial.profile]):
        N, C, L = (int(v) for v in r.integers((2, 1, 0), (40, 24, 9)))
        size = (N, C, L) if L and trial.has("3d") else (N, C)
        case = drawn(trial, "any shape", *size, training=training)
        with trial.case(case):
            _judge(trial, "CONC-32", trial.build(case.config, case.state, training=training), case)


# Gradients in a wider format than the data


class _Single(Expected):
    """The gradients of half-precision data, by single-precision arithmetic throughout."""

    backward_profile = "strict"


@requirement("DTYPE-30")
@MODES
@RANKS
@pytest.mark.parametrize("fmt", ["fp16", "bf16"])
def test_parameters_learn_in_single(
    trial: Trial, fmt: str, training: bool, size: tuple[int, ...]
) -> None:
    """Sums that no number of the data's format holds."""
    _offered(trial, size, training)
    case = drawn(trial, "learns", *size, fmt=fmt, training=training)
    with trial.case(case):
        got, want = trial.step(case).gradients, _Single(case)
        trial.compare("DTYPE-30", got.weight, want.dweight, case)
        trial.compare("DTYPE-30", got.bias, want.dbias, case)


@requirement("GRAD-17")
@RANKS
@pytest.mark.parametrize("fmt", ["fp32", "fp16", "bf16"])
def test_gradients_add_up(trial: Trial, fmt: str, size: tuple[int, ...]) -> None:
    """What a pass finds in .grad, and what it gives alone, are added once, in their format."""
    require_repeats(trial)
    trial.require(fmt)
    first, second = (drawn(trial, f"adds {k}", *size, fmt=fmt) for k in (1, 2))
    with trial.case(first):
        layer = trial.build(first.config, first.state)
        inner: Any = layer.layer
        found = _pass(layer, first)
        left = {role: inner.tensor(role).grad.clone() for role in found}
        alone = _pass(layer, second)
        layer.forward(second.x, grad=True)
        for role, gradient in left.items():
            inner.tensor(role).grad = gradient
        got = layer.backward(second.dy)
        for role in ("weight", "bias"):
            a, b, total = found.get(role), alone.get(role), getattr(got, role)
            ok = a is not None and b is not None and total is not None and equal(total, a + b)
            said = f"{role}.grad is {total} after two passes that give {a} and {b}."
            trial.expect("GRAD-17", ok, said)


def _pass(layer: Guard, case: Case) -> dict[str, Array]:
    """The gradients of the parameters that one pass gives alone."""
    layer.forward(case.x, grad=True)
    got = layer.backward(case.dy)
    pairs = (("weight", got.weight), ("bias", got.bias))
    return {role: gradient for role, gradient in pairs if gradient is not None}
