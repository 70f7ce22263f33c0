"""CONC: an answer depends on the state and on this input, and on nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import MODES, drawn, requirement, same
from bn1d_conformance.checks.test_eval import full
from bn1d_conformance.numbers import DTYPES

if TYPE_CHECKING:
    from bn1d_conformance.trial import Trial


@requirement("CONC-1")
@pytest.mark.parametrize("more", [0, 1], ids=["same size", "other size"])
def test_two_layers(trial: Trial, more: int) -> None:
    """Forward, forward, backward, backward, read, read."""
    cases = [drawn(trial, f"layer{k}", 6 + k * more, 3, eps=10.0 ** -(5 - 3 * k)) for k in (0, 1)]
    with trial.case(f"two layers/{cases[1].id}"):
        layers = [trial.build(c.config, c.state) for c in cases]
        grad = trial.has("grad")
        outputs = [layer.forward(c.x, grad=grad) for layer, c in zip(layers, cases, strict=True)]
        for layer, case, y in zip(layers, cases, outputs, strict=True):
            want, state = trial.expected(case), layer.state()
            trial.compare("CONC-1", y, want.y, case)
            trial.compare("CONC-1", state.running_mean, want.running_mean, case)
            trial.compare("CONC-1", state.running_var, want.running_var, case)
            if grad:
                trial.compare("CONC-1", layer.backward(case.dy).x, want.dx, case)


@requirement("CONC-2")
@MODES
def test_same_memory_new_values(trial: Trial, training: bool) -> None:
    """One tensor, overwritten in place between calls; then freed memory of the same shape."""
    base = drawn(trial, "memory", 6, 3, training=training)
    torch = trial.torch
    dtype = DTYPES[trial.format]
    with trial.case(base):
        layer = trial.build(base.config, base.state, training=training)
        inner: Any = layer.layer
        tensor = torch.from_numpy(base.x.copy()).to(inner.device)
        for k in range(4):
            x = (base.x * dtype.type(k - 1.5) + dtype.type(k)).astype(dtype)
            if k < 2:
                tensor = tensor.detach().copy_(torch.from_numpy(x))
            else:
                del tensor
                tensor = torch.from_numpy(x.copy()).to(inner.device)
            y = layer.call("forward", layer.module, tensor)
            case = replace(base, id=f"{base.id}/{k}", x=x)
            trial.compare("CONC-2", y.detach().cpu().numpy(), trial.expected(case).y, case)


@requirement("CONC-3")
def test_fortieth_call(trial: Trial) -> None:
    """Forty training passes of one layer; some of them, and the last, are judged."""
    base = drawn(trial, "forty", 5, 3)
    dtype = DTYPES[trial.format]
    with trial.case(base):
        layer = trial.build(base.config, base.state)
        for k in range(40):
            x = (base.x + dtype.type(k % 7)).astype(dtype)
            before = full(layer.state(), base)
            y = layer.forward(x)
            if k % 13 == 0 or k == 39:
                case = replace(base, id=f"{base.id}/call{k + 1}", x=x, state=before)
                want, state = trial.expected(case), layer.state()
                trial.compare("CONC-3", y, want.y, case)
                trial.compare("CONC-3", state.running_mean, want.running_mean, case)
                trial.compare("CONC-3", state.running_var, want.running_var, case)


@requirement("CONC-4")
def test_repeats(trial: Trial) -> None:
    """Two new layers, the same case: the same bits."""
    case = drawn(trial, "repeats", 129, 5)
    with trial.case(case):
        first, second = (trial.build(case.config, case.state).forward(case.x) for _ in range(2))
        trial.expect("CONC-4", same(first, second), "The same input gives other bits.")


@requirement("CONC-5")
def test_threads(trial: Trial) -> None:
    """Four threads, sixteen batches, one layer."""
    base = drawn(trial, "threads", 33, 5, training=False)
    torch = trial.torch
    dtype = DTYPES[trial.format]
    with trial.case(base):
        layer = trial.build(base.config, base.state, training=False)
        inner: Any = layer.layer
        batches = [(base.x * dtype.type(k + 1)).astype(dtype) for k in range(16)]

        def answer(x: Any) -> Any:
            with torch.no_grad():
                return layer.module(torch.from_numpy(x.copy()).to(inner.device)).cpu().numpy()

        with ThreadPoolExecutor(4) as pool:
            outputs = layer.call("forward in threads", lambda: list(pool.map(answer, batches)))
        for k, (x, y) in enumerate(zip(batches, outputs, strict=True)):
            case = replace(base, id=f"{base.id}/{k}", x=x)
            trial.compare("CONC-5", np.asarray(y), trial.expected(case).y, case)


@requirement("CONC-6")
def test_training_in_a_thread(trial: Trial) -> None:
    """The pass, and all that it leaves behind."""
    case = drawn(trial, "thread", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        with ThreadPoolExecutor(1) as pool:
            y = pool.submit(layer.forward, case.x).result()
        want, state = trial.expected(case), layer.state()
        trial.compare("CONC-6", y, want.y, case)
        trial.compare("CONC-6", state.running_mean, want.running_mean, case)
        trial.compare("CONC-6", state.running_var, want.running_var, case)
        count = state.num_batches_tracked
        trial.expect("CONC-6", count == 8, f"The counter is {count}, where 8 is right.")
