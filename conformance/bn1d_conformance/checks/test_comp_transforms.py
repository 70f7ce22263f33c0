"""COMP: the layer as a function of its tensors: functional_call, vmap, ensembles, forward mode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import (
    MODES,
    drawn,
    judge_gradients,
    requirement,
    unchanged,
    unless_refused,
)
from bn1d_conformance.checks.modules import (
    array,
    judge_tracking,
    own,
    path_of,
    tensor,
    those,
)
from bn1d_conformance.subject import COUNTER, ROLES, Gradients, State

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial


@requirement("COMP-14")
def test_functional_training(trial: Trial) -> None:
    """A training pass with given tensors: they are used, moved and differentiated."""
    case = drawn(trial, "functional training", 6, 3)
    own_case = drawn(trial, "left alone", 6, 3)
    with trial.case(case):
        layer = trial.build(own_case.config, own_case.state)
        before = layer.state()
        given = _given(trial, layer, case.state)
        x = tensor(trial, layer, case.x).requires_grad_()
        y = layer.call(
            "functional_call", trial.torch.func.functional_call, layer.module, given, (x,)
        )
        trial.compare("COMP-14", array(y), trial.expected(case).y, case)
        judge_tracking(trial, "COMP-14", _read(layer, given), case)
        layer.call("backward", y.backward, tensor(trial, layer, case.dy))
        learned = (given[path_of(layer, role)].grad for role in ROLES[:2])
        got = Gradients(*map(array, (x.grad, *learned)))
        judge_gradients(trial, "COMP-14", got, trial.expected(case))
        _untouched(trial, "COMP-14", before, layer)


def _given(trial: Trial, layer: Guard, state: State) -> dict[str, Any]:
    """New tensors of a state, by the module's names; weight and bias want gradients."""
    given = {path_of(layer, r): tensor(trial, layer, getattr(state, r)) for r in ROLES}
    for role in ROLES[:2]:
        given[path_of(layer, role)].requires_grad_()
    for role in those(layer, COUNTER):
        given[path_of(layer, role)] = own(layer, role).detach() * 0 + state.num_batches_tracked
    return given


def _read(layer: Guard, given: dict[str, Any], member: Any = ...) -> State:
    """The state that given tensors hold; of stacked ones, a member's."""
    values = {r: array(given[path_of(layer, r)][member]) for r in those(layer, *ROLES)}
    count = [int(given[path_of(layer, r)][member]) for r in those(layer, COUNTER)]
    return State(**values, num_batches_tracked=count[0] if count else None)


def _untouched(trial: Trial, ident: str, before: State, layer: Guard) -> None:
    """The layer's own tensors are what they were."""
    after = layer.state()
    names = unchanged(before, after)
    trial.expect(ident, not names, f"The call changes {names} of the layer itself.")
    same = before.num_batches_tracked == after.num_batches_tracked
    trial.expect(ident, same, "The call counts a batch in the layer itself.")


@requirement("COMP-19")
@pytest.mark.parametrize("axis", [0, 1], ids=["first axis", "second axis"])
@pytest.mark.parametrize("tracks", [True, False], ids=["evaluation", "training untracked"])
def test_vmap(trial: Trial, tracks: bool, axis: int) -> None:
    """Three batches at once; without statistics in training, where each has its own."""
    base = drawn(trial, "vmap", 6, 3, training=not tracks, track_running_stats=tracks)
    trial.require(*base.config.needs)
    batches = [drawn(trial, f"vmap {k}", 6, 3).x for k in range(3)]
    with trial.case(f"{base.id}/axis {axis}"), unless_refused(trial, "vmap refuses the layer"):
        layer = trial.build(base.config, base.state, training=base.training)
        before = layer.state()
        stacked = tensor(trial, layer, np.stack(batches, axis=axis))
        call = trial.torch.func.vmap(layer.module, in_dims=axis, out_dims=axis)
        y = layer.call("vmap", call, stacked)
        for k, x in enumerate(batches):
            case = replace(base, id=f"{base.id}/{k}", x=x)
            trial.compare("COMP-19", array(y.select(axis, k)), trial.expected(case).y, case)
        _untouched(trial, "COMP-19", before, layer)


@requirement("COMP-20")
@MODES
def test_ensemble(trial: Trial, training: bool) -> None:
    """Three layers stacked into one, a batch for each."""
    cases = [drawn(trial, f"member {k}", 6, 3, training=training) for k in range(3)]
    func = trial.torch.func
    with trial.case(f"ensemble/{training}"), unless_refused(trial, "vmap refuses the ensemble"):
        layers = [trial.build(c.config, c.state, training=training) for c in cases]
        first = layers[0]
        before = first.state()
        given = func.stack_module_state([layer.module for layer in layers])
        x = tensor(trial, first, np.stack([case.x for case in cases]))

        def member(parameters: Any, buffers: Any, batch: Any) -> Any:
            return func.functional_call(first.module, (parameters, buffers), (batch,))

        y = first.call("vmap of functional_call", func.vmap(member), *given, x)
        for k, case in enumerate(cases):
            trial.compare("COMP-20", array(y[k]), trial.expected(case).y, case)
            state = _read(first, {**given[0], **given[1]}, k)
            judge_tracking(trial, "COMP-20", state, case)
        _untouched(trial, "COMP-20", before, first)


@requirement("COMP-21")
@MODES
@pytest.mark.parametrize("size", [(7, 3), (3, 3, 4)], ids=["2d", "3d"])
def test_forward_mode(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """The tangent of y for a tangent of x.

    The Jacobian of y by x is symmetric in both modes, diag(w/σ)·(I − 11ᵀ/n − x̂x̂ᵀ/n) and
    diag(w/σ): J·v is the gradient Jᵀ·v, exact value and bound.
    """
    trial.require(*(["3d"] if len(size) == 3 else []))
    case = drawn(trial, "tangent", *size, training=training)
    with trial.case(case), unless_refused(trial, "forward mode is refused"):
        layer = trial.build(case.config, case.state, training=training)
        forward_ad = trial.torch.autograd.forward_ad
        x, v = (tensor(trial, layer, a) for a in (case.x, case.dy))
        with forward_ad.dual_level():
            y = layer.call("forward of a dual tensor", layer.module, forward_ad.make_dual(x, v))
            primal, tangent = (array(t) for t in forward_ad.unpack_dual(y))
        trial.compare("COMP-21", primal, trial.expected(case).y, case)
        answer = replace(trial.expected(case).dx, quantity="tangent")
        trial.compare("COMP-21", tangent, answer, case)
        judge_tracking(trial, "COMP-21", layer.state(), case)


@requirement("COMP-21")
@MODES
@pytest.mark.parametrize("role", ["weight", "bias"])
def test_forward_mode_of_parameters(trial: Trial, role: str, training: bool) -> None:
    """The tangent of y for a tangent of weight, x̂·v, is y at weight v and bias 0; for bias, v."""
    case = drawn(trial, f"tangent of {role}", 6, 3, training=training)
    v: Array = drawn(trial, "tangent of parameters", 1, 3).x[0]
    parts = {"weight": 0 * v, "bias": 0 * v, role: v}
    moved = replace(case.state, weight=parts["weight"], bias=parts["bias"])
    want = replace(case, id=f"{case.id}/{role}", state=moved)
    with trial.case(case), unless_refused(trial, "forward mode is refused"):
        layer = trial.build(case.config, case.state, training=training)
        forward_ad, functional_call = (
            trial.torch.autograd.forward_ad,
            trial.torch.func.functional_call,
        )
        with forward_ad.dual_level():
            given = forward_ad.make_dual(own(layer, role).detach(), tensor(trial, layer, v))
            y = layer.call(
                "forward with a dual parameter",
                functional_call,
                layer.module,
                {path_of(layer, role): given},
                (tensor(trial, layer, case.x),),
            )
            tangent = array(forward_ad.unpack_dual(y).tangent)
        answer = replace(trial.expected(want).y, quantity="tangent")
        trial.compare("COMP-21", tangent, answer, want)
