"""The figures show the oracle's numbers, to eyes and to ears; formulas become MathML."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import markdown
import pytest
import torch

from bn1d_conformance.site import figures, glance
from bn1d_conformance.site.plot import Axis, Plot, Series
from bn1d_reference import spec

ROOT = Path(__file__).resolve().parents[2]
DOCS, SOURCES = ROOT / "docs", figures.Sources(ROOT / "conformance")
MARKS = {m for p in DOCS.rglob("*.md") for m in figures.MARK.findall(p.read_text("utf-8"))}


def html_of(text):
    """A page as the site makes it, with the extensions that the figures need."""
    extensions = ["md_in_html", "tables", "pymdownx.arithmatex", "pymdownx.superfences"]
    options = {
        "pymdownx.arithmatex": {"generic": True},
        "bn1d_conformance.site.extension": {"folder": str(SOURCES.folder)},
    }
    return markdown.markdown(text, extensions=[*extensions, *options], extension_configs=options)


def svg_of(figure):
    return ET.fromstring(figure.partition("</figure>")[0] + "</figure>")[0]


def test_every_mark_is_a_figure_and_every_figure_is_shown():
    assert set(figures.FIGURES) == MARKS


def test_a_mark_of_no_figure_is_refused():
    with pytest.raises(KeyError):
        figures.draw("<!-- drawn: no-such-figure -->", SOURCES)


TABLES = {"other-checks", "others-missed", "widely-used", "on-a-gpu", "costs", "growth", "shares"}


@pytest.mark.parametrize("name", sorted(set(figures.FIGURES) - TABLES))
def test_a_figure_says_what_it_shows_and_gives_its_numbers(name):
    figure = figures.draw(f"before\n\n<!-- drawn: {name} -->\n\nafter", SOURCES)
    assert figure.startswith("before")
    assert figure.endswith("after")
    svg = svg_of(figure.removeprefix("before\n\n"))
    title, said = svg.attrib["aria-labelledby"].split()
    named = {child.attrib["id"]: child.text for child in svg if "id" in child.attrib}
    assert named[title]
    assert len(named[said]) > 80
    assert "| --: |" in figure
    shown = [line.attrib for line in svg if line.tag == "polyline"]
    assert len({line["stroke-dasharray"] for line in shown}) == len(shown) >= 2


@pytest.mark.parametrize("momentum", figures.MOMENTA.values())
def test_the_averages_are_those_of_torch(momentum):
    layer = torch.nn.BatchNorm1d(1, momentum=momentum)
    for batch, (mean, var) in zip(figures.stream(), figures.followed(momentum), strict=True):
        layer(torch.tensor(batch).reshape(-1, 1))
        assert layer.running_mean.item() == pytest.approx(mean, rel=1e-4, abs=1e-6)
        assert layer.running_var.item() == pytest.approx(var, rel=1e-4)


def test_one_pass_alone_leaves_the_bound_and_the_variance_behind():
    worst, bound = figures.variance_errors(1e4)
    one_pass, two_pass, welford = worst
    assert max(two_pass, welford) < bound / 10 < bound < 1 < one_pass
    assert max(figures.variance_errors(1.0)[0]) < figures.variance_errors(1.0)[1]


def test_the_accuracy_is_that_of_subjects_that_pass_in_training():
    results = SOURCES.published
    shown = figures.judged_outputs(results)
    assert "torch.nn.BatchNorm1d" in shown
    for name in shown:
        assert results[name]["requirements"]["NUM-1"]["verdict"] == "pass"
    outputs = results["torch.nn.BatchNorm1d"]["accuracy"]["outputs"]["y fp32"]["conditions"]
    assert shown["torch.nn.BatchNorm1d"] == [row["worst"] for row in outputs.values()]


def test_the_home_page_has_pytorch_and_the_widely_used_with_their_verdicts():
    shown = figures.widely_used(SOURCES)
    names = re.findall(r'href="results/([^/"]+)/"', shown)
    assert names[0] == "torch.nn.BatchNorm1d"
    tagged = [n for n, row in SOURCES.backends.items() if "tier1" in row["tags"]]
    assert set(names[1:]) == set(tagged) & set(SOURCES.published)
    for name in names:
        [row] = [line for line in shown.splitlines() if f'results/{name}/"' in line]
        assert f" {SOURCES.published[name]['verdict']}</span>".replace("-", "&#45;") in row
        assert row.count("<td>") == 1 + len(spec.areas())


def test_a_gpu_that_was_not_there_has_no_verdict():
    published = {"torch-cuda": SOURCES.published["torch-cuda"]}
    rows = glance.on_a_gpu(published, SOURCES.backends).splitlines()
    gpu = [n for n, row in SOURCES.backends.items() if "gpu" in row["tags"]]
    assert len(rows) == 2 + len(gpu)
    for name, row in zip(gpu, rows[2:], strict=True):
        assert ("no result" in row) == (name != "torch-cuda")
        assert f"`nox -s {name}`" in row


PLOT = Plot(
    ident="p",
    title="a < b",
    description="said",
    x=Axis("x", (0, 10)),
    y=Axis("y", (0.01, 1.0, 100.0), log=True),
    series=[Series("low & high", [(0, 0.01), (5, 1.0), (20, 1e9), (10, -1.0)])],
)


def test_a_plot_places_its_points_and_lets_none_out_of_the_frame():
    [line] = [e for e in svg_of(PLOT.svg()) if e.tag == "polyline"]
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    left, right, top, bottom = 58, 468, 12, 234
    assert points == [
        (left, bottom), ((left + right) / 2, (top + bottom) / 2), (right, top), (right, bottom)
    ]  # fmt: skip


def test_names_are_literal_and_powers_are_written_as_such():
    written = PLOT.svg()
    assert "a &#60; b" in written
    assert re.search(r"10<tspan [^>]*>−2</tspan>", written)
    assert "\n\n" not in written  # Markdown would end the figure there


def test_formulas_become_mathml():
    made = html_of("so $a < b$\n\n$$\n\\frac{1}{n}\n$$\n")
    assert "arithmatex" not in made
    assert re.search(r'<math [^>]*display="inline"[^>]*>.*<mo>&#x0003C;</mo>.*</math></p>', made)
    assert re.search(r'<div class="formula"[^>]*><math [^>]*display="block".*<mfrac>', made)


def test_a_page_is_drawn_with_its_table_folded_and_code_stays_code():
    made = html_of("<!-- drawn: running-mean -->\n\n```\n$ a $\n```\n")
    assert made.count("<svg") == made.count("<table>") == made.count("<details>") == 1
    assert "$ a $" in made
    assert "<math" not in made
