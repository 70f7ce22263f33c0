"""CONC: what goes on beside a layer, before it and after it: other layers, threads, settings."""

from __future__ import annotations

import gc
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import MODES, drawn, only, requirement, same
from bn1d_conformance.checks.modules import OPTIMIZERS, optimizer
from bn1d_conformance.checks.test_eval import full
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array, State
    from bn1d_conformance.trial import Trial

CALLS, WINDOWS = 50, 4  # 200 calls, after as many as a window to warm up
STEPS = 5  # of each thread
GONE = 48  # layers that are used and deleted
ATTEMPTS = 300  # to make one in the place of one of them
ROUNDS = 5  # of such attempts: where Python puts a new object is its own affair


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try the optimizers of the profile."""
    if "optimizer_name" in metafunc.fixturenames:
        profile = metafunc.config.getoption("--bn1d-profile")
        metafunc.parametrize("optimizer_name", OPTIMIZERS[profile])


def _pass(trial: Trial, ident: str, layer: Guard, case: Case) -> None:
    """One pass from the layer's own state, with all that comes of it."""
    before = full(layer.state(), case)
    now = replace(case, training=layer.training, state=before)
    want = trial.expected(now)
    trial.compare(ident, layer.forward(case.x, grad=trial.has("grad")), want.y, now)
    _tracked(trial, ident, layer, now)
    if trial.has("grad"):
        trial.compare(ident, layer.backward(case.dy).x, want.dx, now)


def _tracked(trial: Trial, ident: str, layer: Guard, case: Case) -> None:
    """The statistics that a training pass has left."""
    if case.training and trial.has("statistics"):
        want, state = trial.expected(case), layer.state()
        trial.compare(ident, state.running_mean, want.running_mean, case)
        trial.compare(ident, state.running_var, want.running_var, case)


# Memory


@requirement("CONC-7")
@MODES
def test_nothing_grows(trial: Trial, training: bool) -> None:
    """Objects are counted after every fiftieth of 250 calls, each of another batch.

    Evaluation is without gradients, as in a server.
    A call that leaves something behind leaves one object at least, so that every window of
    calls adds as many as it has; whatever fills up, or is made once, adds none in some window.
    """
    trial.require(*(["eval", "statistics"] * (not training)))
    case = drawn(trial, "grows", 4, 3, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        gc.freeze()  # what is there already need not be looked through each time
        counts = [_alive(trial, layer, case, k) for k in range(WINDOWS + 1)]
        growth = min(int(n) for n in np.diff(counts))
        said = f"Every {CALLS} calls leave {growth} objects more, or more than that."
        trial.expect("CONC-7", growth < CALLS, said)


def _alive(trial: Trial, layer: Guard, case: Case, window: int) -> int:
    """The blocks of memory that Python's objects take after one more window of calls."""
    inner, grad = layer.layer, case.training and trial.has("grad")
    for k in range(CALLS):
        x = case.x + case.x.dtype.type(window * CALLS + k)
        layer.call("forward of many", lambda x=x: inner.forward(x, grad=grad))
        if grad:
            layer.call("backward of many", inner.backward, case.dy)
    gc.collect()
    return sys.getallocatedblocks()


# Threads


@requirement("CONC-8")
def test_a_layer_for_each_thread(trial: Trial) -> None:
    """Three threads train and one evaluates, in step: all forward, then all backward."""
    threads = 4
    cases = [
        drawn(trial, f"thread{k}", 17, 5, eps=10.0**-k, training=k > 0 or not trial.has("eval"))
        for k in range(threads)
    ]
    with trial.case("a layer for each thread"):
        layers = [trial.build(c.config, c.state, training=c.training) for c in cases]
        together = Barrier(threads, timeout=20)
        work = [
            lambda layer=layer, case=case: _steps(trial, layer.layer, case, together)
            for layer, case in zip(layers, cases, strict=True)
        ]
        with _hasty(), ThreadPoolExecutor(threads) as pool:
            seen = layers[0].call("training in threads", lambda: list(pool.map(_call, work)))
        for case, steps in zip(cases, seen, strict=True):
            _judge_steps(trial, case, steps)


def _call(work: Callable[[], Any]) -> Any:
    return work()


@contextmanager
def _hasty() -> Iterator[None]:
    """Let Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


Seen = list[tuple["State", "Array", "Array | None", "State"]]


def _steps(trial: Trial, layer: Any, case: Case, together: Barrier) -> Seen:
    """State, output, gradient and state again, of each step; who fails frees the others."""
    grad, seen = trial.has("grad"), []
    try:
        for _ in range(STEPS):
            before = layer.state()
            together.wait()
            y = layer.forward(case.x, grad=grad)
            after = layer.state()
            together.wait()
            seen.append((before, y, layer.backward(case.dy).x if grad else None, after))
    except BaseException:
        together.abort()
        raise
    return seen


def _judge_steps(trial: Trial, case: Case, steps: Seen) -> None:
    for k, (before, y, dx, after) in enumerate(steps):
        now = replace(case, id=f"{case.id}/step{k + 1}", state=full(before, case))
        want = trial.expected(now)
        trial.compare("CONC-8", y, want.y, now)
        if dx is not None:
            trial.compare("CONC-8", dx, want.dx, now)
        if case.training:
            trial.compare("CONC-8", after.running_mean, want.running_mean, now)
            trial.compare("CONC-8", after.running_var, want.running_var, now)


# Other layers


@requirement("CONC-9")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["rising", "falling"])
def test_each_keeps_its_own(trial: Trial, order: tuple[int, ...]) -> None:
    """Three layers, made in some order; then two of them are changed, and the third is used."""
    sizes = ((6, 2), (7, 4), (8, 3))
    cases = [
        drawn(trial, f"own{k}", *size, eps=10.0 ** (-2 * k - 1), momentum=0.2 + 0.3 * k)
        for k, size in enumerate(sizes)
    ]
    with trial.case(f"made in the order {order}"):
        layers = {k: trial.build(cases[k].config, cases[k].state) for k in order}
        for k in (0, 1, 2):
            _pass(trial, "CONC-9", layers[k], cases[k])
        for other in (layers[0], layers[1]):
            other.train(False)
            for name, value in (("eps", 0.5), ("momentum", 0.9)):
                other.call(f"assigning {name}", setattr, other.module, name, value)
        layers[1].call("double()", layers[1].module.double)
        layers[1].forward(cases[1].x.astype(np.float64))
        _pass(trial, "CONC-9", layers[2], cases[2])
        state = layers[2].state()
        kept = all(t is None or t.dtype == np.float32 for t in (state.weight, state.running_var))
        trial.expect("CONC-9", kept, "double() of one layer changes the format of another.")


@requirement("CONC-12")
def test_optimizer_moves_its_own(trial: Trial, optimizer_name: str) -> None:
    """Three steps, beside the same optimizer at work on copies of weight and bias."""
    torch = trial.torch
    make = partial(optimizer, trial, optimizer_name, lr=0.1, weight_decay=0.5)
    case = drawn(trial, "optimized", 6, 3)
    with trial.case(f"{case.id}/{optimizer_name}"):
        layer, other = trial.build(case.config), trial.build(case.config)
        given = layer.call("parameters()", lambda: make(layer.module.parameters()))
        layer.load(case.state)
        twins = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in _learned(layer.state())]
        rule, beside = make(twins), other.state()
        for _ in range(3):
            layer.forward(case.x, grad=True)
            gradients = layer.backward(case.dy)
            before = layer.state()
            layer.call("optimizer.step()", given.step)
            after = layer.state()
            for twin, gradient in zip(twins, gradients[1:], strict=True):
                twin.grad = None if gradient is None else torch.from_numpy(gradient)
            rule.step()
            _judge_moves(trial, after, [t.detach().numpy() for t in twins])
            still = [r for r in vars(after) if r not in {"weight", "bias"}]
            moved = [r for r in still if not _alike(getattr(before, r), getattr(after, r))]
            trial.expect("CONC-12", not moved, f"An optimizer step moves {' and '.join(moved)}.")
        roles = [r for r, v in vars(other.state()).items() if not _alike(v, getattr(beside, r))]
        said = f"Training one layer moves {' and '.join(roles)} of another."
        trial.expect("CONC-12", not roles, said)


def _learned(state: State) -> tuple[Any, Any]:
    return state.weight, state.bias


def _judge_moves(trial: Trial, state: State, wanted: list[Array]) -> None:
    """Foreach and fused steps may round in another order than those of the copies."""
    for role, got, want in zip(("weight", "bias"), _learned(state), wanted, strict=True):
        ok = got is not None and np.allclose(got, want, rtol=1e-5, atol=1e-6)
        trial.expect("CONC-12", ok, f"{role} becomes {got}, where {want} is right.")


def _alike(a: Any, b: Any) -> bool:
    """Equal to the bit: arrays, counts, and what is absent."""
    return same(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else a == b


@requirement("CONC-13")
@MODES
def test_after_a_deleted_layer(trial: Trial, training: bool) -> None:
    """Some layers are used and deleted; one of another state stands where one of them stood."""
    trial.require(*(["eval", "statistics"] * (not training)))
    first, second = (drawn(trial, f"deleted{k}", 6, 3, training=training) for k in range(2))
    with trial.case(second):
        first = replace(first, x=second.x, dy=second.dy)
        for _ in range(ROUNDS):
            gc.collect()  # of layers that hold themselves: their places are free now
            gone = _gone(trial, first)
            layer = _in_place_of(trial, gone, second)
            if id(layer.module) in gone:
                break
        _pass(trial, "CONC-13", layer, second)


def _gone(trial: Trial, case: Case) -> set[int]:
    """The ids of layers that were used, and are deleted when this returns."""
    layers = [trial.build(case.config, only(trial, case.state)) for _ in range(GONE)]
    for layer in layers:
        layer.train(case.training)
        layer.forward(case.x, grad=trial.has("grad"))
        if trial.has("grad"):
            layer.backward(case.dy)
    return {id(layer.module) for layer in layers}


def _in_place_of(trial: Trial, gone: set[int], case: Case) -> Guard:
    """A layer that has the id of one that is gone; after many attempts, any layer."""
    made: list[Guard] = []  # kept, so that each stands in another place
    while not made or (id(made[-1].module) not in gone and len(made) < ATTEMPTS):
        made.append(trial.build(case.config, only(trial, case.state), training=case.training))
    return made[-1]


@requirement("CONC-14")
@pytest.mark.parametrize("modes", [(True, True), (False, False), (True, False)], ids=str)
def test_one_tensor_for_several(trial: Trial, modes: tuple[bool, bool]) -> None:
    """Two layers on one tensor, the first of them twice; one backward pass of the sum."""
    cases = [
        drawn(trial, f"branch{k}", 6, 3, eps=10.0 ** -(1 + 3 * k), training=mode)
        for k, mode in enumerate(modes)
    ]
    x, torch = cases[0].x, trial.torch
    one, two = (replace(c, x=x, dy=cases[0].dy) for c in cases)
    with trial.case(f"{one.id}/{modes}"):
        layers = [trial.build(c.config, c.state, training=c.training) for c in (one, two)]
        inner: Any = layers[0].layer
        leaf = torch.from_numpy(x.copy()).to(inner.device).requires_grad_()
        shared = leaf * 1
        outputs = [layer.call("forward", layer.module, shared) for layer in (*layers, layers[0])]
        for case, y in zip((one, two, one), outputs, strict=True):
            trial.compare("CONC-14", y.detach().cpu().numpy(), trial.expected(case).y, case)
        dy = torch.from_numpy(one.dy.copy()).to(inner.device)
        layers[0].call("backward", lambda: sum((y * dy).sum() for y in outputs).backward())
        _judge_sum(trial, leaf.grad, [one, two, one], "dx")
        for role in ("weight", "bias"):
            _judge_sum(trial, inner.tensor(role).grad, [one, one], f"d{role}")


def _judge_sum(trial: Trial, got: Any, cases: list[Case], quantity: str) -> None:
    """A sum of gradients, under the sum of their bounds and the roundings of adding them."""
    answers = [getattr(trial.expected(case), quantity) for case in cases]
    exact = sum(a.exact for a in answers)
    each = sum(np.abs(a.exact) + a.bound for a in answers)
    bound = sum(a.bound for a in answers) + 4 * np.finfo(cases[0].x.dtype).eps * each
    total = replace(answers[0], exact=exact, bound=bound)
    trial.compare("CONC-14", None if got is None else got.cpu().numpy(), total, cases[0])


# A refused input


@requirement("CONC-10")
@MODES
@pytest.mark.parametrize("size", [(6,), (2, 3, 4, 5), (6, 4), (1, 3)], ids=str)
def test_after_a_refusal(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """A pass, a refusal, and two passes; without a refusal there is nothing to judge."""
    trial.require(*(["eval", "statistics"] * (not training)))
    case = drawn(trial, "goes on", 6, 3, training=training)
    with trial.case(f"{case.id}/{size}"):
        layer = trial.build(case.config, case.state, training=training)
        layer.forward(case.x, grad=trial.has("grad"))
        try:
            layer.forward(np.ones(size, DTYPES[trial.format]), grad=trial.has("grad"))
        except SubjectError:
            for _ in range(2):
                _pass(trial, "CONC-10", layer, case)
    if not trial.judged("CONC-10"):
        trial.decline(f"an input of shape {size} is not refused")


# Settings


@requirement("CONC-11")
@MODES
@pytest.mark.parametrize("setting", ["float64", "float16", "threads", "anomalies"])
def test_settings_of_the_process(trial: Trial, setting: str, training: bool) -> None:
    """A layer made before the setting was, in each mode."""
    case = drawn(trial, "settings", 6, 3, training=training)
    with trial.case(f"{case.id}/{setting}"):
        layer = trial.build(case.config, case.state, training=training)
        with _set(trial.torch, setting):
            y = layer.forward(case.x, grad=True)
            got, state = layer.backward(case.dy), layer.state()
        want = trial.expected(case)
        trial.compare("CONC-11", y, want.y, case)
        _tracked(trial, "CONC-11", layer, case)
        found = {"y": y, "dx": got.x, "dweight": got.weight, "dbias": got.bias}
        for name in ("dx", "dweight", "dbias"):
            trial.compare("CONC-11", found[name], getattr(want, name), case)
        found |= {"running_mean": state.running_mean, "running_var": state.running_var}
        wrong = [n for n, v in found.items() if v is not None and v.dtype != case.x.dtype]
        said = f"With {setting} set, {' and '.join(wrong)} changes its format."
        trial.expect("CONC-11", not wrong, said)


@contextmanager
def _set(torch: Any, setting: str) -> Iterator[None]:
    """Change one setting of the process, and put it back."""
    if setting == "anomalies":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is on
            with torch.autograd.detect_anomaly():
                yield
        return
    threads = setting == "threads"
    get, put = (
        (torch.get_num_threads, torch.set_num_threads)
        if threads
        else (torch.get_default_dtype, torch.set_default_dtype)
    )
    before = get()
    put(before + 2 if threads else getattr(torch, setting))
    try:
        yield
    finally:
        put(before)


@requirement("CONC-15")
@MODES
def test_deterministic(trial: Trial, training: bool) -> None:
    """Two layers, the same case: right, and the same bits."""
    case = drawn(trial, "deterministic", 33, 5, training=training)
    torch = trial.torch
    with trial.case(case):
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        try:
            seen = []
            for _ in range(2):
                layer = trial.build(case.config, case.state, training=training)
                seen.append(layer.forward(case.x))
                _tracked(trial, "CONC-15", layer, case)
        finally:
            torch.use_deterministic_algorithms(before)
        trial.compare("CONC-15", seen[0], trial.expected(case).y, case)
        trial.expect("CONC-15", same(*seen), "The same input gives other bits.")
