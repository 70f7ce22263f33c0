"""CTOR: construction."""

from __future__ import annotations

import inspect
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import dialect
from bn1d_conformance.checks.common import drawn, requirement, unchanged
from bn1d_conformance.guard import guarded
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import COUNTER, ROLES, Config, State

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

ORDER = ("num_features", "eps", "momentum", "affine", "track_running_stats")


@requirement("CTOR-1")
@pytest.mark.parametrize("num_features", [1, 3, 64])
def test_constructs(trial: Trial, num_features: int) -> None:
    """num_features is enough."""
    with trial.case(f"num_features={num_features}"):
        trial.build_default(num_features)
        trial.expect("CTOR-1", True, "")


def _scale(trial: Trial, eps: float) -> float:
    """Evaluate one at running_var = eps on a default layer: 1/sqrt(2·eps), by the definition."""
    dtype = DTYPES[trial.format]
    layer = trial.build_default(1)
    layer.load(State(running_mean=np.zeros(1, dtype), running_var=np.full(1, eps, dtype)))
    layer.train(False)
    y = layer.forward(np.ones((2, 1), dtype))
    return float(y.flat[0]) if y.size else float("nan")  # of whatever shape


@requirement("CTOR-2")
def test_default_eps(trial: Trial) -> None:
    """Seen in an output, at a running variance of 1e-5."""
    trial.require("eval", "statistics")
    with trial.case("default eps"):
        got = _scale(trial, 1e-5)

        def holds(eps: str) -> bool:
            return abs(got * math.sqrt(1e-5 + float(eps)) - 1) < 1e-3

        ok = holds("1e-5") or trial.excused("CTOR-2", "default_eps", holds)
        message = (
            f"A default layer maps 1 to {got:.6g} at running_var 1e-5; "
            f"eps 1e-5 gives {(2e-5) ** -0.5:.6g}."
        )
        trial.expect("CTOR-2", ok, message)


@requirement("CTOR-3")
def test_default_momentum(trial: Trial) -> None:
    """Seen in running_mean after one batch of tens and twelves."""
    trial.require("train", "statistics")
    with trial.case("default momentum"):
        layer = trial.build_default(1)
        layer.train(True)
        layer.forward(np.array([[10.0], [12.0]], DTYPES[trial.format]))
        mean = layer.state().running_mean
        got = None if mean is None else float(mean[0])

        def holds(momentum: str) -> bool:
            m = dialect.weight_of_new(trial.memory.dialect, float(momentum))
            return got is not None and abs(got - 11 * m) < 1e-4

        right = got is not None and abs(got - 1.1) < 1e-4
        ok = right or trial.excused("CTOR-3", "default_momentum", holds)
        trial.expect(
            "CTOR-3", ok, f"running_mean is {got} after a batch of mean 11; 0.1 gives 1.1."
        )


@requirement("CTOR-4")
def test_default_flags(trial: Trial) -> None:
    """A default layer has all its tensors."""
    with trial.case("defaults"):
        state = trial.build_default(3).state()
        missing = [role for role in ROLES if getattr(state, role) is None]
        trial.expect("CTOR-4", not missing, f"A default layer has no {', '.join(missing)}.")


@requirement("CTOR-5")
def test_argument_order(trial: Trial) -> None:
    """By position and by name: the attributes, the tensors and the signature agree."""
    cls: Any = trial.subject.cls  # type: ignore[attr-defined]
    with trial.case("positions"):
        module = guarded("construction", cls, 5, 0.25, 0.75, False, False)
        got = tuple(getattr(module, name, "missing") for name in ORDER)
        want = (5, 0.25, 0.75, False, False)
        trial.expect("CTOR-5", got == want, f"Positions {want} arrive as {got}.")
    with trial.case("names"):
        given = dict(zip(ORDER, (5, 0.25, None, True, False), strict=True))
        module = guarded("construction", cls, **given)
        got = tuple(getattr(module, name, "missing") for name in ORDER)
        trial.expect("CTOR-5", got == tuple(given.values()), f"{given} arrive as {got}.")
    with trial.case("signature"):
        names = [
            p for p in inspect.signature(cls).parameters if p not in {"args", "kwargs", "self"}
        ]
        want_order = [n for n in (*ORDER, "device", "dtype") if n in names]
        got_order = [n for n in names if n in want_order]
        trial.expect("CTOR-5", got_order == want_order, f"The arguments are in the order {names}.")


@requirement("CTOR-6")
@pytest.mark.parametrize("momentum", [0.25, 0.0, None])
def test_attributes(trial: Trial, momentum: float | None) -> None:
    """As given, under their names."""
    config = Config(3, eps=0.125, momentum=momentum)
    with trial.case(f"momentum={momentum}"):
        module = trial.build(config).module
        for name in ORDER:
            got, want = getattr(module, name, "missing"), getattr(config, name)
            ok = got == want and (got is None) == (want is None)
            trial.expect("CTOR-6", ok, f"{name} is {got!r} after {name}={want!r}.")


@requirement("CTOR-7")
def test_starts_in_training(trial: Trial) -> None:
    """Never told a mode, it normalises by the batch."""
    case = drawn(trial, "fresh", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=None)
        trial.compare("CTOR-7", layer.forward(case.x), trial.expected(case).y, case)
        if trial.has("torch-module"):
            flag = layer.module.training
            trial.expect("CTOR-7", flag is True, f"module.training is {flag!r}.")


@requirement("CTOR-8")
@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
def test_dtype(trial: Trial, name: str) -> None:
    """dtype= reaches the four, and not the counter."""
    cls: Any = trial.subject.cls  # type: ignore[attr-defined]
    dtype = getattr(trial.torch, name)
    with trial.case(name):
        module = guarded("construction", cls, 3, dtype=dtype)
        for role in ROLES:
            got = getattr(getattr(module, role, None), "dtype", None)
            trial.expect("CTOR-8", got == dtype, f"{role} is {got} with dtype={name}.")
        counter = getattr(module, "num_batches_tracked", None)
        got = getattr(counter, "dtype", None)
        trial.expect("CTOR-8", got == trial.torch.int64, f"num_batches_tracked is {got}.")


@requirement("CTOR-15")
def test_device(trial: Trial) -> None:
    """The meta device, which every torch has, and which no default tensor is on."""
    cls: Any = trial.subject.cls  # type: ignore[attr-defined]
    with trial.case("meta"):
        module = guarded("construction", cls, 3, device="meta")
        for role in (*ROLES, COUNTER):
            got = str(getattr(getattr(module, role, None), "device", None))
            trial.expect("CTOR-15", got == "meta", f"{role} is on {got} with device='meta'.")


@requirement("CTOR-9")
def test_bias_is_keyword_only(trial: Trial) -> None:
    """No position reaches it; left out, there is a bias."""
    cls: Any = trial.subject.cls  # type: ignore[attr-defined]
    with trial.case("keyword"):
        found = inspect.signature(cls).parameters.get("bias")
        if found is not None:
            keyword = found.kind is inspect.Parameter.KEYWORD_ONLY
            trial.expect("CTOR-9", keyword, f"bias is {found.kind.description}.")
            trial.expect("CTOR-9", found.default is True, f"bias is {found.default!r} by default.")
        module = guarded("construction", cls, 3)
        trial.expect("CTOR-9", module.bias is not None, "Left out, there is no bias.")


@requirement("CTOR-10")
@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0, None, 1])
def test_momentum_range(trial: Trial, momentum: float | None) -> None:
    """0, 1, None and what lies between construct and train."""
    case = drawn(trial, "range", 4, 3)
    with trial.case(f"momentum={momentum!r}"):  # 1 and 1.0 are equal, and not the same
        trial.build(replace(case.config, momentum=momentum)).forward(case.x)
        trial.expect("CTOR-10", True, "")


@requirement("CTOR-11")
def test_layers_share_nothing(trial: Trial) -> None:
    """One trains, is written to and put to evaluation; the other's state and answer stay."""
    case = drawn(trial, "alone", 6, 3)
    with trial.case(case):
        one, other = trial.build(case.config), trial.build(case.config)
        before = other.state()
        one.forward(case.x)
        one.load(case.state)
        one.train(False)
        names = unchanged(before, other.state())
        trial.expect(
            "CTOR-11", not names, f"What is done to one layer changes {names} of another."
        )
        other.load(case.state)
        trial.compare("CTOR-11", other.forward(case.x), trial.expected(case).y, case)


@requirement("CTOR-12")
def test_no_randomness(trial: Trial) -> None:
    """Two layers start alike, and the generators are where they were."""
    with trial.case("twice"):
        _draw(trial)  # away from where a construction that seeds has left the generators
        before = _random_state(trial)
        a, b = trial.build_default(5).state(), trial.build_default(5).state()
        trial.expect(
            "CTOR-12", not unchanged(a, b), f"Two new layers differ in {unchanged(a, b)}."
        )
        moved = [n for n, s in _random_state(trial).items() if s != before[n]]
        trial.expect(
            "CTOR-12", not moved, f"Construction moves the random state of {', '.join(moved)}."
        )


def _draw(trial: Trial) -> None:
    random.random()  # noqa: S311 - nobody reads it
    np.random.random_sample()  # noqa: NPY002 - the global one is meant
    if trial.has("torch-module"):
        trial.torch.rand(1)


def _random_state(trial: Trial) -> dict[str, Any]:
    state = {"random": random.getstate(), "numpy": repr(np.random.get_state())}  # noqa: NPY002 - the global one is meant
    if trial.has("torch-module"):
        state["torch"] = trial.torch.get_rng_state().numpy().tobytes()
    return state


@requirement("CTOR-13")
def test_printed_form(trial: Trial) -> None:
    """Every argument is in the text, with its value."""
    config = Config(64, eps=0.125, momentum=0.375)  # no number is a part of another
    with trial.case("repr"):
        text = guarded("repr()", repr, trial.build(config).module)
        parts = ["64", "eps=0.125", "momentum=0.375", "affine=True", "track_running_stats=True"]
        missing = [p for p in parts if p not in text]
        trial.expect("CTOR-13", not missing, f"{text!r} does not say {', '.join(missing)}.")


@requirement("CTOR-14")
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no-affine"])
@pytest.mark.parametrize("track", [True, False], ids=["track", "no-track"])
def test_flags_are_independent(trial: Trial, affine: bool, track: bool) -> None:
    """Four combinations: each has what it should, trains and evaluates."""
    config = Config(3, affine=affine, track_running_stats=track, format=trial.format)
    x = drawn(trial, "flags", 6, 3).x
    with trial.case(f"affine={affine}, track_running_stats={track}"):
        layer = trial.build(config)
        _has(trial, layer, affine, track)
        layer.forward(x)
        layer.train(False)
        layer.forward(x)


def _has(trial: Trial, layer: Guard, affine: bool, track: bool) -> None:
    state = layer.state()
    for role in ROLES:
        want = affine if role in ("weight", "bias") else track
        got = getattr(state, role) is not None
        trial.expect("CTOR-14", got == want, f"{role} is {'there' if got else 'missing'}.")
