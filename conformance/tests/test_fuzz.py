"""Anything at all, where something is read: it is taken, or refused in one sentence.

Here the command line and the expectations file. BN1D_FUZZ says how many examples each test draws;
`nox -s fuzz` draws many.
"""

import sys
from dataclasses import asdict

import pytest
from fuzzing import ANYTHING, FUZZ, WORDS, WRONG_USE, a_target, an_expectations_file
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bn1d_conformance import cli, expectations
from bn1d_conformance.commands import console
from bn1d_conformance.expectations import Expectation
from bn1d_reference import spec

# The command line

PIECES = [
    ":", "::", ".", "..", "/", ".py", "\0", "\n", "\x1b[31m", " ", "é", "\ud800", "~", "-", "--",
    "layers", "layers.py", "Right", "json", "decoder", "__class__", "__init__", "no_such", "-c",
    "%s", "{0}", "a" * 300, "manifest.json",
]  # fmt: skip
TARGETS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    """Work in the subjects' folder, and forget what was imported."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("layers", "bn1d_subject")):
            del sys.modules[name]


@FUZZ
@given(target=TARGETS)
@example("layers.py:" + "a" * 5000)
@example("\0:a")
@example(("a" * 300) + ".py:b")
@example("\ud800.py:b")
@example(".:b")
@example("..:b")
@example("a..b:c")
def test_any_target(target):
    a_target(target)


OPTIONS = ["--map", "--dialect", "-k", "--shard", "--seed", "--timeout", "--profile", "--jobs"]
VALUES = TARGETS | st.sampled_from(
    ["weight=gamma", "=", "weight=", "1/3", "0/0", "running_var=biased", "not (", "a or", "-1"]
)


@FUZZ
@given(words=st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), max_size=4))
@example([("--map", "\0"), ("--map", "a" * 300)])  # the second is a subject
@example([("-k", "\0"), ("--map", "")])  # two subjects, of which one has no name
def test_any_options(words):
    given_ = [word for pair in words for word in pair if "\0" not in word]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "judge", lambda options, *_, **__: asdict(options))
        patch.setattr(console, "judge_several", lambda *_: 0)
        patch.setattr(console, "exit_code", lambda _: 0)
        ran = CliRunner().invoke(cli.app, ["run", "layers.py:Right", *given_])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert ran.exit_code in {0, WRONG_USE}


# The expectations file

TOML = st.lists(
    st.sampled_from(["[[expect]]", "\n", " = ", "'", '"', '"""', "[", "]", "{", "}", ",", "#"])
    | st.sampled_from(["requirement", "case", "reason", "when", "STATS-2", "1", "1e400", "nan"])
    | st.sampled_from(["2026-11-26", "true", ".", "\\u0000", "\\ud800", "\r", "\x00", "device"])
    | WORDS,
    max_size=24,
).map("".join)


@FUZZ
@given(text=TOML.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary())
def test_any_expectations(tmp_path, text):
    path = tmp_path / "known.toml"
    path.write_bytes(text)
    an_expectations_file(path)


@FUZZ
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(expectations.KEYS) | WORDS, ANYTHING, max_size=5),
        max_size=3,
    )
)
def test_any_values_of_expectations(tmp_path, rows):
    """What can stand in a TOML file, whatever its kind."""
    path = tmp_path / "known.toml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectations.tomllib, "loads", lambda _: {"expect": rows})
        path.write_text("")
        an_expectations_file(path)


PATTERNS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@FUZZ
@given(
    entries=st.lists(
        st.builds(
            Expectation,
            requirement=st.sampled_from(["", *spec.requirements()]),
            case=PATTERNS.filter(bool),
            reason=PATTERNS.map("why: {}".format),
            url=PATTERNS,
            when=st.dictionaries(
                st.sampled_from(expectations.CONDITIONS),
                st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
                max_size=2,
            ),
        ),
        max_size=3,
        unique_by=lambda entry: entry.place,
    )
)
def test_any_expectations_survive_writing(tmp_path, entries):
    path = tmp_path / "known.toml"
    expectations.write(entries, path)
    assert expectations.load(path) == entries
