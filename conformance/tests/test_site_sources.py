"""The lines that the spec's pages quote are those of the sources, beside what they implement."""

from pathlib import Path

import pytest

from bn1d_conformance.site import binding, sources, spec_pages
from bn1d_reference import spec

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = sorted((ROOT / sources.ORACLE).glob("*.py"))
PASSAGES = {
    (ident, passage)
    for table in (sources.oracle(), sources.checks())
    for ident, some in table.items()
    for passage in some
}

MODULE = '''\
"""Of a module: STATS-1."""


def whole(x):
    """All of it."""  # BUF-1
    return x


class Layer:
    """A layer (BUF-2)."""

    def __init__(  # the signature: CTOR-5
        self,
        eps=1e-5,  # CTOR-2
    ):
        """Start."""
        self.eps = eps  # CTOR-6
        # PARAM-1: two lines
        self.weight = 1
        self.bias = 0
        # another comment

        self.mean = list(
            [0],  # BUF-3
        )

    def check(self, x):
        if not x:
            raise ValueError("empty")  # INPUT-1
        for row in x:  # INPUT-2
            if row:
                continue
        if self.eps:
            return 1
        else:  # GRAD-7
            return 2
'''
ABOUT = {
    "BUF-1": (4, 6), "BUF-2": (9, 36), "CTOR-5": (12, 15), "CTOR-2": (14, 14), "CTOR-6": (17, 17),
    "PARAM-1": (18, 20), "BUF-3": (23, 25), "INPUT-1": (28, 29), "INPUT-2": (30, 32),
    "GRAD-7": (33, 36),
}  # fmt: skip


def test_a_comment_is_about_the_statement_the_part_or_the_paragraph_that_it_stands_beside():
    found = dict(sources.Module("layer.py", MODULE).quoted())
    assert {ident: (p.first, p.last) for ident, p in found.items()} == ABOUT
    assert found["INPUT-1"].code.startswith("if not x:\n    raise")
    assert found["PARAM-1"].place == "layer.py:18-20"
    assert found["CTOR-6"].place == "layer.py:17"
    assert found["BUF-3"].part == "__init__"


@pytest.mark.parametrize("path", REFERENCE, ids=lambda p: p.stem)
def test_every_id_that_the_reference_quotes_leads_to_its_lines(path):
    said = {*sources.ID.findall(path.read_text("utf-8"))} & set(spec.requirements())
    assert said == {i for i, p in PASSAGES if p.path == f"{sources.ORACLE}/{path.name}"}


def test_a_passage_is_what_stands_at_its_place():
    for _, passage in PASSAGES:
        lines = (ROOT / passage.path).read_text("utf-8").splitlines()
        there = lines[passage.first - 1 : passage.last]
        assert [line.strip() for line in there] == [s.strip() for s in passage.code.splitlines()]


def test_a_check_is_shown_with_the_decorators_that_bind_it():
    for ident, some in sources.checks().items():
        assert [(p.file, p.part) for p in some] == [
            (f"{check.file}.py", check.function) for check in binding.checks()[ident]
        ]
        assert all(p.code.startswith("@") for p in some)


def test_a_requirement_has_its_lines_and_its_checks_below_it():
    page = spec_pages.pages()["spec/stats.md"]
    part = page.partition("## STATS-2 ")[2].partition("\n## ")[0]
    assert "<summary>Lines of the oracle: <code>channel&#46;py" in part
    assert "tracked = batch.var * batch.n / (batch.n - correction)" in part
    assert "<code>test&#95;stats&#46;py&#58;&#58;test&#95;momentum</code>" in part
    assert "def test_momentum(" in part
