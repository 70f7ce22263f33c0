"""NUM: cancellation, range, eps, small results, what is not finite, constants, long sums."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import exact_cases
from bn1d_conformance.checks.common import (
    MODES,
    SINGLE,
    cases_of,
    drawn,
    equal,
    families,
    judge_all,
    require_exact_root,
    require_repeats,
    requirement,
)
from bn1d_conformance.checks.test_eval import evaluated
from bn1d_conformance.numbers import DTYPES, EMIN, FORMATS

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Step, Trial

SIZES = pytest.mark.parametrize("size", [(7, 5), (3, 5, 4)], ids=["2d", "3d"])


def _whole_family(trial: Trial, ident: str, family: str, fmt: str, rank: int) -> None:
    for case in cases_of(trial, family, fmt, rank):
        judge_all(trial, ident, case)


@families("A2", SINGLE, d2=("NUM-1",), d3=("NUM-1",))
def test_cancellation(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Means of 1 to 100000 or 1000000 standard deviations, side by side."""
    _whole_family(trial, "NUM-1", family, fmt, rank)


@families("A8 A11", d2=("NUM-2",), d3=("NUM-2",))
def test_range(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Tiny, huge and subnormal values, in both modes."""
    for case in cases_of(trial, family, fmt, rank):
        fits = _cube_fits(case)
        judge_all(trial, "NUM-2", case, gradients=fits)
        if trial.has("eval", "statistics"):
            judge_all(trial, "NUM-2", evaluated(case), gradients=fits)


def _cube_fits(case: Case) -> bool:
    """Whether (var + eps)^(−3/2) is a normal number: the derivative of the root passes through it.

    Of A11, where eps is of the size of the variance; of other families by their eps alone.
    """
    exponent = -1.5 * float(np.log2(case.config.eps))
    return abs(exponent) < -EMIN[case.config.format] - 10


@families("A3", SINGLE, d2=("NUM-3",), d3=("NUM-3",))
def test_eps_is_as_given(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Variances of the size of eps, in the batch and in the buffers."""
    for base in cases_of(trial, family, fmt, rank):
        judge_all(trial, "NUM-3", base, gradients=_cube_fits(base))
        if trial.has("eval", "statistics"):
            values = np.array([0.0, 0.25, 1.0, 4.0]) * base.config.eps
            variance = values.astype(DTYPES[base.config.format])
            mean = 0 * variance
            state = replace(base.state, running_mean=mean, running_var=variance)
            judge_all(trial, "NUM-3", replace(evaluated(base), state=state))


@requirement("NUM-4")
@MODES
@pytest.mark.parametrize("fmt", [*SINGLE, "bf16"])
@pytest.mark.parametrize("size", [1e-4, 1e-9])
def test_small_results(trial: Trial, size: float, fmt: str, training: bool) -> None:
    """Weights, biases and gradients that an absolute tolerance takes for zero."""
    trial.require(fmt, *(["eval", "statistics"] * (not training)))
    base = drawn(trial, "small", 8, 3, fmt=fmt, training=training)
    weight, bias = (
        (v.astype(float) * size).astype(v.dtype)  # type: ignore[union-attr]
        for v in (base.state.weight, base.state.bias)
    )
    for part, change in (
        ("outputs", {"state": replace(base.state, weight=weight, bias=bias)}),
        ("gradients", {"dy": (base.dy.astype(float) * size * 1e-2).astype(base.dy.dtype)}),
    ):
        case: Case = replace(base, id=f"{base.id}/{part}*{size:g}", **change)
        judge_all(trial, "NUM-4", case)


@requirement("NUM-5")
@MODES
@SIZES
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_there(
    trial: Trial, bad: float, size: tuple[int, ...], training: bool
) -> None:
    """One value of channel 2 is replaced: the gradients of the others do not change."""
    trial.require(*(["3d"] * (len(size) == 3)), *(["eval", "statistics"] * (not training)))
    require_repeats(trial)
    clean = drawn(trial, "not-finite", *size, training=training)
    x = clean.x.copy()
    x[(1, 2, 1)[: x.ndim]] = bad
    with trial.case(replace(clean, id=f"{clean.id}/{bad}", x=x)):
        a, b = trial.step(clean), trial.step(replace(clean, x=x))
        _only_channel(trial, a, b, bad, training=training)


def _only_channel(trial: Trial, clean: Step, spoiled: Step, bad: float, *, training: bool) -> None:
    """Compare the gradients of a clean batch with those of one that holds `bad` in channel 2."""
    one, two = clean.gradients, spoiled.gradients
    kept = [0, 1, 3, 4] if training else [0, 1, 2, 3, 4]
    assert one.x is not None  # noqa: S101 - a clean batch has one: GRAD-1 judges it
    _unmoved(trial, "dx", one.x[:, kept], None if two.x is None else two.x[:, kept])
    if training:
        _spoiled(trial, "dx", None if two.x is None else two.x[:, 2], bad)
    if one.weight is not None and one.bias is not None and trial.has("param-grad"):
        _unmoved(trial, "dbias", one.bias, two.bias)
        others = [0, 1, 3, 4]
        dweight = two.weight
        _unmoved(
            trial, "dweight", one.weight[others], None if dweight is None else dweight[others]
        )
        _spoiled(trial, "dweight", None if dweight is None else dweight[2:3], bad)


def _unmoved(trial: Trial, what: str, before: Array, after: Array | None) -> None:
    ok = after is not None and equal(before, after)
    trial.expect("NUM-5", ok, f"{what} changes where it does not refer to the bad value.")


def _spoiled(trial: Trial, what: str, values: Array | None, bad: float) -> None:
    finite: Any = () if values is None else values[np.isfinite(values.astype(float))]
    message = f"{what} of a channel with {bad} in it holds finite values, such as {finite[:1]}."
    trial.expect("NUM-5", not len(finite), message)


@requirement("NUM-6")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rank", [2, 3])
def test_constants_are_exact(trial: Trial, fmt: str, rank: int) -> None:
    """Equal values of 3 and of millions of millions: the output is the bias."""
    trial.require(fmt, *(["3d"] if rank == 3 else []))
    require_exact_root(trial)
    for case in exact_cases.exact(fmt, rank):
        if case.id.startswith("E1"):
            with trial.case(case):
                trial.compare("NUM-6", trial.step(case).y, trial.expected(case).y, case)


@families("A12", SINGLE, d2=("NUM-7",), d3=("NUM-7",))
def test_long_channels(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Thousands of values, and one 4099 times: where every rounding goes the same way."""
    _whole_family(trial, "NUM-7", family, fmt, rank)
