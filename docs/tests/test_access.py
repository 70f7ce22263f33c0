"""Nobody is kept out: axe-core finds nothing on any kind of page, light, dark or narrow."""

import pytest
from conftest import NARROW, PAGES, ROOT, WIDE

AXE = (ROOT / ".nox/npm/node_modules/axe-core/axe.min.js").read_text("utf-8")
#: Colours that are on their way to others are no page's.
AT_REST = "document.getAnimations().every(({playState}) => playState !== 'running')"
#: One page of each kind.
KINDS = {
    "home": "index.html",
    "missing": "404.html",
    "learn": "learn/parameters/index.html",
    "figures": "learn/running-statistics/index.html",
    "formulas": "learn/gradients/index.html",
    "try": "playground/index.html",
    "judge": "judge/index.html",
    "kernels": "judge/kernels/index.html",
    "maintainers": "judge/maintainers/index.html",
    "wire": "wire/index.html",
    "files": "exit-codes-and-files/index.html",
    "results": "results/index.html",
    "subject": "results/torch-1.0/index.html",
    "accuracy": "results/accuracy/index.html",
    "ages": "results/ages/index.html",
    "finds": "bugs/found-by-the-kit/index.html",
    "porting": "porting/index.html",
    "guide": "porting/paddle/index.html",
    "spec": "spec/stats/index.html",
    "requirements": "spec/index.html",
    "dialects": "dialects/index.html",
    "bugs": "bugs/index.html",
    "catches": "kills/index.html",
    "gaps": "kills/gaps/index.html",
    "kills": "kills/grad/index.html",
    "generated": "mutants/generated/index.html",
    "others": "other-checks/index.html",
    "bounds": "bounds/index.html",
    "glossary": "glossary/index.html",
    "changes": "changelog/index.html",
    "reference": "reference/oracle/index.html",
}
#: Rules that a page breaks for a good reason, which stands here.
EXCUSED = {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(reader_of, kind, scheme):
    reader = reader_of(viewport=WIDE, color_scheme=scheme)
    page = reader.open(KINDS[kind])
    reader.picture(f"{kind}-{scheme}")
    assert not violations(page)
    if scheme == "light":
        page.set_viewport_size(NARROW)
        reader.picture(f"{kind}-narrow")
        assert not violations(page)
        page.set_viewport_size(WIDE)


def violations(page):
    """What axe finds on a page as it is: for each rule, some of the places."""
    page.wait_for_function(AT_REST)
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return {
        rule["id"]: [(node["target"], node["failureSummary"]) for node in rule["nodes"][:3]]
        for rule in found
        if rule["id"] not in EXCUSED
    }


def test_every_kind_is_there():
    assert set(KINDS.values()) <= set(PAGES)
