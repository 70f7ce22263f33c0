"""One defect, one diagnosis: what is folded, what leads, and in which order."""

import pytest

from bn1d_conformance.diagnosis import ancestors, diagnose
from bn1d_conformance.misreadings import BY_NAME
from bn1d_reference import spec


def failure(ident, cause="", case="a case", says="", **evidence):
    """A failure as the results have it."""
    says = says or (BY_NAME[cause].says if cause in BY_NAME else cause)
    evidence |= {"quantity": "y"} if cause in BY_NAME else {}
    return {
        "requirement": ident,
        "case": case,
        "message": f"{ident} is wrong.",
        "cause": cause,
        "says": says,
        "evidence": evidence,
    }


def rows(**causes):
    """Diagnoses of failures given as STATS_2="cause", one a requirement."""
    found = {i.replace("_", "-"): [failure(i.replace("_", "-"), c)] for i, c in causes.items()}
    return diagnose(found, {})


def test_nothing_wrong_is_no_diagnosis():
    assert diagnose({}, {}) == []


def test_a_diagnosis_has_the_fields_of_the_results_file():
    (row,) = rows(STATS_2="biased-tracking")
    assert row == {
        "requirement": "STATS-2",
        "cause": "The biased variance is tracked, divided by n and not by n − 1.",
        "identified": True,
        "evidence": "a case: STATS-2 is wrong.",
        "folded": [],
    }


def test_a_failure_without_a_cause_is_said_in_the_words_of_the_spec():
    (row,) = rows(STATS_8="")
    assert row["cause"] == spec.requirements()["STATS-8"].sentence
    assert row["identified"] is False


def test_one_cause_in_many_requirements_is_one_diagnosis():
    causes = dict.fromkeys(("STATS_2", "STATS_3", "STATS_9", "EVAL_12"), "biased-tracking")
    (row,) = rows(**causes)
    assert row["requirement"] == "STATS-2"
    assert row["folded"] == ["EVAL-12", "STATS-3", "STATS-9"]


def test_a_cause_leads_with_its_own_requirement_wherever_it_was_seen_first():
    (row,) = rows(TRAIN_1="eps-missing", TRAIN_4="eps-missing")
    assert row["requirement"] == "TRAIN-4"
    assert row["folded"] == ["TRAIN-1"]


def test_what_rests_on_a_failing_requirement_is_folded_under_it():
    child = next(r for r in spec.requirements().values() if "STATS-1" in r.rests_on)
    (row,) = rows(**{"STATS_1": "", child.id.replace("-", "_"): ""})
    assert row["requirement"] == "STATS-1"
    assert row["folded"] == [child.id]


def test_what_rests_on_it_only_through_another_is_folded_too():
    far = next(i for i in spec.requirements() if "BUF-1" in ancestors(i) - {*parents(i)})
    (row,) = rows(**{"BUF_1": "", far.replace("-", "_"): ""})
    assert (row["requirement"], row["folded"]) == ("BUF-1", [far])


def parents(ident):
    return spec.requirements()[ident].rests_on


def test_two_causes_are_two_diagnoses():
    found = rows(STATS_1="momentum-inverted", TRAIN_3="unbiased-normalisation")
    assert [row["requirement"] for row in found] == ["TRAIN-3", "STATS-1"]


def test_an_identified_cause_is_not_folded_under_a_failure_that_it_explains():
    found = rows(STATS_1="", STATS_2="biased-tracking")
    assert {row["requirement"] for row in found} >= {"STATS-2"}


def test_what_the_numbers_name_comes_first():
    found = rows(CTOR_13="", STATS_2="biased-tracking")
    assert [row["requirement"] for row in found] == ["STATS-2", "CTOR-13"]


def test_without_a_name_the_order_is_that_of_the_spec():
    found = rows(INPUT_8="", PARAM_8="", STATS_2="")
    assert [row["requirement"] for row in found] == ["PARAM-8", "STATS-2", "INPUT-8"]


def test_what_is_only_recommended_comes_last():
    found = rows(CTOR_13="", INPUT_8="")
    assert [row["requirement"] for row in found] == ["INPUT-8", "CTOR-13"]


def test_in_an_area_what_the_numbers_name_comes_first():
    found = rows(STATS_7="", STATS_2="biased-tracking")
    assert [row["requirement"] for row in found] == ["STATS-2", "STATS-7"]


def test_a_cause_leads_where_it_explains_half_of_the_failures():
    named, unnamed = failure("STATS-2", "biased-tracking"), failure("STATS-2")
    (most,) = diagnose({"STATS-2": [named, unnamed]}, {})
    (few,) = diagnose({"STATS-2": [named, unnamed, unnamed]}, {})
    assert most["identified"]
    assert not few["identified"]


def test_the_evidence_is_a_failure_that_has_the_cause():
    other = failure("STATS-2", case="another case")
    named = failure("STATS-2", "biased-tracking", case="the case")
    (row,) = diagnose({"STATS-2": [other, named]}, {})
    assert row["evidence"].startswith("the case: ")


def test_one_exception_everywhere_is_one_diagnosis_at_its_pass():
    cause = "forward in training raises TypeError"
    (row,) = rows(INPUT_16=cause, TRAIN_1=cause, GRAD_1=cause)
    assert row["requirement"] == "INPUT-16"
    (row,) = rows(TRAIN_1=cause, TRAIN_10=cause, STATS_1=cause, GRAD_1=cause)
    assert row["requirement"] == "TRAIN-1"
    assert row["folded"] == ["TRAIN-10", "STATS-1", "GRAD-1"]
    assert row["cause"] == "Forward in training raises TypeError."


def test_a_case_that_is_not_named_leaves_no_colon():
    found = diagnose({"STATS-1": [failure("STATS-1", "crash", case="")]}, {})
    assert found[0]["evidence"] == "STATS-1 is wrong."


def test_every_failing_requirement_is_in_one_diagnosis():
    idents = list(spec.requirements())[::3]
    causes = ["", "biased-tracking", "eps-missing", "raises ValueError"]
    given = {i: [failure(i, causes[k % 4])] for k, i in enumerate(idents)}
    found = [i for row in diagnose(given, {}) for i in (row["requirement"], *row["folded"])]
    assert sorted(found) == sorted(idents)


def test_the_same_failures_give_the_same_diagnoses_in_any_order():
    idents = list(spec.requirements())[::4]
    given = {i: [failure(i, "eps-missing" if i < "N" else "")] for i in idents}
    assert diagnose(given, {}) == diagnose(dict(reversed(given.items())), {})


@pytest.mark.parametrize(
    ("output", "gradient"),
    [
        ("weight-ignored", "weight-not-in-gradient"),
        ("eval-weight-ignored", "eval-weight-not-in-gradient"),
        ("batch-in-evaluation", "eval-batch-gradient"),
    ],
)
def test_a_gradient_that_follows_from_the_output_is_no_news_and_alone_it_is(output, gradient):
    idents = [BY_NAME[name].requirement for name in (output, gradient)]
    given = {i: [failure(i, c)] for i, c in zip(idents, (output, gradient), strict=True)}
    (both,) = diagnose(given, {})
    assert (both["requirement"], both["folded"]) == (idents[0], [idents[1]])
    (alone,) = diagnose({idents[1]: given[idents[1]]}, {})
    assert alone["requirement"] == idents[1]
    assert "gradient" in alone["cause"]


def test_a_cause_whose_own_requirement_holds_is_chance():
    given = {"STATS-9": [failure("STATS-9", "biased-tracking")]}
    (seen,) = diagnose(given, {"STATS-2": {"fp32"}})
    (alone,) = diagnose(given, {})  # STATS-2 was not asked for: nothing speaks against the cause
    assert (seen["identified"], alone["identified"]) == (False, True)


def test_a_cause_that_its_own_requirement_does_not_show_is_chance():
    given = {
        "GRAD-1": [failure("GRAD-1", quantity="dx", mode="training")],
        "INPUT-12": [failure("INPUT-12", "gradient-n-1")],
    }
    (row,) = diagnose(given, {})
    assert (row["requirement"], row["identified"]) == ("GRAD-1", False)


def test_what_defines_a_quantity_explains_every_other_finding_about_it():
    wrong = {"quantity": "running_mean", "mode": "training"}
    given = {i: [failure(i, **wrong)] for i in ("STATS-1", "STATS-3", "LAYOUT-1", "DTYPE-4")}
    (row,) = diagnose(given, {})
    assert (row["requirement"], len(row["folded"])) == ("STATS-1", 3)
    (row,) = diagnose({i: given[i] for i in ("LAYOUT-1",)}, {})
    assert row["requirement"] == "LAYOUT-1"


def test_what_is_wrong_in_one_format_alone_is_a_matter_of_formats():
    idents = ("STATS-1", "DTYPE-4")
    wrong = {"quantity": "running_mean", "mode": "training", "input": "fp64"}
    given = {i: [failure(i, **wrong)] for i in idents}
    (row,) = diagnose(given, {"STATS-1": {"fp32"}})
    assert (row["requirement"], row["folded"]) == ("DTYPE-4", ["STATS-1"])
    (row,) = diagnose(given, {})  # not seen to hold anywhere: the average is wrong
    assert (row["requirement"], row["folded"]) == ("STATS-1", ["DTYPE-4"])


def test_where_evaluation_changes_the_state_the_answers_after_it_are_no_news():
    (row,) = rows(EVAL_2="", PARAM_12="", GRAD_4="")
    assert row["requirement"] == "EVAL-2"
    (row,) = rows(CTOR_1="", EVAL_2="")  # what it rests on comes first
    assert row["requirement"] == "CTOR-1"


def test_an_exception_of_an_earlier_stage_explains_the_later_ones():
    error = "raises TypeError"
    stages = {"INPUT_16": "forward in training", "GRAD_1": "backward", "COMP_7": "functional_call"}
    (row,) = rows(**{ident: f"{stage} {error}" for ident, stage in stages.items()})
    assert row["requirement"] == "INPUT-16"
    found = rows(INPUT_16=f"forward in training {error}", GRAD_1="backward raises ValueError")
    assert len(found) == 2


def test_what_the_output_has_right_may_be_wrong_in_the_backward_pass():
    given = {"GRAD-1": [failure("GRAD-1", "eps-missing", quantity="dx", mode="training")]}
    (row,) = diagnose(given, {"TRAIN-4": {"fp32"}, "GRAD-1": set()})
    assert row["requirement"] == "GRAD-1"
    assert row["cause"] == "In the backward pass eps is missing."
    assert row["identified"]


def test_what_a_layer_lacks_leads_what_the_numbers_make_of_it():
    found = rows(BUF_1="", STATS_5="cumulative-frozen", STATS_8="")
    assert [row["requirement"] for row in found] == ["BUF-1", "STATS-5"]
    assert found[0]["folded"] == ["STATS-8"]


def test_a_misreading_explains_no_failure_that_has_no_number():
    wrong = failure("STATS-1", quantity="running_mean", mode="training")
    named = failure("STATS-5", "cumulative-frozen")
    (row,) = diagnose({"STATS-1": [wrong], "STATS-5": [named]}, {})
    assert (row["requirement"], row["folded"]) == ("STATS-5", ["STATS-1"])
    assert len(rows(STATS_1="", STATS_5="cumulative-frozen")) == 2


def test_of_causes_as_certain_the_one_that_explains_most_comes_first():
    found = rows(TRAIN_12="", EVAL_1="", EVAL_3="", EVAL_11="")
    assert [row["requirement"] for row in found] == ["EVAL-1", "TRAIN-12"]


def test_where_a_later_call_is_not_like_the_first_the_numbers_of_others_are_no_news():
    wrong = {"quantity": "y", "mode": "training"}
    given = {i: [failure(i, **wrong)] for i in ("EVAL-7", "LAYOUT-2", "CONC-30")}
    (row,) = diagnose(given, {})
    assert (row["requirement"], row["folded"]) == ("CONC-30", ["EVAL-7", "LAYOUT-2"])
    (row,) = diagnose(given | {"TRAIN-1": [failure("TRAIN-1", **wrong)]}, {})
    assert row["requirement"] == "TRAIN-1"
    found = diagnose({"CONC-30": given["CONC-30"], "BUF-9": [failure("BUF-9")]}, {})
    assert len(found) == 2  # what BUF-9 finds is no number


def test_what_is_raised_in_some_formats_alone_is_a_matter_of_formats():
    cause = "forward in training raises RuntimeError"
    idents = ("GRAD-17", "NUM-2", "DTYPE-1")
    given = {i: [failure(i, cause, input="fp16")] for i in idents}
    (row,) = diagnose(given, {"NUM-2": {"fp32"}})
    assert (row["requirement"], row["folded"]) == ("DTYPE-1", ["GRAD-17", "NUM-2"])
    (row,) = diagnose(given, {})  # not seen to work in any
    assert row["requirement"] == "GRAD-17"


def test_statistics_that_are_learned_are_one_diagnosis_which_leads():
    cause = "statistics are parameters"
    found = rows(PARAM_1=cause, PARAM_6=cause, BUF_1=cause, LAYOUT_30="")
    assert [row["requirement"] for row in found] == ["PARAM-1"]
    assert found[0]["cause"] == "Statistics are parameters."
