"""COMP: the layer in a network: frozen, hooked, recomputed, sharing its tensors with another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bn1d_conformance.checks.common import drawn, judge_gradients, requirement, same, unchanged
from bn1d_conformance.checks.modules import (
    added,
    array,
    judge_pass,
    judge_tracking,
    name_of,
    own,
    tensor,
    those,
)
from bn1d_conformance.checks.test_eval import full
from bn1d_conformance.subject import COUNTER, ROLES, Gradients, SubjectError

BUFFERS = (*ROLES[2:], COUNTER)

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import State
    from bn1d_conformance.trial import Trial


@requirement("COMP-11")
@pytest.mark.parametrize("wanted", [True, False], ids=["input wants a gradient", "nothing does"])
def test_frozen_parameters(trial: Trial, wanted: bool) -> None:
    """Frozen, then thawed: requires_grad_(False), a pass, requires_grad_(True), a pass."""
    case = drawn(trial, "frozen", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        inner: Any = layer.layer
        layer.call("requires_grad_(False)", layer.module.requires_grad_, False)
        want = trial.expected(case)
        trial.compare("COMP-11", layer.forward(case.x, grad=wanted), want.y, case)
        judge_tracking(trial, "COMP-11", layer.state(), case)
        said = f"The output {'wants no' if wanted else 'wants a'} gradient."
        trial.expect("COMP-11", inner.y.requires_grad == wanted, said)
        if wanted:
            got = layer.backward(case.dy)
            trial.compare("COMP-11", got.x, want.dx, case)
            none = got.weight is None and got.bias is None
            trial.expect("COMP-11", none, "A frozen parameter receives a gradient.")
        layer.call("requires_grad_(True)", layer.module.requires_grad_, True)
        layer.load(case.state)
        judge_pass(trial, "COMP-11", layer, case)


@requirement("COMP-12")
def test_frozen_statistics(trial: Trial) -> None:
    """Two steps of a network in training whose layer is in evaluation."""
    case = drawn(trial, "frozen statistics", 6, 3, training=False)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        network = trial.torch.nn.Sequential(layer.module)
        network.train()
        layer.train(False)
        for _ in range(2):
            layer.module.zero_grad(set_to_none=True)
            x = tensor(trial, layer, case.x).requires_grad_()
            y = layer.call("forward of the network", network, x)
            trial.compare("COMP-12", array(y), trial.expected(case).y, case)
            layer.call("backward of the network", y.backward, tensor(trial, layer, case.dy))
            judge_gradients(trial, "COMP-12", _gradients(layer, x), trial.expected(case))
            judge_tracking(trial, "COMP-12", layer.state(), case)


def _gradients(layer: Guard, x: Any) -> Gradients:
    """What a backward pass has left in the input and in the parameters."""
    return Gradients(*(array(t.grad) for t in (x, own(layer, "weight"), own(layer, "bias"))))


@requirement("COMP-13")
def test_pre_hook(trial: Trial) -> None:
    """The input that a forward pre-hook returns is answered and tracked; then it is removed."""
    case, other = drawn(trial, "hooked", 6, 3), drawn(trial, "hooked other", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        x = tensor(trial, layer, other.x)
        handle = layer.method("register_forward_pre_hook", lambda *_: (x,))
        judge_pass(trial, "COMP-13", layer, replace(case, x=other.x), gradients=False)
        handle.remove()
        layer.load(case.state)
        judge_pass(trial, "COMP-13", layer, case)


@requirement("COMP-13")
def test_hook_that_answers(trial: Trial) -> None:
    """The output that a forward hook returns is the call's."""
    case = drawn(trial, "answering hook", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.method("register_forward_hook", lambda _module, _inputs, y: y * 2)
        half = layer.forward(case.x) / case.x.dtype.type(2)
        trial.compare("COMP-13", half, trial.expected(case).y, case)


@requirement("COMP-13")
def test_backward_hooks(trial: Trial) -> None:
    """A full backward pre-hook doubles dy; the full backward hook sees that, and dx."""
    case = drawn(trial, "backward hooks", 6, 3)
    doubled = replace(case, id=f"{case.id}/doubled", dy=case.dy * case.dy.dtype.type(2))
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        seen: list[tuple[Any, Any]] = []
        layer.method("register_full_backward_pre_hook", lambda _, dy: (dy[0] * 2,))
        layer.method("register_full_backward_hook", lambda _, dx, dy: seen.append((dx[0], dy[0])))
        trial.compare("COMP-13", layer.forward(case.x, grad=True), trial.expected(case).y, case)
        judge_gradients(trial, "COMP-13", layer.backward(case.dy), trial.expected(doubled))
        trial.expect("COMP-13", len(seen) == 1, f"The backward hook runs {len(seen)} times.")
        if seen:
            dx, dy = map(array, seen[0])
            trial.compare("COMP-13", dx, trial.expected(doubled).dx, doubled)
            trial.expect("COMP-13", same(dy, doubled.dy), "The backward hook sees another dy.")


@requirement("COMP-15")
@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_checkpointing(trial: Trial, reentrant: bool) -> None:
    """A forward pass whose activations are thrown away, and computed again by the backward one."""
    case = drawn(trial, "checkpoint", 6, 3)
    checkpoint = trial.torch.utils.checkpoint.checkpoint
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        x = tensor(trial, layer, case.x).requires_grad_()
        y = layer.call(
            "checkpointed forward", lambda: checkpoint(layer.module, x, use_reentrant=reentrant)
        )
        trial.compare("COMP-15", array(y), trial.expected(case).y, case)
        once = layer.state()
        judge_tracking(trial, "COMP-15", once, case)
        layer.call("checkpointed backward", y.backward, tensor(trial, layer, case.dy))
        judge_gradients(trial, "COMP-15", _gradients(layer, x), trial.expected(case))
        after = layer.state()
        if unchanged(once, after) or after.num_batches_tracked != once.num_batches_tracked:
            judge_tracking(trial, "COMP-15", after, replace(case, state=full(once, case)))


@requirement("COMP-16")
def test_used_twice(trial: Trial) -> None:
    """One layer at two places of a network: gradients add up, statistics follow one another."""
    first, second = (drawn(trial, f"place {k}", 5 + k, 3) for k in (1, 2))
    with trial.case("one layer, two places"):
        layer = trial.build(first.config, first.state)
        one = layer.forward(first.x, grad=True), _output(layer)
        between = layer.state()
        second = replace(second, state=full(between, first), config=first.config)
        two = layer.forward(second.x), _output(layer)
        for (y, _), case in zip((one, two), (first, second), strict=True):
            trial.compare("COMP-16", y, trial.expected(case).y, case)
        judge_tracking(trial, "COMP-16", between, first)
        judge_tracking(trial, "COMP-16", layer.state(), second)
        _differentiate(trial, layer, [one[1], two[1]], [first, second])
        _judge_sums(trial, layer, first, second)


@requirement("COMP-16")
def test_shared_parameters(trial: Trial) -> None:
    """Two layers with one weight and one bias: their gradients add up in it."""
    first, second = (drawn(trial, f"sharing {k}", 5 + k, 3) for k in (1, 2))
    with trial.case("two layers, one weight"):
        a, b = (trial.build(case.config, case.state) for case in (first, second))
        for role in ("weight", "bias"):
            b.call(f"assigning {role}", setattr, b.module, name_of(b, role), own(a, role))
        shared = replace(second.state, weight=first.state.weight, bias=first.state.bias)
        second = replace(second, state=shared)
        for layer, case in ((a, first), (b, second)):
            y = layer.forward(case.x, grad=True)
            trial.compare("COMP-16", y, trial.expected(case).y, case)
        _differentiate(trial, a, [_output(a), _output(b)], [first, second])
        _judge_sums(trial, a, first, second)


def _output(layer: Guard) -> Any:
    """The output of the last call, with its graph."""
    inner: Any = layer.layer
    return inner.y


def _differentiate(trial: Trial, layer: Guard, outputs: list[Any], cases: list[Case]) -> None:
    """One backward pass through several outputs."""
    gradients = [tensor(trial, layer, case.dy) for case in cases]
    layer.call("backward of the network", trial.torch.autograd.backward, outputs, gradients)


def _judge_sums(trial: Trial, layer: Guard, first: Case, second: Case) -> None:
    """weight.grad and bias.grad are the sums of both cases'."""
    one, two = trial.expected(first), trial.expected(second)
    for role, answer in (
        ("weight", added(one.dweight, two.dweight)),
        ("bias", added(one.dbias, two.dbias)),
    ):
        trial.compare("COMP-16", array(own(layer, role).grad), answer, first)


@requirement("COMP-17")
def test_shared_buffers(trial: Trial) -> None:
    """Two layers with the same buffers: each goes on from what the other left."""
    first, second = (drawn(trial, f"common {k}", 5 + k, 3) for k in (1, 2))
    with trial.case("two layers, one set of buffers"):
        a, b = (trial.build(case.config, case.state) for case in (first, second))
        for role in those(a, *BUFFERS):
            b.call(f"assigning {role}", setattr, b.module, name_of(b, role), own(a, role))
        for layer, base, training in ((a, first, True), (b, second, False), (b, second, True)):
            now = full(a.state(), first)
            state = replace(base.state, **{r: getattr(now, r) for r in BUFFERS})
            case = replace(base, id=f"{base.id}/{training}", state=state, training=training)
            layer.train(training)
            judge_pass(trial, "COMP-17", layer, case, gradients=False)
            names = unchanged(_statistics(a), _statistics(b))
            trial.expect("COMP-17", not names, f"The two layers no longer share {names}.")


def _statistics(layer: Guard) -> State:
    """What the layer tracks."""
    return replace(layer.state(), weight=None, bias=None)


@requirement("COMP-18")
@pytest.mark.parametrize("role", ["weight", "bias"])
def test_parametrised(trial: Trial, role: str) -> None:
    """Twice an original: what is used, what learns, and what follows when the original moves."""
    case = drawn(trial, f"parametrised {role}", 6, 3)
    torch = trial.torch
    twice = type("Twice", (torch.nn.Module,), {"forward": lambda _, original: original * 2})
    two = case.x.dtype.type(2)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        name = name_of(layer, role)
        register = torch.nn.utils.parametrize.register_parametrization
        layer.call("register_parametrization", register, layer.module, name, twice())
        original = getattr(layer.module.parametrizations, name).original
        for factor in (1, 4):
            values = getattr(case.state, role) * case.x.dtype.type(factor)
            with torch.no_grad():
                original.copy_(tensor(trial, layer, values))
            kept = {"weight": case.state.weight, "bias": case.state.bias, role: values * two}
            state = replace(case.state, weight=kept["weight"], bias=kept["bias"])
            used = replace(case, state=state)
            want = trial.expected(used)
            layer.load(replace(used.state, weight=None, bias=None))
            trial.compare("COMP-18", layer.forward(case.x, grad=True), want.y, used)
            y = _output(layer)
            layer.call("backward", y.backward, tensor(trial, layer, case.dy))
            learned = array(original.grad)
            ok = learned is not None
            trial.expect("COMP-18", ok, f"The original of {role} receives no gradient.")
            if learned is not None:
                answer = want.dweight if role == "weight" else want.dbias
                trial.compare("COMP-18", learned / two, answer, used)


@requirement("COMP-28")
def test_tracking_without_buffers(trial: Trial) -> None:
    """track_running_stats = True where there is nothing to track into."""
    case = drawn(trial, "switched on", 6, 3, track_running_stats=False)
    trial.require(*case.config.needs)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.call("assigning True", setattr, layer.module, "track_running_stats", True)
        for training in (True, False):
            now = replace(case, id=f"{case.id}/{training}", training=training)
            layer.train(training)
            try:
                y = layer.forward(now.x)
            except SubjectError:  # refused, and said so
                trial.expect("COMP-28", True, "")
            else:
                trial.compare("COMP-28", y, trial.expected(now).y, now)
