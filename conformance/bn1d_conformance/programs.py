"""A layer taken through any sequence of operations, each step judged from the state before it.

Every step is compared with the oracle's, under the bounds that the state and the input of this
very step allow, so that no error adds up over a program. What a step may not touch has to stay
to the bit.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance import clock
from bn1d_conformance.answer import Answer
from bn1d_conformance.cases import Case, from_columns, rng
from bn1d_conformance.choices import BASE, Choices, Shape
from bn1d_conformance.expected import Expected
from bn1d_conformance.judge import Failure, examine
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES, Config, State, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial

STATISTICS = ("running_mean", "running_var")
TORCH = {"fp16": "half", "bf16": "bfloat16", "fp32": "float", "fp64": "double"}


class DeviationError(Exception):
    """A step that the bounds refuse, and the program that ends with it."""

    def __init__(self, failure: Failure, program: Program) -> None:
        """Keep both."""
        super().__init__(failure.message)
        self.failure, self.program = failure, program


class Program(Choices):
    """One layer, what was done to it, and what must come of it."""

    def __init__(self, trial: Trial, ident: str) -> None:
        """Judge `ident`; nothing is constructed yet."""
        super().__init__(trial)
        self.ident = ident
        self.lines: list[str] = []
        self.inputs: list[str] = []
        self.guard: Guard
        self.count = 0
        self.pending: Case | None = None

    # Operations

    def construct(self, config: Config) -> None:
        """Make the layer; it starts with ones and zeros, in training."""
        self.config = config
        given = [f"{k}={v!r}" for k, v in vars(config).items() if v != getattr(BASE, k)]
        chosen = [g for g in given if not g.startswith(("num_features", "format"))]
        name = self.trial.subject.target.rpartition(":")[2].rpartition(".")[2]
        other = config.format != "fp32"
        cast = f".{TORCH[config.format]}()" if other and self.is_module else ""
        with self._step(f"bn = {name}({', '.join([str(config.num_features), *chosen])}){cast}"):
            self.guard = self.trial.build(config)
            if not other or self.is_module:
                self._is(self._start(ROLES), "a new layer's")
        if other and not self.is_module:  # a plain class takes its format from what is loaded
            self.load(0)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch the mode."""
        if not self.is_module:  # by hand, a backward pass may ask for the mode as it is then
            self.pending = None
        with self._step("bn.train()" if mode else "bn.eval()"), self._nothing_changes():
            self.guard.train(mode)

    def load(self, number: int) -> None:
        """Write a state."""
        self.pending = None
        with self._step(f"load(bn, s{number})"):
            state = self._drawn_state(number)
            self.guard.load(state)
            if state.num_batches_tracked is not None:
                self.count = state.num_batches_tracked
            self._is(state, "the loaded")

    def assign(self, name: str, value: Any) -> None:
        """Assign momentum, eps or track_running_stats (COMP-3, COMP-4)."""
        with self._step(f"bn.{name} = {value!r}"), self._nothing_changes():
            step = {"do": "assign", "name": name, "value": value}
            self._do(f"assigning {name}", step, setattr, self.guard.module, name, value)
        if name == "track_running_stats":
            self.tracks = value
        else:
            self.config = replace(self.config, **{name: value})

    def reset(self, name: str) -> None:
        """Call reset_running_stats() or reset_parameters() (BUF-12, PARAM-9)."""
        self.pending = None
        with self._step(f"bn.{name}()"):
            before, learned = self._state(), name == "reset_parameters"
            step = {"do": "reset", "name": name}
            self._do(f"{name}()", step, methodcaller(name), self.guard.module)
            self.count = 0
            self._is(self._start(ROLES if learned else STATISTICS), f"after {name}() it")
            self._same(before, self._state(), () if learned else ("weight", "bias"), f"{name}()")

    def cast(self, fmt: str) -> None:
        """Convert the layer; a cast from double may go by way of single, as torch's does."""
        self.pending = None
        with self._step(f"bn.{TORCH[fmt]}()"):
            before = self._state()
            cast = getattr(self.guard.module, TORCH[fmt])
            self._do(f"{TORCH[fmt]}()", {"do": "cast", "format": fmt}, cast)
            self.config = replace(self.config, format=fmt)
            after = self._state()
            for role in ROLES:
                if (old := getattr(before, role)) is not None:
                    exact = old.astype(np.float64)
                    twice = np.abs(exact) * 2.0**-24
                    answer = Answer(role, fmt, exact, twice, np.abs(exact))
                    self._judge(getattr(after, role), answer, self._case(Shape(2)))
            self._counts(after)

    def copy(self) -> None:
        """Go on with a deep copy (STATE-5)."""
        self.pending = None
        with self._step("bn = copy.deepcopy(bn)"), self._nothing_changes():
            module = self._do("a deep copy", {"do": "copy"}, copy.deepcopy, self.guard.module)
            subject: Any = self.trial.subject
            self.guard.layer = subject.wrap(module)

    def forward(self, shape: Shape, kind: str, fmt: str, number: int, *, grad: bool) -> None:
        """Answer for an input; in training, track and count."""
        if shape.n == 1 and (self.guard.training or not self.tracked):
            shape = replace(shape, rows=2)  # one value a channel has no variance (INPUT-3)
        self.inputs.append(f"x{len(self.inputs) + 1} is {fmt} of {shape.of(self.channels)}")
        self.pending = None
        with self._step(f"y = bn(x{len(self.inputs)})"):
            before = self._state()
            case = self._case(shape, kind, fmt, number, before)
            y, want = self.guard.forward(case.x, grad=grad), self._expected(case)
            self._judge(y, want.y, case)
            moved = self.guard.training and self.tracked and self.tracks
            self.count += moved
            after = self._state()
            if moved:
                for name in STATISTICS:
                    self._judge(getattr(after, name), getattr(want, name), case)
            stays = ("weight", "bias") if moved else ROLES
            self._same(before, after, stays, "A forward pass")
            self._counts(after)
        self.pending = case if grad else None

    def backward(self) -> None:
        """Differentiate the last forward pass, whatever has been assigned since."""
        case, self.pending = self.pending, None
        if case is None:
            return
        with self._step("y.backward(dy)"), self._nothing_changes():
            got, want = self.guard.backward(case.dy), self._expected(case)
            self._judge(got.x, want.dx, case)
            if self.has("param-grad") and case.config.affine:
                self._judge(got.weight, want.dweight, case)
            if self.has("param-grad") and case.config.affine and case.config.bias:
                self._judge(got.bias, want.dbias, case)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What was done to the layer, as `program` and `repro` know it."""
        return self.guard.steps if hasattr(self, "guard") else []

    # What a step is made of

    @property
    def channels(self) -> int:
        """C."""
        return self.config.num_features

    def _case(
        self,
        shape: Shape,
        kind: str = "plain",
        fmt: str = "",
        number: int = 0,
        state: State | None = None,
    ) -> Case:
        """An input in the layer's state, as the oracle takes them."""
        fmt = fmt or self.config.format
        state = replace(state or State(), num_batches_tracked=self.count)
        r = rng(self.trial.seed, "program", number, shape, kind, self.channels)
        values = from_columns(_values(r, (self.channels, shape.n), kind), shape.of(self.channels))
        dy = r.normal(0.3, 1, values.shape)
        learns = self.config.affine and self.has("weights")
        own: dict[str, Any] = {"affine": learns, "track_running_stats": self.tracked}
        # PyTorch takes the format to compute in from the tensors beside the input; where a call
        # has none, half-precision data are computed with as half-precision layers are (DTYPE-5)
        beside = learns or (self.tracked and (self.tracks or not self.guard.training))
        own["format"] = self.config.format if beside else fmt
        return Case(
            f"program/{self.trial.seed}",
            values.astype(DTYPES[fmt]),
            replace(self.config, **own),
            state,
            dy.astype(DTYPES[fmt]),
            training=self.guard.training,
        )

    def _drawn_state(self, number: int) -> State:
        """A state that fits the layer."""
        r, C, dtype = rng(self.trial.seed, "state", number), self.channels, self._dtype
        values = {
            "weight": r.choice([-1.0, 1.0], C) * r.uniform(0.25, 2, C),
            "bias": r.normal(0, 1, C),
            "running_mean": r.normal(0, 1, C),
            "running_var": r.uniform(0.5, 3, C),
        }
        counted = self.tracked and self.has("counter")
        state = {k: v.astype(dtype) if self._keeps(k) else None for k, v in values.items()}
        return State(**state, num_batches_tracked=int(r.integers(0, 9)) if counted else None)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return DTYPES[self.config.format]

    def _keeps(self, role: str) -> bool:
        """Whether the layer has a tensor of its own for this role."""
        if role in STATISTICS:
            return self.tracked
        has = self.config.affine and self.has("weights")
        return has and (role == "weight" or self.config.bias)

    def _start(self, roles: tuple[str, ...]) -> State:
        """Ones and zeros, in the layer's format."""
        full = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        values = {
            r: np.full(self.channels, full[r], self._dtype) if self._keeps(r) else None
            for r in roles
        }
        return State(**values, num_batches_tracked=0 if self.tracked else None)

    def _state(self) -> State:
        return self.guard.state()

    def _do(self, stage: str, step: dict[str, Any], call: Callable[..., Any], *args: Any) -> Any:
        """Run what a layer's protocol has no word for, and keep it for the script."""
        self.guard.steps.append(step)
        return self.guard.call(stage, call, *args)

    @contextmanager
    def _step(self, line: str) -> Iterator[None]:
        """Write the step down; what the subject raises in it is a deviation."""
        self.lines.append(line)
        try:
            yield
        except SubjectError as error:
            cause = f"{error.stage} {error.said.split(':')[0]}"
            self._deviates(f"{error}.", cause=cause, says=cause)

    @contextmanager
    def _nothing_changes(self) -> Iterator[None]:
        before = self._state()
        yield
        after = self._state()
        self._same(before, after, ROLES, "It")
        self._counts(after)

    def _deviates(self, message: str, **found: Any) -> None:
        raise DeviationError(Failure(self.ident, "", message, **found), self)

    def _judge(self, got: Array | None, answer: Answer, case: Case) -> None:
        with clock.of("judging"):
            _, failure = examine(self.ident, case, got, answer, self.trial.notes)
        if failure:
            raise DeviationError(failure, self)

    def _expected(self, case: Case) -> Expected:
        return Expected(case, dialect=self.trial.memory.dialect)

    def _same(self, before: State, after: State, roles: tuple[str, ...], what: str) -> None:
        """Equal to the bit, where the layer has them."""
        for role in roles:
            old, new = getattr(before, role), getattr(after, role)
            alike = old is new or (new is not None and old.tobytes() == new.tobytes())
            if self._keeps(role) and not alike:
                self._deviates(f"{what} changes {role} from {old} to {new}.")

    def _is(self, wanted: State, whose: str) -> None:
        """The state is `wanted`, bit for bit, where that says anything."""
        now = self._state()
        for role in ROLES:
            want, got = getattr(wanted, role), getattr(now, role)
            alike = want is None or (got is not None and np.array_equal(want, got))
            if self._keeps(role) and not alike:
                self._deviates(f"{role} is {got}, where {whose} is {want}.")
        self._counts(now)

    def _counts(self, state: State) -> None:
        got = state.num_batches_tracked
        if self.tracked and self.has("counter") and got != self.count:
            self._deviates(f"The counter is {got}, where {self.count} is right.")


def _values(r: np.random.Generator, size: tuple[int, int], kind: str) -> Array:
    """(C, n) numbers whose variance is far from what any format of the layer would flush."""
    steps = np.arange(size[1]) - size[1] / 2 + r.uniform(-0.3, 0.3, size)
    values = r.permuted(steps, axis=1) / max(size[1] / 4, 1)
    offset = r.normal(0, 1, (size[0], 1))
    return {
        "plain": values + offset,
        "far": values + 30 * offset,
        "small": values / 256 + offset / 256,
        "constant": 0 * values + offset,
    }[kind]
