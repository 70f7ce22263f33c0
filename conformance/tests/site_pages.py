"""What the tests of the site share: a results file, a kill matrix, and the tags of a page."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import markdown
from mkdocs.utils import meta
from mkdocs.utils.yaml import yaml_load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from bn1d_conformance.documents import kills
from bn1d_reference import SPEC_VERSION, spec

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FILES = ROOT.glob("conformance/results/*.json")
PUBLISHED = {file.stem: json.loads(file.read_text("utf-8")) for file in FILES}
TABLE = tomllib.loads((ROOT / "conformance" / "backends.toml").read_text("utf-8"))
BACKENDS = {row["name"]: row for row in TABLE["backend"]}
JUDGED = [i for i, r in spec.requirements().items() if r.area in ("STATS", "EVAL")]
QUICK = {"torch-compile"}  # every configuration of which goes through a C++ compiler
SAID = "running_var[0] is 1, where 2 is right."
WRONG = {"case": "A1/fp32", "message": SAID, "cause": "", "evidence": {}}

MUTANT = {
    "id": "plain:per_channel:Sub->Add:1", "source": "plain", "operator": "Sub->Add",
    "before": "n - 1", "after": "n + 1", "status": "killed", "verdict": "fail",
    "requirement": "STATS-2", "profile": "quick", "reason": "",
}  # fmt: skip


def row(ident):
    wrong = ident == "STATS-2"
    return {
        "level": spec.requirements()[ident].level,
        "verdict": "fail" if wrong else "pass",
        "cases": 12,
        "failed": 3 if wrong else 0,
        "failures": [WRONG] if wrong else [],
        "seconds": 0.25,
    }


def two_areas():
    """Return a results file of two areas with one failure."""
    rows = {ident: row(ident) for ident in JUDGED}
    return {
        "schema_version": 1,
        "kit": {"name": "kit", "version": "1", "spec_version": SPEC_VERSION, "suite_hash": "0abc"},
        "subject": {
            "target": "mine.py:Layer",
            "name": "mine.Layer",
            "version": "2.0",
            "adapter": "torch-module",
            "dialect": {},
            "capabilities": ["train", "eval"],
            "names": {"weight": "gamma"},
        },
        "environment": {"python": "3.14.0", "packages": {"torch": "2.13.0"}},
        "options": {
            "target": "mine.py:Layer",
            "device": "cpu",
            "profile": "full",
            "fail_fast": False,
            "jobs": 1,
            "select": "",
            "names": ["weight=gamma"],
            "seed": 0,
            "timeout": 30.0,
            "expect": "known.toml",
        },
        "verdict": "diverges",
        "counts": {"total": len(rows), "pass": len(rows) - 1, "fail": 1, "deviates": 0},
        "requirements": rows,
        "expectations": [
            {
                "requirement": "EVAL-1",
                "case": "A1/*",
                "reason": "It is known.",
                "url": "https://example.org/known",
                "outcome": "not-asked",
            }
        ],
        "diagnoses": [
            {
                "requirement": "STATS-2",
                "cause": "The biased variance is tracked.",
                "identified": True,
                "evidence": "A1/fp32: running_var[0] is 1, where 2 is right.",
                "folded": ["STATS-9"],
            }
        ],
        "accuracy": {
            "grade": "blocked",
            "outputs": {"y fp32": {"ulp": 1.5, "worst": 8542.3, "bound_fraction": 0.165}},
        },
        "errors": [],
        "timings": {},
        "seconds": 12.5,
    }


def renderer():
    """Markdown with the extensions that the site is built with."""
    settings = yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))["markdown_extensions"]
    named = [{e: {}} if isinstance(e, str) else e for e in settings]
    options = {name: values for extension in named for name, values in extension.items()}
    return markdown.Markdown(extensions=list(options), extension_configs=options)


MARKDOWN = renderer()
CODE = re.compile(r"^(```|~~~).*?^\1$", re.DOTALL | re.MULTILINE)


class Structure(HTMLParser):
    """The tags of a page with their attributes; those of highlighted code apart, text apart."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.code, self.text, self.inside = [], set(), [], False
        self.feed(MARKDOWN.reset().convert(meta.get_data(page)[0]))

    def handle_starttag(self, tag, attrs):
        self.inside |= tag == "pre"
        if self.inside:
            self.code.add(tag)
        else:
            self.tags.append((tag, attrs))

    def handle_endtag(self, tag):
        self.inside &= tag != "pre"

    def handle_data(self, data):
        self.text.append(data)


def matrix_of(text):
    """A kill matrix, all of whose words are this text."""
    row = dict.fromkeys(("name", "file", "sentence", "seen", "profile", "cause", "lost"), text)
    failing = ["STATS-1", "STATS-2", "STATS-3", "STATS-4", text]
    mutant = {**row, "requirement": "STATS-1", "failing": failing, "home": text}
    quick = {**mutant, "failing": ["STATS-5", text], "home": "STATS-5", "lost": ""}
    gap = {**row, "failing": [], "why": text, "would": text}
    kit = {"version": text, "spec_version": text, "suite_hash": text}
    document = {"kit": kit, "mutants": [mutant, quick], "gaps": [gap]}
    return kills.parse(document, {"STATS-1": text})
