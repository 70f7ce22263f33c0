"""The pages about all subjects: their numbers are those of the files, and lead to their evidence.

A site is built of hostile files, too: a theme shows a title in more places than Markdown does.
"""

import copy
import json
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from mkdocs.utils.yaml import yaml_load

from bn1d_conformance import site
from bn1d_conformance.site import accuracy, ages, dots, matrix, subject_page
from bn1d_reference import SPEC_VERSION, spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
CUDA, TODAY, JAVASCRIPT = "torch-cuda", "torch.nn.BatchNorm1d", "tensorflow-js"
TABLE = tomllib.loads((ROOT / "conformance" / "backends.toml").read_text("utf-8"))
BACKENDS = {row["name"]: row for row in TABLE["backend"]}


def published(*names):
    folder = ROOT / "conformance" / "results"
    return {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names}


@pytest.fixture
def results():
    """Three subjects: one diverges, one conforms, one is not PyTorch's."""
    return published(CUDA, TODAY, JAVASCRIPT)


class Tags(HTMLParser):
    """The tags of HTML with their attributes, and the words behind each."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.found:
            self.found[-1][2] += data

    def of(self, tag, **wanted):
        """Attributes and words of each tag that has these attributes."""
        rows = [(attrs, words) for name, attrs, words in self.found if name == tag]
        return [(a, w) for a, w in rows if wanted.items() <= a.items()]


def cells(text, name):
    """The share and the tone of each area, from a subject's row of the matrix."""
    [row] = [line for line in text.splitlines() if f'href="{name}/"' in line]
    tags = Tags(row)
    areas = [a for a, _ in tags.of("td") if "data-area" in a]
    shares = [words for a, words in tags.of("span") if "verdict" in a["class"]][1:]
    return {a["data-area"]: (s, a["data-tone"]) for a, s in zip(areas, shares, strict=True)}


# The matrix


def test_a_row_has_a_cell_for_every_area_and_every_cell_its_evidence(results):
    text = matrix.matrix(results, BACKENDS)
    pages = {n: subject_page.page(r) for n, r in results.items()}
    for name in results:
        assert list(cells(text, name)) == [area.name for area in spec.areas()]
    links = [attrs["href"] for attrs, _ in Tags(text).of("a")]
    assert len(links) > 3 * len(spec.areas())
    for link in links:
        name, anchor = re.fullmatch(r"((?:\.\./spec/)?[^/]+)/(?:#(.+))?", link).groups()
        assert name.startswith("../spec/") or not anchor or f"#{anchor} }}" in pages[name]


def test_a_share_is_passes_of_what_applies_and_has_a_sign_beside_its_colour(results):
    rows = results[CUDA]["requirements"]
    of = [row["verdict"] for ident, row in rows.items() if ident.startswith("DTYPE-")]
    applying = [verdict for verdict in of if verdict != "not-applicable"]
    assert "fail" in of
    shown = cells(matrix.matrix(results, BACKENDS), CUDA)
    assert shown["DTYPE"] == (f"✗ {of.count('pass')}/{len(applying)}", "bad")
    grad = [row["verdict"] for ident, row in rows.items() if ident.startswith("GRAD-")]
    assert shown["GRAD"] == (f"✓ {grad.count('pass')}", "good")


@pytest.mark.parametrize(
    ("verdicts", "tone", "share"),
    [
        (["pass", "pass"], "good", "2"),
        (["pass", "not-applicable"], "good", "1"),
        (["pass", "crash"], "bad", "1/2"),
        (["deviates", "pass"], "open", "1/2"),
        (["expected-fail", "timeout"], "bad", "0/2"),
        (["not-applicable", "not-run"], "none", ""),
        ([], "none", ""),
    ],
)
def test_the_tone_of_an_area_is_that_of_its_worst(verdicts, tone, share):
    [area] = [a for a in spec.areas() if a.name == "NUM"]
    rows = zip((r.id for r in area.requirements), verdicts, strict=False)
    cell = matrix.cell_of(area, {"requirements": {i: {"verdict": v} for i, v in rows}})
    assert (cell.tone, cell.share) == (tone, share)


def test_cells_sort_from_the_worst_to_what_does_not_apply():
    [area] = [a for a in spec.areas() if a.name == "NUM"]
    ids = [r.id for r in area.requirements]

    def key(*verdicts):
        rows = {i: {"verdict": v} for i, v in zip(ids, verdicts, strict=False)}
        return matrix.cell_of(area, {"requirements": rows}).key

    ordered = [
        key("fail", "fail"),
        key("fail", "pass"),
        key("deviates", "pass"),
        key("pass", "pass"),
        key("not-applicable"),
    ]
    assert ordered == sorted(set(ordered))


def test_a_subject_is_found_by_its_framework_and_by_what_fails(results):
    text = matrix.matrix(results, BACKENDS)
    rows = {a["data-framework"]: a for a, _ in Tags(text).of("tr") if "data-framework" in a}
    assert set(rows) == {"PyTorch", "TensorFlow.js"}
    failing = [i for i, row in results[JAVASCRIPT]["requirements"].items() if row["failures"]]
    assert failing
    assert set(rows["TensorFlow.js"]["data-fails"].split()) <= set(failing)
    options = [a["value"] for a, _ in Tags(text).of("option")]
    assert {"PyTorch", "TensorFlow.js", "DTYPE", "bad"} <= set(options)
    mine = matrix.matrix({"mine": results[CUDA]}, BACKENDS)
    assert 'data-framework="Others"' in mine


def test_what_has_no_result_is_in_the_matrix_and_has_no_shares(results):
    gone = {"verdict": "no-result", "target": "x", "reason": "No.", "last_good": results[CUDA]}
    assert set(cells(matrix.matrix({"gone": gone}, {}), "gone").values()) == {("— ", "none")}


# Accuracy


def test_a_subject_has_a_mark_for_each_condition_and_the_numbers_below(results):
    outputs = results[CUDA]["accuracy"]["outputs"]
    section = accuracy.section(results[CUDA])
    drawn = Tags(section[: section.index("</svg>")])
    names = [words for _, words in drawn.of("text", **{"text-anchor": "end"})]
    assert names == list(outputs)
    [(picture, _)] = drawn.of("svg", role="img")
    assert "The table below has the numbers" in picture["aria-label"]
    worst = max(outputs.values(), key=lambda score: score["bound_fraction"])
    assert f"{100 * worst['bound_fraction']:.1f} %" in picture["aria-label"]
    for name, score in outputs.items():
        [row] = [
            r for r in section.splitlines() if r.startswith(f"| {name.replace('_', '&#95;')}")
        ]
        assert f"{100 * score['bound_fraction']:.1f} % | {score['grade']} |" in row


def test_marks_stand_where_the_shares_are_on_a_logarithmic_scale():
    shares = [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    text = dots.plot([dots.Dots("y", [(s, "accurate") for s in shares])], "said")
    xs = sorted(float(a["cx"]) for a, _ in Tags(text).of("circle"))
    steps = {round(b - a, 1) for a, b in pairwise(xs)}
    assert len(xs) == 5  # nothing is left of the edge
    assert max(steps) - min(steps) < 0.2
    assert xs[0] == dots.LABELS
    assert xs[-1] == dots.WIDTH - dots.RIGHT


def test_grades_differ_by_more_than_colour():
    shapes = {re.sub(r'class="\w+"', "", mark) for mark in dots.MARKS.values()}
    assert len(shapes) == len(dots.MARKS)


def test_all_subjects_are_compared_the_best_one_first(results):
    page = accuracy.page(results)
    part = page[page.index("{ #y-fp32 }") :].partition("\n## ")[0]
    shown = re.findall(r"\]\(([^)]*)\.md#accuracy\)", part)
    shares = {n: r["accuracy"]["outputs"]["y fp32"]["bound_fraction"] for n, r in results.items()}
    assert shown == sorted(shares, key=shares.get)
    assert "{ #running-var-fp64 }" in page


# PyTorch's releases


def test_the_releases_stand_in_their_order_with_what_changed():
    names = [TODAY, *(n for n, row in BACKENDS.items() if "ages" in row["tags"])]
    results = published(*names)
    order = list(ages.releases(results, BACKENDS))
    assert order == ["torch-1.0", "torch-1.4", "torch-1.8", "torch-1.12", TODAY]
    changes = ages.page(results, BACKENDS).partition("{ #changes }")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| \[([A-Z]+-\d+)\]", changes, re.MULTILINE)
    old, new = (results[name]["requirements"] for name in order[:2])
    wanted = [i for i in new if (old[i]["verdict"], new[i]["verdict"]) == ("fail", "pass")]
    assert wanted
    assert shown[: len(wanted)] == wanted
    assert "weight starts as" in changes


# What a reader's own file is compared with


def test_the_published_verdicts_are_served_in_the_order_of_the_ids(results):
    del results[CUDA]["requirements"]["STATS-2"]
    results["gone"] = {"verdict": "no-result", "target": "x", "reason": "No.", "last_good": None}
    document = json.loads(site.verdicts(results))
    assert document["spec_version"] == SPEC_VERSION
    assert document["requirements"] == list(spec.requirements())
    assert [row["name"] for row in document["subjects"]] == [CUDA, TODAY, JAVASCRIPT]
    said = dict(zip(document["requirements"], document["subjects"][0]["verdicts"], strict=True))
    rows = results[CUDA]["requirements"]
    assert said == {i: rows.get(i, {}).get("verdict") for i in spec.requirements()}
    assert said["STATS-2"] is None


def test_the_script_puts_nothing_into_the_page_but_text():
    script = (ROOT / "docs" / "js" / "results.js").read_text("utf-8")
    assert "textContent" in script
    for door in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
    ):
        assert door not in script
    assert re.findall(r"fetch\((.*?)\)", script) == ['"published.json"']


# Hostile files, built to a site

HOSTILE = [
    "</title><script>alert(1)</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x&#62;",
    "[x](javascript:alert(1)) ![x](//third.party/x.png) | a | b\n\n# h\n\n- i\n",
    "{{ config }} {% raw %} ---\ntitle: x\n---\n: x",
    "../../../../etc/passwd\x00\u202e\ud83d\ude00 ${alert(1)}",
]
KEPT = {"level", "verdict", "outcome", "grade", "requirement", "folded", "spec_version"}
FREE = ("names", "packages", "dialect", "calls")  # objects whose keys a file chooses


def hostile(value, by, key=""):
    """A results file whose words are all hostile, but those of its own vocabulary."""
    if isinstance(value, dict):
        own = {by: by} if key in FREE else {}
        return {**{k: hostile(v, by, k) for k, v in value.items()}, **own}
    if isinstance(value, list):
        return [hostile(v, by, key) for v in value]
    return by if isinstance(value, str) and key not in KEPT else value


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A site of hostile results, with the theme and the extensions of the project's."""
    home = tmp_path_factory.mktemp("hostile")
    [real] = published(JAVASCRIPT).values()
    results = {f"h{k}": hostile(copy.deepcopy(real), text) for k, text in enumerate(HOSTILE)}
    results["gone"] = {"verdict": "no-result", "target": HOSTILE[0], "reason": HOSTILE[0]}
    results["gone"]["last_good"] = {**results["h0"], "date": HOSTILE[0]}
    drawn = site.result_pages(results, {})
    site.write({**drawn, "index.md": "# Home\n\n[x](results/index.md)\n"}, home / "docs")
    settings = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    own = {k: settings[k] for k in ("site_name", "theme", "markdown_extensions")}
    own["theme"].pop("custom_dir", None)
    (home / "mkdocs.yml").write_text(yaml.safe_dump({**own, "plugins": ["search"]}), "utf-8")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--quiet"]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home


PAGES = ("index", "accuracy", "ages", "gone", *(f"h{k}" for k in range(len(HOSTILE))))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_hostile_results_has_what_the_theme_and_the_kit_put_there(built, name):
    page = "results/index.html" if name == "index" else f"results/{name}/index.html"
    tags = Tags((built / "site" / page).read_text("utf-8"))
    home = Tags((built / "site" / "index.html").read_text("utf-8"))
    scripts = [posixpath.basename(a.get("src", "")) for a, _ in tags.of("script")]
    if name == "index":
        scripts.remove("results.js")
    assert scripts == [posixpath.basename(a.get("src", "")) for a, _ in home.of("script")]
    assert not tags.of("img")
    assert not tags.of("iframe")
    for tag, attrs, _ in tags.found:
        assert not [key for key in attrs if key.startswith("on")], tag
    links = {a["href"] for a, _ in tags.of("a") if "href" in a}
    strange = [a for a in links if ":" in a.partition("#")[0] or a.startswith("//")]
    assert set(strange) <= {a["href"] for a, _ in home.of("a") if "href" in a}


def test_hostile_names_make_no_file_but_the_pages(built):
    drawn = {f.relative_to(built / "docs").as_posix() for f in (built / "docs").rglob("*.md")}
    assert drawn == {"index.md", *(f"results/{name}.md" for name in PAGES)}


def test_a_page_shows_a_part_of_a_huge_message(results):
    results[JAVASCRIPT]["diagnoses"][0]["evidence"] = "x" * 10_000_000
    failing = next(r for r in results[JAVASCRIPT]["requirements"].values() if r["failures"])
    failing["failures"][0]["message"] = "<b>" * 3_000_000
    results[JAVASCRIPT]["options"]["target"] = "y" * 10_000_000
    page = subject_page.page(results[JAVASCRIPT])
    assert len(page) < 200_000
    assert "9,998,000 characters more" in page.replace("&#46;", ".").replace("&#44;", ",")
