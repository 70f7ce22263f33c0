"""One check at work on a subject: builds layers, guards every call, records every case."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import pytest

from bn1d_conformance import clock, device, dialect, program
from bn1d_conformance.expected import Expected
from bn1d_conformance.guard import Guard, guarded
from bn1d_conformance.judge import Failure, by_condition, examine
from bn1d_conformance.offer import Offer, ask, lose
from bn1d_conformance.subject import State, Subject, SubjectError, UnaskedError
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.cases import Case
    from bn1d_conformance.keep import Store
    from bn1d_conformance.records import Recorder
    from bn1d_conformance.subject import Array, Config, Gradients

P = ParamSpec("P")
T = TypeVar("T")
KEPT = 96  # steps remembered: those that the checks of one family share
LOST_IN_STAGE = 3  # processes that one kind of call may cost before it is not made again
REPLACED_IN_STAGE = 10  # the same, where it is a process of the subject's own that is replaced
LOST_IN_ALL = 20  # the same for all kinds together
SHOWN = 5  # failures of one requirement that an item keeps in full


class Step:
    """One forward pass of a fresh layer on a case, and its backward pass when asked for."""

    def __init__(self, case: Case, trial: Trial) -> None:
        """Build, load and answer; an error is kept and raised to every check that asks."""
        self.case, self.trial = case, trial
        self.error: SubjectError | None = None
        try:
            self.layer = trial.build(case.config, case.state, training=case.training)
            self.y = self.layer.forward(case.x, grad=trial.has("grad"))
            self.state = self.layer.state()
        except SubjectError as error:
            self.error = error

    @cached_property
    def gradients(self) -> Gradients:
        """The backward pass, run once."""
        return self.layer.backward(self.case.dy)


@dataclass
class Memory:
    """What the checks of one process share: the subject, the seed, the steps so far."""

    subject: Subject
    profile: str
    seed: int
    recorder: Recorder
    folder: Path | None = None
    worker: str = ""
    dialect: Mapping[str, str] = field(default_factory=dict)
    steps: OrderedDict[Case, Step] = field(default_factory=OrderedDict)
    answers: OrderedDict[tuple[Case, str], Expected] = field(default_factory=OrderedDict)
    facts: dict[str, Any] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    doing: str = ""
    store: Store | None = None
    rules: Mapping[str, spec.Requirement] = field(default_factory=spec.requirements)

    def enter(self, stage: str) -> None:
        """Say what the subject is about to do; not again what has cost too many processes.

        Raises:
            UnaskedError: if it has.
        """
        worker: Any = self.subject
        most = REPLACED_IN_STAGE if hasattr(worker, "is_gone") else LOST_IN_STAGE
        too_often = self.lost[stage] >= most or self.lost.total() >= LOST_IN_ALL
        if too_often or getattr(worker, "is_gone", False):
            self.recorder.write("halted", stage=stage)
            raise UnaskedError(f"{stage} has ended the process too often")
        self.doing = stage
        if self.folder:
            self.recorder.write("doing", stage=stage)

    def ask(self, stage: str, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run the subject's code, and count a process of its own that it costs."""
        try:
            return guarded(stage, call, *args, **options)
        except SubjectError as error:
            if error.verdict:
                lose(self.folder, self.doing)
                self.lost[self.doing] += 1
            elif self.folder and device.is_lost(error.said):
                device.give_up(error.said)
            raise

    @cached_property
    def offer(self) -> Offer | None:
        """What the subject offers; None where asking has ended a process."""
        return ask(self.folder, self.worker, self._ask)

    def _ask(self) -> Offer:
        """Ask the subject; it offers nothing if it can't be constructed (CTOR-1 says so)."""
        host = getattr(self.subject, "host", None)
        try:
            has = guarded("construction", lambda: sorted(self.subject.capabilities))
            names = guarded("construction", lambda: dict(self.subject.names))
            calls = guarded("construction", lambda: dict(getattr(self.subject, "calls", {})))
        except SubjectError:
            has, names, calls = [], {}, {}
        offer = Offer(has, names, getattr(host, "name", ""), calls)
        self.recorder.write("offer", **asdict(offer))
        return offer

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the offer."""
        return frozenset(self.offer.capabilities if self.offer else ())


class Trial:
    """What a check function is given."""

    def __init__(self, memory: Memory, ids: tuple[str, ...]) -> None:
        """Judge `ids`, of which only those that apply to the subject are recorded."""
        self.memory, self.ids = memory, ids
        self.failures: list[Failure] = []
        self._case = self._format = ""
        self._judged: set[str] = set()
        self.notes = dialect.Notes()
        self._last: Guard | None = None

    @property
    def subject(self) -> Subject:
        """The subject."""
        return self.memory.subject

    @property
    def profile(self) -> str:
        """How much to try: "quick", "full" or "deep"."""
        return self.memory.profile

    @property
    def seed(self) -> int:
        """Where random cases come from: the run's seed."""
        return self.memory.seed

    @property
    def format(self) -> str:
        """The format of cases that try one alone: fp32, or fp64 for a subject without it."""
        return "fp32" if self.has("fp32") else "fp64"

    @property
    def torch(self) -> Any:
        """The torch that the subject imported, for checks of the torch-module capability."""
        return sys.modules["torch"]

    def decline(self, why: str, verdict: str = "not-applicable") -> NoReturn:
        """End the item: what it asks does not apply to the subject, or can't be asked here."""
        self.memory.recorder.write("skip", requirements=self.ids, verdict=verdict, why=why)
        pytest.skip(why)

    def require(self, *capabilities: str) -> None:
        """Decline unless the subject has all of these."""
        if lacking := sorted(set(capabilities) - self.memory.capabilities):
            self.decline(f"the subject does not offer: {', '.join(lacking)}")

    def has(self, *capabilities: str) -> bool:
        """Whether the subject has all of these."""
        return set(capabilities) <= self.memory.capabilities

    def wants(self, ident: str) -> bool:
        """Whether the requirement applies to the subject."""
        return self.has(*spec.requirements()[ident].needs)

    def build(
        self, config: Config, state: State | None = None, *, training: bool | None = True
    ) -> Guard:
        """Construct a layer, load a state and set the mode; None leaves the mode alone."""
        self.memory.enter("construction")
        layer = self.memory.ask("construction", self.subject.build, config)
        guard = self._watch(Guard(layer, config, self.memory))
        if state is not None:
            guard.load(state)
        if training is not None:
            guard.train(training)
        return guard

    def build_default(self, num_features: int) -> Guard:
        """Construct a layer from num_features alone."""
        self.memory.enter("construction")
        layer = self.memory.ask("construction", self.subject.build_default, num_features)
        return self._watch(Guard(layer, num_features, self.memory))

    def adopt(self, module: Any, config: Config) -> Guard:
        """Wrap a module that was made from a layer, as a copy is: no script can make it again."""
        layer: Any = self.subject
        self._last = None
        return Guard(layer.wrap(module), config, self.memory)

    def _watch(self, guard: Guard) -> Guard:
        """Remember the layer that a failure is about."""
        self._last = guard
        return guard

    def step(self, case: Case) -> Step:
        """Return the subject's answer to a case, asked for once by all checks of a process.

        Raises:
            SubjectError: what the subject raised, at every call.
        """
        steps = self.memory.steps
        if case not in steps:
            steps[case] = Step(case, self)
            while len(steps) > KEPT:
                steps.popitem(last=False)
        step = steps[case]
        self._last = getattr(step, "layer", None)
        if step.error:
            raise step.error
        return step

    def expected(self, case: Case, grade: str = "conforming") -> Expected:
        """Return the oracle's answers to a case, computed once.

        Raises:
            SubjectError: if the case goes on from a state that lacks what is tracked.
        """
        state, answers = case.state, self.memory.answers
        for name in ("running_mean", "running_var") if case.config.track_running_stats else ():
            if getattr(state, name) is None:
                raise SubjectError("state", f"there is no {name}")
        if (case, grade) not in answers:
            base = None if grade == "conforming" else self.expected(case)
            answers[case, grade] = Expected(
                case, grade, base, self.memory.store, self.memory.dialect
            )
            while len(answers) > 3 * KEPT:
                answers.popitem(last=False)
        return answers[case, grade]

    @contextmanager
    def case(self, case: Case | str, *ids: str) -> Iterator[None]:
        """Judge one case: what the subject raises fails each of `ids` not judged in it yet.

        Where all of them are, it fails them all: an error is never lost.
        """
        self._case, self._format = (case, "") if isinstance(case, str) else (case.id, case.format)
        self._judged, self._last = set(), None
        self.notes = dialect.Notes()
        before = len(self.failures)
        self.memory.recorder.write("case", case=self._case)
        try:
            yield
        except UnaskedError as error:
            rest = [i for i in ids or self.ids if i not in self._judged]
            self.memory.recorder.write(
                "skip", requirements=rest, verdict=error.verdict, why=str(error)
            )
        except SubjectError as error:
            asked = [i for i in ids or self.ids if self.wants(i)]
            for ident in [i for i in asked if i not in self._judged] or asked:
                self.fail(ident, f"{error}.", cause=error.cause, says=error.cause)
            if error.verdict:
                self.memory.recorder.write("lost", requirements=asked, verdict=error.verdict)
        for ident in self._judged:
            failed = [f for f in self.failures[before:] if f.requirement == ident]
            self.memory.recorder.write(
                "judged",
                requirement=ident,
                case=self._case,
                format=self._format,
                passed=not failed,
                failures=[asdict(f) for f in failed[:SHOWN]],
                **self.notes.of(ident),
            )

    def expect(self, ident: str, ok: bool, message: str, **found: Any) -> None:  # noqa: FBT001 - reads as a sentence
        """Pass or fail a requirement; `message` is said where it fails."""
        if self.wants(ident):
            self._judged.add(ident)
            if not ok:
                self._add(Failure(ident, self._case, message, **found))

    def excused(self, ident: str, key: str, keeps: Callable[[str], bool]) -> bool:
        """Whether what fails as PyTorch keeps to what the subject declares; noted if so.

        Args:
            ident: the requirement.
            key: of the convention that may excuse it.
            keeps: whether the subject does as the declared value says.
        """
        row, value = dialect.BY_KEY[key], self.memory.dialect.get(key)
        if ident not in row.requirements or value is None or not keeps(value):
            return False
        self.notes.deviates[ident].add(dialect.named(self.memory.dialect, key))
        return True

    def judged(self, ident: str) -> bool:
        """Whether the last case judged this requirement."""
        return ident in self._judged

    def fail(self, ident: str, message: str, **found: Any) -> None:
        """Fail a requirement."""
        self.expect(ident, False, message, **found)  # noqa: FBT003 - the plain case of expect

    def compare(self, ident: str, got: Array | None, answer: Answer, case: Case) -> None:
        """Judge one output against the oracle's under its bound."""
        if not self.wants(ident):
            return
        self._judged.add(ident)
        self.memory.recorder.compared(got, answer)
        with clock.of("judging"):
            answer, failure = examine(ident, case, got, answer, self.notes)
        for stray in self.notes.strays.get(ident, ())[:1]:
            self._trace(stray)
        if failure:
            self._add(failure)
        elif case.graded:
            self._grade(case, got, answer)

    def _grade(self, case: Case, got: Any, answer: Answer) -> None:
        """Record scores, and the best grade whose bound holds, for each condition."""
        better = {g: self.expected(case, g) for g in ("blocked", "accurate")}
        grades = {g: getattr(e, answer.quantity) for g, e in better.items()}
        if answer.convention:
            grades = {g: a.declared for g, a in grades.items()}
        levels = self.expected(case).conditions
        for row in by_condition(got, {"conforming": answer, **grades}, levels):
            self.memory.recorder.write("accuracy", case=case.id, **row)

    def _add(self, failure: Failure) -> None:
        """Keep a failure; the first of its requirement, with what led to it."""
        self._trace(failure)
        self.failures.append(failure)

    def _trace(self, failure: Failure) -> None:
        """Say what led to a failure: in which format, and if it is the first, by which steps."""
        first = all(f.requirement != failure.requirement for f in self.failures)
        steps = failure.evidence.pop("steps", self._last.steps if self._last else [])
        if steps and first and "program" not in failure.evidence:
            failure.evidence["program"] = program.encode(steps)
        if self._format:
            failure.evidence["input"] = self._format

    def refuses(
        self,
        ident: str,
        call: Callable[[], Any],
        *types: type[BaseException],
        answered: Callable[[Any], bool] = lambda _: False,
    ) -> str:
        """Pass if the call raises one of `types` (any Exception if none); return its message.

        `answered` says of what it returns whether the subject's dialect has it so.
        """
        wanted = types or (Exception,)
        try:
            got = call()
        except SubjectError as error:
            kind = type(error.error).__name__
            right = isinstance(error.error, wanted)
            names = " or ".join(t.__name__ for t in wanted)
            self.expect(ident, right, f"It raises {kind}, where {names} is right: {error.said}.")
            return str(error.error)
        why = "It is accepted, and should be refused."
        self.expect(ident, answered(got), why, cause=f"{self._case} accepted")
        return ""

    @property
    def diverges(self) -> bool:
        """Whether a binding requirement has failed."""
        rules = self.memory.rules
        return any(i in rules and rules[i].binding for i in {f.requirement for f in self.failures})

    def report(self) -> str:
        """Every failure of the item, as text: first the requirement, then what happened."""
        lines = []
        for ident in dict.fromkeys(f.requirement for f in self.failures):
            rows = [f for f in self.failures if f.requirement == ident]
            lines.append(f"{ident}: {spec.requirements()[ident].sentence}")
            lines += [f"  {f.case}: {f.message}" + _because(f) for f in rows[:SHOWN]]
            lines += [f"  and {len(rows) - SHOWN} more"] * (len(rows) > SHOWN)
        return "\n".join(lines)


def _because(failure: Failure) -> str:
    told = failure.says and "quantity" in failure.evidence
    return f" Likely cause: {failure.says}." if told else ""
