"""STATE: what is saved, and what loading takes, refuses and leaves."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bn1d_conformance.checks.common import drawn, requirement, same, unchanged
from bn1d_conformance.checks.test_buf import KEYS, saved
from bn1d_conformance.subject import COUNTER, ROLES, Config, SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import State
    from bn1d_conformance.trial import Trial


@requirement("STATE-1")
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no-affine"])
@pytest.mark.parametrize("track", [True, False], ids=["track", "no-track"])
def test_keys(trial: Trial, affine: bool, track: bool) -> None:
    """All four combinations."""
    with trial.case(f"affine={affine}, track_running_stats={track}"):
        got = list(saved(trial.build(Config(3, affine=affine, track_running_stats=track))))
        want = KEYS[:2] * affine + KEYS[2:] * track
        trial.expect("STATE-1", got == want, f"The keys are {got}, where {want} is right.")


OLD: tuple[dict[str, dict[str, int | None]], ...] = (
    {},
    {"": {}},
    {"": {"version": None}},
    {"": {"version": 1}},
)


@requirement("STATE-2")
def test_version_1(trial: Trial) -> None:
    """A dict of before the counter."""
    case = drawn(trial, "version", 6, 3)
    with trial.case("version"):
        source = trial.build(case.config, case.state)
        version = cloned(source)._metadata.get("", {}).get("version")  # noqa: SLF001
        trial.expect("STATE-2", version == 2, f"The state dict says version {version}.")
    for metadata in OLD:
        with trial.case(f"metadata {metadata}"):
            target = trial.build(case.config, replace(case.state, num_batches_tracked=41))
            load(target, old(source, metadata))
            count = target.state().num_batches_tracked
            trial.expect("STATE-2", count == 41, f"The counter 41 becomes {count}.")


@requirement("STATE-2")
def test_version_1_inside_a_parent(trial: Trial) -> None:
    """The version of a layer stands under its prefix, and so does its counter."""
    case = drawn(trial, "version", 6, 3)
    with trial.case("metadata of a parent"):
        layer = trial.build(case.config, replace(case.state, num_batches_tracked=41))
        parent = trial.torch.nn.Sequential(layer.module)
        state = layer.call("state_dict()", parent.state_dict)
        for version in (2, 1):
            state._metadata[""] = {"version": version}  # noqa: SLF001 - as in old()
            state._metadata["0"] = {"version": 1}  # noqa: SLF001
            state.pop(f"0.{key_of(layer, COUNTER)}", None)
            layer.call("load_state_dict()", parent.load_state_dict, state)
            count = layer.state().num_batches_tracked
            trial.expect("STATE-2", count == 41, f"The counter 41 becomes {count}.")


def key_of(layer: Guard, role: str) -> str:
    """The subject's own key: a wrong name or prefix fails PARAM-8, BUF-2 or STATE-1 alone."""
    inner: Any = layer.layer
    name = str(inner.names.get(role) or role)
    keys = map(str, layer.call("state_dict()", layer.module.state_dict))
    return next((key for key in keys if key == name or key.endswith(f".{name}")), name)


def cloned(layer: Guard) -> Any:
    """The state dict with its metadata, and with tensors of its own."""
    return layer.call("state_dict()", _clone, layer.module)


def _clone(module: Any) -> Any:
    state = module.state_dict()
    copied = OrderedDict((k, v.detach().clone()) for k, v in state.items())
    return _of_version(copied, getattr(state, "_metadata", {}))


def old(layer: Guard, metadata: dict[str, Any]) -> Any:
    """The same without the counter, and with other metadata."""
    state = cloned(layer)
    state.pop(key_of(layer, COUNTER), None)
    return _of_version(state, metadata)


def _of_version(state: Any, metadata: dict[str, Any]) -> Any:
    state._metadata = metadata  # noqa: SLF001 - the name under which torch.save keeps it
    return state


def load(layer: Guard, state: Any, **options: bool) -> Any:
    """Load, and return what loading returns."""
    return layer.call("load_state_dict()", lambda: layer.module.load_state_dict(state, **options))


@requirement("STATE-3")
@pytest.mark.parametrize("key", KEYS[:4])
def test_missing_key(trial: Trial, key: str) -> None:
    """Refused if strict; else the rest is loaded."""
    case = drawn(trial, "missing", 6, 3)
    with trial.case(f"without {key}"):
        source = trial.build(case.config, case.state)
        state = saved(source)
        state.pop(key_of(source, key), None)
        target = trial.build(case.config)
        trial.refuses("STATE-3", partial(load, target, state), RuntimeError)
        target = trial.build(case.config)
        before = getattr(target.state(), key)
        load(target, state, strict=False)
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
        state = {**saved(layer), "surplus": trial.torch.ones(3)}
        trial.refuses("STATE-3", partial(load, layer, state), RuntimeError)
    with trial.case("an empty dict"):
        layer = trial.build(case.config, case.state)
        load(layer, {}, strict=False)
        intact(trial, "STATE-3", layer, case.state)


def intact(trial: Trial, ident: str, layer: Guard, state: State) -> None:
    """Judge that the layer has this state, bit for bit; that it counts at all is BUF-1."""
    after = layer.state()
    names = unchanged(state, after)
    trial.expect(ident, not names, f"{names} is not what it should be.")
    was, now = state.num_batches_tracked, after.num_batches_tracked
    trial.expect(ident, now in (was, None), f"The counter {was} becomes {now}.")


MISSHAPEN = [(key, size) for key in KEYS[:4] for size in ((1,), (4,), (3, 1))] + [(COUNTER, (2,))]


@requirement("STATE-4", "STATE-10")
@pytest.mark.parametrize(("key", "size"), MISSHAPEN, ids=str)
def test_wrong_shape(trial: Trial, key: str, size: tuple[int, ...]) -> None:
    """One value, one too many, one axis too many; a count of two numbers."""
    case = drawn(trial, "shapes", 6, 3)
    for strict in (True, False):
        with trial.case(f"{key} of shape {size}, strict={strict}"):
            layer = trial.build(case.config, case.state)
            state, name = cloned(layer), key_of(layer, key)
            dtype = getattr(state.get(name), "dtype", None)
            state[name] = trial.torch.ones(size, dtype=dtype)
            trial.refuses("STATE-4", partial(load, layer, state, strict=strict), RuntimeError)
            _left(trial, layer, case.state, key)


def _left(trial: Trial, layer: Guard, before: State, key: str) -> None:
    """Judge that the tensor of this key is what it was."""
    was, now = (getattr(s, key) for s in (before, layer.state()))
    kept = was == now if key == COUNTER else same(was, now)
    trial.expect("STATE-10", kept, f"{key} is refused, and is changed from {was} to {now}.")


@requirement("STATE-10")
@pytest.mark.parametrize("key", KEYS)
def test_missing_is_left(trial: Trial, key: str) -> None:
    """Refused, and the tensor that was not there to be loaded is as before."""
    case = drawn(trial, "left", 6, 3)
    with trial.case(f"without {key}"):
        layer = trial.build(case.config, case.state)
        state = cloned(trial.build(case.config))
        state.pop(key_of(layer, key), None)
        with suppress(SubjectError):
            load(layer, state)
        _left(trial, layer, case.state, key)


@requirement("STATE-9")
def test_error_names_keys(trial: Trial) -> None:
    """One key missing, one too many, one of another shape, in one dict."""
    with trial.case("three defects"):
        layer = trial.build(Config(3))
        state = cloned(layer)
        gone, misshapen = (key_of(layer, role) for role in ("running_var", "weight"))
        state.pop(gone, None)
        state.update({"surplus": trial.torch.ones(3), misshapen: trial.torch.ones(4)})
        said = trial.refuses("STATE-9", partial(load, layer, state), RuntimeError)
        unsaid = [key for key in (gone, "surplus", misshapen) if key not in said]
        trial.expect("STATE-9", not unsaid, f"The error does not name {' and '.join(unsaid)}.")


@requirement("STATE-9")
@pytest.mark.parametrize("fits", [True, False], ids=["fits", "does not fit"])
def test_report(trial: Trial, fits: bool) -> None:
    """What load_state_dict returns where nothing is refused."""
    with trial.case("the report"):
        layer = trial.build(Config(3))
        state = cloned(layer)
        gone = [] if fits else [key_of(layer, role) for role in ("weight", "running_var")]
        for key in gone:
            state.pop(key, None)
        added = [] if fits else ["surplus", "zeta"]
        state.update((key, trial.torch.ones(3)) for key in added)
        report = load(layer, state, strict=False)
        for name, want in (("missing_keys", gone), ("unexpected_keys", added)):
            got = getattr(report, name, None)
            ok = got is not None and sorted(got) == sorted(want)
            trial.expect("STATE-9", ok, f"{name} is {got}, where {want} is right.")


@requirement("STATE-11")
def test_version_2_without_counter(trial: Trial) -> None:
    """Version 2, and a version that is yet to come."""
    case = drawn(trial, "version", 6, 3)
    for version in (2, 3):
        with trial.case(f"version {version}"):
            layer = trial.build(case.config, case.state)
            state = old(layer, {"": {"version": version}})
            trial.refuses("STATE-11", partial(load, layer, state), RuntimeError)
            layer = trial.build(case.config, case.state)
            missing = getattr(load(layer, state, strict=False), "missing_keys", None)
            right = missing == [key_of(layer, COUNTER)]
            trial.expect("STATE-11", right, f"The keys {missing} are reported.")
            intact(trial, "STATE-11", layer, case.state)


@requirement("STATE-12")
@pytest.mark.parametrize("version", [1, 2])
def test_dict_is_only_read(trial: Trial, version: int) -> None:
    """Two layers from one dict; the first is trained."""
    case = drawn(trial, "read", 6, 3)
    with trial.case(f"version {version}"):
        source = trial.build(case.config, case.state)
        state = cloned(source) if version == 2 else old(source, {})
        before = {key: value.clone() for key, value in state.items()}
        first, second = trial.build(case.config), trial.build(case.config)
        for layer in (first, second):
            load(layer, state)
        first.forward(case.x)
        keys = list(state)
        trial.expect("STATE-12", keys == list(before), f"After loading, the dict has keys {keys}.")
        moved = [k for k, v in before.items() if k in state and not bool((state[k] == v).all())]
        trial.expect("STATE-12", not moved, f"Training changes {' and '.join(moved)} of the dict.")
        names = unchanged(case.state, second.state())
        trial.expect("STATE-12", not names, f"Training one layer changes {names} of another.")


@requirement("STATE-13")
def test_dict_is_a_view(trial: Trial) -> None:
    """A dict taken before a training step, and one with keep_vars=True."""
    case = drawn(trial, "view", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        inner: Any = layer.layer
        state = saved(layer)
        kept = layer.call("state_dict()", lambda: layer.module.state_dict(keep_vars=True))
        learning = [key for key, value in state.items() if value.requires_grad]
        trial.expect("STATE-13", not learning, f"{' and '.join(learning)} requires a gradient.")
        layer.forward(case.x)
        for role in KEYS:
            own = inner.tensor(role)
            key = key_of(layer, role)
            shared = key in state and state[key].data_ptr() == own.data_ptr()
            trial.expect("STATE-13", shared, f"{role} of the state dict is a copy.")
            itself = kept.get(key) is own
            trial.expect("STATE-13", itself, f"With keep_vars=True, {role} is not the layer's.")


@requirement("STATE-19")
def test_count_in_brackets(trial: Trial) -> None:
    """A list of one number."""
    with trial.case("num_batches_tracked of shape (1,)"):
        layer = trial.build(Config(3))
        state = cloned(layer)
        state[key_of(layer, COUNTER)] = trial.torch.tensor([41])
        load(layer, state)
        inner: Any = layer.layer
        seen = inner.tensor(COUNTER)
        ok = getattr(seen, "shape", None) == () and int(seen) == 41
        trial.expect("STATE-19", ok, f"[41] is loaded as {seen}.")


@requirement("STATE-20")
@pytest.mark.parametrize("option", ["affine", "track_running_stats"])
def test_declined_state(trial: Trial, option: str) -> None:
    """The dict of a layer that has everything."""
    case = drawn(trial, "declined", 6, 3)
    config = replace(case.config, **{option: False})  # type: ignore[arg-type]
    absent = KEYS[:2] if option == "affine" else KEYS[2:]
    with trial.case(f"{option}=False"):
        source = trial.build(case.config, case.state)
        state, past = cloned(source), old(source, {})
        trial.refuses("STATE-20", partial(load, trial.build(config), state), RuntimeError)
        layer = trial.build(config)
        load(layer, state, strict=False)
        _declined(trial, layer, absent)
        after = layer.state()
        rest = [r for r in ROLES if r not in absent]
        wrong = [r for r in rest if not same(getattr(after, r), getattr(case.state, r))]
        trial.expect("STATE-20", not wrong, f"{' and '.join(wrong)} is not loaded beside it.")
        layer = trial.build(config)
        for role in absent:
            past.pop(key_of(source, role), None)
        load(layer, past)
        _declined(trial, layer, absent)


def _declined(trial: Trial, layer: Guard, absent: list[str]) -> None:
    inner: Any = layer.layer
    keys = saved(layer)
    there = [r for r in absent if inner.tensor(r) is not None or key_of(layer, r) in keys]
    trial.expect("STATE-20", not there, f"Loading brings {' and '.join(there)}, declined before.")


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
        if list(state) == want:
            swapped = {f"{1 - int(k[0])}{k[1:]}": v.clone() for k, v in state.items()}
            layers[0].call("load_state_dict()", parent.load_state_dict, swapped)
            intact(trial, "STATE-7", layers[1], case.state)
