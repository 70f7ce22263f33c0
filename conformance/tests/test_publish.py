"""What publishes the project: one version everywhere, notes, workflows, the action."""

import ast
import importlib.util
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import bn1d_conformance
import bn1d_reference

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
DIVERGES, WRONG_USE = 1, 2


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_the_same_everywhere():
    [project] = re.findall(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"]
    packages = {bn1d_conformance.__version__, bn1d_reference.__version__}
    assert {project, citation, *packages} == {project}


# Notes

CHANGES = """# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-01

### Added

- Two.

## [0.1.0]

- One.
"""


def test_the_notes_are_the_section_of_the_version():
    notes = loaded(ROOT / "docs" / "notes.py")
    assert notes.section(CHANGES, "0.2.0") == "### Added\n\n- Two.\n"
    assert notes.section(CHANGES, "0.1.0") == "- One.\n"


@pytest.mark.parametrize("version", ["0.3.0", "0.1", "Unreleased", "0-1-0"])
def test_a_version_without_notes_is_an_error(version):
    notes = loaded(ROOT / "docs" / "notes.py")
    with pytest.raises(LookupError, match=re.escape(f"[{version}]")):
        notes.section(CHANGES, version)


def test_a_tag_of_another_version_is_an_error(monkeypatch):
    notes = loaded(ROOT / "docs" / "notes.py")
    monkeypatch.setattr(notes.sys, "argv", ["notes.py", "v99.0.0"])
    with pytest.raises(SystemExit, match=r"and not v99\.0\.0"):
        notes.main()


# Workflows


def sessions():
    """Names of the noxfile's sessions, as its decorators have them or its functions."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    marked = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.decorator_list]
    named = [
        keyword.value.value
        for node in marked
        for decorator in node.decorator_list
        for keyword in getattr(decorator, "keywords", ())
        if keyword.arg == "name"
    ]
    return {*named, *(node.name for node in marked)}


def runs(path):
    jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_calls_nox_and_nothing_else(path):
    for command in runs(path):
        if command.startswith("gh release create"):
            continue
        called = re.findall(r"python3 noxfile\.py -([sl]) (\S+)", command)
        assert len(called) == 1 or command == ".ci/run", command
        for _, name in (c for c in called if c[0] == "s"):
            assert name in sessions() | {'"$SESSION"'}, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_may_read_and_every_job_ends(path):
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    assert "${{" not in " ".join(runs(path)), "what comes from outside goes through env"


# The action


@pytest.fixture
def act(folder, tmp_path):
    """Run the shell step `Judge` as a runner does; the kit is this one."""
    [step] = [s for s in ACTION["runs"]["steps"] if s["name"] == "Judge"]
    programs = tmp_path / "bn1d" / "bin"
    programs.mkdir(parents=True)
    (programs / "bn1d").symlink_to(Path(sysconfig.get_path("scripts")) / "bn1d")

    def call(**inputs):
        given = {k: v.get("default", "") for k, v in ACTION["inputs"].items()} | inputs
        env = {k: given[re.search(r"inputs\.(\w+)", v)[1]] for k, v in step["env"].items()}
        files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        env |= {"RUNNER_TEMP": str(tmp_path), **{k: str(v) for k, v in files.items()}}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        ran = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return SimpleNamespace(
            code=ran.returncode,
            out=ran.stdout,
            err=ran.stderr,
            **{name: path.read_text() for name, path in files.items()},
        )

    return call


def test_the_action_judges_and_tells_the_verdict(act, tmp_path):
    out = str(tmp_path / "result.json")
    ran = act(target="layers.py:Biased", options="--profile quick -k test_momentum", results=out)
    assert ran.code == DIVERGES, ran.err
    assert ran.GITHUB_OUTPUT == "exit-code=1\n"
    assert "STATS-2" in ran.out
    assert "STATS-2" in ran.GITHUB_STEP_SUMMARY
    assert Path(out).exists()


def test_the_action_runs_nothing_of_its_inputs(act, folder, tmp_path):
    target = "$(touch${IFS}hacked)`touch${IFS}hacked`;touch${IFS}hacked"
    ran = act(target=target, results=str(tmp_path / "result.json"))
    assert ran.code == WRONG_USE
    assert f"{target!r} is no target" in ran.err
    assert ran.GITHUB_OUTPUT == "exit-code=2\n"
    assert not (folder / "hacked").exists()


def test_the_action_has_what_a_composite_action_needs():
    assert ACTION["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"])
    assert [n for n, i in ACTION["inputs"].items() if i.get("required")] == ["target"]
    assert "${{" not in "".join(step["run"] for step in ACTION["runs"]["steps"])
