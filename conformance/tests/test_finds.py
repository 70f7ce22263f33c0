"""What the kit has found is still there, and its page holds what the table says."""

import subprocess
import sys
from pathlib import Path

import pytest

from bn1d_conformance.site import find_page
from bn1d_conformance.site.find_page import FindsError

FOLDER = Path(__file__).resolve().parents[1] / "finds"
FINDS = find_page.read(FOLDER)


@pytest.mark.parametrize(
    "find", [f for f in FINDS if f.session == "tests"], ids=lambda f: f.script
)
def test_the_defect_is_there(find):
    command = [sys.executable, str(FOLDER / find.script)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, f"Is it mended? {ran.stderr}"


def test_every_script_is_in_the_table_and_short():
    assert {f.script for f in FINDS} == {path.name for path in FOLDER.glob("*.*js")} | {
        path.name for path in FOLDER.glob("*.py")
    }
    for find in FINDS:
        text = (FOLDER / find.script).read_text("utf-8")
        assert "bn1d" not in text
        assert len([line for line in text.splitlines() if line.strip()]) <= 15


def test_the_page_has_them_all():
    [page] = find_page.page(FINDS, FOLDER).values()
    for find in FINDS:
        assert (FOLDER / find.script).read_text("utf-8").rstrip() in page
        for ident in find.requirements:
            assert f"#{ident.lower()})" in page


RIGHT = {
    "title": "t", "harm": "h", "subject": "s", "requirements": ["STATS-2"], "script": "a.py",
    "session": "tests", "draft": "d",
}  # fmt: skip


def written(folder, row):
    lines = (f"{key} = {value!r}" for key, value in row.items())
    (folder / "finds.toml").write_text("\n".join(["[[find]]", *lines]), "utf-8")
    (folder / "a.py").touch()
    return folder


def test_an_entry_is_read(tmp_path):
    [find] = find_page.read(written(tmp_path, RIGHT))
    assert find.requirements == ("STATS-2",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"harm": None}, "harm"),
        ({"colour": "red"}, "colour"),
        ({"requirements": ["STATS-2", "STATS-999"]}, "no requirement 'STATS-999'"),
        ({"script": "b.py"}, "no b.py"),
        ({"draft": ""}, "either"),
        ({"upstream": "https://example.org"}, "either"),
    ],
)
def test_an_entry_that_is_wrong(tmp_path, change, words):
    row = {key: value for key, value in {**RIGHT, **change}.items() if value is not None}
    with pytest.raises(FindsError, match=words):
        find_page.read(written(tmp_path, row))
