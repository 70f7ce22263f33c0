"""Every requirement has a check or a reason, and every check names requirements that exist."""

import ast
import inspect
from pathlib import Path

import pytest

import bn1d_conformance.checks
from bn1d_conformance import asked
from bn1d_conformance.plugin import selection
from bn1d_conformance.site import binding
from bn1d_conformance.subject import CAPABILITIES
from bn1d_reference import spec

FOLDER = Path(bn1d_conformance.checks.__file__).parent


class Collected:
    """A plugin that keeps the items of a session."""

    def pytest_collection_finish(self, session):
        self.items = list(session.items)


SUBJECT = """
class Nothing:
    target, name, version, adapter, dialect = "nothing.py:subject", "Nothing", "", "none", {}
    capabilities, names = frozenset(), {}

    def build(self, config):
        raise NotImplementedError

subject = Nothing()
"""


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Every item of the kit, as pytest collects them."""
    folder = tmp_path_factory.mktemp("binding")
    (folder / "nothing.py").write_text(SUBJECT)
    words = ["--pyargs", "bn1d_conformance.checks", "-c", str(FOLDER / "pytest.ini"), "--co"]
    words += ["--rootdir", str(FOLDER), "--strict-markers", "-p", "no:terminal"]
    words += ["--bn1d-subject", f"{folder / 'nothing.py'}:subject", "--bn1d-profile", "deep"]
    words += ["--bn1d-huge", "1"]
    plugin = Collected()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        assert pytest.main(words, plugins=[plugin]) == pytest.ExitCode.OK
    return plugin.items


def functions(items):
    return {item.function for item in items}


def test_every_requirement_has_a_check_or_a_reason(items):
    bound = {ident for item in items for ident in selection.ids(item)}
    for row in spec.requirements().values():
        assert (row.id in bound) != (row.status == "untested"), row.id


def test_every_item_names_requirements_of_the_spec(items):
    for item in items:
        assert selection.ids(item), f"{item.nodeid} judges nothing"
        assert set(selection.ids(item)) <= set(spec.requirements()), item.nodeid


def test_an_item_names_a_requirement_once(items):
    for item in items:
        assert len(set(selection.ids(item))) == len(selection.ids(item)), item.nodeid


ACROSS = {
    "test_huge",
    "test_programs",
    "test_reuse",
}  # files of no area: one way of asking, of many areas


def area_of(path):
    """test_dtype.py and test_dtype_module.py are both of DTYPE."""
    return path.stem.removeprefix("test_").partition("_")[0].upper()


def test_a_check_stands_in_the_file_of_its_area(items):
    for item in (i for i in items if i.path.stem not in ACROSS):
        area = area_of(item.path)
        assert selection.ids(item)[0].startswith(f"{area}-"), item.nodeid


def test_every_file_of_checks_is_of_an_area():
    names = {area_of(path) for path in FOLDER.glob("test_*.py") if path.stem not in ACROSS}
    assert names == {area.name for area in spec.areas()}


def test_every_check_says_what_it_does(items):
    for function in functions(items):
        text = function.__doc__ or ""
        assert text.strip().endswith("."), function.__qualname__


def test_checks_ask_for_capabilities_that_exist(items):
    asked = {c for item in items for mark in item.iter_markers("needs") for c in mark.args}
    needed = {c for row in spec.requirements().values() for c in row.needs}
    assert asked | needed <= set(CAPABILITIES)


def quoted(function):
    """The requirement ids that a check's own source quotes."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    return {t for t in texts if isinstance(t, str) and spec.ID.fullmatch(t)}


def test_what_a_check_judges_is_what_it_is_bound_to(items):
    for function in functions(items):
        bound = {i for item in items if item.function is function for i in selection.ids(item)}
        assert quoted(function) <= bound, function.__qualname__


def test_every_requirement_is_quoted_where_it_is_judged():
    text = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    for row in spec.requirements().values():
        assert row.status == "untested" or f'"{row.id}"' in text, row.id


def test_the_source_tells_what_pytest_collects(items):
    collected = {(item.path.stem, f, i) for item in items for i, f in bound_by(item)}
    rows = binding.checks().items()
    assert collected == {(c.file, c.function, ident) for ident, found in rows for c in found}


def bound_by(item):
    return [(ident, item.function.__name__) for ident in selection.ids(item)]


def test_checks_take_the_trial_alone_from_the_kit(items):
    for item in items:
        values = set(item.callspec.params) if hasattr(item, "callspec") else set()
        assert set(item.fixturenames) - values <= {"trial", "request", "pytestconfig"}, item.nodeid


def test_what_quick_leaves_to_full_is_judged_apart(items):
    assert set(spec.requirements()) >= asked.COMPILER
    for item in items:
        assert asked.COMPILER.isdisjoint(selection.ids(item)) or asked.COMPILER.issuperset(
            selection.ids(item)
        )
