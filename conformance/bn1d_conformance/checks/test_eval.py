"""EVAL: the forward pass in evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bn1d_conformance.checks.common import (
    SINGLE,
    cases_of,
    drawn,
    families,
    requirement,
    unchanged,
)
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import State

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.trial import Trial


def evaluated(case: Case) -> Case:
    """The same case, in evaluation."""
    return replace(case, id=f"{case.id}/eval", training=False)


def _compare(trial: Trial, ident: str, case: Case) -> None:
    with trial.case(case, ident):
        trial.compare(ident, trial.step(case).y, trial.expected(case).y, case)


@families("A1 A2 A7 A10", SINGLE, d2=("EVAL-1",), d3=("EVAL-1",))
def test_output(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Y is the oracle's within the bound."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "EVAL-1", evaluated(case))


@requirement("EVAL-2")
@pytest.mark.parametrize("momentum", [0.3, 0.0, 1.0, None])
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 4)], ids=["2d", "3d"])
def test_looking_changes_nothing(
    trial: Trial, momentum: float | None, size: tuple[int, ...]
) -> None:
    """State after an evaluation is the state before, bit for bit."""
    trial.require(
        *(["3d"] if len(size) == 3 else []),
        *(["cumulative"] if momentum is None else []),
        *(["momentum-option"] if momentum != 0.3 else []),
    )
    case = drawn(trial, "look", *size, momentum=momentum)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=False)
        before = layer.state()
        for _ in range(2):
            layer.forward(case.x)
        after = layer.state()
        names = unchanged(before, after)
        trial.expect("EVAL-2", not names, f"Evaluation changes {names}.")
        counts = before.num_batches_tracked, after.num_batches_tracked
        message = f"Evaluation moves the counter from {counts[0]} to {counts[1]}."
        trial.expect("EVAL-2", counts[0] == counts[1], message)


@requirement("EVAL-3")
def test_rows_are_alone(trial: Trial) -> None:
    """A row by itself is judged like the batch that holds it."""
    batch = drawn(trial, "rows", 5, 4, training=False)
    _compare(trial, "EVAL-3", batch)
    for row in (0, 3):
        one = replace(batch, id=f"{batch.id}/row{row}", x=batch.x[row : row + 1])
        _compare(trial, "EVAL-3", one)
    if trial.has("3d"):
        _compare(trial, "EVAL-3", drawn(trial, "row", 1, 3, 1, training=False))


@families("A3", SINGLE, d2=("EVAL-4",), d3=("EVAL-4",))
def test_eps(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Running variances of zero, and about eps."""
    for base in cases_of(trial, family, fmt, rank):
        variance = np.array([0.0, 0.25, 1.0, 4.0]) * base.config.eps
        variance = variance.astype(DTYPES[base.config.format])
        case = replace(evaluated(base), state=replace(base.state, running_var=variance))
        _compare(trial, "EVAL-4", case)


@requirement("EVAL-5")
@pytest.mark.parametrize("size", [(4, 3), (2, 3, 2)], ids=["2d", "3d"])
def test_untrained(trial: Trial, size: tuple[int, ...]) -> None:
    """A layer as it is constructed, put to evaluation."""
    trial.require(*(["3d"] if len(size) == 3 else []))
    dtype = DTYPES[trial.format]
    one, zero = np.ones(3, dtype), np.zeros(3, dtype)
    start = State(one, zero, zero, one, num_batches_tracked=0)
    case = replace(drawn(trial, "untrained", *size, training=False), state=start)
    with trial.case(case):
        layer = trial.build(case.config, training=False)
        trial.compare("EVAL-5", layer.forward(case.x), trial.expected(case).y, case)


@requirement("EVAL-6")
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 4)], ids=["2d", "3d"])
def test_without_statistics(trial: Trial, size: tuple[int, ...]) -> None:
    """Where nothing is tracked, evaluation uses the batch."""
    trial.require(*(["3d"] if len(size) == 3 else []))
    base = drawn(trial, "untracked", *size, track_running_stats=False, training=False)
    state = replace(base.state, running_mean=None, running_var=None, num_batches_tracked=None)
    _compare(trial, "EVAL-6", replace(base, state=state))


@requirement("EVAL-7")
def test_modes_switch(trial: Trial) -> None:
    """Evaluation, training, evaluation, training: each pass follows its mode."""
    base = drawn(trial, "switch", 6, 3)
    with trial.case(base):
        layer = trial.build(base.config, base.state)
        for step, training in enumerate((False, True, False, True, True, False)):
            layer.train(training)
            now = replace(base, training=training, state=full(layer.state(), base))
            y = layer.forward(base.x)
            where = f"{base.id}/pass{step}/{'train' if training else 'eval'}"
            trial.compare("EVAL-7", y, trial.expected(now).y, replace(now, id=where))
        if trial.has("torch-module"):
            flags = [layer.call("train()", layer.module.train, m).training for m in (False, True)]
            trial.expect(
                "EVAL-7", flags == [False, True], f"train(False), train(True) give {flags}."
            )


def full(state: State, case: Case) -> State:
    """The layer's state; for what it does not have, the case's."""
    own = {k: v for k, v in vars(state).items() if v is not None}
    return replace(case.state, **own)


@requirement("EVAL-8")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_special_values(trial: Trial, bad: float) -> None:
    """One NaN or infinity touches its own place alone."""
    base = drawn(trial, "special", 6, 3, training=False)
    x = base.x.copy()
    x[4, 1], x[2, 2] = bad, bad
    _compare(trial, "EVAL-8", replace(base, id=f"{base.id}/{bad}", x=x))


@requirement("EVAL-9")
def test_written_statistics_count(trial: Trial) -> None:
    """Statistics and parameters change between two evaluations of one layer."""
    base = drawn(trial, "written", 6, 3, training=False)
    dtype = DTYPES[trial.format]
    other = replace(
        base.state,
        running_mean=(base.state.running_mean + dtype.type(2)),  # type: ignore[operator]
        running_var=(base.state.running_var * dtype.type(3)),  # type: ignore[operator]
    )
    with trial.case(base):
        layer = trial.build(base.config, base.state, training=False)
        for state in (base.state, other, base.state):
            layer.load(state)
            case = replace(base, state=state)
            trial.compare("EVAL-9", layer.forward(base.x), trial.expected(case).y, case)


@requirement("EVAL-10")
def test_zero_eps(trial: Trial) -> None:
    """Eps = 0 with positive variances, small and large."""
    base = drawn(trial, "zero-eps", 6, 3, eps=0.0, training=False)
    _compare(trial, "EVAL-10", base)
    variance = np.array([1e-12, 1e-6, 1e6], DTYPES[trial.format])
    state = replace(base.state, running_mean=0 * variance, running_var=variance)
    _compare(trial, "EVAL-10", replace(base, id=f"{base.id}/range", state=state))


@families("A5", SINGLE, d2=("EVAL-11",))
def test_reciprocal_root(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """64 variances over two octaves."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "EVAL-11", evaluated(case))


@requirement("EVAL-12")
def test_training_shows(trial: Trial) -> None:
    """What training tracked is what evaluation uses."""
    base = drawn(trial, "shows", 6, 3)
    with trial.case(base):
        layer = trial.build(base.config, base.state)
        layer.forward(base.x)
        tracked = full(layer.state(), base)
        want = trial.expected(base)
        for name in ("running_mean", "running_var"):
            trial.compare("EVAL-12", getattr(tracked, name), getattr(want, name), base)
        layer.train(False)
        case = replace(base, training=False, state=tracked)
        trial.compare("EVAL-12", layer.forward(base.x), trial.expected(case).y, case)


@requirement("EVAL-13")
def test_negative_variance(trial: Trial) -> None:
    """One channel's running variance is −1; the others' are not."""
    base = drawn(trial, "negative", 6, 3, training=False)
    variance = base.state.running_var.copy()  # type: ignore[union-attr]
    variance[1] = -1
    with trial.case(base):
        state = replace(base.state, running_var=variance)
        y = trial.build(base.config, state, training=False).forward(base.x)
        kept = y[:, 1][np.isfinite(y[:, 1].astype(float))]
        trial.expect("EVAL-13", not len(kept), f"A running variance of −1 gives {kept[:1]}.")
