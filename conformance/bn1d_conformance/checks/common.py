"""How checks are bound to requirements, formats and ranks, and what several areas share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import cases
from bn1d_conformance.arranged import Arranged
from bn1d_conformance.numbers import DTYPES, FORMATS
from bn1d_conformance.subject import Config, State, SubjectError
from bn1d_conformance.trial import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bn1d_conformance.cases import Case
    from bn1d_conformance.expected import Expected
    from bn1d_conformance.subject import Array, Gradients
    from bn1d_conformance.trial import Trial

requirement = pytest.mark.requirement
needs = pytest.mark.needs
SINGLE = ("fp32", "fp64")
#: Formats of the families that are not for all of them. A7 is for fp32: on outliers a sound
#: algorithm in the data's own format may use the whole bound, and in fp32 many compute in fp64.
PURPOSE = {
    "A4": ("fp16", "bf16"), "A7": ("fp32",), "A8": SINGLE, "A11": (*SINGLE, "bf16"), "A12": SINGLE,
}  # fmt: skip
DEEP_SEEDS = 5
MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def families(
    names: str, formats: Iterable[str] = FORMATS, **judged: tuple[str, ...]
) -> pytest.MarkDecorator:
    """Parametrize `family, fmt, rank`; `d2` and `d3` are the ids judged for (N, C), (N, C, L).

    An item is a family in one format and rank: its cases run inside it, each recorded.
    """
    rows = []
    for name in names.split():
        for fmt in formats:
            if fmt not in PURPOSE.get(name, FORMATS):
                continue
            for rank, ids in ((2, judged.get("d2", ())), (3, judged.get("d3", ()))):
                if ids:
                    marks = [requirement(*ids), needs(fmt, *(["3d"] if rank == 3 else []))]
                    rows.append(
                        pytest.param(name, fmt, rank, marks=marks, id=f"{name}-{fmt}-{rank}d")
                    )
    return pytest.mark.parametrize(("family", "fmt", "rank"), rows)


def cases_of(trial: Trial, family: str, fmt: str, rank: int) -> list[Case]:
    """The family's cases in the run's profile; `deep` draws them from several seeds."""
    if trial.profile != "deep":
        return list(cases.family(family, fmt, rank, trial.profile, trial.seed))
    seeds = range(trial.seed, trial.seed + DEEP_SEEDS)
    return [c for seed in seeds for c in cases.family(family, fmt, rank, "deep", seed)]


def drawn(trial: Trial, name: str, *size: int, fmt: str = "", **config: Any) -> Case:
    """One case of normal data in the subject's main format."""
    return cases.drawn(name, fmt or trial.format, size, trial.seed, **config)


def judge_all(trial: Trial, ident: str, case: Case, *, gradients: bool = True) -> None:
    """Judge whatever the subject answers to a case: output, statistics and gradients."""
    with trial.case(case, ident):
        _judge_step(trial, ident, trial.step(case), trial.expected(case), gradients=gradients)


def judge_arranged(
    trial: Trial, ident: str, small: Case, *size: int, gradients: bool = True
) -> None:
    """The same for the channels of a small case, in another shape; nothing of it is kept."""
    want = Arranged(small, trial.expected(small), size)
    with trial.case(want.case, ident):
        step = Step(want.case, trial)
        if step.error:
            raise step.error
        _judge_step(trial, ident, step, want, gradients=gradients)


def _judge_step(
    trial: Trial, ident: str, step: Step, want: Expected | Arranged, *, gradients: bool = True
) -> None:
    trial.compare(ident, step.y, want.y, want.case)
    judge_state(trial, ident, step.state, want)
    if gradients and trial.has("grad"):
        judge_gradients(trial, ident, step.gradients, want)


def judge_state(trial: Trial, ident: str, state: State, want: Expected | Arranged) -> None:
    """Judge the running statistics that a training pass leaves."""
    case = want.case
    if case.training and case.config.track_running_stats and trial.has("statistics"):
        trial.compare(ident, state.running_mean, want.running_mean, case)
        trial.compare(ident, state.running_var, want.running_var, case)


def judge_gradients(trial: Trial, ident: str, got: Gradients, want: Expected | Arranged) -> None:
    """Judge all gradients that there are."""
    trial.compare(ident, got.x, want.dx, want.case)
    if want.case.config.affine and trial.has("param-grad"):
        trial.compare(ident, got.weight, want.dweight, want.case)
        trial.compare(ident, got.bias, want.dbias, want.case)


def only(trial: Trial, state: State) -> State:
    """The part of a state that the subject has."""
    return State(
        weight=state.weight if trial.has("weights") else None,
        bias=state.bias if trial.has("weights") else None,
        running_mean=state.running_mean if trial.has("statistics") else None,
        running_var=state.running_var if trial.has("statistics") else None,
        num_batches_tracked=state.num_batches_tracked,
    )


def same(a: Array | None, b: Array | None) -> bool:
    """Equal to the bit, NaN to NaN; None is the same as None."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def equal(a: Array, b: Array) -> bool:
    """Equal values, NaN to NaN, +0 to −0."""
    x, y = a.astype(float), b.astype(float)
    return x.shape == y.shape and bool(np.array_equal(x, y, equal_nan=True))


def unchanged(before: State, after: State) -> str:
    """Name the tensors that differ; "" if none does."""
    names = ("weight", "bias", "running_mean", "running_var")
    return " and ".join(n for n in names if not same(getattr(before, n), getattr(after, n)))


@contextmanager
def unless_refused(trial: Trial, what: str) -> Iterator[None]:
    """Decline where a derivative, a transform or a tool is refused, and not answered wrongly."""
    try:
        yield
    except SubjectError as error:
        if not isinstance(error.error, (RuntimeError, NotImplementedError)):
            raise
        trial.decline(f"{what}: {error.said}")


def require_repeats(trial: Trial) -> None:
    """Decline unless the subject gives the same bits for the same input: atomics may not."""
    if "repeats" not in trial.memory.facts:
        case = cases.drawn("repeat", trial.format, (64, 33), 0)
        with trial.case(case):
            first, second = (_answer(trial, case) for _ in range(2))
            trial.memory.facts["repeats"] = all(map(same, first, second))
    if not trial.memory.facts.get("repeats", True):
        trial.decline("the subject does not repeat itself to the bit")


def _answer(trial: Trial, case: Case) -> list[Array | None]:
    layer = trial.build(case.config, case.state)
    y = layer.forward(case.x, grad=trial.has("grad"))
    return [y, *(layer.backward(case.dy) if trial.has("grad") else ())]


def require_exact_root(trial: Trial) -> None:
    """Decline unless 1/sqrt is exact at 1 and 4: the condition of the zero-tolerance cases."""
    trial.require("eval", "statistics")
    if "exact_root" not in trial.memory.facts:
        with trial.case("exact root"):
            trial.memory.facts["exact_root"] = _probe_root(trial)
    if not trial.memory.facts.get("exact_root"):
        trial.decline("1/sqrt is not exact at powers of four")


def _probe_root(trial: Trial) -> bool:
    dtype = DTYPES[trial.format]
    x = np.array([[1.5, -3.25], [7.0, 0.125]], dtype)
    variance = np.array([1 - 2**-10, 4 - 2**-10], dtype)
    state = State(np.ones(2, dtype), np.zeros(2, dtype), np.zeros(2, dtype), variance)
    config = Config(2, eps=2**-10, format=trial.format)
    y = trial.build(config, only(trial, state), training=False).forward(x)
    return equal(y, x * np.array([1, 0.5], dtype))


def expect_name(trial: Trial, ident: str, role: str) -> None:
    """Pass if a tensor has PyTorch's name, or one of its own that the subject has declared."""
    name = trial.subject.names.get(role)
    ok = name == role or (bool(name) and trial.excused(ident, "names", "own".__eq__))
    trial.expect(ident, ok, f"The {role} is called {name}.")


def names_of(trial: Trial, *roles: str) -> list[str]:
    """What the tensors are to be called: as PyTorch has it, or as the subject has declared."""
    own = trial.subject.names if trial.memory.dialect.get("names") == "own" else {}
    return [own.get(role) or role for role in roles]
