"""STATE: what a copy is, and what comes back from a file, in another format, without memory."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import drawn, requirement, same, unchanged
from bn1d_conformance.checks.test_state import cloned, intact, load, old
from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import COUNTER, ROLES, Config, State

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

OPTIONS = pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"bias": False}, {"track_running_stats": False}],
    ids=lambda o: " ".join(o) or "default",
)
MANY = 2**53 + 1  # a count that no floating format holds


def _trained(trial: Trial, options: dict[str, Any]) -> tuple[Guard, Case]:
    """A layer after one step, and the case of evaluating it."""
    case = drawn(trial, "alike", 6, 3, **{"momentum": 0.25, **options})
    trial.require(*case.config.needs)
    layer = trial.build(case.config, case.state)
    layer.forward(case.x)
    return layer, replace(case, id=f"{case.id}/eval", training=False, state=layer.state())


def _alike(trial: Trial, ident: str, one: Guard, module: Any, case: Case) -> Guard:
    """The same state, mode and configuration, and the same answer in evaluation."""
    other = trial.adopt(module, case.config)
    names = unchanged(case.state, other.state())
    trial.expect(ident, not names, f"The copy differs in {names}.")
    counts = case.state.num_batches_tracked, other.state().num_batches_tracked
    trial.expect(
        ident, counts[0] == counts[1], f"The counter {counts[0]} is copied as {counts[1]}."
    )
    for name in ("training", "num_features", "eps", "momentum", "affine", "track_running_stats"):
        a, b = (getattr(m, name, "missing") for m in (one.module, module))
        trial.expect(ident, a == b, f"{name} is {a!r}, and in the copy {b!r}.")
    other.train(False)
    trial.compare(ident, other.forward(case.x), trial.expected(case).y, case)
    return other


@requirement("STATE-5")
@OPTIONS
def test_deep_copy(trial: Trial, options: dict[str, Any]) -> None:
    """Alike, and apart."""
    with trial.case("deepcopy"):
        one, case = _trained(trial, options)
        module = one.call("deepcopy", copy.deepcopy, one.module)
        twin = _alike(trial, "STATE-5", one, module, case)
        twin.train(True)
        twin.forward(drawn(trial, "apart", 6, 3).x)
        twin.load(drawn(trial, "apart", 6, 3).state)
        names = unchanged(case.state, one.state())
        trial.expect(
            "STATE-5", not names, f"What is done to the copy changes {names} of the original."
        )


@requirement("STATE-6")
@OPTIONS
def test_pickle(trial: Trial, options: dict[str, Any]) -> None:
    """There and back."""
    with trial.case("pickle"):
        one, case = _trained(trial, options)
        data = one.call("pickle", pickle.dumps, one.module)
        module = one.call("unpickle", pickle.loads, data)
        _alike(trial, "STATE-6", one, module, case)


@requirement("STATE-8")
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_load_in_place(trial: Trial, assign: bool) -> None:
    """The same tensors with new values, or the loaded tensors."""
    case = drawn(trial, "assign", 6, 3)
    with trial.case(f"assign={assign}"):
        state = cloned(trial.build(case.config, case.state))
        layer = trial.build(case.config)
        inner: Any = layer.layer
        before = {r: inner.tensor(r) for r in (*ROLES, COUNTER)}
        load(layer, state, assign=assign)
        for role, tensor in before.items():
            kept = inner.tensor(role) is tensor
            trial.expect("STATE-8", kept != assign, f"{role} is {'kept' if kept else 'replaced'}.")
        intact(trial, "STATE-8", layer, case.state)


def _special(fmt: str) -> State:
    """Values that a careless copy loses, in every tensor, and a count beyond 2^53."""
    tiny = {"fp16": 2.0**-24, "bf16": 2.0**-133, "fp32": 2.0**-149, "fp64": 5e-324}[fmt]
    values = np.array([np.nan, np.inf, -np.inf, -0.0, tiny, 1 / 3]).astype(DTYPES[fmt])
    weight, bias, mean, var = (np.roll(values, k) for k in range(4))
    return State(weight, bias, mean, var, MANY)


@requirement("STATE-14")
@pytest.mark.parametrize("fmt", DTYPES)
def test_file(trial: Trial, fmt: str) -> None:
    """Through torch.save and torch.load(weights_only=True)."""
    torch = trial.torch
    with trial.case(fmt):
        source, state = trial.build(Config(6, format=fmt), _special(fmt)), _special(fmt)
        file = io.BytesIO()
        source.call("torch.save", lambda: torch.save(source.module.state_dict(), file))
        file.seek(0)
        read = source.call("torch.load", lambda: torch.load(file, weights_only=True))
        target = trial.build(Config(6, format=fmt))
        load(target, read)
        intact(trial, "STATE-14", target, state)


@requirement("STATE-15")
@pytest.mark.parametrize("momentum", [0.3, None])
def test_goes_on(trial: Trial, momentum: float | None) -> None:
    """Two steps, a state dict, and two steps more of another layer."""
    case = drawn(trial, "goes on", 6, 3, momentum=momentum)
    with trial.case(case):
        first = trial.build(case.config)
        for _ in range(2):
            first.forward(case.x)
        second = trial.build(case.config)
        load(second, cloned(first))
        before = first.state()
        for k in (3, 4):
            x = (case.x * DTYPES[case.format].type(k)).astype(case.x.dtype)
            now = replace(case, id=f"{case.id}/step{k}", x=x, state=before)
            y, want = second.forward(x), trial.expected(now)
            before = second.state()
            trial.compare("STATE-15", y, want.y, now)
            for name in ("running_mean", "running_var"):
                trial.compare("STATE-15", getattr(before, name), getattr(want, name), now)
            count = before.num_batches_tracked
            trial.expect("STATE-15", count == k, f"The counter is {count} after {k} steps.")


@requirement("STATE-16")
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
@pytest.mark.parametrize(
    ("source", "target"),
    [("fp32", "fp16"), ("fp32", "bf16"), ("fp32", "fp64"), ("fp16", "fp32"), ("fp64", "bf16")],
)
def test_other_format(trial: Trial, source: str, target: str, assign: bool) -> None:
    """Narrower and wider."""
    case = drawn(trial, "other format", 6, 3)
    weight, bias, mean, var = (getattr(case.state, r).astype(DTYPES[source]) for r in ROLES)
    state = State(weight, bias, mean, var, MANY)
    with trial.case(f"{source} into {target}, assign={assign}"):
        given = cloned(trial.build(Config(3, format=source), state))
        layer = trial.build(Config(3, format=target))
        load(layer, given, assign=assign)
        after, right = layer.state(), source if assign else target
        for role in ROLES:
            got, want = (getattr(s, role) for s in (after, state))
            name = "missing" if got is None else format_of(got) or str(got.dtype)
            trial.expect("STATE-16", name == right, f"{role} is {name}, where {right} is right.")
            rounded = got is not None and same(got, want.astype(DTYPES[right]))
            trial.expect("STATE-16", rounded, f"{role} is not the value of the dict, rounded.")
        count = after.num_batches_tracked
        trial.expect("STATE-16", count == MANY, f"The count 2^53 + 1 is loaded as {count}.")


def _filled(trial: Trial, case: Case, *, version: int) -> Guard:
    """A layer on the meta device, after it has taken the tensors of a dict."""
    source, layer = trial.build(case.config, case.state), trial.build(case.config)
    layer.call("to('meta')", layer.module.to, "meta")
    load(layer, cloned(source) if version == 2 else old(source, {}), assign=True)
    return layer


@requirement("STATE-17")
def test_without_memory(trial: Trial) -> None:
    """Filled by assignment; then it evaluates."""
    case = drawn(trial, "meta", 6, 3, training=False)
    with trial.case(case):
        layer = _filled(trial, case, version=2)
        inner: Any = layer.layer
        left = [r for r in (*ROLES, COUNTER) if getattr(inner.tensor(r), "is_meta", False)]
        trial.expect("STATE-17", not left, f"{' and '.join(left)} is still on the meta device.")
        if not left:
            intact(trial, "STATE-17", layer, case.state)
            layer.train(False)
            trial.compare("STATE-17", layer.forward(case.x), trial.expected(case).y, case)


@requirement("STATE-18")
def test_without_memory_and_counter(trial: Trial) -> None:
    """Version 1; then it trains."""
    case = drawn(trial, "meta", 6, 3)
    with trial.case(case):
        layer = _filled(trial, case, version=1)
        inner: Any = layer.layer
        counter = inner.tensor(COUNTER)
        lost = counter is None or getattr(counter, "is_meta", False)
        trial.expect("STATE-18", not lost, "The counter is missing, or still on the meta device.")
        if not lost:
            count = int(counter)
            trial.expect("STATE-18", count == 0, f"The counter starts at {count}.")
            layer.forward(case.x)
