"""`bn1d results`: what changed, a badge, and what stands where there is no result."""

import copy
import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, results, site
from bn1d_conformance.documents import badge, diff, former, reading, unavailable
from bn1d_conformance.running.run import Options
from bn1d_conformance.site import markup, spec_pages
from bn1d_reference import spec

REGRESSION, WRONG_USE = 1, 2
IDS = [i for i, r in spec.requirements().items() if r.binding]
HOSTILE = "<script>alert(1)</script> ../../../etc/passwd"


def document(**verdicts):
    """A results file in which requirements have these verdicts, by IDS' numbers; others pass."""
    events = []
    for k, ident in enumerate(IDS):
        verdict = verdicts.get(f"_{k}", "pass")
        failure = {"requirement": ident, "case": "c", "message": "m", "cause": "", "says": ""}
        failures = [{**failure, "evidence": {}}] if verdict == "fail" else []
        about = {"case": "c", "requirement": ident, "format": "", "deviates": []}
        judged = {**about, "passed": not failures}
        if verdict in {"pass", "fail"}:
            events.append({"e": "judged", **judged, "failures": failures})
        else:
            events.append({"e": "skip", "requirements": [ident], "verdict": verdict})
    asked = vars(Options("mine.py:Layer"))
    found = results.build(results.Tally(events), asked, complete=True, seconds=1.0)
    return json.loads(json.dumps(found))


def here(*words):
    return CliRunner().invoke(cli.app, ["results", *map(str, words)])


@pytest.fixture
def files(tmp_path):
    """Write documents; return their paths."""

    def call(*documents):
        paths = [tmp_path / f"{k}.json" for k in range(len(documents))]
        for path, value in zip(paths, documents, strict=True):
            results.write(value, path)
        return paths

    return call


# diff


@pytest.mark.parametrize(
    ("was", "now", "group"),
    [
        ("pass", "fail", "regressions"),
        ("pass", "not-run", "regressions"),
        ("pass", "not-applicable", "regressions"),
        ("not-applicable", "fail", "regressions"),
        ("fail", "pass", "improvements"),
        ("fail", "not-run", "improvements"),
        ("not-run", "pass", "improvements"),
        ("not-run", "not-applicable", "others"),
    ],
)
def test_a_requirement_that_changed(files, was, now, group):
    old, new = document(_3=was), document(_3=now)
    found = diff.diff(old, new)
    assert found[group] == [{"requirement": IDS[3], "was": was, "now": now}]
    rest = {"regressions", "improvements", "others", "new", "removed"} - {group}
    assert not any(found[name] for name in rest)
    assert found["counts"][was.replace("-", "_")][0] > found["counts"][was.replace("-", "_")][1]
    ran = here("diff", *files(old, new))
    assert ran.exit_code == (REGRESSION if group == "regressions" else 0)
    assert IDS[3] in ran.stdout
    shown = here("diff", "--json", *files(old, new))
    assert json.loads(shown.stdout) == found
    assert shown.exit_code == ran.exit_code


def test_nothing_changed(files):
    ran = here("diff", *files(document(_1="fail"), document(_1="fail")))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "Nothing changed.\n", "")


def test_requirements_that_came_and_went_are_no_regressions():
    old, new = document(), document(_0="fail")
    del old["requirements"][IDS[0]]
    del new["requirements"][IDS[1]]
    found = diff.diff(old, new)
    assert found["new"] == [{"requirement": IDS[0], "was": None, "now": "fail"}]
    assert found["removed"] == [{"requirement": IDS[1], "was": "pass", "now": None}]
    assert not found["regressions"]


def test_what_does_not_compare_is_said(files):
    other = document()
    other["kit"]["suite_hash"] = "0" * 16
    other["options"]["profile"] = "quick"
    ran = here("diff", *files(document(), other))
    assert ran.exit_code == 0
    assert "bn1d: the suite differs" in ran.stderr
    assert "bn1d: the profile differs: full, then quick" in ran.stderr


@pytest.mark.parametrize("older", [0, 1], ids=["then", "now"])
def test_an_option_that_one_file_does_not_know_is_no_difference(files, older):
    pair = document(), document()
    pair[1 - older]["options"]["spec"] = spec.CURRENT
    pair[older]["options"].pop("spec", None)
    assert here("diff", *files(*pair)).stderr == ""


# badge


@pytest.mark.parametrize(
    ("verdicts", "said", "colour"),
    [
        ({}, "0 diverge · {n}/{total} covered", "yellow"),
        ({"_1": "fail"}, "1 diverge · {n}/{total} covered", "red"),
        ({"_1": "not-run", "_2": "not-applicable"}, "0 diverge · {n}/{total} covered", "yellow"),
    ],
)
def test_a_badge_counts(verdicts, said, colour):
    value = document(**verdicts)
    value["verdict"] = "incomplete" if colour == "yellow" else value["verdict"]
    total = len(spec.requirements())
    n = len(IDS) - sum(v != "fail" for v in verdicts.values())
    message = said.format(n=n, total=total)
    assert badge.endpoint(value) == {
        "schemaVersion": 1,
        "label": "BatchNorm1d",
        "message": message,
        "color": colour,
    }
    texts = [e.text for e in ET.fromstring(badge.svg(value)).iter() if e.text and e.text.strip()]
    assert texts == [f"BatchNorm1d: {message}", "BatchNorm1d", message]
    assert "%" not in message


def test_every_verdict_has_a_colour():
    found = results.schema()["properties"]["verdict"]["enum"]
    assert {*found, "no-result"} == set(badge.COLOURS)


def test_badges_as_files(files, tmp_path):
    (path,) = files(document(_1="fail"))
    svg, endpoint = tmp_path / "badge.svg", tmp_path / "badge.json"
    ran = here("badge", path, "--svg", svg, "--endpoint", endpoint)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert svg.read_text("utf-8") == badge.svg(document(_1="fail"))
    assert json.loads(endpoint.read_text("utf-8")) == json.loads(here("badge", path).stdout)


@pytest.mark.parametrize(
    "words", [["badge", "{file}", "--svg", "no/such/out"], ["merge", "no/such/out", "{file}"]]
)
def test_an_output_that_can_not_be_written(files, words):
    (path,) = files(document())
    ran = here(*[word.format(file=path) for word in words])
    assert ran.exit_code == WRONG_USE
    assert "no/such/out can't be written" in ran.stderr


# No result


def test_no_result_keeps_the_last_good_one(files):
    good = document(_1="fail")
    (path,) = files(good)
    for reason in ("pip could not install it.", HOSTILE):
        ran = here("none", path, "--reason", reason)
        assert ran.exit_code == 0, ran.stderr
        found = reading.load_any(path)
        assert found["verdict"] == "no-result"
        assert found["reason"] == reason
        assert found["target"] == "mine.py:Layer"
        assert found["last_good"] == good
        assert not {"counts", "requirements"} & set(found)


def test_no_result_where_there_was_never_one(tmp_path):
    path = tmp_path / "new.json"
    ran = here("none", path, "--reason", "It has no wheel.", "--target", "new:Layer")
    assert ran.stdout == f"{path}: no result: It has no wheel (there was none before)\n"
    assert reading.load_any(path)["last_good"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reason", "r"], "is not there to say what could not be judged"),
        (["--reason", " ", "--target", "t"], "--reason is empty"),
    ],
)
def test_no_result_of_nothing(tmp_path, words, said):
    ran = here("none", tmp_path / "new.json", *words)
    assert ran.exit_code == WRONG_USE
    assert said in ran.stderr
    assert not (tmp_path / "new.json").exists()


def test_no_result_does_not_replace_what_it_can_not_read(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("{}")
    assert here("none", path, "--reason", "r").exit_code == WRONG_USE
    assert path.read_text() == "{}"


@pytest.fixture
def absent(tmp_path):
    """No result, and a good one before."""
    path = tmp_path / "file.json"
    results.write(document(), path)
    return unavailable.no_result(path, "", f"{HOSTILE} is missing.")


def test_no_result_is_no_number(files, absent):
    (path, good) = files(absent, document())
    assert json.loads(here("badge", path).stdout)["message"] == "no result"
    for words in (["diff", good, path], ["diff", path, good], ["merge", "out.json", path]):
        ran = here(*words)
        assert ran.exit_code == WRONG_USE
        assert "has no result: <script>" in ran.stderr
    checked = here("check", path, good)
    assert (checked.exit_code, checked.stdout.count("\n")) == (0, 2)


def test_check_looks_at_every_file(files, absent):
    broken = copy.deepcopy(absent)
    broken["last_good"]["counts"]["pass"] += 1
    paths = files(broken, document(), {"schema_version": 1})
    ran = here("check", *paths)
    assert ran.exit_code == WRONG_USE
    assert "counts.pass is" in ran.stderr
    assert str(paths[1]) in ran.stdout
    assert "the document lacks" in ran.stderr


def of_version(version, **verdicts):
    found = document(**verdicts)
    found["subject"]["version"] = version
    return found


def test_the_results_of_another_version_are_kept(files):
    old, new = files(of_version("1.0", _3="fail"), of_version("2.0"))
    place = new.parent / "former" / new.name
    ran = here("keep", old, new)
    assert (ran.exit_code, ran.stdout) == (0, f"{place}: the version before\n")
    assert json.loads(place.read_text("utf-8")) == of_version("1.0", _3="fail")
    assert here("keep", files(of_version("2.0"))[0], new).stdout.endswith("version is the same\n")
    assert json.loads(place.read_text("utf-8"))["subject"]["version"] == "1.0"


def test_what_was_the_last_good_result_is_kept_and_what_is_none_now_keeps_nothing(files, absent):
    absent["last_good"]["subject"]["version"] = "0.9"
    never = {**absent, "last_good": None}
    for before, now, kept in ((absent, document(), True), (never, document(), False)):
        old, new = files(before, now)
        place = new.parent / "former" / new.name
        assert here("keep", old, new).exit_code == 0
        assert place.exists() == kept
        place.unlink(missing_ok=True)
    assert former.keep(document(), absent, new) is None


def test_a_page_says_what_changed_since_the_version_before():
    old, new = of_version("1.<b>", _1="fail", _2="pass"), of_version("2.0", _1="pass", _2="fail")
    del old["requirements"][IDS[4]]
    new["options"]["profile"] = "quick"
    plain = site.result_pages({"mine": new}, {})["results/mine.md"]
    page = site.result_pages({"mine": new}, {}, {"mine": old})["results/mine.md"]
    assert "{ #since }" not in plain
    part = page.partition("## Since version 1&#46;&#60;b&#62; { #since }")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| [")]
    assert [IDS[2] in rows[0], "regressed" in rows[0]] == [True, True]
    assert [IDS[1] in rows[1], "improved" in rows[1]] == [True, True]
    assert len(rows) == 2
    assert f"1 judged now alone: {markup.link(IDS[4], '../spec/')}." in part
    assert "Not the version alone is another: the profile differs" in part


def test_a_version_that_changed_nothing_says_so():
    pages = site.result_pages({"m": of_version("2")}, {}, {"m": of_version("1")})
    assert "No verdict is another." in pages["results/m.md"]


def test_former_results_are_read_from_the_folder_beside(tmp_path):
    assert site.read_former(tmp_path) == {}
    results.write(of_version("1"), tmp_path / "former" / "mine.json")
    assert site.read_former(tmp_path)["mine"]["subject"]["version"] == "1"


def test_the_site_says_no_result_and_when_there_was_one(absent):
    published = {"there": document(), "gone": absent, "never": {**absent, "last_good": None}}
    pages = site.result_pages(published, {})
    index = pages["results/index.md"].splitlines()
    (gone,) = [line for line in index if "gone.md" in line]
    (never,) = [line for line in index if "never.md" in line]
    date = absent["last_good"]["date"]
    assert markup.verdict_badge("no result") in gone
    assert markup.literal(f"(last good: {date})") in gone
    assert markup.literal("(there was none before)") in never
    assert "<script>" not in "".join(pages.values())
    assert (
        "0" not in gone.partition("missing")[2].replace(markup.literal(date), "").partition("|")[2]
    )
    assert "Every requirement" in pages["results/gone.md"]
    assert "Every requirement" not in pages["results/never.md"]
    assert not any("gone.md" in page for page in spec_pages.pages(published).values())
