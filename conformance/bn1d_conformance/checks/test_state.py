"""STATE: what is saved, what is loaded, and what a copy is."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bn1d_conformance.checks.common import drawn, requirement, same, unchanged
from bn1d_conformance.checks.test_buf import KEYS, saved
from bn1d_conformance.subject import COUNTER, ROLES, Config

if TYPE_CHECKING:
    from bn1d_conformance.trial import Guard, Trial


@requirement("STATE-1")
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no-affine"])
@pytest.mark.parametrize("track", [True, False], ids=["track", "no-track"])
def test_keys(trial: Trial, affine: bool, track: bool) -> None:
    """All four combinations."""
    with trial.case(f"affine={affine}, track_running_stats={track}"):
        got = list(saved(trial.build(Config(3, affine=affine, track_running_stats=track))))
        want = KEYS[:2] * affine + KEYS[2:] * track
        trial.expect("STATE-1", got == want, f"The keys are {got}, where {want} is right.")


@requirement("STATE-2")
def test_version_1(trial: Trial) -> None:
    """A dict of before the counter."""
    case = drawn(trial, "version", 6, 3)
    with trial.case("version"):
        source = trial.build(case.config, case.state)
        state = source.call("state_dict()", source.module.state_dict)
        version = getattr(state, "_metadata", {}).get("", {}).get("version")
        trial.expect("STATE-2", version == 2, f"The state dict says version {version}.")
    for old in ({}, {"": {"version": 1}}):
        with trial.case(f"metadata {old}"):
            state.pop(COUNTER, None)
            state._metadata = old  # noqa: SLF001 - the name under which torch.save keeps it
            target = trial.build(case.config, replace(case.state, num_batches_tracked=41))
            target.call("load_state_dict()", target.module.load_state_dict, state)
            count = target.state().num_batches_tracked
            trial.expect("STATE-2", count == 41, f"The counter 41 becomes {count}.")


@requirement("STATE-3")
@pytest.mark.parametrize("key", KEYS[:4])
def test_missing_key(trial: Trial, key: str) -> None:
    """Refused if strict; else the rest is loaded."""
    case = drawn(trial, "missing", 6, 3)
    with trial.case(f"without {key}"):
        state = saved(trial.build(case.config, case.state))
        state.pop(key, None)
        target = trial.build(case.config)
        load = target.module.load_state_dict
        trial.refuses(
            "STATE-3", lambda: target.call("load_state_dict()", load, state), RuntimeError
        )
        target = trial.build(case.config)
        before = getattr(target.state(), key)
        target.call("load_state_dict()", target.module.load_state_dict, state, False)
        after = target.state()
        trial.expect(
            "STATE-3", same(before, getattr(after, key)), f"{key} changes, and is not there."
        )
        other = [
            r for r in ROLES if r != key and not same(getattr(after, r), getattr(case.state, r))
        ]
        trial.expect("STATE-3", not other, f"{' and '.join(other)} is not loaded beside it.")


@requirement("STATE-3")
def test_unexpected_and_empty(trial: Trial) -> None:
    """A key too many is refused; an empty dict changes nothing."""
    case = drawn(trial, "unexpected", 6, 3)
    with trial.case("one key too many"):
        layer = trial.build(case.config, case.state)
        state = {**saved(layer), "gamma": trial.torch.ones(3)}
        load = layer.module.load_state_dict
        trial.refuses(
            "STATE-3", lambda: layer.call("load_state_dict()", load, state), RuntimeError
        )
    with trial.case("an empty dict"):
        layer = trial.build(case.config, case.state)
        layer.call("load_state_dict()", layer.module.load_state_dict, {}, False)
        _intact(trial, "STATE-3", layer, case.state)


def _intact(trial: Trial, ident: str, layer: Guard, state: Any) -> None:
    after = layer.state()
    names = unchanged(state, after)
    trial.expect(ident, not names, f"{names} changes.")
    counts = state.num_batches_tracked, after.num_batches_tracked
    trial.expect(ident, counts[0] == counts[1], f"The counter {counts[0]} becomes {counts[1]}.")


@requirement("STATE-4")
@pytest.mark.parametrize("key", KEYS[:4])
@pytest.mark.parametrize("size", [(1,), (4,), (3, 1)], ids=str)
def test_wrong_shape(trial: Trial, key: str, size: tuple[int, ...]) -> None:
    """One value, one too many, one axis too many."""
    case = drawn(trial, "shapes", 6, 3)
    for strict in (True, False):
        with trial.case(f"{key} of shape {size}, strict={strict}"):
            layer = trial.build(case.config, case.state)
            state = {**saved(layer), key: trial.torch.ones(size)}
            load = layer.module.load_state_dict
            trial.refuses(
                "STATE-4",
                lambda c=layer, f=load, s=state, t=strict: c.call("load_state_dict()", f, s, t),  # type: ignore[misc]
                RuntimeError,
            )


def _alike(trial: Trial, ident: str, one: Guard, module: Any) -> None:
    """The same state, mode and configuration, and the same answer in evaluation."""
    case = drawn(trial, "alike", 6, 3, training=False)
    other = trial.adopt(module, case.config)
    names = unchanged(one.state(), other.state())
    trial.expect(ident, not names, f"The copy differs in {names}.")
    counts = one.state().num_batches_tracked, other.state().num_batches_tracked
    trial.expect(
        ident, counts[0] == counts[1], f"The counter {counts[0]} is copied as {counts[1]}."
    )
    for name in ("training", "num_features", "eps", "momentum", "affine", "track_running_stats"):
        a, b = (getattr(m, name, "missing") for m in (one.module, module))
        trial.expect(ident, a == b, f"{name} is {a!r}, and in the copy {b!r}.")
    other.train(False)
    y = other.forward(case.x)
    now = replace(case, state=one.state(), config=replace(case.config, momentum=0.25))
    trial.compare(ident, y, trial.expected(now).y, now)


def _trained(trial: Trial) -> Guard:
    case = drawn(trial, "alike", 6, 3)
    layer = trial.build(replace(case.config, momentum=0.25), case.state)
    layer.forward(case.x)
    return layer


@requirement("STATE-5")
def test_deep_copy(trial: Trial) -> None:
    """Alike, and apart."""
    with trial.case("deepcopy"):
        one = _trained(trial)
        module = one.call("deepcopy", copy.deepcopy, one.module)
        _alike(trial, "STATE-5", one, module)
        before = one.state()
        twin = trial.adopt(module, Config(3))
        twin.train(True)
        twin.forward(drawn(trial, "apart", 6, 3).x)
        twin.load(drawn(trial, "apart", 6, 3).state)
        names = unchanged(before, one.state())
        trial.expect(
            "STATE-5", not names, f"What is done to the copy changes {names} of the original."
        )


@requirement("STATE-6")
def test_pickle(trial: Trial) -> None:
    """There and back."""
    with trial.case("pickle"):
        one = _trained(trial)
        data = one.call("pickle", pickle.dumps, one.module)
        module = one.call("unpickle", pickle.loads, data)
        _alike(trial, "STATE-6", one, module)


@requirement("STATE-7")
def test_prefix(trial: Trial) -> None:
    """Two layers in a Sequential."""
    case = drawn(trial, "prefix", 6, 3)
    with trial.case("prefix"):
        sequential = trial.torch.nn.Sequential
        layers = [trial.build(case.config, case.state), trial.build(case.config)]
        parent = sequential(*(layer.module for layer in layers))
        state = layers[0].call("state_dict()", parent.state_dict)
        want = [f"{k}.{key}" for k in (0, 1) for key in KEYS]
        trial.expect("STATE-7", list(state) == want, f"The keys are {list(state)}.")
        swapped = {f"{1 - int(k[0])}{k[1:]}": v.clone() for k, v in state.items()}
        layers[0].call("load_state_dict()", parent.load_state_dict, swapped)
        _intact(trial, "STATE-7", layers[1], case.state)


@requirement("STATE-8")
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_load_in_place(trial: Trial, assign: bool) -> None:
    """The same tensors with new values, or the loaded tensors."""
    case = drawn(trial, "assign", 6, 3)
    with trial.case(f"assign={assign}"):
        state = {k: v.clone() for k, v in saved(trial.build(case.config, case.state)).items()}
        layer = trial.build(case.config)
        inner: Any = layer.layer
        before = {r: inner.tensor(r) for r in (*ROLES, COUNTER)}
        load = layer.module.load_state_dict
        layer.call("load_state_dict()", lambda: load(state, assign=assign))
        for role, tensor in before.items():
            kept = inner.tensor(role) is tensor
            trial.expect("STATE-8", kept != assign, f"{role} is {'kept' if kept else 'replaced'}.")
        _intact(trial, "STATE-8", layer, case.state)
