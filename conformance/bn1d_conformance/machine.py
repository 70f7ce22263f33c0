"""The search for a program that goes wrong: a Hypothesis state machine, deterministic by its seed.

Hypothesis chooses the operations and shortens what fails; `programs` knows what is right. This
module imports Hypothesis, so it is imported by the check that searches, when it runs.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, Verbosity, errors, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bn1d_conformance.choices import BASE, Shape
from bn1d_conformance.programs import DeviationError, Program

if TYPE_CHECKING:
    from bn1d_conformance.trial import Trial

SHORTER = 400  # programs tried to shorten one that fails
NUMBERS = st.integers(0, 3)
ROWS = st.integers(1, 7)


class Search:
    """What the machines of one search share: the trial, and the deviations so far."""

    def __init__(self, trial: Trial, ident: str, seconds: float) -> None:
        """Nothing was found yet."""
        self.trial, self.ident = trial, ident
        self.found: list[DeviationError] = []
        self.since, self.until = 0, time.monotonic() + seconds

    def program(self) -> Program:
        """Begin a program; after a deviation only so many more."""
        self.since += bool(self.found)
        if self.since > SHORTER:
            reject()
        return Program(self.trial, self.ident)

    @property
    def late(self) -> bool:
        """Whether the subject is too slow for the whole search: compilers may take their time."""
        return time.monotonic() > self.until

    @property
    def shortest(self) -> DeviationError | None:
        """The shortest program that went wrong."""
        return min(reversed(self.found), key=lambda d: len(d.program.lines), default=None)


class Machine(RuleBasedStateMachine):
    """Rules for whatever the subject offers."""

    search: Search

    def __init__(self) -> None:
        """Begin a program."""
        super().__init__()
        self.program = self.search.program()

    def _do(self, operation: Any, *args: Any, **options: Any) -> None:
        if self.search.late:
            reject()
        try:
            operation(*args, **options)
        except DeviationError as deviation:
            self.search.found.append(deviation)
            raise

    @initialize(data=st.data())
    def construct(self, data: st.DataObject) -> None:
        """Any combination of the options that the subject takes."""
        choices = self.program.configs().items()
        drawn = {k: data.draw(st.sampled_from(v)) for k, v in choices}
        self._do(self.program.construct, replace(BASE, **drawn))

    @rule(data=st.data(), rows=ROWS, number=NUMBERS, grad=st.booleans())
    def forward(self, data: st.DataObject, rows: int, number: int, *, grad: bool) -> None:
        """An input of shape (N, C)."""
        self._forward(data, Shape(rows), number, grad=grad)

    @precondition(lambda self: self.program.has("3d"))
    @rule(data=st.data(), rows=ROWS, length=st.integers(1, 5), number=NUMBERS, grad=st.booleans())
    def forward_sequences(
        self, data: st.DataObject, rows: int, length: int, number: int, *, grad: bool
    ) -> None:
        """An input of shape (N, C, L)."""
        self._forward(data, Shape(rows, length), number, grad=grad)

    def _forward(self, data: st.DataObject, shape: Shape, number: int, *, grad: bool) -> None:
        """Of any format that may stand beside the layer's."""
        program = self.program
        fmt = data.draw(st.sampled_from(program.formats()))
        kind = data.draw(st.sampled_from(program.kinds(fmt)))
        grad = grad and program.has("grad")
        self._do(program.forward, shape, kind, fmt, number, grad=grad)

    @precondition(lambda self: self.program.has("grad"))
    @rule(data=st.data(), rows=ROWS, number=NUMBERS)
    def learn(self, data: st.DataObject, rows: int, number: int) -> None:
        """A forward pass and its backward pass."""
        self._forward(data, Shape(rows), number, grad=True)
        self._do(self.program.backward)

    @precondition(lambda self: self.program.pending)
    @rule()
    def backward(self) -> None:
        """The last forward pass, differentiated."""
        self._do(self.program.backward)

    @precondition(lambda self: self.program.can_evaluate)
    @rule()
    def switch(self) -> None:
        """train() in evaluation, eval() in training."""
        self._do(self.program.train, not self.program.guard.training)

    @precondition(lambda self: self.program.has("weights") or self.program.has("statistics"))
    @rule(number=NUMBERS)
    def load(self, number: int) -> None:
        """Another state."""
        self._do(self.program.load, number)

    @precondition(lambda self: self.program.is_module)
    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        """Another momentum or eps; tracking, switched off or on."""
        names = ["eps", "momentum", *(["track_running_stats"] if self.program.tracked else [])]
        name = data.draw(st.sampled_from(names))
        value = data.draw(st.sampled_from(self.program.assignments(name)))
        self._do(self.program.assign, name, value)

    @precondition(lambda self: self.program.is_module)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """The start again, another format, or a copy in the layer's place."""
        operation, *values = data.draw(st.sampled_from(self.program.renewals()))
        self._do(getattr(self.program, operation), *values)


def search(trial: Trial, ident: str, number: int, size: tuple[int, int], seconds: float) -> Search:
    """Try so many programs of so many steps, `size`; `number` and the run's seed decide which.

    Hypothesis keeps no examples, and what else it would write goes to a folder that is removed.
    """
    found = Search(trial, ident, seconds)
    made = seed(f"{trial.seed}/{number}")(type("Machine", (Machine,), {"search": found}))
    chosen = settings(
        max_examples=size[0],
        stateful_step_count=size[1],
        phases=(Phase.generate, Phase.shrink),
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    with tempfile.TemporaryDirectory(prefix="bn1d-") as home:
        set_hypothesis_home_dir(home)
        try:
            run_state_machine_as_test(made, settings=chosen)
        except errors.Unsatisfiable:  # not one program came to its end in time
            pass
        except (DeviationError, errors.Flaky):
            # a subject that does not repeat itself is flaky, and so is a search cut short
            if not (found.found or found.late):
                raise
        finally:
            set_hypothesis_home_dir(None)
    return found
