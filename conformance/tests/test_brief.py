"""What a worker tells its parent of an item: one report, and the one that says most."""

import pytest

ITEMS = """
import pytest

@pytest.fixture
def no_setup():
    raise ValueError

@pytest.fixture
def no_teardown():
    yield
    raise ValueError

def test_passes(): pass
def test_fails(no_teardown): assert False
def test_is_skipped(): pytest.skip()
def test_is_not_set_up(no_setup): pass
def test_is_not_torn_down(no_teardown): pass
"""


@pytest.fixture
def told(tmp_path):
    """Run the items, and collect what is reported."""
    reports = []

    class Parent:
        def pytest_runtest_logreport(self, report):
            name = report.nodeid.partition("::")[2]
            reports.append((name, report.when, report.outcome))

    (tmp_path / "test_items.py").write_text(ITEMS)
    words = ["--noconftest", "-p", "no:cacheprovider", "-p", "no:terminal"]
    own = ["-p", "bn1d_conformance.plugin.brief", "-c", str(tmp_path / "none.ini")]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    pytest.main([*words, *own, str(tmp_path / "test_items.py")], plugins=[Parent()])
    return reports


def test_an_item_is_reported_once(told):
    assert told == [
        ("test_passes", "teardown", "passed"),
        ("test_fails", "call", "failed"),
        ("test_is_skipped", "call", "skipped"),
        ("test_is_not_set_up", "setup", "failed"),
        ("test_is_not_torn_down", "teardown", "failed"),
    ]
