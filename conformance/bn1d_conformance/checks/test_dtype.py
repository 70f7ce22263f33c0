"""DTYPE: half, bfloat16 and double precision."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import cases
from bn1d_conformance.checks.common import MODES, cases_of, drawn, families, requirement
from bn1d_conformance.checks.test_eval import evaluated
from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import COUNTER, ROLES, Config, State, SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array
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
        if trial.has("param-grad"):
            trial.compare("DTYPE-4", step.gradients.weight, want.dweight, case)
            trial.compare("DTYPE-4", step.gradients.bias, want.dbias, case)


def converted(base: Case, fmt: str) -> Case:
    """The same case for a layer that has been converted to `fmt`."""
    values = {role: getattr(base.state, role).astype(DTYPES[fmt]) for role in ROLES}
    return replace(
        base,
        id=f"{base.id}/converted",
        config=replace(base.config, format=fmt),
        state=replace(base.state, **values),
    )


SIZES = pytest.mark.parametrize("size", [(9, 3), (3, 3, 4), (2049, 2)], ids=["2d", "3d", "long"])


def _in_half(trial: Trial, fmt: str, size: tuple[int, ...], training: bool) -> Case:
    """Layer and input of one half format; a long batch is of one sign, so that its sum grows."""
    offset = 5.0 if size[0] > 1000 else 0.5
    return converted(
        drawn(trial, "converted", *size, fmt=fmt, offset=offset, training=training), fmt
    )


@requirement("DTYPE-5")
@MODES
@pytest.mark.parametrize("fmt", HALF)
@SIZES
def test_converted(trial: Trial, fmt: str, size: tuple[int, ...], training: bool) -> None:
    """half() and bfloat16(): the layer and its inputs."""
    case = _in_half(trial, fmt, size, training)
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-5", step.y, want.y, case)
        if training:
            for name in ("running_mean", "running_var"):
                trial.compare("DTYPE-5", getattr(step.state, name), getattr(want, name), case)


@requirement("DTYPE-11")
@MODES
@pytest.mark.parametrize("fmt", HALF)
@SIZES
def test_converted_gradients(
    trial: Trial, fmt: str, size: tuple[int, ...], training: bool
) -> None:
    """The gradients of half weights."""
    case = _in_half(trial, fmt, size, training)
    with trial.case(case):
        got, want = trial.step(case).gradients, trial.expected(case)
        trial.compare("DTYPE-11", got.x, want.dx, case)
        trial.compare("DTYPE-11", got.weight, want.dweight, case)
        trial.compare("DTYPE-11", got.bias, want.dbias, case)


@requirement("DTYPE-12")
@pytest.mark.parametrize("fmt", HALF)
@pytest.mark.parametrize("count", [300, 3000, 100_000])
def test_counting(trial: Trial, count: int, fmt: str) -> None:
    """Beyond the whole numbers of bfloat16 and half, and beyond the range of half."""
    base = converted(drawn(trial, "counting", 6, 3, fmt=fmt, momentum=None, offset=0), fmt)
    # The variance stays in range: a sound layer may round it to half before it is averaged.
    spread = 6000 if fmt == "bf16" else 40
    far = (base.x.astype(np.float64) * spread + 16_000).astype(DTYPES[fmt])
    state = replace(base.state, num_batches_tracked=count)
    case = replace(base, id=f"{base.id}/{count}", x=far, state=state)
    with trial.case(case):
        got, want = trial.step(case).state, trial.expected(case)
        seen = got.num_batches_tracked
        trial.expect("DTYPE-12", seen == count + 1, f"The counter {count} becomes {seen}.")
        trial.compare("DTYPE-12", got.running_mean, want.running_mean, case)
        trial.compare("DTYPE-12", got.running_var, want.running_var, case)


def _name(array: Array | None) -> str:
    """An array's format, in the words of the spec where these have one."""
    return "missing" if array is None else format_of(array) or str(array.dtype)


def _kept(trial: Trial, layer: Guard, fmt: str, after: str) -> None:
    """Judge the formats of the layer's tensors."""
    state = layer.state()
    for role in ROLES:
        got = _name(getattr(state, role))
        trial.expect("DTYPE-6", got == fmt, f"{role} is {got} after {after}, not {fmt}.")
    if trial.has("torch-module", "counter"):
        inner: Any = layer.layer
        got = str(getattr(inner.tensor(COUNTER), "dtype", "missing"))
        whole = got in {"torch.int64", "missing"}  # that it is there is BUF-1
        trial.expect("DTYPE-6", whole, f"num_batches_tracked is {got} after {after}.")


@requirement("DTYPE-6")
@MODES
@pytest.mark.parametrize(
    ("fmt", "params"),
    [("fp32", "fp32"), ("fp64", "fp64"), *((f, p) for f in HALF for p in ("fp32", f))],
    ids=lambda f: f,
)
def test_formats(trial: Trial, fmt: str, params: str, training: bool) -> None:
    """What comes out, and what stays, in each format that the layer takes."""
    trial.require("statistics", "weights", fmt, *(["torch-module"] if params in HALF else []))
    case = drawn(trial, "formats", 6, 3, fmt=fmt, training=training)
    case = converted(case, params) if params in HALF else case
    with trial.case(case):
        step = trial.step(case)
        outputs: dict[str, tuple[Array | None, str]] = {"y": (step.y, fmt)}
        if trial.has("grad"):
            outputs["the gradient of the input"] = (step.gradients.x, fmt)
        if trial.has("param-grad"):
            outputs["the gradient of the weight"] = (step.gradients.weight, params)
            outputs["the gradient of the bias"] = (step.gradients.bias, params)
        for what, (array, right) in outputs.items():
            got = _name(array)
            trial.expect("DTYPE-6", got == right, f"{what} is {got}, where {right} is right.")
        _kept(trial, step.layer, params, f"an input of {fmt}")


@requirement("DTYPE-6")
@MODES
@pytest.mark.parametrize(
    ("fmt", "params"), [("fp64", "fp32"), ("fp32", "fp16"), ("bf16", "fp16")], ids=lambda f: f
)
def test_foreign_formats(trial: Trial, fmt: str, params: str, training: bool) -> None:
    """Refused or answered: the layer's formats are not those of its last input."""
    trial.require("torch-module")
    with trial.case(f"{fmt} into {params}/{'training' if training else 'evaluation'}"):
        layer = trial.build(Config(3, format=params), training=training)
        with suppress(SubjectError):
            layer.forward(drawn(trial, "foreign", 6, 3, fmt=fmt).x)
        _kept(trial, layer, params, f"an input of {fmt}")


@requirement("DTYPE-7")
@MODES
@pytest.mark.parametrize("fmt", HALF)
@pytest.mark.parametrize(
    "options",
    [
        {"affine": False},
        {"bias": False},
        {"track_running_stats": False},
        {"affine": False, "track_running_stats": False},
    ],
    ids=" and ".join,
)
def test_configurations(trial: Trial, options: dict[str, bool], fmt: str, training: bool) -> None:
    """Half inputs where something is absent."""
    case = _bare(drawn(trial, "absent", 6, 3, fmt=fmt, training=training, **options))
    trial.require(*case.config.needs)
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-7", step.y, want.y, case)
        got = step.gradients
        trial.compare("DTYPE-7", got.x, want.dx, case)
        if case.config.affine and trial.has("param-grad"):
            trial.compare("DTYPE-7", got.weight, want.dweight, case)


def _bare(case: Case) -> Case:
    """Without the state that the configuration declines; half where nothing single is left."""
    config, state = case.config, case.state
    if not config.affine:
        state = replace(state, weight=None, bias=None)
    if not config.bias:
        state = replace(state, bias=None)
    if not config.track_running_stats:
        state = replace(state, running_mean=None, running_var=None)
    if not (config.affine or config.track_running_stats):
        config = replace(config, format=case.format)
    return replace(case, config=config, state=state)


@requirement("DTYPE-9")
@pytest.mark.parametrize("n", [33, 2049])
def test_range_of_half(trial: Trial, n: int) -> None:
    """Channels of hundreds and of tens of thousands, and gradients whose sum is beyond 65504."""
    case = _far(trial, n)
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-9", step.y, want.y, case)
        if trial.has("statistics"):
            for name in ("running_mean", "running_var"):
                trial.compare("DTYPE-9", getattr(step.state, name), getattr(want, name), case)
        if trial.has("param-grad"):
            for name, answer in (("x", want.dx), ("weight", want.dweight), ("bias", want.dbias)):
                trial.compare("DTYPE-9", getattr(step.gradients, name), answer, case)


def _far(trial: Trial, n: int) -> Case:
    """X to the end of the range, or of one sign and about 1; dy of one sign and thousands."""
    r = cases.rng(trial.seed, "range of half", n)
    x = r.uniform(-1, 1, (n, 4)) * [300, 3000, 60_000, 0.5] + [0, 2000, 0, 1]
    dy = r.uniform(2000, 4000, (n, 4))
    return cases.make(f"range/fp16/n{n}", x, "fp16", trial.seed, dy=dy)


@requirement("DTYPE-10")
@pytest.mark.parametrize("fmt", HALF)
def test_wide_statistics(trial: Trial, fmt: str) -> None:
    """Evaluation by numbers that half precision does not have; y is an ordinary number."""
    case = _wide(trial, fmt)
    with trial.case(case):
        trial.compare("DTYPE-10", trial.step(case).y, trial.expected(case).y, case)


def _wide(trial: Trial, fmt: str) -> Case:
    """A channel each for running_var=1e6, running_mean=1e5, weight=1e5 and running_var=1e-9."""
    r = cases.rng(trial.seed, "wide", fmt)
    x = r.normal(0, 1, (8, 4)) * [1000, 20_000, 1e-3, 1e-4]
    base = cases.make(f"wide/{fmt}", x, fmt, trial.seed, config={"eps": 1e-12}, training=False)
    state = State(
        weight=np.array([1.5, -1, 1e5, 0.75], np.float32),
        bias=np.array([0.1, 0.2, -0.3, 0.4], np.float32),
        running_mean=np.array([100, 1e5, 0, 0], np.float32),
        running_var=np.array([1e6, 1e10, 1, 1e-9], np.float32),
    )
    return replace(base, state=state)


@requirement("DTYPE-10")
@pytest.mark.parametrize("fmt", HALF)
def test_small_eps(trial: Trial, fmt: str) -> None:
    """Training at a variance of about 1e-8, which is eps, from statistics of 1e5 and 1e6."""
    r = cases.rng(trial.seed, "small eps", fmt)
    x = r.normal(0, 1e-4, (8, 3))
    base = cases.make(f"small eps/{fmt}", x, fmt, trial.seed, config={"eps": 1e-8})
    mean, var = (np.full(3, v, np.float32) for v in (1e5, 1e6))
    case = replace(base, state=replace(base.state, running_mean=mean, running_var=var))
    with trial.case(case):
        step, want = trial.step(case), trial.expected(case)
        trial.compare("DTYPE-10", step.y, want.y, case)
        for name in ("running_mean", "running_var"):
            trial.compare("DTYPE-10", getattr(step.state, name), getattr(want, name), case)
