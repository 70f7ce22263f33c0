"""What the judge accepts, what it rejects, what it says, and which cause it names."""

import json
from dataclasses import FrozenInstanceError, asdict, replace
from math import inf, nan

import numpy as np
import pytest

from bn1d_conformance import cases, exact_cases, misreadings
from bn1d_conformance.answer import Answer
from bn1d_conformance.dialect import Notes
from bn1d_conformance.expected import Expected
from bn1d_conformance.judge import (
    Accuracy,
    Failure,
    accepted,
    by_condition,
    compare,
    examine,
    measure,
)
from bn1d_conformance.numbers import DTYPES, to_format, ulp
from bn1d_conformance.simulation import Simulation
from bn1d_reference import bounds
from bn1d_reference.formats import FORMATS

CASE = cases.drawn("judge", "fp32", (6, 3), 0)


def answer(exact, bound, fmt="fp32", quantity="y"):
    """An Answer whose scale is its size."""
    exact = np.array(exact, float)
    return Answer(quantity, fmt, exact, np.full(exact.shape, float(bound)), np.abs(exact))


def neighbours(value, fmt, steps):
    """The members of a format around a value, as fp64, `steps` to each side."""
    middle = to_format(np.array([value]), fmt)
    spacing = ulp(middle, fmt)
    return to_format(middle + spacing * np.arange(-steps, steps + 1), fmt)


# The edge of the bound


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("exact", [1.0, -1.7, 3.0e-5, 1000.3])
@pytest.mark.parametrize("width", [0.0, 0.3, 0.49, 0.51, 2.2, 7.0])
def test_the_edge_is_that_of_the_bounds(fmt, exact, width):
    bound = width * float(ulp(np.array([exact]), fmt)[0])
    got = neighbours(exact, fmt, 12)
    kept = accepted(
        got, answer(np.full(got.shape, exact), bound + np.spacing(abs(exact)) / 2, fmt)
    )
    assert kept.tolist() == [bounds.accepts(FORMATS[fmt], g, exact, bound) for g in got.tolist()]
    assert kept.any()
    assert not kept.all()


def test_without_a_bound_only_the_rounded_answer_is_right():
    exact = 1 / 3
    got = neighbours(exact, "fp32", 1)
    assert accepted(got, answer(np.full(3, exact), 0)).tolist() == [False, True, False]


@pytest.mark.parametrize("special", [nan, inf, -inf])
def test_a_special_value_wants_itself(special):
    got = np.array([nan, inf, -inf, 0.0, 3.0e38])
    want = [np.array_equal(g, special, equal_nan=True) for g in got]
    assert accepted(got, answer(np.full(5, special), 1e30)).tolist() == want


@pytest.mark.parametrize("wrong", [nan, inf, -inf])
def test_a_number_wants_a_number(wrong):
    assert not accepted(np.array([wrong]), answer([1.0], 1e30)).any()


def test_an_answer_that_overflows_its_format_is_infinite_there():
    assert accepted(np.array([inf, 65504.0]), answer([1e6, 1e6], 0, "fp16")).tolist() == [
        True,
        False,
    ]


def test_zeros_of_both_signs_are_one_number():
    assert accepted(np.array([0.0, -0.0]), answer([0.0, 0.0], 0)).all()


# Scores


def test_the_score_counts_ulp_at_the_scale_of_the_output():
    exact = np.array([1.0, 0.0])
    scaled = Answer("y", "fp32", exact, np.full(2, 1e-3), np.array([1.0, 1.0]))
    score = measure(exact + np.array([2.0, 3.0]) * 2.0**-23, scaled)
    assert score.worst == 3
    assert 2 < score.ulp <= 3


def test_the_fraction_of_the_bound_leaves_the_last_rounding_out():
    half = 2.0**-24
    right = answer([1.0], 10 * half)
    assert measure(np.array([1.0 + half]), right).fraction == 0
    assert measure(np.array([1.0 + 6 * half]), right).fraction == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("errors", "easy", "hard"),
    [
        ((0, 4, 40), ("accurate", 0), ("conforming", 20)),
        ((40, 4, 0), ("conforming", 20), ("blocked", 2)),
    ],
)
def test_channels_are_scored_by_their_condition_each_with_its_grade(errors, easy, hard):
    exact, u = np.ones((2, 3)), 2.0**-24
    got = (exact + u * np.array(errors)).astype("float32")
    right = {
        name: Answer("y", "fp32", exact, np.full((2, 3), k * u), exact)
        for name, k in (("conforming", 100), ("blocked", 10), ("accurate", 0))
    }
    rows = list(by_condition(got, right, np.array([0, 3, 3])))
    found = [(r["condition"], r["grade"], r["worst"]) for r in rows]
    assert found == [(0, *easy), (3, *hard)]


def test_a_grade_has_all_that_come_before_it():
    right = {name: answer([1.0], bound) for name, bound in (("conforming", 9), ("blocked", 0))}
    (row,) = by_condition(
        np.array([2.0], "float32"), right | {"accurate": right["conforming"]}, np.zeros(1)
    )
    assert row["grade"] == "conforming"


def test_statistics_are_scored_by_condition_as_outputs_are():
    right = {"conforming": answer([1.0, 2.0, 3.0], 0)}
    rows = list(by_condition(np.array([1, 2, 3], "float32"), right, np.array([0, 2, 2])))
    assert [(r["condition"], r["worst"]) for r in rows] == [(0, 0), (2, 0)]


def test_the_score_is_the_99th_of_a_hundred_and_the_worst_is_beside_it():
    right, u = answer(np.ones(101), 1.0), 2.0**-23
    score = measure(1 + u * np.arange(101), right)
    assert (score.ulp, score.worst) == (99, 100)


def test_what_is_right_where_nothing_may_be_lost_uses_nothing_of_the_bound():
    assert measure(np.array([1.0]), answer([1.0], 0)).fraction == 0


def test_the_worst_element_is_a_wrong_one():
    """One that only just is, by the tie of its last rounding, after one that is right."""
    u = 2.0**-23
    found = compare("TRAIN-1", CASE, np.array([1, 1 + 3 * u]), answer([1.0, 1.0], 2.5 * u))
    assert found.evidence["index"] == [1]
    assert found.evidence["bound_fraction"] == 1


def test_the_worst_element_is_a_wrong_one_where_no_bound_is_used():
    """Half an ulp off, to the odd side: the last rounding is wrong, and nothing before it."""
    u = 2.0**-23
    found = compare("TRAIN-1", CASE, np.array([1, 1 + u]), answer([1.0, 1 + u / 2], 0))
    assert found.evidence["index"] == [1]
    assert found.evidence["bound_fraction"] == 0


@pytest.mark.parametrize(("training", "mode"), [(True, "training"), (False, "evaluation")])
def test_the_evidence_says_in_which_mode(training, mode):
    case = cases.drawn("mode", "fp32", (6, 3), 0, training=training)
    found = compare("TRAIN-1", case, Expected(case).y.exact + 1, Expected(case).y)
    assert found.evidence["mode"] == mode


def test_an_infinity_beside_finite_values_is_not_scored():
    right = answer([1.0, inf], 0)
    assert measure(np.array([1.0, inf]), right).worst == 0
    assert measure(np.array([nan, inf]), right) == Accuracy("y", "fp32", 0, 0, 0, 0)


def test_what_is_not_finite_is_not_scored():
    assert measure(np.array([nan]), answer([nan], 0)) == Accuracy("y", "fp32", 0, 0, 0, 0)


# Answers that can't be compared


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (None, "y is None"),
        (np.zeros((3, 6), "float32"), "shape (3, 6), where (6, 3) is right"),
        (np.zeros((), "float32"), "shape ()"),
        (np.zeros((7, 3), "float32"), "shape (7, 3), where (6, 3) is right"),
        (np.zeros((6, 3, 1), "float32"), "shape (6, 3, 1), where (6, 3) is right"),
        (np.zeros((6, 3), "int32"), "dtype int32"),
        (np.zeros((6, 3), "complex64"), "dtype complex64"),
        (np.zeros((6, 3), bool), "dtype bool"),
    ],
)
def test_what_is_no_answer_is_said(got, words):
    failure = compare("TRAIN-1", CASE, got, Expected(CASE).y)
    assert isinstance(failure, Failure)
    assert words in failure.message
    assert failure.cause == "unusable y"


def test_a_wider_format_is_rounded_first_and_a_narrower_one_is_not():
    right = Expected(CASE).y
    assert compare("TRAIN-1", CASE, right.exact, right) is None
    narrow = right.exact.astype("float16")
    assert isinstance(compare("TRAIN-1", CASE, narrow, right), Failure)


def test_a_wider_format_is_as_good_as_what_it_is_rounded_to():
    ones = answer(np.ones((6, 3)), 0)
    between = np.full((6, 3), 1 + 2.0**-30)
    assert compare("TRAIN-1", CASE, between, ones) is None
    assert isinstance(compare("TRAIN-1", CASE, between + 2.0**-23, ones), Failure)


def test_a_format_without_a_name_is_taken_as_it_is():
    right = Expected(CASE).y
    assert compare("TRAIN-1", CASE, right.exact.astype("longdouble"), right) is None


def test_without_a_dialect_the_answer_decides_and_what_is_wrong_is_told():
    right, notes = Expected(CASE).y, Notes()
    assert examine("TRAIN-1", CASE, right.exact, right, notes) == (right, None)
    decides, failure = examine("TRAIN-1", CASE, right.exact + 1, right, notes)
    assert decides is right
    assert failure.requirement == "TRAIN-1"
    assert not notes.deviates
    assert not notes.strays


@pytest.mark.parametrize(
    ("size", "words"),
    [(1, ""), (2, "; 2 of 2 values are wrong"), (3, "; 3 of 3 values are wrong")],
)
def test_one_value_is_not_counted(size, words):
    off = np.full(size, 1 + 1234.567 * 2.0**-23)
    found = compare("TRAIN-1", CASE, off, answer(np.ones(size), 2.0**-23, "fp64"))
    assert found.message.endswith(
        f"where 1 is right: off by 6.63e+11 ulp, 1.23e+03 times the bound{words}."
    )


# The failure in words and numbers


def failure_of(change, case=CASE):
    right = Expected(case).y
    got = right.exact.astype(DTYPES[case.format])
    change(got)
    found = compare("TRAIN-1", case, got, right)
    assert isinstance(found, Failure)
    return found


def test_the_right_answer_passes():
    right = Expected(CASE).y
    got = right.exact.astype("float32")
    assert compare("TRAIN-1", CASE, got, right) is None
    assert measure(got, right).worst <= 0.5


def test_the_worst_element_is_named():
    def change(y):
        y[1, 2] += 0.01
        y[4, 0] -= 0.5

    found = failure_of(change)
    assert found.evidence["index"] == [4, 0]
    assert found.evidence["wrong"] == 2
    assert found.evidence["of"] == 18
    assert found.message.startswith("y[4, 0] is ")
    assert "2 of 18 values are wrong" in found.message


def test_nan_is_worse_than_any_number():
    def change(y):
        y[0, 0] = 3e38
        y[5, 1] = nan

    found = failure_of(change)
    assert found.evidence["index"] == [5, 1]
    assert found.evidence["got"] == "nan"
    assert "y[5, 1] is nan" in found.message


def test_the_message_says_expected_and_how_far():
    def change(y):
        y[2, 1] += 0.25

    found = failure_of(change)
    right = Expected(CASE).y
    got = found.evidence["got"]
    assert f"is {got:.9g}, where {right.exact[2, 1]:.9g} is right" in found.message
    assert f"{got:.8g}" != f"{got:.9g}" != f"{got:.10g}"
    assert "ulp" in found.message
    assert "times the bound" in found.message
    e = found.evidence
    spacing = float(ulp(right.scale, "fp32")[2, 1])
    assert e["ulp"] == pytest.approx(0.25 / spacing, rel=1e-3)
    assert e["bound_fraction"] > 1
    assert (e["expected"], e["quantity"], e["format"]) == (right.exact[2, 1], "y", "fp32")


def test_where_nothing_rounds_the_message_says_so():
    case = exact_cases.exact("fp32", 2)[1]

    def change(y):
        y[0, 0] = np.nextafter(y[0, 0], np.float32(9))

    found = failure_of(change, case)
    assert "no sound algorithm rounds here" in found.message


def test_what_was_judged_stays():
    for found in (
        measure(np.ones(1), answer([1.0], 0)),
        compare("TRAIN-1", CASE, None, Expected(CASE).y),
    ):
        with pytest.raises(FrozenInstanceError):
            found.worst = found.message = ""


@pytest.mark.parametrize(("exact", "cause"), [(False, "unbiased-normalisation"), (True, "")])
def test_a_cause_is_looked_for_unless_nothing_rounds(exact, cause):
    case = replace(CASE, exact=exact)
    got = Simulation(case, misreadings.BY_NAME["unbiased-normalisation"].knobs).quantity("y")
    assert compare("TRAIN-1", case, got, Expected(case).y).cause == cause


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e30])
def test_a_failure_is_json(value):
    def change(y):
        y[0, 0] = value

    text = json.dumps(asdict(failure_of(change)), allow_nan=False)
    assert json.loads(text)["evidence"]["index"] == [0, 0]
