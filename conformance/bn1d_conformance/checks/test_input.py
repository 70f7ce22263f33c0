"""INPUT: what is accepted, what is refused, and what a refusal leaves behind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import MODES, drawn, equal, requirement, unchanged
from bn1d_conformance.checks.test_eval import full
from bn1d_conformance.numbers import format_of, ulp
from bn1d_conformance.subject import Config, State, SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial


def _zeros(trial: Trial, *size: int) -> Array:
    return np.zeros(size, drawn(trial, "any", 2, 3).x.dtype)


@requirement("INPUT-1")
@MODES
@pytest.mark.parametrize(
    "size", [(), (3,), (2, 3, 4, 5), (1, 3, 1, 1, 2)], ids=lambda s: f"{len(s)}d"
)
def test_rank(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Ranks 0, 1, 4 and 5."""
    with trial.case(f"{len(size)}d"):
        layer = trial.build(Config(3), training=training)
        trial.refuses("INPUT-1", lambda: layer.forward(_zeros(trial, *size) + 1), ValueError)


@requirement("INPUT-2")
@MODES
@pytest.mark.parametrize("size", [(4, 2), (4, 4), (4, 1), (4, 6), (2, 5, 3), (3, 1, 3)], ids=str)
def test_channels(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Too few, too many, one that would broadcast, a multiple, (N, L, C)."""
    trial.require(*(["eval", "statistics"] * (not training)))
    trial.require(*(["weights"] if not trial.has("statistics") else []))
    with trial.case(f"{size} for num_features=3"):
        layer = trial.build(Config(3, format=trial.format), training=training)
        x = drawn(trial, "wrong", *size).x
        trial.refuses("INPUT-2", lambda: layer.forward(x))


@requirement("INPUT-2")
@MODES
@pytest.mark.parametrize(
    "options", [{"affine": False}, {"track_running_stats": False}], ids=["no-affine", "no-track"]
)
def test_channels_with_half_the_state(
    trial: Trial, options: dict[str, bool], training: bool
) -> None:
    """Parameters alone, or buffers alone, are enough to know the number of channels."""
    config = Config(3, **options, format=trial.format)
    trial.require("torch-module", *config.needs)
    with trial.case(f"{options}"):
        layer = trial.build(config, training=training)
        x = drawn(trial, "wrong", 4, 5).x
        trial.refuses("INPUT-2", lambda: layer.forward(x))


BIASES = (0.5, -2.0, 3.0)
ONE = pytest.mark.parametrize("size", [(1, 3), (1, 3, 1)], ids=["2d", "3d"])


@requirement("INPUT-3")
@ONE
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str
)
def test_one_value(trial: Trial, size: tuple[int, ...], options: dict[str, Any]) -> None:
    """Refused in training, in every configuration."""
    config = Config(3, **options, format=trial.format)
    trial.require(*config.needs)
    x = _zeros(trial, *size) + 1
    has_bias = config.affine and trial.has("weights")
    bias = np.array(BIASES if has_bias else [0] * 3, x.dtype)
    with trial.case(f"{size} {options or ''}"):
        layer = trial.build(config, State(bias=bias) if has_bias else None)
        trial.refuses(
            "INPUT-3",
            lambda: layer.forward(x),
            ValueError,
            answered=lambda y: trial.excused(
                "INPUT-3", "single_value", lambda value: _gives(value, layer, x, y, bias)
            ),
        )


def _gives(value: str, layer: Guard, x: Array, y: Array, bias: Array) -> bool:
    """Whether y, the answer to one value per channel, is what the dialect says."""
    if value == "bias":  # to the bit of zeros, where nobody rounds; of x, x/sqrt(eps) may be
        largest = ulp(np.array(Config(3).eps ** -0.5), str(format_of(x)))
        near = np.abs(y.astype(np.float64) - bias.reshape(x.shape)) <= 4 * largest
        return bool(near.all()) and equal(layer.forward(0 * x), bias.reshape(x.shape))
    return equal(y, x if value == "input" else np.nan * x)


@requirement("INPUT-4")
@pytest.mark.parametrize("size", [(1, 3, 2), (1, 3, 7), (2, 3), (2, 3, 1)], ids=str)
def test_few_values(trial: Trial, size: tuple[int, ...]) -> None:
    """Two are enough, in whichever axis they lie."""
    trial.require(*(["3d"] if len(size) == 3 else []))
    case = drawn(trial, "few", *size)
    with trial.case(case):
        trial.compare("INPUT-4", trial.step(case).y, trial.expected(case).y, case)


@requirement("INPUT-5")
@pytest.mark.parametrize("size", [(4,), (2, 3, 4, 5), (4, 5), (1, 3)], ids=str)
def test_refusal_leaves_the_state(trial: Trial, size: tuple[int, ...]) -> None:
    """Rank, channels, one value: whatever is refused changes no tensor."""
    case = drawn(trial, "state", 4, 3)
    with trial.case(f"{size}"):
        layer = trial.build(case.config, case.state)
        before = layer.state()
        try:
            layer.forward(_zeros(trial, *size) + 1)
        except SubjectError:
            after = layer.state()
            names = unchanged(before, after)
            trial.expect("INPUT-5", not names, f"A refused input of shape {size} changes {names}.")
            if len(size) not in (2, 3):
                counted = after.num_batches_tracked != before.num_batches_tracked
                trial.expect("INPUT-5", not counted, f"A refused rank {len(size)} is counted.")
    if not trial.judged("INPUT-5"):
        trial.decline(f"an input of shape {size} is not refused")


@requirement("INPUT-6")
@MODES
@pytest.mark.parametrize("name", ["int64", "int32", "uint8", "complex64", "bool"])
def test_no_floating_format(trial: Trial, name: str, training: bool) -> None:
    """Whole, complex and logical numbers."""
    with trial.case(name):
        layer = trial.build(Config(3), training=training)
        x = (np.arange(12).reshape(4, 3) % 5).astype(name)
        trial.refuses("INPUT-6", lambda: layer.forward(x))


@requirement("INPUT-7")
@MODES
@pytest.mark.parametrize("size", [(0, 3), (0, 3, 4), (2, 3, 0)], ids=str)
def test_empty(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """An empty output of the same shape and format."""
    with trial.case(f"{size}"):
        x = _zeros(trial, *size)
        y = trial.build(Config(3), training=training).forward(x)
        ok = y.shape == size and y.dtype == x.dtype
        trial.expect("INPUT-7", ok, f"{size} gives {y.shape} of {y.dtype}.")


@requirement("INPUT-8")
@pytest.mark.parametrize("eps", [0.0, -1e-5, -2.0])
def test_eps_is_positive(trial: Trial, eps: float) -> None:
    """Zero, and less."""
    x = drawn(trial, "eps", 4, 3).x
    with trial.case(f"eps={eps:g}"):
        trial.refuses("INPUT-8", lambda: trial.build(Config(3, eps=eps)).forward(x), ValueError)


@requirement("INPUT-12")
def test_sizes_follow_one_another(trial: Trial) -> None:
    """One layer, batches of many sizes and both ranks, in both modes."""
    sizes: list[tuple[int, ...]] = [(8, 3), (2, 3), (33, 3), (2, 3, 5), (4, 3), (1, 3, 2), (8, 3)]
    first = drawn(trial, "sizes", *sizes[0])
    with trial.case("sizes"):
        layer = trial.build(first.config, first.state)
        for k, size in enumerate(sizes):
            state = full(layer.state(), first)
            case = replace(drawn(trial, f"sizes{k}", *size), state=state, config=first.config)
            y = layer.forward(case.x, grad=trial.has("grad"))
            trial.compare("INPUT-12", y, trial.expected(case).y, case)
            if trial.has("grad"):
                got = layer.backward(case.dy).x
                trial.compare("INPUT-12", got, trial.expected(case).dx, case)


@requirement("INPUT-13")
@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((2, 3, 4, 5), "4 rank dim shape"),
        ((3,), "1 rank dim shape"),
        ((1, 3), "1 size shape value"),
    ],
    ids=str,
)
def test_message(trial: Trial, size: tuple[int, ...], words: str) -> None:
    """The message names the rank or the size that was given."""
    with trial.case(f"{size}"):
        layer = trial.build(Config(3))
        try:
            layer.forward(_zeros(trial, *size) + 1)
        except SubjectError as error:
            said = str(error.error).lower()
            ok = any(w in said for w in words.split())
            trial.expect("INPUT-13", ok, f"The message is {said!r}, and names no size.")
    if not trial.judged("INPUT-13"):
        trial.decline(f"an input of shape {size} is not refused")


@requirement("INPUT-14")
@ONE
def test_one_value_without_statistics(trial: Trial, size: tuple[int, ...]) -> None:
    """Refused, or answered with the bias."""
    with trial.case(f"{size}"):
        layer = trial.build(Config(3, track_running_stats=False), training=False)
        try:
            y = layer.forward(_zeros(trial, *size) + 1)
        except SubjectError as error:
            ok = isinstance(error.error, Exception)
            trial.expect("INPUT-14", ok, f"It raises {type(error.error).__name__}.")
        else:
            trial.expect(
                "INPUT-14", bool((y == 0).all()), f"It answers {y.ravel()[:3]}, not the bias."
            )


@requirement("INPUT-15")
@MODES
@pytest.mark.parametrize("length", [0, 1, 3, 8])
@pytest.mark.parametrize("role", ["weight", "bias", "running_mean", "running_var"])
def test_wrong_lengths(trial: Trial, role: str, length: int, training: bool) -> None:
    """One tensor is replaced by an empty, shorter or longer one, or one that would broadcast."""
    torch = trial.torch
    with trial.case(f"{role} of {length}"):
        layer = trial.build(Config(5), training=training)
        name = trial.subject.names.get(role) or role
        other = torch.ones(length)
        value = torch.nn.Parameter(other) if role in ("weight", "bias") else other
        x = drawn(trial, "lengths", 4, 5).x
        assign = partial(layer.call, f"assigning {role}", setattr, layer.module, name, value)
        trial.refuses("INPUT-15", lambda: (assign(), layer.forward(x)))


@requirement("INPUT-17")
@MODES
@pytest.mark.parametrize("role", ["running_mean", "running_var"])
def test_half_of_the_statistics(trial: Trial, role: str, training: bool) -> None:
    """One of the two is set to None."""
    with trial.case(f"{role} = None"):
        layer = trial.build(Config(3), training=training)
        name = trial.subject.names.get(role) or role
        layer.call(f"assigning {role}", setattr, layer.module, name, None)
        x = drawn(trial, "half", 4, 3).x
        trial.refuses("INPUT-17", lambda: layer.forward(x))


@requirement("INPUT-16")
@MODES
@pytest.mark.parametrize(
    "size", [(2, 3), (7, 3), (2, 3, 1), (1, 3, 2), (4, 3, 5), (1, 3)], ids=str
)
def test_accepted(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """Both ranks, few values and more; one row in evaluation."""
    trial.require(*(["eval", "statistics"] * (not training)))
    if training and size == (1, 3):
        trial.decline("one value a channel is not for training")
    case = drawn(trial, "accepted", *size, training=training)
    with trial.case(case):
        y = trial.build(case.config, case.state, training=training).forward(case.x)
        trial.expect("INPUT-16", y.shape == size, f"y has shape {y.shape} for {size}.")
