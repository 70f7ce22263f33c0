"""STATS: how the running statistics and the counter move."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import cases, exact_cases
from bn1d_conformance.checks.common import (
    SINGLE,
    cases_of,
    drawn,
    families,
    needs,
    requirement,
    unchanged,
)
from bn1d_conformance.numbers import DTYPES, FORMATS, format_of
from bn1d_conformance.subject import State

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

BOTH = ("running_mean", "running_var")


def _judge(trial: Trial, state: State, case: Case, mean: str, var: str) -> None:
    """Compare both statistics, each for its own requirement."""
    want = trial.expected(case)
    trial.compare(mean, state.running_mean, want.running_mean, case)
    trial.compare(var, state.running_var, want.running_var, case)


@families("A1 A2 A7 A8", SINGLE, d2=("STATS-1", "STATS-2"), d3=("STATS-3",))
def test_exponential_average(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Both statistics are the oracle's within the bound."""
    ids = ("STATS-1", "STATS-2") if rank == 2 else ("STATS-3", "STATS-3")
    for case in cases_of(trial, family, fmt, rank):
        with trial.case(case, *set(ids)):
            _judge(trial, trial.step(case).state, case, *ids)


@requirement("STATS-3")
@pytest.mark.parametrize("size", [(1, 3, 4), (2, 3, 3), (5, 2, 2)])
def test_length_counts(trial: Trial, size: tuple[int, ...]) -> None:
    """N·L values: at N = 1 a count of samples divides by zero."""
    case = drawn(trial, "length", *size)
    with trial.case(case):
        _judge(trial, trial.step(case).state, case, "STATS-3", "STATS-3")


@requirement("STATS-1", "STATS-2")
@pytest.mark.parametrize("momentum", [0.1, 0.9])
def test_momentum(trial: Trial, momentum: float) -> None:
    """From a fresh layer: three steps, each judged from the state before it."""
    trial.require("momentum-option")
    _steps(trial, drawn(trial, "momentum", 5, 3, momentum=momentum), 3, "STATS-1", "STATS-2")


def _steps(trial: Trial, base: Case, count: int, mean: str, var: str, **start: Any) -> None:
    """Train `count` batches; judge each step from the state that the layer was in."""
    with trial.case(base, mean, var):
        layer = trial.build(base.config, State(**start) if start else None)
        for k in range(count):
            case = _next(base, layer, k, start)
            layer.forward(case.x)
            _judge(trial, layer.state(), case, mean, var)


def _next(base: Case, layer: Guard, k: int, start: dict[str, Any]) -> Case:
    """Batch k, with the statistics as they are and the count as it must be."""
    own = layer.state()
    x = (base.x * DTYPES[base.format].type(k + 1) + DTYPES[base.format].type(k)).astype(
        base.x.dtype
    )
    count = start.get("num_batches_tracked", 0) + k
    state = replace(
        base.state,
        running_mean=own.running_mean,
        running_var=own.running_var,
        num_batches_tracked=count,
    )
    return replace(base, id=f"{base.id}/step{k + 1}", x=x, state=state)


@requirement("STATS-4")
@pytest.mark.parametrize("what", ["far", "eps", "affine"])
def test_of_the_input_alone(trial: Trial, what: str) -> None:
    """A running mean far away, a large eps, a large weight and bias: none of them enters."""
    base = drawn(trial, f"alone-{what}", 6, 3, eps=0.5 if what == "eps" else 1e-5)
    dtype = DTYPES[trial.format]
    changes = {
        "far": {"running_mean": np.full(3, 40, dtype)},
        "eps": {},
        "affine": {"weight": np.full(3, 9, dtype), "bias": np.full(3, -7, dtype)},
    }[what]
    case = replace(base, state=replace(base.state, **changes))  # type: ignore[arg-type]
    with trial.case(case):
        _judge(trial, trial.step(case).state, case, "STATS-4", "STATS-4")


@requirement("STATS-5")
@pytest.mark.parametrize("size", [(4, 3), (2, 3, 3)], ids=["2d", "3d"])
def test_cumulative_average(trial: Trial, size: tuple[int, ...]) -> None:
    """Five batches of different means from a fresh layer: 1, 1/2, 1/3, 1/4, 1/5."""
    trial.require(*(["3d"] if len(size) == 3 else []))
    _steps(trial, drawn(trial, "cumulative", *size, momentum=None), 5, "STATS-5", "STATS-5")


@requirement("STATS-6")
@pytest.mark.parametrize("count", [0, 1, 9, 1000])
def test_cumulative_resumes(trial: Trial, count: int) -> None:
    """The weight of the next batch is 1/(count + 1), wherever the count came from."""
    base = drawn(trial, f"resume{count}", 5, 3, momentum=None)
    start = {
        "running_mean": base.state.running_mean,
        "running_var": base.state.running_var,
        "num_batches_tracked": count,
    }
    _steps(trial, base, 2, "STATS-6", "STATS-6", **start)


@requirement("STATS-7")
def test_momentum_zero(trial: Trial) -> None:
    """0.0 freezes the averages, and still counts."""
    case = drawn(trial, "zero", 6, 3, momentum=0.0)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        before = layer.state()
        layer.forward(case.x)
        after = layer.state()
        trial.expect(
            "STATS-7",
            not (names := unchanged(before, after)),
            f"With momentum 0.0 a training step changes {names}.",
        )
        if trial.has("counter"):
            counted = (after.num_batches_tracked or 0) - (before.num_batches_tracked or 0)
            trial.expect("STATS-7", counted == 1, f"The counter moves by {counted}, not by 1.")


@requirement("STATS-8")
@pytest.mark.parametrize("momentum", [0.3, 0.0, 1.0, None])
def test_counter(trial: Trial, momentum: float | None) -> None:
    """One a training forward, from any start; nothing for evaluation."""
    trial.require(*(["momentum-option"] if momentum != 0.3 else []))
    trial.require(*(["cumulative"] if momentum is None else []))
    sizes: list[tuple[int, ...]] = [(4, 3), (2, 3), (2, 3, 5), (1, 3, 2)]
    with trial.case(f"counter/momentum={momentum}"):
        first = drawn(trial, "count", *sizes[0], momentum=momentum)
        layer = trial.build(first.config, State(num_batches_tracked=41))
        for k, size in enumerate(s for s in sizes if len(s) == 2 or trial.has("3d")):
            layer.train(True)
            layer.forward(drawn(trial, "count", *size, momentum=momentum).x)
            layer.train(False)
            layer.forward(first.x)
            got, want = layer.state().num_batches_tracked, 42 + k
            trial.expect("STATS-8", got == want, f"The counter is {got} where {want} is right.")


@requirement("STATS-9")
def test_momentum_one(trial: Trial) -> None:
    """1.0 keeps the last batch alone."""
    case = drawn(trial, "one", 6, 3, momentum=1.0)
    with trial.case(case):
        _judge(trial, trial.step(case).state, case, "STATS-9", "STATS-9")


@requirement("STATS-10", "STATS-8")
@needs("torch-module")
@pytest.mark.parametrize("how", ["no_grad", "frozen", "inference_mode"])
def test_without_gradients(trial: Trial, how: str) -> None:
    """Tracking needs no gradient: under no_grad, in inference mode, with frozen parameters."""
    case = drawn(trial, f"quiet-{how}", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        if how == "frozen":
            for parameter in layer.module.parameters():
                parameter.requires_grad_(False)
            layer.forward(case.x)
        else:
            with getattr(trial.torch, how)():
                layer.forward(case.x)
        state = layer.state()
        _judge(trial, state, case, "STATS-10", "STATS-10")
        counted = state.num_batches_tracked == 8
        trial.expect("STATS-8", counted, f"The counter is {state.num_batches_tracked}, not 8.")


@requirement("STATS-11")
def test_backward_leaves_statistics(trial: Trial) -> None:
    """Complete when forward returns; the backward pass adds nothing."""
    case = drawn(trial, "backward", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x, grad=True)
        before = layer.state()
        layer.backward(case.dy)
        after = layer.state()
        names = unchanged(before, after)
        trial.expect("STATS-11", not names, f"The backward pass changes {names}.")
        counts = before.num_batches_tracked, after.num_batches_tracked
        trial.expect("STATS-11", counts[0] == counts[1], "The backward pass counts a batch.")
        _judge(trial, before, case, "STATS-11", "STATS-11")


@requirement("STATS-12")
@pytest.mark.parametrize("size", [(0, 3), (0, 3, 4), (2, 3, 0)], ids=str)
def test_empty_batch(trial: Trial, size: tuple[int, ...]) -> None:
    """Nothing was observed, nothing changes."""
    trial.require("torch-module")
    case = drawn(trial, "empty", 4, 3)
    with trial.case(f"empty/{size}"):
        layer = trial.build(case.config, case.state)
        before = layer.state()
        layer.forward(np.zeros(size, case.x.dtype))
        names = unchanged(before, layer.state())
        trial.expect("STATS-12", not names, f"An empty batch changes {names}.")


@requirement("STATS-14")
@pytest.mark.parametrize("fmt", FORMATS)
def test_statistics_keep_their_format(trial: Trial, fmt: str) -> None:
    """Half inputs, single statistics; and shapes (C,) for both ranks."""
    trial.require(fmt)
    for size in ((6, 3), (2, 3, 4)):
        if len(size) == 2 or trial.has("3d"):
            case = drawn(trial, "keep", *size, fmt=fmt)
            with trial.case(case):
                _keeps(trial, case)


def _keeps(trial: Trial, case: Case) -> None:
    state = trial.step(case).state
    for name in BOTH:
        value = getattr(state, name)
        got = value is not None and (format_of(value) or str(value.dtype))
        trial.expect(
            "STATS-14", got == case.config.format, f"{name} becomes {got} for {case.format}."
        )
        shape = None if value is None else value.shape
        trial.expect("STATS-14", shape == (3,), f"{name} becomes of shape {shape}.")


@families("A6 A10", SINGLE, d2=("STATS-17",), d3=("STATS-17",))
def test_every_value_counts(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Marked values at the edges of blocks; numbers of channels around lanes."""
    for case in cases_of(trial, family, fmt, rank):
        with trial.case(case):
            _judge(trial, trial.step(case).state, case, "STATS-17", "STATS-17")


@families("A2 A7-constant", SINGLE, d2=("STATS-15",), d3=("STATS-15",))
def test_variance_stays_a_variance(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Means of 10 to 10000 standard deviations, constant channels."""
    for case in cases_of(trial, family, fmt, rank):
        with trial.case(case):
            got = trial.step(case).state.running_var
            if got is not None:
                bad = ~(got.astype(float) >= 0)
                trial.expect("STATS-15", not bad.any(), f"running_var holds {got[bad][:1]}.")
            trial.compare("STATS-15", got, trial.expected(case).running_var, case)


@requirement("STATS-16")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rank", [2, 3])
def test_exact(trial: Trial, fmt: str, rank: int) -> None:
    """Bit for bit, where nothing rounds."""
    trial.require(fmt, *(["3d"] if rank == 3 else []))
    for case in exact_cases.exact(fmt, rank):
        with trial.case(case):
            _judge(trial, trial.step(case).state, case, "STATS-16", "STATS-16")


@requirement("STATS-13")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_special_values(trial: Trial, bad: float) -> None:
    """What was seen is tracked: a channel with a NaN has no finite statistics."""
    base = cases.drawn("special-stats", trial.format, (5, 3), 0)
    x = base.x.copy()
    x[1, 0] = bad
    case = replace(base, id=f"{base.id}/{bad}", x=x)
    with trial.case(case):
        state = trial.step(case).state
        for name in BOTH:
            value = getattr(state, name)
            ok = value is not None and not np.isfinite(float(value[0]))
            trial.expect("STATS-13", ok, f"{name}[0] stays finite after a batch with {bad}.")
