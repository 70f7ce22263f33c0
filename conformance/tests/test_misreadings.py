"""What a wrong turn computes is given that turn's name, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

from bn1d_conformance import cases, misreadings
from bn1d_conformance.expected import Expected
from bn1d_conformance.judge import Failure, compare
from bn1d_conformance.misreadings import CATALOGUE, EVALUATION
from bn1d_conformance.numbers import DTYPES, ulp
from bn1d_conformance.simulation import Simulation, identify
from bn1d_reference import spec
from bn1d_reference.formats import FORMATS

CASE = cases.drawn("judge", "fp32", (6, 3), 0)
EACH = [(m.name, quantity) for m in CATALOGUE for quantity in m.quantities]


def suitable(m, fmt="fp32"):
    """A case on which the misreading and no other gives its numbers."""
    numeric = isinstance(m.knobs.eps, float)
    eps = 2e-4 if numeric else 4.0 if m.knobs.eps == "floor" else 0.25
    momentum = (
        None if m.knobs.momentum in {"late", "early", "none-is-default", "none-is-zero"} else 0.3
    )
    case = cases.drawn(
        f"suitable/{m.name}",
        fmt,
        (4, 3, 5),
        0,
        eps=eps,
        momentum=momentum,
        training=m.mode != EVALUATION,
    )
    small = 0.01 if numeric else 1.0  # variances about eps
    weight = np.array([-1.5, 0.75, 2.0], case.state.weight.dtype)
    dtype = case.state.running_var.dtype
    state = replace(
        case.state,
        weight=weight,
        running_mean=(case.state.running_mean * small).astype(dtype),
        running_var=(case.state.running_var * small**2).astype(dtype),
    )
    return replace(case, x=(case.x * DTYPES[fmt].type(small)), state=state)


def simulated(m, case, quantity):
    """What an implementation with this misreading answers."""
    right = getattr(Expected(case), quantity)
    return Simulation(case, m.knobs).quantity(quantity).astype(DTYPES[right.format]), right


@pytest.mark.parametrize(("name", "quantity"), EACH)
@pytest.mark.parametrize("fmt", ["fp32", "fp64"])
def test_a_misreading_is_told_by_its_numbers(name, quantity, fmt):
    m = misreadings.BY_NAME[name]
    case = suitable(m, fmt)
    got, right = simulated(m, case, quantity)
    found = compare(m.requirement, case, got, right)
    assert isinstance(found, Failure), "the right answer, or not told from it"
    assert found.cause == name
    assert found.says == m.says


def misfit(m, case, got, right):
    """The largest distance of an answer from a misreading's, in ulp at the output's scale."""
    apart = np.abs(got.astype(float) - Simulation(case, m.knobs).quantity(right.quantity))
    return (apart / ulp(right.scale, right.format)).max()


@pytest.mark.parametrize(("name", "quantity"), EACH)
@pytest.mark.parametrize("fmt", ["fp16", "bf16"])
def test_in_half_precision_no_other_misreading_fits_better(name, quantity, fmt):
    m = misreadings.BY_NAME[name]
    case = suitable(m, fmt)
    got, right = simulated(m, case, quantity)
    found = identify(case, got.astype(float), right)
    if found:  # a place less or more is noise
        own, other = (misfit(k, case, got, right) for k in (m, found))
        assert other <= own + 1, f"{found.name} is {other:.3g} ulp away, {name} {own:.3g}"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("size", [(6, 3), (4, 3, 5), (2, 2)])
def test_the_right_answer_is_no_misreading(training, fmt, size):
    case = cases.drawn("right", fmt, size, 0, training=training)
    expected = Expected(case)
    for quantity in ("y", "running_mean", "running_var", "dx", "dweight", "dbias"):
        if training or not quantity.startswith("running"):
            right = getattr(expected, quantity)
            got = right.exact.astype(DTYPES[right.format]).astype(float)
            assert identify(case, got, right) is None


@pytest.mark.parametrize("family", ["A1", "A2", "A7"])
def test_a_small_error_is_no_misreading(family):
    for case in cases.family(family, "fp32", 2, "quick", 0):
        right = Expected(case).y
        noisy = right.exact + 30 * right.bound * np.sign(np.sin(np.arange(right.exact.size)))[0]
        found = identify(case, noisy, right)
        assert found is None, found.name


def test_noise_is_no_misreading():
    right = Expected(CASE).y
    noise = np.random.default_rng(1).normal(0, 1, right.exact.shape)
    assert identify(CASE, noise, right) is None


def test_the_definition_itself_is_what_no_knob_changes():
    for training in (True, False):
        case = cases.drawn("plain", "fp64", (6, 3), 0, training=training)
        plain, expected = Simulation(case, misreadings.Knobs()), Expected(case)
        outputs = ["y", "dx", "dweight", "dbias"] + ["running_mean", "running_var"] * training
        for quantity in outputs:
            right = getattr(expected, quantity).exact
            assert plain.quantity(quantity) == pytest.approx(right, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("m", CATALOGUE, ids=lambda m: m.name)
def test_a_misreading_breaks_a_requirement_of_the_spec(m):
    assert m.requirement in spec.requirements()
    assert not m.says.endswith(".")


def test_names_of_misreadings_are_unique():
    assert len(misreadings.BY_NAME) == len(CATALOGUE)
