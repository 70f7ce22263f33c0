"""BUF: what is tracked without being learned."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import (
    drawn,
    expect_name,
    names_of,
    requirement,
    same,
    unchanged,
)
from bn1d_conformance.checks.modules import OPTIMIZERS, optimizer
from bn1d_conformance.checks.test_param import learns_statistics, registered_none
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import COUNTER, ROLES, Config, State

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

NAMES = ("running_mean", "running_var", COUNTER)
KEYS = ["weight", "bias", *NAMES]


@requirement("BUF-1")
def test_three_buffers(trial: Trial) -> None:
    """Exactly three are registered."""
    with trial.case("buffers"):
        layer = trial.build_default(3)
        listed = dict(layer.module.named_buffers())
        why = learns_statistics(trial, layer.module)
        said = f"The buffers are {', '.join(listed) or 'none'}."
        trial.expect("BUF-1", len(listed) == 3, said, **why)
        inner: Any = layer.layer
        own = {id(b) for b in listed.values()}
        for role in NAMES:
            ok = id(inner.tensor(role)) in own
            trial.expect("BUF-1", ok, f"{role} is not registered as a buffer.", **why)


@requirement("BUF-2")
def test_names(trial: Trial) -> None:
    """running_mean, running_var, num_batches_tracked, in this order."""
    with trial.case("names"):
        layer = trial.build_default(3)
        for role in NAMES[:2]:
            expect_name(trial, "BUF-2", role)
        if trial.has("torch-module"):
            order = [n for n, _ in layer.module.named_buffers()]
            ok, why = order == names_of(trial, *NAMES), learns_statistics(trial, layer.module)
            trial.expect("BUF-2", ok, f"The buffers are {order}.", **why)


def _starts(trial: Trial, ident: str, role: str, value: float) -> None:
    for C in (1, 64):
        with trial.case(f"{role}, num_features={C}"):
            got = getattr(trial.build_default(C).state(), role)
            ok = got is not None and got.shape == (C,) and bool((got == value).all())
            trial.expect(ident, ok, f"{role} starts as {None if got is None else got[:4]}.")


@requirement("BUF-3")
def test_running_mean_starts_as_zeros(trial: Trial) -> None:
    """All zeros."""
    _starts(trial, "BUF-3", "running_mean", 0)


@requirement("BUF-4")
def test_running_var_starts_as_ones(trial: Trial) -> None:
    """All ones."""
    _starts(trial, "BUF-4", "running_var", 1)


@requirement("BUF-5")
def test_counter_starts_as_zero(trial: Trial) -> None:
    """A tensor of shape () and int64; still so after a step."""
    case = drawn(trial, "counter", 4, 3)
    with trial.case("counter"):
        layer = trial.build_default(3)
        _whole(trial, layer, 0)
        layer.forward(case.x)
        _whole(trial, layer, 1)


def _whole(trial: Trial, layer: Guard, value: int) -> None:
    inner: Any = layer.layer
    counter = inner.tensor(COUNTER)
    seen = (
        tuple(getattr(counter, "shape", (None,))),
        str(getattr(counter, "dtype", type(counter))),
    )
    trial.expect("BUF-5", seen == ((), "torch.int64"), f"The counter has shape and format {seen}.")
    ok = counter is not None and int(counter) == value
    trial.expect("BUF-5", ok, f"The counter is {counter}, not {value}.")


@requirement("BUF-6")
def test_not_parameters(trial: Trial) -> None:
    """Before and after a training step with a backward pass."""
    case = drawn(trial, "not", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        _plain(trial, layer)
        for _ in range(2):
            layer.forward(case.x, grad=True)
            layer.backward(case.dy)
        _plain(trial, layer)


def _plain(trial: Trial, layer: Guard) -> None:
    inner: Any = layer.layer
    learned = {id(p) for p in layer.module.parameters()}
    for role in NAMES:
        b = inner.tensor(role)
        if b is None or not hasattr(b, "requires_grad"):
            continue
        trial.expect("BUF-6", id(b) not in learned, f"{role} is among parameters().")
        trial.expect("BUF-6", not b.requires_grad, f"{role} requires a gradient.")
        trial.expect("BUF-6", b.grad_fn is None, f"{role} holds on to a graph.")
        trial.expect("BUF-6", b.is_leaf and b.grad is None, f"{role} has received a gradient.")


@requirement("BUF-7")
def test_no_optimizer_moves_them(trial: Trial) -> None:
    """Whichever it is: all of them decay what they are given."""
    case = drawn(trial, "optimizer", 6, 3)
    for name in OPTIMIZERS[trial.profile]:
        with trial.case(f"{case.id}/{name}"):
            layer = trial.build(case.config, case.state)
            make = partial(optimizer, trial, name, lr=0.1, weight_decay=0.5)
            given = layer.call("parameters()", lambda m=make, b=layer.module: m(b.parameters()))
            layer.forward(case.x, grad=True)
            layer.backward(case.dy)
            before = layer.state()
            layer.call("optimizer.step()", given.step)
            after = layer.state()
            moved = [r for r in NAMES[:2] if not same(getattr(before, r), getattr(after, r))]
            trial.expect("BUF-7", not moved, f"An optimizer step moves {' and '.join(moved)}.")
            ok = before.num_batches_tracked == after.num_batches_tracked
            trial.expect("BUF-7", ok, "An optimizer step moves the counter.")


@requirement("BUF-8")
def test_track_running_stats_false(trial: Trial) -> None:
    """All three names are registered as buffers and None, also after training."""
    case = drawn(trial, "untracked", 6, 3, track_running_stats=False)
    with trial.case("track_running_stats=False"):
        layer = trial.build(case.config)
        registered_none(trial, "BUF-8", layer.module, NAMES, "_buffers")
        layer.forward(case.x)
        registered_none(trial, "BUF-8", layer.module, NAMES, "_buffers")
        left = [n for n, _ in layer.module.named_buffers()]
        trial.expect("BUF-8", not left, f"track_running_stats=False keeps {', '.join(left)}.")


@requirement("BUF-9")
@pytest.mark.parametrize("momentum", [0.3, 1.0, None])
def test_updated_in_place(trial: Trial, momentum: float | None) -> None:
    """The same tensor, at the same address, with other values."""
    trial.require(*(["cumulative"] if momentum is None else []))
    case = drawn(trial, "in-place", 6, 3, momentum=momentum)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        inner: Any = layer.layer
        before = {r: (inner.tensor(r), _address(inner.tensor(r))) for r in NAMES}
        layer.forward(case.x)
        for role, (tensor, address) in before.items():
            now = inner.tensor(role)
            ok = now is tensor and _address(now) == address
            trial.expect("BUF-9", ok, f"{role} is another tensor after a training step.")
        held = before["running_mean"][0]
        moved = held is not None and not same(held.detach().cpu().numpy(), case.state.running_mean)
        trial.expect("BUF-9", moved, "A reference to running_mean does not see the update.")


def _address(tensor: Any) -> Any:
    return tensor.data_ptr() if hasattr(tensor, "data_ptr") else id(tensor)


@requirement("BUF-10")
@pytest.mark.parametrize("name", ["double", "half", "bfloat16"])
def test_conversion(trial: Trial, name: str) -> None:
    """The floating tensors follow; the counter stays whole and keeps its count."""
    dtype = {"double": "float64", "half": "float16"}.get(name, name)
    with trial.case(name):
        layer = trial.build(Config(3), State(num_batches_tracked=3000))
        converted = layer.call(f"{name}()", getattr(layer.module, name))
        inner: Any = layer.layer
        inner.module = converted
        for role in ROLES:
            got = str(getattr(inner.tensor(role), "dtype", None))
            trial.expect("BUF-10", got == f"torch.{dtype}", f"{role} is {got} after {name}().")
        counter = inner.tensor(COUNTER)
        seen = (str(getattr(counter, "dtype", None)), None if counter is None else int(counter))
        trial.expect(
            "BUF-10", seen == ("torch.int64", 3000), f"The counter is {seen} after {name}()."
        )


@requirement("BUF-11")
def test_persistent(trial: Trial) -> None:
    """The state dict is the five tensors."""
    with trial.case("state_dict"):
        keys = list(saved(trial.build_default(3)))
        ok = sorted(keys) == sorted(KEYS)
        trial.expect("BUF-11", ok, f"The state dict holds {', '.join(keys) or 'nothing'}.")


def saved(layer: Guard) -> dict[str, Any]:
    """The state dict."""
    return dict(layer.call("state_dict()", layer.module.state_dict))


@requirement("BUF-12")
def test_reset_running_stats(trial: Trial) -> None:
    """In place; weight and bias stay."""
    case = drawn(trial, "reset", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x)
        inner: Any = layer.layer
        kept = {r: inner.tensor(r) for r in NAMES}
        layer.method("reset_running_stats")
        state = layer.state()
        for role, value in (("running_mean", 0), ("running_var", 1)):
            got = getattr(state, role)
            ok = got is not None and bool((got == value).all())
            trial.expect("BUF-12", ok, f"{role} is {got} after reset_running_stats().")
        count = state.num_batches_tracked
        trial.expect("BUF-12", count == 0, f"The counter is {count} after reset_running_stats().")
        other = [r for r in NAMES if inner.tensor(r) is not kept[r]]
        trial.expect("BUF-12", not other, f"{', '.join(other)} is another tensor after the reset.")
        learned = same(state.weight, case.state.weight) and same(state.bias, case.state.bias)
        trial.expect("BUF-12", learned, "reset_running_stats() changes weight or bias.")


@requirement("BUF-13")
def test_load_state_dict(trial: Trial) -> None:
    """Out of one layer, into another, bit for bit, and used."""
    case = drawn(trial, "load", 6, 3, training=False)
    with trial.case(case):
        source = trial.build(case.config, case.state)
        target = trial.build(case.config)
        values = {k: v.clone() for k, v in saved(source).items()}
        target.call("load_state_dict()", target.module.load_state_dict, values)
        names = unchanged(source.state(), target.state())
        trial.expect("BUF-13", not names, f"Loading changes {names}.")
        counts = source.state().num_batches_tracked, target.state().num_batches_tracked
        trial.expect(
            "BUF-13", counts[0] == counts[1], f"The counter {counts[0]} is loaded as {counts[1]}."
        )
        target.train(False)
        trial.compare("BUF-13", target.forward(case.x), trial.expected(case).y, case)


@requirement("BUF-14")
@pytest.mark.parametrize("momentum", [0.3, None])
def test_state_is_in_the_buffers(trial: Trial, momentum: float | None) -> None:
    """Train, write other statistics, train: the second step starts from what was written."""
    trial.require(*(["cumulative", "counter"] if momentum is None else []))
    case = drawn(trial, "hidden", 6, 3, momentum=momentum)
    dtype = DTYPES[trial.format]
    other = replace(
        case.state,
        running_mean=np.full(3, -20, dtype),
        running_var=np.full(3, 30, dtype),
        num_batches_tracked=2,
    )
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x)
        layer.load(other)
        layer.forward(case.x)
        now = replace(case, id=f"{case.id}/written", state=other)
        want, got = trial.expected(now), layer.state()
        for name in ("running_mean", "running_var"):
            trial.compare("BUF-14", getattr(got, name), getattr(want, name), now)
        if trial.has("counter"):
            count = got.num_batches_tracked
            trial.expect(
                "BUF-14", count == 3, f"The counter is {count} after 2 was written and one step."
            )
