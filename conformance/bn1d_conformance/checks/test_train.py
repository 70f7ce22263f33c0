"""TRAIN: the forward pass in training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import exact_cases
from bn1d_conformance.checks.common import (
    SINGLE,
    cases_of,
    drawn,
    equal,
    families,
    needs,
    require_exact_root,
    require_repeats,
    requirement,
)
from bn1d_conformance.numbers import DTYPES, FORMATS, format_of

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial


def _compare(trial: Trial, ident: str, case: Case) -> None:
    with trial.case(case, ident):
        trial.compare(ident, trial.step(case).y, trial.expected(case).y, case)


@families("A1 A2 A7 A8", SINGLE, d2=("TRAIN-1",), d3=("TRAIN-2",))
def test_output(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Y is the oracle's within the bound."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "TRAIN-1" if rank == 2 else "TRAIN-2", case)


@requirement("TRAIN-2")
@pytest.mark.parametrize("size", [(4, 4, 4), (5, 5, 2), (2, 3, 3), (3, 2, 1)])
def test_channel_is_the_second_axis(trial: Trial, size: tuple[int, ...]) -> None:
    """Square shapes and single time steps: axes can't be told by their lengths."""
    _compare(trial, "TRAIN-2", drawn(trial, "square", *size))


@requirement("TRAIN-3")
@pytest.mark.parametrize("n", [2, 3, 5])
def test_biased_variance(trial: Trial, n: int) -> None:
    """At small n the factor n/(n − 1) is far outside any bound."""
    _compare(trial, "TRAIN-3", drawn(trial, "biased", n, 4))


@families("A3", SINGLE, d2=("TRAIN-4",), d3=("TRAIN-4",))
def test_eps(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """With var about eps every other place for eps gives another answer."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "TRAIN-4", case)


@requirement("TRAIN-4")
def test_large_eps(trial: Trial) -> None:
    """An eps of 0.5 is no guard any more: it is a part of the formula."""
    _compare(trial, "TRAIN-4", drawn(trial, "large-eps", 6, 3, eps=0.5))


@requirement("TRAIN-5")
@pytest.mark.parametrize("weight", [-1.5, 0.0, 3.0])
@pytest.mark.parametrize("bias", [0.0, -0.75])
def test_affine(trial: Trial, weight: float, bias: float) -> None:
    """Signs and zeros of weight and bias, the other channels' being different."""
    case = drawn(trial, f"affine{weight}{bias}", 7, 4)
    case.state.weight[1], case.state.bias[1] = weight, bias  # type: ignore[index]
    _compare(trial, "TRAIN-5", case)


@requirement("TRAIN-6")
@pytest.mark.parametrize(
    "options", [{"affine": False}, {"bias": False}], ids=["no-affine", "no-bias"]
)
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 4)], ids=["2d", "3d"])
def test_absent_parameters(trial: Trial, options: dict[str, Any], size: tuple[int, ...]) -> None:
    """What is absent is one for the weight and zero for the bias."""
    case = drawn(trial, "absent", *size, **options)
    trial.require(*case.config.needs, *_rank(size))
    affine = case.config.affine
    state = replace(case.state, weight=case.state.weight if affine else None, bias=None)
    _compare(trial, "TRAIN-6", replace(case, state=state))


def _rank(size: tuple[int, ...]) -> list[str]:
    return ["3d"] if len(size) == 3 else []


@requirement("TRAIN-7")
def test_history_is_irrelevant(trial: Trial) -> None:
    """The same batch meets other statistics, counts and momentums: the output is the same."""
    base = drawn(trial, "history", 6, 3)
    for shift, momentum in ((0.0, 0.3), (50.0, 0.3), (-3.0, 1.0)):
        state = replace(
            base.state,
            running_mean=base.state.running_mean + np.float32(shift),  # type: ignore[operator]
            running_var=base.state.running_var * np.float32(1 + abs(shift)),  # type: ignore[operator]
            num_batches_tracked=int(abs(shift)),
        )
        config = (
            replace(base.config, momentum=momentum)
            if trial.has("momentum-option")
            else base.config
        )
        case = replace(
            base, id=f"{base.id}/shift{shift:g}/momentum{momentum}", state=state, config=config
        )
        _compare(trial, "TRAIN-7", case)


@requirement("TRAIN-8", "STATS-13", "GRAD-16")
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("size", [(9, 5), (3, 5, 4)], ids=["2d", "3d"])
def test_channels_are_independent(trial: Trial, poison: float, size: tuple[int, ...]) -> None:
    """Channel 2 is replaced: nothing of the others changes, by not one bit."""
    trial.require(*_rank(size))
    require_repeats(trial)
    clean = drawn(trial, "independent", *size)
    x, dy = clean.x.copy(), clean.dy.copy()
    x[0, 2] = poison
    spoiled = replace(clean, id=f"{clean.id}/{poison}", x=x)
    with trial.case(spoiled, "TRAIN-8"):
        a, b = trial.step(clean), trial.step(spoiled)
        _same(trial, "TRAIN-8", "y", a.y, b.y)
        for name in ("running_mean", "running_var") if trial.has("statistics") else ():
            after = getattr(b.state, name)
            _same(trial, "STATS-13", name, getattr(a.state, name), after)
            if after is not None and not np.isfinite(poison):
                trial.expect(
                    "STATS-13",
                    not np.isfinite(float(after[2])),
                    f"{name}[2] is {after[2]:g} after a batch that held {poison:g}.",
                )
    dy[0, 2] = poison
    if trial.has("grad"):
        bad = replace(clean, id=f"{clean.id}/dy/{poison}", dy=dy)
        with trial.case(bad, "GRAD-16"):
            first, second = trial.step(clean).gradients, trial.step(bad).gradients
            _same(trial, "GRAD-16", "dx", first.x, second.x)
            if trial.has("param-grad"):
                for name in ("weight", "bias"):
                    pair = (getattr(g, name) for g in (first, second))
                    _same(trial, "GRAD-16", f"d{name}", *pair)


def _same(trial: Trial, ident: str, what: str, a: Array | None, b: Array | None) -> None:
    """Pass if nothing but channel 2 differs; the channels are axis 1, or the only one."""
    if a is None or b is None:
        trial.fail(ident, f"There is no {what}.")
        return
    rest = (np.delete(v, 2, axis=min(1, v.ndim - 1)) for v in (a, b))
    trial.expect(ident, equal(*rest), f"{what} of other channels changes with channel 2.")


@families("A7-constant", FORMATS, d2=("TRAIN-9",), d3=("TRAIN-9",))
def test_constant_channel(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Equal values come out as the bias."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "TRAIN-9", case)


@requirement("TRAIN-10")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_shape_and_format(trial: Trial, fmt: str, training: bool) -> None:
    """The output has the input's shape and format."""
    for size in ((5, 3), (2, 3, 4), (2, 3, 1)):
        if trial.has(fmt, *_rank(size)):
            case = drawn(trial, "shape", *size, fmt=fmt, training=training)
            with trial.case(case):
                y = trial.step(case).y
                trial.expect("TRAIN-10", y.shape == size, f"y has shape {y.shape} for {size}.")
                got = format_of(y) or str(y.dtype)
                trial.expect("TRAIN-10", got == fmt, f"y is {got} for an input of {fmt}.")


@requirement("TRAIN-11")
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 4)], ids=["2d", "3d"])
def test_without_tracking(trial: Trial, size: tuple[int, ...]) -> None:
    """track_running_stats=False changes nothing in training."""
    trial.require(*_rank(size))
    _compare(trial, "TRAIN-11", drawn(trial, "untracked", *size, track_running_stats=False))


@requirement("TRAIN-12")
@needs("grad")
@pytest.mark.parametrize("k", [-20, -3, 5, 20])
def test_scaling(trial: Trial, k: int) -> None:
    """Powers of two and signs pass through every rounding."""
    require_repeats(trial)
    base = drawn(trial, "scaling", 11, 4, eps=2.0**-10)
    dtype = DTYPES[trial.format]
    two, s = dtype.type(2.0**k), base.state
    scaled = replace(base.config, eps=2.0 ** (2 * k - 10))
    with trial.case(f"{base.id}/2^{k}", "TRAIN-12"):
        y = trial.step(base).y
        pairs = {
            "x·2^k, eps·4^k": (replace(base, x=base.x * two, config=scaled), y),
            "−x, −weight": (replace(base, x=-base.x, state=replace(s, weight=-s.weight)), y),  # type: ignore[operator]
            "weight·2^k, bias·2^k": (
                replace(base, state=replace(s, weight=s.weight * two, bias=s.bias * two)),  # type: ignore[operator]
                y * two,
            ),
        }
        for name, (case, want) in pairs.items():
            same = equal(trial.step(case).y, want)
            trial.expect(
                "TRAIN-12", same, f"With {name} for k = {k} y is not the same to the bit."
            )


@requirement("TRAIN-13")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_special_values(trial: Trial, bad: float) -> None:
    """One NaN or infinity makes its channel NaN."""
    base = drawn(trial, "special", 6, 3)
    x = base.x.copy()
    x[4, 1] = bad
    case = replace(base, id=f"{base.id}/{bad}", x=x)
    with trial.case(case):
        y = trial.step(case).y[:, 1]
        kept = y[np.isfinite(y.astype(float))]
        message = f"A channel with {bad} in it gives finite values, such as {kept[:1]}."
        trial.expect("TRAIN-13", not len(kept), message)


@requirement("TRAIN-14")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rank", [2, 3])
def test_exact(trial: Trial, fmt: str, rank: int) -> None:
    """Bit for bit, where nothing rounds."""
    trial.require(fmt, *(["3d"] if rank == 3 else []))
    if fmt in SINGLE:
        require_exact_root(trial)
    for case in exact_cases.exact(fmt, rank):
        _compare(trial, "TRAIN-14", case)


@families("A6 A10", SINGLE, d2=("TRAIN-15",), d3=("TRAIN-15",))
def test_every_value_counts(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Marked values at the edges of blocks; numbers of channels around lanes."""
    for case in cases_of(trial, family, fmt, rank):
        _compare(trial, "TRAIN-15", case)
