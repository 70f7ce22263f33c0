"""The table of backends says what is there, and says it exactly."""

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ROOT / "conformance" / "workers"
TABLE = tomllib.loads((ROOT / "conformance" / "backends.toml").read_text("utf-8"))
BACKENDS = {row["name"]: row for row in TABLE["backend"]}
SERVED = {name: row for name, row in BACKENDS.items() if "serves" in row}
PINNED = (r"[A-Za-z0-9_.-]+(\[[a-z0-9]+\])?==[0-9][0-9a-z.+]*", r"@?[a-z0-9/-]+@[0-9][0-9a-z.-]*")
TAGS = {"torch", "tier1", "tier2", "ages", "gpu"}


def test_no_two_have_a_name():
    assert len(BACKENDS) == len(TABLE["backend"])


@pytest.mark.parametrize("name", BACKENDS)
def test_each_is_of_one_kind_and_has_a_tag(name):
    row = BACKENDS[name]
    assert ("target" in row) != ("serves" in row)
    assert ("serves" in row) == ("environment" in row)
    assert row["tags"]
    assert set(row["tags"]) <= TAGS


def made(node):
    """What a class statement or an assignment names."""
    if isinstance(node, ast.ClassDef):
        return node.name
    return ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else None


@pytest.mark.parametrize("name", SERVED)
def test_what_it_serves_is_there(name):
    file, _, own = SERVED[name]["serves"].partition(":")
    text = (WORKERS / file).read_text("utf-8")
    if file.endswith(".py"):
        tree = ast.parse(text, feature_version=(3, 7))
        assert (own or "Layer") in set(map(made, tree.body))
    else:
        assert "Layer" in text


def test_an_environment_is_of_a_backend_and_a_backend_has_one():
    assert {row["environment"] for row in SERVED.values()} == set(TABLE["environment"])


@pytest.mark.parametrize("name", TABLE["environment"])
def test_every_package_has_its_version(name):
    for package in TABLE["environment"][name]["packages"]:
        assert any(re.fullmatch(form, package) for form in PINNED), package


def test_every_subject_is_served_by_a_backend_or_plain():
    files = {f.name for f in (WORKERS / "subjects").iterdir() if f.is_file()}
    served = {row["serves"].partition(":")[0].rpartition("/")[2] for row in SERVED.values()}
    shared = {"jax_functional.py", "onnx_node.py", "plain_python.py", "plain_javascript.mjs"}
    assert served - {"worker.cpp"} == files - shared
