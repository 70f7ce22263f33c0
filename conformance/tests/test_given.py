"""What the words of a command line stand for: targets, and a results file for each."""

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, targets
from bn1d_conformance.running import given
from bn1d_conformance.subject import TargetError

WRONG_USE = 2
LONG = "a" * 300  # more than a file system has room for in a name


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write files into a folder, by name, and work there."""
    monkeypatch.chdir(tmp_path)

    def call(**contents):
        for name, text in contents.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    return call


def test_a_folder_stands_for_its_files_in_order_and_not_for_private_ones(files):
    files(students__b="", students__a="", students___helper="", students__deep__c="")
    assert given.expand("students") == ["students/a.py", "students/b.py"]
    assert given.expand("students:BN") == ["students/a.py:BN", "students/b.py:BN"]


def test_a_pattern_stands_for_the_files_that_match(files):
    files(s__ann__bn="", s__bob__bn="", s__bob__other="")
    assert given.expand("s/*/bn.py:BN") == ["s/ann/bn.py:BN", "s/bob/bn.py:BN"]


@pytest.mark.parametrize(
    "word",
    [
        "torch.nn:BatchNorm1d",
        "torch-script",
        "mine.py",
        "C:\\mine.py:BN",
        "missing/",
        LONG,
        f"{LONG}.py:BN",
        "\0:a",
    ],
)
def test_other_words_stand_for_themselves(word):
    assert given.expand(word) == [word]


@pytest.mark.parametrize(
    "words",
    [
        [LONG],
        [f"{LONG}.py"],
        [f"{LONG}*"],
        [f"{LONG}.py:BN"],
        ["a:b", "--json", f"{LONG}.json"],
        ["a:b", "c:d", "--json", LONG],
    ],
)
def test_a_name_that_no_file_can_have_is_wrong_use(words):
    ran = CliRunner().invoke(cli.app, ["run", *words])
    assert ran.exit_code == WRONG_USE, ran.exception
    assert "bn1d: " in ran.stderr


@pytest.mark.parametrize("word", ["empty", "empty:BN", "nothing/*.py"])
def test_no_file_to_judge_is_wrong_use(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    ran = CliRunner().invoke(cli.app, ["run", word])
    assert ran.exit_code == WRONG_USE
    assert "has no Python file to judge" in ran.stderr


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("class Layer: pass", "Layer"),
        ("class Linear: pass\nclass MyBatchNorm: pass\ndef main(): pass", "MyBatchNorm"),
        ("class BN1d: pass\nclass BN2d: pass", "BN1d"),
        ("class _Base: pass\ndef batch_norm(x): pass\ndef helper(): pass", "batch_norm"),
    ],
)
def test_a_file_alone_names_its_layer(files, code, name):
    files(mine=code + "\nraise SystemExit('it is parsed, and not run')")
    assert targets.named("mine.py") == f"mine.py:{name}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 3", "mine.py defines no class and no function."),
        ("class A: pass\nclass B: pass", "mine.py defines A, B."),
        ("def broken(:", "mine.py can't be parsed: invalid syntax"),
        ("(" * 5000, "mine.py can't be parsed: "),
        ("\0", "mine.py can't be parsed: "),
    ],
)
def test_a_file_alone_that_leaves_a_choice_is_refused(files, code, words):
    files(mine=code)
    with pytest.raises(TargetError) as caught:
        targets.named("mine.py")
    assert str(caught.value).startswith(words)


def test_a_file_that_is_not_there_is_refused():
    ran = CliRunner().invoke(cli.app, ["run", "missing.py"])
    assert (ran.exit_code, "There is no file missing.py." in ran.stderr) == (WRONG_USE, True)


# Results files


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["s/a.py", "s/b.py:BN"], ["a.json", "b.json"]),
        (["s/a/bn.py", "s/b/bn.py"], ["s-a-bn.py.json", "s-b-bn.py.json"]),
        (["torch.nn:BatchNorm1d", "../x y.py"], ["torch.nn-BatchNorm1d.json", "x-y.json"]),
        (["a:b", "a-b", "A:B"], ["a-b.json", "a-b-2.json", "A-B-3.json"]),
    ],
)
def test_every_subject_has_a_file_of_its_own(words, names):
    assert given.file_names(words) == names
