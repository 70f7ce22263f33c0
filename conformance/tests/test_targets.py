"""From words to a subject, and what is said where there is none."""

import re
import shlex
import subprocess
import sys
from textwrap import dedent

import pytest

from bn1d_conformance import targets
from bn1d_conformance.subject import Request, TargetError


@pytest.fixture(autouse=True)
def there(folder, monkeypatch, tmp_path_factory):
    """Work in the subjects' folder, and forget what was imported from there."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    ours = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(ours):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nonsense", ["'nonsense' is no target", "module:attr", "torch-decomp, torch-export"]),
        ("", ["'' is no target", "torch-script"]),
        (":Layer", ["is no target"]),
        ("layers:", ["is no target"]),
        ("no_such_module:BatchNorm", ["There is no module 'no_such_module'"]),
        ("layers.inner:BatchNorm", ["There is no module 'layers.inner'"]),
        ("layers:NoSuchLayer", ["has no attribute 'NoSuchLayer'", "It has"]),
        ("layers.py:NoSuchLayer", ["has no attribute"]),
        ("torch.nn:BatchNrom1d", ["has no attribute", "BatchNorm1d"]),
        ("missing.py:Layer", ["There is no file missing.py"]),
        ("./layers:Layer", ["There is no file ./layers"]),
        ("layers.py:NUMBER", ["is int, and nothing callable"]),
        ("modules.py:LAYER", ["constructed already", "BatchNorm1d"]),
        ("layers.py:INSTANCE", ["constructed already", "Right"]),
    ],
)
def test_a_target_that_is_none(target, words):
    with pytest.raises(TargetError) as caught:
        targets.load(Request(target))
    said = f"{caught.value} {caught.value.hint}"
    assert all(word in said for word in words), said
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no device\\nat all')", "raises RuntimeError: no device."),
        ("raise ValueError", "raises ValueError."),
        ("def broken(:", "raises SyntaxError: "),
        ("import not_there", "fails: it needs the module 'not_there'."),
        ("raise SystemExit(7)", "raises SystemExit: 7."),
        ("raise KeyboardInterrupt", "raises KeyboardInterrupt."),
        ("raise BaseException('x' * 5000)", "raises BaseException: xxx"),
    ],
)
def test_a_file_that_can_not_be_imported(tmp_path, code, said):
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(TargetError) as caught:
        targets.load(Request(f"{tmp_path}/broken.py:Layer"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_hint_is_a_command_that_a_shell_takes(tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('the reason')")
    with pytest.raises(TargetError) as caught:
        targets.load(Request(f"{tmp_path}/broken.py:Layer"))
    (command,) = re.findall("`(.+)`", caught.value.hint)
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "RuntimeError: the reason" in ran.stderr


@pytest.mark.parametrize(
    ("target", "adapter", "name"),
    [
        ("torch.nn:BatchNorm1d", "torch-module", "torch.nn.modules.batchnorm.BatchNorm1d"),
        ("torch.nn.functional:batch_norm", "function", "torch.nn.functional.batch_norm"),
        ("torch:nn.BatchNorm1d", "torch-module", "torch.nn.modules.batchnorm.BatchNorm1d"),
        ("layers:Right", "plain-class", "layers.Right"),
        ("layers.py:returns", "function", "layers.returns"),
        ("modules.py:Shifted", "torch-module", "modules.Shifted"),
    ],
)
def test_each_kind_has_its_adapter(target, adapter, name):
    subject = targets.load(Request(target))
    assert (subject.target, subject.adapter, subject.name) == (target, adapter, name)


def test_the_folder_of_a_file_is_importable(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 3\n")
    (tmp_path / "layer.py").write_text("from beside import VALUE\n\nclass Layer:\n    pass\n")
    assert targets.load(Request(f"{tmp_path}/layer.py:Layer")).name == "layer.Layer"


def test_a_file_does_not_replace_a_module_of_its_name(tmp_path):
    (tmp_path / "json.py").write_text("class Layer:\n    pass\n")
    before = sys.modules["json"]
    targets.load(Request(f"{tmp_path}/json.py:Layer"))
    assert sys.modules["json"] is before


def test_a_subject_of_the_protocol_is_taken_as_it_is(tmp_path):
    code = (
        "class S:\n    capabilities = frozenset()\n    def build(self, c): ...\n\nsubject = S()\n"
    )
    (tmp_path / "own.py").write_text(code)
    assert type(targets.load(Request(f"{tmp_path}/own.py:subject"))).__name__ == "S"


def test_a_class_of_subjects_is_constructed_from_the_request(tmp_path):
    code = """
        class S:
            capabilities = frozenset()
            def __init__(self, request): self.target = request.target
            def build(self, config): ...
    """
    (tmp_path / "adapter.py").write_text(dedent(code))
    target = f"{tmp_path}/adapter.py:S"
    assert targets.load(Request(target)).target == target


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Another distribution, whose entry points are these."""

    def installed(*lines):
        info = tmp_path / "theirs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[bn1d.subjects]", *lines]))
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_a_name_is_an_entry_point_of_any_distribution(distribution):
    distribution("theirs = layers:Right")
    subject = targets.load(Request("theirs"))
    assert (subject.target, subject.adapter, subject.name) == (
        "theirs",
        "plain-class",
        "layers.Right",
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("theirs = not_installed.adapter:Subject", "There is no module 'not_installed' here."),
        ("theirs = layers:Missing", "layers has no attribute 'Missing'."),
        ("theirs = layers", "'layers' is no target."),
    ],
)
def test_a_name_that_stands_for_nothing(distribution, line, words):
    distribution(line)
    with pytest.raises(TargetError) as caught:
        targets.load(Request("theirs"))
    assert str(caught.value) == words


def test_a_factory_without_input_is_no_function(tmp_path):
    (tmp_path / "factory.py").write_text("def make(num_features): ...\n")
    with pytest.raises(TargetError, match="takes num_features and no input"):
        targets.load(Request(f"{tmp_path}/factory.py:make"))
