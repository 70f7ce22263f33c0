"""COMP: any sequence of operations, drawn from the run's seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bn1d_conformance.checks.common import requirement
from bn1d_conformance.choices import BASE, Shape
from bn1d_conformance.programs import DeviationError, Program

if TYPE_CHECKING:
    import pytest

    from bn1d_conformance.trial import Trial

#: Searches, programs a search, steps a program. A search must be far from the time limit of one
#: check, so that `deep` makes many; `quick` takes one walk and searches nothing.
BUDGET = {"quick": (1, 0, 0), "full": (1, 200, 14), "deep": (20, 100, 25)}
PATIENCE = 30.0  # seconds that a check may take where no limit is set


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many searches as the profile allows."""
    if "number" in metafunc.fixturenames:
        searches, _, _ = BUDGET[metafunc.config.getoption("--bn1d-profile")]
        metafunc.parametrize("number", range(searches))


@requirement("COMP-30")
def test_programs(trial: Trial, number: int, pytestconfig: pytest.Config) -> None:
    """Constructions, modes, passes, loads, casts, copies and attributes in any order."""
    _, programs, steps = BUDGET[trial.profile]
    with trial.case(f"programs/seed{trial.seed}/{number}"):
        found = _walk(trial)
        if programs and trial.has("live"):  # what a search asks, nobody could have recorded
            size, seconds = (programs, steps), _patience(pytestconfig) / 3
            found = _search(trial, number, size, seconds) or found
        trial.expect("COMP-30", not found, **(_told(found) if found else {"message": ""}))


def _patience(config: pytest.Config) -> float:
    """Seconds that a check may take."""
    if not config.pluginmanager.hasplugin("faulthandler"):
        return PATIENCE
    return float(config.getini("faulthandler_timeout")) or PATIENCE


def _told(deviation: DeviationError) -> dict[str, Any]:
    """The program and what is wrong at its end."""
    program, failure = deviation.program, deviation.failure
    inputs = f" ({', '.join(program.inputs)})" if program.inputs else ""
    return {
        "message": f"{'; '.join(program.lines)}{inputs}: {failure.message}",
        "cause": failure.cause,
        "says": failure.says,
        "evidence": {**failure.evidence, "lines": program.lines, "steps": program.steps},
    }


def _search(
    trial: Trial, number: int, size: tuple[int, int], seconds: float
) -> DeviationError | None:
    from bn1d_conformance.machine import search  # noqa: PLC0415 - Hypothesis, where it is used

    return search(trial, "COMP-30", number, size, seconds).shortest


def _walk(trial: Trial) -> DeviationError | None:
    """One program with every operation that the subject offers."""
    program = Program(trial, "COMP-30")
    try:
        _through(program)
    except DeviationError as deviation:
        return deviation
    return None


def _through(program: Program) -> None:
    fmt = program.configs()["format"][0]
    flat, long = Shape(5), Shape(2, 3) if program.has("3d") else Shape(4)
    grad = program.has("grad")
    program.construct(replace(BASE, format=fmt))
    program.forward(flat, "plain", fmt, 0, grad=grad)
    program.backward()
    program.load(1)
    program.forward(long, "far", fmt, 1, grad=False)
    if program.can_evaluate:
        program.train(False)
        program.forward(long, "plain", fmt, 2, grad=grad)
        program.backward()
        program.train(True)
    if program.is_module:
        _of_modules(program)
    program.forward(flat, "small", program.config.format, 3, grad=grad)
    program.backward()


def _of_modules(program: Program) -> None:
    program.assign("momentum", None)
    program.assign("eps", 0.5)
    program.copy()
    program.forward(Shape(3), "plain", "fp32", 1, grad=True)
    program.assign("track_running_stats", False)
    program.train(False)
    program.backward()
    program.forward(Shape(1), "plain", "fp32", 1, grad=False)
    program.train(True)
    program.forward(Shape(3), "plain", "fp32", 2, grad=False)
    program.assign("track_running_stats", True)
    program.cast("fp64")
    program.forward(Shape(3), "plain", "fp64", 2, grad=False)
    program.reset("reset_running_stats")
    program.forward(Shape(3), "far", "fp64", 1, grad=False)
    program.reset("reset_parameters")
