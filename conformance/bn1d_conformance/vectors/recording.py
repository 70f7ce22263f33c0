"""What the checks ask, found out by running them: the oracle answers, a tape notes every step.

So the vectors are the checks' own questions, and no second list of cases can drift from them.
Programs that begin alike share their beginning; one that another continues is not kept by itself.
Where a check asks the same of two layers, to compare the answers, two vectors ask it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import plugin
from bn1d_conformance.adapters.exact import ExactLayer
from bn1d_conformance.records import Recorder
from bn1d_conformance.running import run
from bn1d_conformance.subject import COUNTER, UnaskedError
from bn1d_conformance.trial import Memory
from bn1d_conformance.vectors import steps
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.subject import Array, Config, State
    from bn1d_conformance.vectors.steps import Answers, Step


@dataclass
class Note:
    """A program up to one of its steps: what the oracle says of the step, and who asks it.

    Attributes:
        step: as files spell it, with the quantities that answer it.
        before: the program without the step.
        layers: the most layers to which one check does this.
        answers, bounds: by quantity; the least bound of all under which it is judged.
        refused: why the oracle refuses the step; "" where it does not.
        ends: the requirements of the checks whose program ends here.
        case: the first case that asks.
    """

    step: Step
    before: Note | None
    layers: int = 0
    answers: Answers = field(default_factory=dict)
    bounds: dict[str, Array] = field(default_factory=dict)
    refused: str = ""
    ends: set[str] = field(default_factory=set)
    case: str = ""

    def path(self) -> list[Note]:
        """The notes from the construction on."""
        return [*(self.before.path() if self.before else ()), self]


class Tape(Recorder):
    """Listens to a run of the checks on the oracle."""

    target = name = "bn1d_reference.oracle.BatchNorm1d"
    version, adapter = "", "exact"
    dialect: Mapping[str, str] = {}
    names: Mapping[str, str | None] = {}

    def __init__(self, profile: str, has: frozenset[str]) -> None:
        """Be the subject and the recorder of one memory."""
        super().__init__(None)
        self.capabilities = has
        self.notes: dict[str, Note] = {}
        self.arrays: Answers = {}
        self.memory = Memory(self, profile, 0, self)
        self._layers: list[TapedLayer] = []
        self._given: dict[int, tuple[Note, str, Array]] = {}
        self._ids: set[str] = set()
        self.case = ""

    def build(self, config: Config) -> TapedLayer:
        """Construct a layer of the oracle, and note what is done to it."""
        self._layers.append(TapedLayer(self, config))
        return self._layers[-1]

    def build_default(self, _: int) -> TapedLayer:
        """Decline: a file says all that a layer is constructed from."""
        raise UnaskedError("defaults are not recorded", "not-applicable")

    def write(self, event: str, **values: Any) -> None:
        """Follow the checks; each asks anew, whatever another has asked before."""
        if event == "item":
            self._ids = {i for i in values["requirements"] if self._applies(i)}
            self.memory.steps.clear()
            self.memory.facts.clear()
        elif event == "case":
            self.case = values["case"]
        elif event == "end":
            self._end()

    def _applies(self, ident: str) -> bool:
        return set(spec.requirements()[ident].needs) <= self.capabilities

    def _end(self) -> None:
        """A check is done: count how many layers went through each note."""
        ended = [layer.answered for layer in self._layers if layer.answered]
        through = Counter(id(note) for last in ended for note in last.path())
        for last in ended:
            last.ends |= self._ids
            for note in last.path():
                note.layers = max(note.layers, through[id(note)])
        self._layers.clear()
        self._given.clear()

    def note(self, key: str, step: Step, before: Note | None) -> Note:
        """The note of a program, the same one whenever it is done again."""
        if key not in self.notes:
            self.notes[key] = Note(step, before, case=self.case)
        return self.notes[key]

    def keep(self, note: Note, answers: Answers) -> None:
        """Keep the oracle's answers to a step."""
        note.answers = answers
        self._given.update({id(a): (note, name, a) for name, a in answers.items()})

    def compared(self, got: Array | None, answer: Answer) -> None:
        """Keep the bound for an answer of the oracle's own; the least, if there are several."""
        if id(got) in self._given:
            note, name, _ = self._given[id(got)]
            note.bounds[name] = np.minimum(note.bounds.get(name, np.inf), answer.bound)

    def programs(self) -> Iterator[list[Note]]:
        """Every program that is not a part of others, as often as there are layers for it."""
        continued: Counter[int] = Counter()
        for note in self.notes.values():
            continued[id(note.before)] += note.layers
        for note in self.notes.values():
            for _ in range(note.layers - continued[id(note)]):
                yield note.path()


class TapedLayer(steps.Asked):
    """A layer of the oracle, whose steps are noted."""

    def __init__(self, tape: Tape, config: Config) -> None:
        """Start with the note of the construction."""
        self.tape, self.inner = tape, ExactLayer(config)
        self.key, self.last, self.answered = "", None, None
        super().__init__(config, tape.capabilities)

    key: str
    last: Note | None
    answered: Note | None

    def do(self, step: Step, *given: Any) -> Answers:
        """Note the step and let the oracle answer it."""
        spelled = steps.spell(step, self.tape.arrays)
        if wanted := steps.asked(step["do"], self.config, self.has):
            spelled["answers"] = wanted
        self.key = steps.chain(self.key, spelled)
        self.last = note = self.tape.note(self.key, spelled, self.last)
        if wanted:
            self.answered = note
        if step["do"] == "build":
            return {}
        try:
            said = getattr(self.inner, step["do"])(*given)
        except ValueError as error:
            note.refused = str(error)
            raise
        answers = {name: a for name, a in _quantities(step["do"], said).items() if name in wanted}
        self.tape.keep(note, answers)
        return answers


def _quantities(do: str, said: Any) -> Answers:
    """What a call returned, by the names of the spec."""
    if do == "forward":
        return {"y": said}
    if do == "backward":
        return dict(zip(steps.GRADIENTS, said, strict=True))
    return _tensors(said) if do == "state" else {}


def _tensors(state: State) -> Answers:
    values = vars(state)
    count = values.pop(COUNTER)
    return {**values, COUNTER: np.array(count, np.int64)} if count is not None else values


class OracleFailsError(AssertionError):
    """A check fails the oracle: an error of the kit's own."""


def record(profile: str, has: frozenset[str]) -> Tape:
    """Run the checks of a profile on the oracle, in this process.

    Args:
        profile: "quick" or "full".
        has: the capabilities of who will answer, of `steps.RECORDABLE`.

    Raises:
        OracleFailsError: if a check fails.
    """
    tape = Tape(profile, has)
    status = run.call_pytest(["--bn1d-profile", profile], _Given(tape.memory))
    if status != pytest.ExitCode.OK:
        raise OracleFailsError(f"the checks end with {status!r} on the oracle's own answers")
    return tape


class _Given:
    """The plugin that hands the memory over, where a target would be loaded."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def pytest_configure(self, config: pytest.Config) -> None:
        """Put it where the checks look."""
        config.stash[plugin.MEMORY] = self.memory
