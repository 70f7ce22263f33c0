"""The page of a subject, and the pages of all: what they say, and of whom."""

import json
import re
import shlex

import pytest
from site_pages import BACKENDS, JUDGED, PUBLISHED, QUICK, ROOT, SAID, Structure

from bn1d_conformance import site
from bn1d_conformance.site import (
    markup,
    subject_page,
)
from bn1d_reference import SPEC_VERSION, spec

# The results


def test_a_page_says_what_the_file_says(result):
    text = "".join(Structure(subject_page.page(result)).text)
    count = len(JUDGED)
    assert f"1 diverge, 0 not covered, {count - 1} pass, of {count} requirements." in text
    for said in (
        "mine.py:Layer",
        "diverges",
        "STATS-2: The biased variance is tracked.",
        "The same explains STATS-9.",
        "Grade: blocked",
        "8,542",
        "16.5 %",
        "3.14.0",
        "torch: 2.13.0",
        "weight: gamma",
        "3 of 12 cases fail",
        SAID,
    ):
        assert said in text


def test_what_was_not_judged_is_counted_apart(result):
    rows = result["requirements"]
    rows["EVAL-1"]["verdict"] = "not-applicable"
    rows["EVAL-2"]["verdict"] = "not-run"
    rows["EVAL-3"]["verdict"] = "error"
    assert "1 diverge, 3 not covered" in subject_page.page(result)


def test_the_command_makes_the_same_run(result):
    result["options"].update(target="my file.py:Layer", profile="deep", seed=7, select="a and b")
    [command] = re.findall(r"^\$ (.*)$", subject_page.page(result), re.MULTILINE)
    assert shlex.split(command) == [
        *("bn1d", "run", "my file.py:Layer", "--device", "cpu", "--profile", "deep"),
        *("--timeout", "30.0", "--seed", "7", "--map", "weight=gamma", "-k", "a and b"),
        *("--expect", "known.toml"),
    ]


@pytest.mark.parametrize(
    "name", set(PUBLISHED) & {row["name"] for row in BACKENDS if "target" in row}
)
def test_published_results_of_pytorch_are_of_this_spec(name):
    result = PUBLISHED[name]
    assert result["kit"]["spec_version"] == SPEC_VERSION
    assert list(result["requirements"]) == list(spec.requirements())
    assert result["options"]["profile"] == ("quick" if name in QUICK else "full")
    assert result["options"]["target"].replace(":", ".") == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_file_has_a_page_and_a_session(name):
    assert subject_page.page(PUBLISHED[name])
    assert name in BACKENDS


def test_known_deviations_are_of_a_backend():
    known = {file.stem for file in ROOT.glob("conformance/results/expectations/*.toml")}
    assert known <= set(BACKENDS)


def test_what_deviates_stands_under_its_convention(result):
    result["requirements"]["STATS-3"] |= {"verdict": "deviates", "deviates": {"<momentum>": 2}}
    result["counts"]["deviates"] = 1
    page = subject_page.page(result)
    assert "1 deviate, " in page
    [line] = [line for line in page.splitlines() if "momentum&#62;" in line]
    assert "(../spec/stats.md#stats-3)" in line


def test_known_deviations_stand_on_the_page_with_their_reasons(result):
    result["requirements"]["EVAL-1"]["verdict"] = "expected-fail"
    page = subject_page.page(result)
    text = "".join(Structure(page).text)
    assert "1 diverge, 1 diverge as declared, 0 not covered" in text
    assert "## Known to fail" in page
    assert "It is known." in text
    links = [dict(attrs)["href"] for tag, attrs in Structure(page).tags if tag == "a"]
    assert "https://example.org/known" in links
    assert shlex.join(["--expect", "known.toml"]) in page
    row = next(
        r
        for r in site.result_pages({"mine": result}, BACKENDS)["results/index.md"].splitlines()
        if "mine.md" in r
    )
    assert [cell.strip() for cell in row.split("|")][4:7] == ["1", "0", "1"]


def test_the_results_stand_by_verdict(result):
    result["subject"]["name"] = "a layer"
    right = json.loads(json.dumps(result))
    right.update(verdict="conforms", diagnoses=[])
    right["requirements"]["STATS-2"] |= {"verdict": "deviates", "deviates": {"counter=none": 1}}
    right["options"]["worker"] = True
    page = site.result_pages({"mine": result, "right": right}, BACKENDS)["results/index.md"]
    conform, diverge = page.index("{ #conforms }"), page.index("{ #diverges }")
    lines = page[conform:diverge].splitlines()
    [row] = [[c.strip() for c in line.split("|")] for line in lines if "right.md" in line]
    assert row[2:7] == ["a layer", "2&#46;0", "0", "1", "0"]
    assert "[STATS-2](../spec/stats.md#stats-2)" in page[diverge:]


def test_a_worker_is_judged_again_as_a_worker(result):
    result["options"].update(target="python serve.py", worker=True)
    assert "bn1d run --worker 'python serve.py'" in subject_page.page(result)


def test_a_run_that_pinned_the_spec_is_made_again_with_the_pin(result):
    result["options"]["spec"] = "0.0"
    assert " --spec 0.0\n" in subject_page.page(result)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a.b/(c)", "https://a b", "x"])
def test_an_address_that_is_not_plain_is_no_link(url):
    assert "](" not in markup.web(url)


def test_the_result_of_pytorch_is_published_and_listed():
    assert PUBLISHED["torch.nn.BatchNorm1d"]["verdict"] == "conforms"
    index = site.result_pages(PUBLISHED, BACKENDS)["results/index.md"]
    assert "[<code>torch&#46;nn&#46;BatchNorm1d</code>](torch.nn.BatchNorm1d.md)" in index
