"""What a subject does to a check, and what the trial makes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bn1d_conformance import cases, records
from bn1d_conformance.checks import common
from bn1d_conformance.expected import Expected
from bn1d_conformance.guard import describe, guarded
from bn1d_conformance.records import Recorder
from bn1d_conformance.subject import CAPABILITIES, Config, Gradients, State, SubjectError
from bn1d_conformance.trial import KEPT, Memory, Trial

CASE = cases.drawn("trial", "fp32", (6, 3), 0)


YES, NO = True, False  # what a check found


class Layer:
    """Answers right, from the oracle, unless told what to do instead."""

    module = None

    def __init__(self, act=None):
        self.act = act
        self.forwards = 0

    def state(self):
        return State()

    def load(self, state):
        pass

    def train(self, mode):
        pass

    def forward(self, x, *, grad=False):
        self.grad = grad
        self.forwards += 1
        self.x = x
        if self.act:
            return self.act(x)
        return Expected(CASE).y.exact.astype(x.dtype)

    def backward(self, dy):
        return Gradients(dy, None, None)


class Subject:
    target = name = "Subject"
    version, adapter, dialect, names = "", "none", {}, {}

    def __init__(self, act=None, capabilities=frozenset(CAPABILITIES)):
        self.act, self.capabilities = act, capabilities
        self.built = []

    def build(self, _config):
        self.built.append(Layer(self.act))
        return self.built[-1]

    def build_default(self, num_features):
        return self.build(Config(num_features))


@pytest.fixture
def start(tmp_path):
    """A trial of a subject that does `act` in its forward pass."""

    recorder = Recorder(tmp_path / "gw0.jsonl")

    def call(act=None, *, ids=("TRAIN-1", "STATS-1"), profile="quick", seed=5, **options):
        memory = Memory(Subject(act, **options), profile, seed, recorder)
        trial = Trial(memory, ids)
        trial.events = lambda: [e for e in records.read(tmp_path) if e["e"] == "judged"]
        return trial

    yield call
    recorder._file.close()


def raising(error):
    def act(_):
        raise error

    return act


# Exceptions


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("no kernel"), "raises RuntimeError: no kernel"),
        (SystemExit(3), "raises SystemExit: 3"),
        (KeyboardInterrupt(), "raises KeyboardInterrupt"),
        (ValueError("a\n  long   text"), "raises ValueError: a long text"),
    ],
)
def test_what_a_subject_raises_fails_every_requirement_of_the_case(start, error, said):
    trial = start(raising(error))
    with trial.case(CASE):
        trial.build(CASE.config, CASE.state).forward(CASE.x)
    assert [f.requirement for f in trial.failures] == ["TRAIN-1", "STATS-1"]
    assert all(f.message == f"forward in training: {said}." for f in trial.failures)
    assert len({f.cause for f in trial.failures}) == 1


def test_what_was_judged_before_the_exception_keeps_its_verdict(start):
    trial = start(raising(RuntimeError()))
    with trial.case(CASE):
        trial.expect("TRAIN-1", YES, "")
        trial.build(CASE.config).forward(CASE.x)
    assert {e["requirement"]: e["passed"] for e in trial.events()} == {
        "TRAIN-1": True,
        "STATS-1": False,
    }


@pytest.mark.parametrize("ids", [("TRAIN-1",), ("TRAIN-1", "DTYPE-1")], ids=" ".join)
def test_an_exception_is_never_lost(start, ids):
    trial = start(raising(RuntimeError()), ids=ids, capabilities=frozenset({"train"}))
    with trial.case(CASE):
        trial.expect("TRAIN-1", YES, "")
        trial.build(CASE.config).forward(CASE.x)
    assert [f.requirement for f in trial.failures] == ["TRAIN-1"]


def test_only_the_ids_of_the_case_fail(start):
    trial = start(raising(RuntimeError()))
    with trial.case(CASE, "STATS-1"):
        trial.build(CASE.config).forward(CASE.x)
    assert [f.requirement for f in trial.failures] == ["STATS-1"]


def test_the_next_case_is_judged_all_the_same(start):
    trial = start(raising(RuntimeError()))
    for name in ("one", "two"):
        with trial.case(name, "TRAIN-1"):
            trial.build(CASE.config).forward(CASE.x)
    assert [f.case for f in trial.failures] == ["one", "two"]


def test_an_error_of_the_kits_own_is_not_swallowed(start):
    trial = start()
    with pytest.raises(ZeroDivisionError), trial.case(CASE):
        _ = 1 / 0
    assert not trial.failures


def test_a_subject_error_keeps_the_stage_of_the_caller():
    inner = SubjectError("answer", "returned str, not an array")
    with pytest.raises(SubjectError, match=r"^backward: returned str, not an array$"):
        guarded("backward", raising(inner), None)


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError(), "raises ValueError"), (OSError("x" * 900), "raises OSError: ")],
)
def test_an_exception_is_one_line(error, said):
    assert describe(error).startswith(said)
    assert len(describe(error)) < 340


def test_an_error_is_told_without_anybodys_folders():
    error = RuntimeError('Traceback: File "/home/somebody/lib/layer.py", line 3, in forward')
    assert describe(error) == 'raises RuntimeError: Traceback: File "layer.py", line 3, in forward'


# Inputs and answers


def test_the_subject_is_given_copies(start):
    def spoil(x):
        x[...] = 77
        return x

    before = CASE.x.copy()
    layer = start(spoil).build(CASE.config)
    layer.forward(CASE.x)
    assert np.array_equal(CASE.x, before)


def test_a_step_is_asked_for_once(start):
    trial = start()
    first = trial.step(CASE)
    assert trial.step(CASE) is first
    assert len(trial.subject.built) == 1
    assert trial.subject.built[0].forwards == 1


def test_the_error_of_a_step_is_raised_to_everyone_who_asks(start):
    trial = start(raising(RuntimeError("once")))
    for _ in range(2):
        with pytest.raises(SubjectError, match="once"):
            trial.step(CASE)
    assert len(trial.subject.built) == 1


def test_steps_are_forgotten_before_memory_is_full(start):
    trial = start(lambda x: x)
    for k in range(KEPT + 5):
        trial.step(cases.drawn(f"many{k}", "fp32", (4, 2), 0))
    assert len(trial.memory.steps) == KEPT


def test_expected_values_are_computed_once(start):
    trial = start()
    assert trial.expected(CASE) is trial.expected(CASE)
    assert trial.expected(CASE, "accurate") is not trial.expected(CASE)


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_a_state_that_lacks_what_is_tracked_is_the_subjects_fault(start, name):
    trial = start()
    case = replace(CASE, state=replace(CASE.state, **{name: None}))
    with trial.case(case, "STATS-1"):
        trial.expected(case)
    [failure] = trial.events()[-1]["failures"]
    assert failure["message"] == f"state: there is no {name}."


def test_a_right_answer_passes_and_a_wrong_one_fails(start):
    for act, wanted in ((None, True), (lambda x: x, False)):
        trial = start(act)
        with trial.case(CASE, "TRAIN-1"):
            trial.compare("TRAIN-1", trial.step(CASE).y, trial.expected(CASE).y, CASE)
        assert trial.events()[-1]["passed"] is wanted


# Requirements that do not apply


def test_what_does_not_apply_is_not_recorded(start):
    trial = start(capabilities=frozenset({"train", "fp32"}))
    with trial.case(CASE):
        trial.expect("TRAIN-1", YES, "")
        trial.expect("STATS-1", NO, "there are no statistics")
        trial.compare("STATS-1", None, trial.expected(CASE).running_mean, CASE)
    assert [e["requirement"] for e in trial.events()] == ["TRAIN-1"]
    assert not trial.failures


def test_declining_is_recorded_with_the_reason(start, tmp_path):
    trial = start(capabilities=frozenset())
    with pytest.raises(pytest.skip.Exception, match="does not offer: grad, train"):
        trial.require("train", "grad")
    (event,) = [e for e in records.read(tmp_path) if e["e"] == "skip"]
    assert event["verdict"] == "not-applicable"
    assert event["requirements"] == ["TRAIN-1", "STATS-1"]


def test_a_subject_that_can_not_be_constructed_offers_nothing():
    class Broken(Subject):
        @property
        def capabilities(self):
            raise RuntimeError

        @capabilities.setter
        def capabilities(self, _):
            pass

    memory = Memory(Broken(), "quick", 0, Recorder(None))
    assert memory.capabilities == frozenset()


# Refusals


def test_a_refusal_of_the_right_kind_passes(start):
    trial = start(raising(ValueError("expected 2D")))
    with trial.case("wrong", "TRAIN-1"):
        layer = trial.build(CASE.config)
        said = trial.refuses("TRAIN-1", lambda: layer.forward(CASE.x), ValueError)
    assert said == "expected 2D"
    assert not trial.failures


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (raising(TypeError("no")), "raises TypeError, where ValueError is right"),
        (raising(SystemExit()), "raises SystemExit, where ValueError is right"),
        (lambda x: x, "It is accepted, and should be refused."),
    ],
)
def test_a_refusal_of_another_kind_or_none_fails(start, act, said):
    trial = start(act)
    with trial.case("wrong", "TRAIN-1"):
        layer = trial.build(CASE.config)
        trial.refuses("TRAIN-1", lambda: layer.forward(CASE.x), ValueError)
    (found,) = trial.failures
    assert said in found.message


# What is remembered of a failure


def test_the_first_failure_of_a_requirement_has_its_program(start):
    trial = start(lambda x: x)
    for case in (CASE, cases.drawn("second", "fp32", (4, 2), 0)):
        with trial.case(case, "TRAIN-1"):
            trial.compare("TRAIN-1", trial.step(case).y, trial.expected(case).y, case)
    first, second = trial.failures
    assert first.evidence["program"][0]["do"] == "build"
    assert first.evidence["program"][-1]["do"] == "forward"
    assert "program" not in second.evidence


def test_every_event_is_json(start, tmp_path):
    trial = start(lambda x: x * np.float32("nan"))
    with trial.case(CASE, "TRAIN-1"):
        trial.compare("TRAIN-1", trial.step(CASE).y, trial.expected(CASE).y, CASE)
        trial.expect("TRAIN-1", np.bool_(NO), "numpy's own False")
    for line in (tmp_path / "gw0.jsonl").read_text().splitlines():
        json.loads(line)


def test_the_report_says_requirement_case_and_cause(start):
    trial = start(lambda x: x)
    with trial.case(CASE, "TRAIN-1"):
        trial.compare("TRAIN-1", trial.step(CASE).y, trial.expected(CASE).y, CASE)
    text = trial.report()
    assert text.startswith("TRAIN-1: ")
    assert f"  {CASE.id}: y[" in text


def test_a_long_report_is_cut(start):
    trial = start()
    for k in range(9):
        with trial.case(f"case {k}", "TRAIN-1"):
            trial.fail("TRAIN-1", "It is wrong.")
    assert trial.report().endswith("  and 4 more")


# Seeds


@pytest.mark.parametrize("profile", ["quick", "full", "deep"])
def test_cases_are_drawn_from_the_seed_of_the_run(start, profile):
    trial = start(profile=profile, seed=5)
    size = {"quick": 3, "full": 4, "deep": 4 * common.DEEP_SEEDS}[profile]
    drawn = common.cases_of(trial, "A1", "fp32", 2)
    assert len(drawn) == size
    other = common.cases_of(start(profile=profile, seed=50), "A1", "fp32", 2)
    assert not any(a.x.tobytes() == b.x.tobytes() for a, b in zip(drawn, other, strict=True))
