"""A pinned spec asks what it asked then, and what is new fails nobody for one release."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, results
from bn1d_conformance.documents import reading
from bn1d_conformance.plugin import loading
from bn1d_conformance.running.run import Options
from bn1d_reference import spec

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(Path(__file__).parent / "zoo"), *sys.path])
    from runs import tallied

TARGET = "layers.py:Biased"
NEW, LATER = "STATS-2", "STATS-3"


@pytest.fixture
def release(monkeypatch):
    """Turn this spec into the one of another release, in which STATS-2 came with 0.2."""
    written = spec._written()
    caches = (spec.at, spec.areas, spec.requirements)

    def call(current):
        def dated(area):
            rows = (replace(r, added="0.2") if r.id == NEW else r for r in area.requirements)
            return replace(area, requirements=tuple(rows))

        monkeypatch.setattr(spec, "CURRENT", current)
        monkeypatch.setattr(spec, "_written", lambda: tuple(map(dated, written)))
        for cache in caches:
            cache.cache_clear()

    yield call
    for cache in caches:
        cache.cache_clear()


def judged(version):
    """The results of a layer that tracks the biased variance, under a version of the spec."""
    words = ("--bn1d-profile", "quick", "--bn1d-subject", TARGET, "-k", NEW)
    tally = tallied("--pyargs", "bn1d_conformance.checks", *words, "--bn1d-spec", version)
    asked = vars(Options(TARGET, select=NEW, spec=version))
    return results.build(tally, asked, complete=True, seconds=0.0)


@pytest.fixture
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.mark.usefixtures("there")
def test_what_is_new_fails_nobody_for_one_release(release):
    release("0.2")
    found = judged("0.2")
    assert found["requirements"][NEW]["verdict"] == "fail"
    assert found["verdict"] == "incomplete"
    assert not [*reading.contradictions(found)]


@pytest.mark.usefixtures("there")
def test_what_was_new_binds_in_the_next_release(release):
    release("0.3")
    assert judged("0.3")["verdict"] == "diverges"
    assert judged("0.2")["verdict"] == "incomplete"


@pytest.mark.usefixtures("there")
def test_a_pin_leaves_out_what_came_later(release):
    release("0.3")
    found = judged("0.1")
    assert NEW not in found["requirements"]
    assert found["counts"]["total"] == len(spec.requirements()) - 1
    assert LATER in found["requirements"]
    assert not [*reading.contradictions(found)]


def test_a_file_that_lacks_what_its_pin_has_is_refused(release):
    release("0.3")
    document = results.build(results.Tally([]), vars(Options(TARGET, spec="0.1")), complete=False)
    document["options"]["spec"] = "0.2"
    assert f"requirements lacks {NEW}, which its suite has." in [*reading.contradictions(document)]


@pytest.mark.parametrize("version", ["0.0", "0.2", "1", "0.1.0", "latest", "0.1 ", "-1.0"])
def test_a_version_that_is_none_is_wrong_use(version):
    ran = CliRunner().invoke(cli.app, ["run", "a:b", f"--spec={version}"])
    assert ran.exit_code == 2
    assert f"there is no spec {version!r} here, but 0.1" in ran.stderr


def test_pytests_door_refuses_it_too():
    with pytest.raises(pytest.UsageError, match=r"there is no spec '9\.9'"):
        loading.rules("9.9", "full")
