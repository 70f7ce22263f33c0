"""COMP: the layer among others."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import (
    MODES,
    drawn,
    equal,
    require_repeats,
    requirement,
    same,
    unchanged,
)
from bn1d_conformance.checks.test_state import key_of
from bn1d_conformance.subject import ROLES

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array, State
    from bn1d_conformance.trial import Trial


@requirement("COMP-1")
@MODES
@pytest.mark.parametrize("size", [(6, 3), (2, 3, 4)], ids=["2d", "3d"])
def test_input_is_left(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """The memory that was handed over holds what it held, after forward and backward."""
    trial.require(*(["3d"] if len(size) == 3 else []), *(["statistics"] * (not training)))
    case = drawn(trial, "left", *size, training=training)
    for grad in (False, True) if trial.has("grad") else (False,):
        with trial.case(f"{case.id}/{'grad' if grad else 'no grad'}"):
            layer = trial.build(case.config, case.state, training=training)
            layer.forward(case.x, grad=grad)
            trial.expect(
                "COMP-1", same(layer.given(), case.x), "The forward pass changes its input."
            )
            if trial.has("torch-module"):
                inner: Any = layer.layer
                flag = inner.x.requires_grad
                trial.expect(
                    "COMP-1", flag == grad, "The forward pass makes its input require a gradient."
                )
            if grad:
                layer.backward(case.dy)
                trial.expect(
                    "COMP-1", same(layer.given(), case.x), "The backward pass changes the input."
                )


@requirement("COMP-2")
@MODES
@pytest.mark.parametrize("size", [(6, 3), (2, 3, 4), (0, 3)], ids=str)
def test_output_is_its_own(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Writing into an output changes neither input nor state; a later call changes no output."""
    trial.require("torch-module")
    case = drawn(trial, "own", 6, 3, training=training)
    x = drawn(trial, "own", *size).x if 0 not in size else np.zeros(size, case.x.dtype)
    with trial.case(f"{case.id}/{size}"):
        layer = trial.build(case.config, case.state, training=training)
        first = _raw(layer, x)
        kept, state = first.clone(), layer.state()
        second = _raw(layer, x * np.float32(3) + np.float32(1))
        trial.expect(
            "COMP-2", bool((first == kept).all()), "A later call changes an earlier output."
        )
        _writes(trial, layer, second, x * np.float32(3) + np.float32(1))
        if not training:
            names = unchanged(state, layer.state())
            trial.expect("COMP-2", not names, f"Writing into the output changes {names}.")


def _raw(layer: Guard, x: Array) -> Any:
    """The output tensor itself, detached."""
    layer.forward(x)
    inner: Any = layer.layer
    return inner.y.detach()


def _writes(trial: Trial, layer: Guard, y: Any, x: Array) -> None:
    if y.numel():
        y.fill_(77)
        trial.expect("COMP-2", same(layer.given(), x), "Output and input share memory.")
    inner: Any = layer.layer
    other = y is not inner.x and (not y.numel() or y.data_ptr() != inner.x.data_ptr())
    trial.expect("COMP-2", other, "The output is the input itself.")


@requirement("COMP-3")
@pytest.mark.parametrize("name", ["momentum", "eps"])
def test_attributes_are_read(trial: Trial, name: str) -> None:
    """Another momentum and another eps between two passes."""
    case = drawn(trial, f"attribute-{name}", 6, 3)
    value = {"momentum": 0.75, "eps": 0.5}[name]
    changed = replace(case, config=replace(case.config, **{name: value}))  # type: ignore[arg-type]
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x)
        layer.call(f"assigning {name}", setattr, layer.module, name, value)
        layer.load(case.state)
        y = layer.forward(case.x)
        state, want = layer.state(), trial.expected(changed)
        trial.compare("COMP-3", y, want.y, changed)
        for which in ("running_mean", "running_var"):
            trial.compare("COMP-3", getattr(state, which), getattr(want, which), changed)
        layer.train(False)
        now = replace(changed, training=False, state=replace(case.state, **_statistics(state)))
        trial.compare("COMP-3", layer.forward(case.x), trial.expected(now).y, now)


def _statistics(state: State) -> dict[str, Any]:
    return {"running_mean": state.running_mean, "running_var": state.running_var}


@requirement("COMP-4")
def test_tracking_can_be_switched_off(trial: Trial) -> None:
    """The buffers are there, and stay as they are; evaluation uses them."""
    case = drawn(trial, "switched", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.call(
            "assigning track_running_stats", setattr, layer.module, "track_running_stats", False
        )
        before = layer.state()
        trial.compare("COMP-4", layer.forward(case.x), trial.expected(case).y, case)
        after = layer.state()
        names = unchanged(before, after)
        trial.expect("COMP-4", not names, f"Training without tracking changes {names}.")
        counts = before.num_batches_tracked, after.num_batches_tracked
        trial.expect("COMP-4", counts[0] == counts[1], "Training without tracking counts a batch.")
        layer.train(False)
        evaluated = replace(case, id=f"{case.id}/eval", training=False)
        trial.compare("COMP-4", layer.forward(case.x), trial.expected(evaluated).y, evaluated)


@requirement("COMP-5")
def test_parent_sets_the_mode(trial: Trial) -> None:
    """eval() and train() of a Sequential."""
    case = drawn(trial, "parent", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        parent = trial.torch.nn.Sequential(layer.module)
        for training in (False, True):
            layer.call("train() of the parent", parent.train, training)
            now = replace(case, id=f"{case.id}/{training}", training=training)
            trial.compare("COMP-5", layer.forward(case.x), trial.expected(now).y, now)


@requirement("COMP-6")
@MODES
@pytest.mark.parametrize("how", ["no_grad", "inference_mode"])
def test_without_gradients(trial: Trial, how: str, training: bool) -> None:
    """The same bits, and no graph."""
    require_repeats(trial)
    case = drawn(trial, "quiet", 6, 3, training=training)
    with trial.case(f"{case.id}/{how}"):
        want = trial.build(case.config, case.state, training=training).forward(case.x, grad=True)
        layer = trial.build(case.config, case.state, training=training)
        with getattr(trial.torch, how)():
            got = layer.forward(case.x)
        inner: Any = layer.layer
        trial.expect(
            "COMP-6", not inner.y.requires_grad, f"Under {how} the output wants gradients."
        )
        trial.expect("COMP-6", equal(got, want), f"Under {how} the output is another.")


@requirement("COMP-7")
def test_functional_call(trial: Trial) -> None:
    """Other tensors for one call, between two calls with the layer's own."""
    case = drawn(trial, "functional", 6, 3, training=False)
    other = drawn(trial, "functional other", 6, 3, training=False)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=False)
        inner: Any = layer.layer
        before = layer.state()
        given = {
            key_of(layer, role): trial.torch.from_numpy(getattr(other.state, role).copy()).to(
                inner.device
            )
            for role in ROLES
        }
        x = trial.torch.from_numpy(case.x.copy()).to(inner.device)
        call = trial.torch.func.functional_call
        trial.compare("COMP-7", layer.forward(case.x), trial.expected(case).y, case)
        y = layer.call("functional_call", call, layer.module, given, (x,))
        now = replace(case, state=other.state)
        trial.compare("COMP-7", y.detach().cpu().numpy(), trial.expected(now).y, now)
        trial.compare("COMP-7", layer.forward(case.x), trial.expected(case).y, case)
        names = unchanged(before, layer.state())
        trial.expect("COMP-7", not names, f"functional_call changes {names} of the layer.")


@requirement("COMP-8")
def test_hooks(trial: Trial) -> None:
    """A forward hook, two calls."""
    case = drawn(trial, "hooks", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        seen: list[tuple[Any, Any]] = []
        layer.method("register_forward_hook", lambda _, a, out: seen.append((a[0], out)))
        for k in (1, 2):
            layer.forward(case.x)
            trial.expect(
                "COMP-8", len(seen) == k, f"After {k} calls the hook has run {len(seen)} times."
            )
        inner: Any = layer.layer
        own = bool(seen) and seen[-1][0] is inner.x and seen[-1][1] is inner.y
        trial.expect("COMP-8", own, "The hook does not see the input and the output of the call.")


def _process(torch: Any) -> dict[str, Any]:
    """What a call could leave changed behind it."""
    return {
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default format": torch.get_default_dtype(),
        "random state": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "anomaly mode": torch.is_anomaly_enabled(),
    }


@requirement("COMP-9")
@MODES
@pytest.mark.parametrize("recorded", [True, False], ids=["gradients", "no gradients"])
def test_process_is_left(trial: Trial, training: bool, recorded: bool) -> None:
    """Before and after a forward and a backward pass, and a forward pass under no_grad."""
    case = drawn(trial, "process", 6, 3, training=training)
    with trial.case(replace(case, id=f"{case.id}/{'gradients' if recorded else 'no gradients'}")):
        layer = trial.build(case.config, case.state, training=training)
        trial.torch.rand(1)  # away from where a call that seeds has left the generator
        trial.torch.set_grad_enabled(recorded)
        before = _process(trial.torch)
        try:
            layer.forward(case.x, grad=recorded)
            if recorded:
                layer.backward(case.dy)
        finally:
            after = _process(trial.torch)
            trial.torch.set_grad_enabled(True)
        changed = [name for name, value in before.items() if after[name] != value]
        trial.expect("COMP-9", not changed, f"A call changes {' and '.join(changed)}.")


@requirement("COMP-10")
@MODES
def test_nothing_is_kept(trial: Trial, training: bool) -> None:
    """Input and output are gone when the caller lets go of them."""
    case = drawn(trial, "kept", 6, 3, training=training)
    torch = trial.torch
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        inner: Any = layer.layer
        x = torch.from_numpy(case.x.copy()).to(inner.device)
        with torch.no_grad():
            y = layer.call("forward", layer.module, x)
        alive = {"input": weakref.ref(x), "output": weakref.ref(y)}
        del x, y
        gc.collect()
        kept = [name for name, reference in alive.items() if reference() is not None]
        trial.expect("COMP-10", not kept, f"The {' and the '.join(kept)} of a call is kept.")
