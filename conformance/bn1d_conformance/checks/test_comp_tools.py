"""COMP: the layer in other forms: scripted, traced, compiled, exported, without memory, lazy."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import MODES, drawn, requirement, unless_refused
from bn1d_conformance.checks.modules import judge_pass, own, tensor, those
from bn1d_conformance.guard import guarded
from bn1d_conformance.subject import COUNTER, ROLES, State, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

OPTIONS = pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}],
    ids=lambda o: " ".join(o) or "default",
)
#: Backends, each with the modes that it compiles: Python; Python, with writes in place made
#: explicit; C++, whose compiler takes its time. `quick` asks about none of it.
EAGER = [("eager", "training evaluation changed")]
EXPLICIT = [("aot_eager", "training"), ("aot_eager", "evaluation")]
NATIVE = [("inductor", "training"), ("inductor", "evaluation")]
BACKENDS = {"quick": [], "full": EAGER + EXPLICIT, "deep": EAGER + EXPLICIT + NATIVE}
TIMES = 3  # a scripted layer watches its first passes and rewrites itself after them


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Compile for as many backends as the profile allows."""
    if "backend" in metafunc.fixturenames:
        profile = metafunc.config.getoption("--bn1d-profile")
        metafunc.parametrize(("backend", "modes"), BACKENDS[profile])


def _made(trial: Trial, case: Case, tool: Callable[[Any, Any], Any], name: str) -> Guard:
    """A layer of what a tool makes of a module and an input; declined where it takes neither."""
    layer = trial.build(case.config, case.state, training=case.training)
    x = tensor(trial, layer, case.x)
    with warnings.catch_warnings():  # deprecated, or not sure of every step: not the layer's fault
        warnings.simplefilter("ignore")
        try:
            module = layer.call(name, tool, layer.module, x)
        except SubjectError as error:
            trial.decline(f"{name} does not take the layer: {error.said}")
    return trial.adopt(module, case.config)


def _passes(trial: Trial, ident: str, layer: Guard, case: Case) -> None:
    """Load the case's state, switch to its mode, and judge one pass."""
    layer.load(case.state)
    layer.train(case.training)
    judge_pass(trial, ident, layer, case)


@requirement("COMP-22")
@OPTIONS
def test_scripted(trial: Trial, options: dict[str, Any]) -> None:
    """One scripted layer, in both modes and ranks, until it has rewritten itself."""
    base = drawn(trial, "scripted", 6, 3, **options)
    trial.require(*base.config.needs)
    deep = drawn(trial, "scripted", 2, 3, 4, **options)
    script = trial.torch.jit.script
    with trial.case(base):
        layer = _made(trial, base, lambda module, _: script(module), "torch.jit.script")
        for case in [base] * TIMES + [deep]:
            for training in (True, False):
                now = replace(case, id=f"{case.id}/{training}", training=training)
                _passes(trial, "COMP-22", layer, now)
        names = [key for key, _ in layer.call("state_dict", layer.module.state_dict).items()]
        want = list(trial.build(base.config).module.state_dict())
        trial.expect("COMP-22", names == want, f"The state dict lists {names}, and not {want}.")


@requirement("COMP-23")
@MODES
def test_traced(trial: Trial, training: bool) -> None:
    """Other values, in another state, of the shape and in the mode that were traced."""
    case, other = (drawn(trial, name, 6, 3, training=training) for name in ("traced", "untraced"))
    trace = partial(trial.torch.jit.trace, check_trace=False)
    with trial.case(other):
        layer = _made(trial, case, lambda module, x: trace(module, (x,)), "torch.jit.trace")
        _passes(trial, "COMP-23", layer, other)


@requirement("COMP-24")
def test_compiled(trial: Trial, backend: str, modes: str) -> None:
    """Training, evaluation, training with another eps and momentum: one after the other."""
    base = drawn(trial, f"compiled {backend}", 6, 3)
    changed = replace(base.config, eps=0.5, momentum=0.75)
    with trial.case(f"{base.id}/{modes}"), _compiling(trial, backend):
        layer = _compiled(trial, base, backend)
        for mode in modes.split():
            config = changed if mode == "changed" else base.config
            for name in ("eps", "momentum"):
                value = getattr(config, name)
                layer.call(f"assigning {name}", setattr, layer.module, name, value)
            training = mode != "evaluation"
            now = replace(base, id=f"{base.id}/{mode}", config=config, training=training)
            _passes(trial, "COMP-24", layer, now)


@contextmanager
def _compiling(trial: Trial, backend: str) -> Iterator[None]:
    """Forget what was compiled, before and after; decline where the backend refuses."""
    trial.torch.compiler.reset()
    with unless_refused(trial, f"{backend} does not take the layer"):
        yield
    trial.torch.compiler.reset()


def _compiled(trial: Trial, case: Case, backend: str) -> Guard:
    """A layer that compiles at its first call."""
    layer = trial.build(case.config)
    compiled = partial(trial.torch.compile, backend=backend)
    return trial.adopt(layer.call("torch.compile", compiled, layer.module), case.config)


@requirement("COMP-25")
@MODES
@pytest.mark.parametrize("tracks", [True, False], ids=["tracked", "untracked"])
def test_exported(trial: Trial, tracks: bool, training: bool) -> None:
    """Other values, in another state, of the shape and in the mode that were exported."""
    case, other = (
        drawn(trial, name, 6, 3, training=training, track_running_stats=tracks)
        for name in ("exported", "imported")
    )
    trial.require(*case.config.needs)
    export = trial.torch.export.export
    with trial.case(other):
        layer = _made(trial, case, lambda m, x: export(m, (x,)).module(), "torch.export")
        layer.load(other.state)
        layer.training = training
        judge_pass(trial, "COMP-25", layer, other, gradients=False)


@requirement("COMP-26")
@MODES
@pytest.mark.parametrize("size", [(6, 3), (2, 3, 4)], ids=["2d", "3d"])
def test_shapes_without_memory(trial: Trial, size: tuple[int, ...], training: bool) -> None:
    """An input that is a shape and a format gives an output that is the same."""
    case = drawn(trial, "meta", *size, training=training)
    with trial.case(case):
        layer = trial.build(case.config, training=training)
        x = tensor(trial, layer, case.x).to("meta")
        layer.call("to('meta')", layer.module.to, "meta")
        try:
            y = layer.call("forward without memory", layer.module, x)
        except SubjectError as error:
            trial.decline(f"the layer needs memory: {error.said}")
        seen = y.device.type, tuple(y.shape), y.dtype
        right = "meta", size, x.dtype
        trial.expect("COMP-26", seen == right, f"The output is {seen}, where {right} is right.")


@requirement("COMP-26")
def test_memory_comes_later(trial: Trial) -> None:
    """to_empty and reset_parameters make the layer that the constructor would have made."""
    case = drawn(trial, "materialised", 6, 3)
    zero, one = (np.full(3, v, case.x.dtype) for v in (0, 1))
    start = State(one, zero, zero, one, 0)
    with trial.case(case):
        layer = trial.build(case.config)
        inner: Any = layer.layer
        layer.call("to('meta')", layer.module.to, "meta")
        layer.call("to_empty", lambda: layer.module.to_empty(device=inner.device))
        _fill(trial, layer)
        layer.method("reset_parameters")
        judge_pass(trial, "COMP-26", layer, replace(case, state=start))


def _fill(trial: Trial, layer: Guard) -> None:
    """What empty memory may hold: anything."""
    with trial.torch.no_grad():
        for role in those(layer, *ROLES, COUNTER):
            own(layer, role).fill_(77 if role == COUNTER else float("nan"))


@requirement("COMP-27")
@MODES
def test_lazy(trial: Trial, training: bool) -> None:
    """The first input says how many channels there are, and is answered like any other."""
    case = drawn(trial, "lazy", 6, 3, training=training)
    zero, one = (np.full(3, v, case.x.dtype) for v in (0, 1))
    case = replace(case, state=State(one, zero, zero, one, 0))
    subject: Any = trial.memory.subject
    with trial.case(case):
        cls = type(trial.build(case.config).module)
        made = guarded("construction of the lazy form", subject.build_lazy, case.config)
        layer = trial.adopt(made.module, case.config)
        layer.train(training)
        judge_pass(trial, "COMP-27", layer, case)
        became = type(layer.module), layer.module.num_features
        said = f"After a pass it is {became}, where {(cls, 3)} is right."
        trial.expect("COMP-27", became == (cls, 3), said)
