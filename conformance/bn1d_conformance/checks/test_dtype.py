"""DTYPE: half, bfloat16 and double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bn1d_conformance.checks.common import MODES, cases_of, drawn, families, requirement
from bn1d_conformance.checks.test_eval import evaluated
from bn1d_conformance.numbers import DTYPES, format_of

if TYPE_CHECKING:
    from bn1d_conformance.trial import Trial

HALF = ("fp16", "bf16")


@families("A1 A2 A4 A7", HALF, d2=("DTYPE-1",), d3=("DTYPE-1",))
def test_half_output(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Single-precision arithmetic, rounded once."""
    for case in cases_of(trial, family, fmt, rank):
        for one in (case, evaluated(case)) if family == "A1" else (case,):
            with trial.case(one, "DTYPE-1"):
                y = trial.step(one).y
                got = format_of(y) or str(y.dtype)
                trial.expect("DTYPE-1", got == fmt, f"y is {got} for an input of {fmt}.")
                trial.compare("DTYPE-1", y, trial.expected(one).y, one)


@families("A1 A2 A4 A7", HALF, d2=("DTYPE-2",), d3=("DTYPE-2",))
def test_half_statistics(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Single-precision sums of half-precision values."""
    for case in cases_of(trial, family, fmt, rank):
        with trial.case(case, "DTYPE-2"):
            state, want = trial.step(case).state, trial.expected(case)
            trial.compare("DTYPE-2", state.running_mean, want.running_mean, case)
            trial.compare("DTYPE-2", state.running_var, want.running_var, case)


@families("A1 A4 A9", HALF, d2=("DTYPE-3",), d3=("DTYPE-3",))
def test_half_gradients(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Single-precision sums of half-precision gradients."""
    for case in cases_of(trial, family, fmt, rank):
        for one in (case, evaluated(case)) if family == "A1" else (case,):
            with trial.case(one, "DTYPE-3"):
                got, want = trial.step(one).gradients, trial.expected(one)
                trial.compare("DTYPE-3", got.x, want.dx, one)
                trial.compare("DTYPE-3", got.weight, want.dweight, one)
                trial.compare("DTYPE-3", got.bias, want.dbias, one)


@requirement("DTYPE-4")
@MODES
@pytest.mark.parametrize("size", [(9, 3), (3, 3, 4)], ids=["2d", "3d"])
def test_double(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Answers, statistics and gradients are far inside what single precision could do."""
    trial.require(*(["3d"] if len(size) == 3 else []), *(["statistics"] * (not training)))
    case = drawn(trial, "double", *size, fmt="fp64", training=training)
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-4", step.y, want.y, case)
        if training and trial.has("statistics"):
            for name in ("running_mean", "running_var"):
                trial.compare("DTYPE-4", getattr(step.state, name), getattr(want, name), case)
        if trial.has("grad"):
            trial.compare("DTYPE-4", step.gradients.x, want.dx, case)


@requirement("DTYPE-5")
@MODES
@pytest.mark.parametrize("fmt", HALF)
@pytest.mark.parametrize("size", [(9, 3), (3, 3, 4)], ids=["2d", "3d"])
def test_converted(trial: Trial, fmt: str, size: tuple[int, ...], training: bool) -> None:
    """half() and bfloat16(): the layer and its inputs."""
    base = drawn(trial, "converted", *size, fmt=fmt, training=training)
    dtype = DTYPES[fmt]
    values = {
        name: getattr(base.state, name).astype(dtype)
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    case = replace(
        base,
        id=f"{base.id}/converted",
        config=replace(base.config, format=fmt),
        state=replace(base.state, **values),
    )
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-5", step.y, want.y, case)
        if training:
            for name in ("running_mean", "running_var"):
                trial.compare("DTYPE-5", getattr(step.state, name), getattr(want, name), case)
