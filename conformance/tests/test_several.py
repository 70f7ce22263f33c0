"""Several subjects in one command: how they are judged, and what is said."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, running
from bn1d_conformance.commands import console
from bn1d_conformance.documents import reading
from bn1d_conformance.reports import report_several
from bn1d_conformance.running import command, several, single
from bn1d_conformance.running.run import Options
from bn1d_conformance.running.several import Plan, Row
from bn1d_conformance.running.single import Ended
from bn1d_conformance.subject import TargetError

CONFORMS, DIVERGES, WRONG_USE, KIT_ERROR = 0, 1, 2, 3
PUBLISHED = Path(__file__).parents[1] / "results" / "torch.nn.BatchNorm1d.json"


# The scheduler, with programs in the place of runs

PROGRAM = """
import json, os, pathlib, sys, time
target, _, out = sys.argv[1:]
if target == "hangs":
    pathlib.Path("pid").write_text(str(os.fork() or os.getpid()))
    time.sleep(60)
if target == "refused":
    print("noise\\n" * 9999 + "bn1d: It is \\x1b none.\\n      A hint.", file=sys.stderr)
    sys.exit(2)
if target == "torn":
    pathlib.Path(out).write_text("{")
if target == "dies":
    os.abort()
if target == "right":
    time.sleep(0.5)
"""


def judged(words, **options):
    """Judge by the program; return the rows in order, and the targets as they ended."""
    ended = []
    plan = Plan(("-c", PROGRAM), **options)
    return several.judge(words, plan, lambda row: ended.append(row.target)), ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks")
def test_whatever_a_run_does_costs_its_own_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    words = ["hangs", "refused", "torn", "dies"]
    rows, ended = judged(words, jobs=4, limit=3, folder=tmp_path)
    assert time.monotonic() - start < 20
    assert [row.target for row in rows] == words
    assert ended[-1] == "hangs"
    assert {row.verdict for row in rows} == {"no-result"}
    says = [row.says for row in rows]
    assert says[:2] == ["It was not done after 3 seconds.", "It is   none."]
    assert "can't be read as JSON" in says[2]
    assert says[3] == "Its run ended with exit code -6."
    kept = [reading.load_any(tmp_path / f"{word}.json") for word in words]
    assert [d["reason"] for d in kept] == says


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks")
def test_nothing_of_a_run_outlives_its_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judged(["hangs"], limit=3)
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):  # whoever inherits it may take a moment to bury it
        if _ended(child):
            return
        time.sleep(0.05)
    pytest.fail("the run's child is still there")


def _ended(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


ASKED = """
import asyncio
from bn1d_conformance.running import single
asyncio.run(single.run(("-c", "import os, time; print(os.getpid(), file=open('pid', 'w'), "
    "flush=True); time.sleep(60)"), 0))
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="the run has no session of its own")
def test_a_run_ends_with_the_command_that_is_killed(tmp_path):
    asker = subprocess.Popen([sys.executable, "-c", ASKED], cwd=tmp_path)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().endswith("\n")):
        assert asker.poll() is None
        time.sleep(0.05)
    asker.kill()
    asker.wait()
    deadline = time.monotonic() + 20
    while not _ended(int(pid.read_text())):
        assert time.monotonic() < deadline, "the run goes on for nobody"
        time.sleep(0.05)


def test_subjects_are_judged_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    rows, _ = judged(["right"] * 6, jobs=6)
    together = time.monotonic() - start
    assert together < sum(row.seconds for row in rows) / 2


UNWRITABLE = """
import sys
from pathlib import Path
from bn1d_conformance.running import several
several.judge(["right", "right"], several.Plan(("-c", sys.argv[1]), folder=Path(__file__)), print)
"""


def test_what_can_not_be_written_ends_the_command_though_the_next_run_has_begun(tmp_path):
    script = tmp_path / "in_the_place_of_a_folder.py"
    script.write_text(UNWRITABLE)
    command = [sys.executable, str(script), PROGRAM]
    ran = subprocess.run(
        command, cwd=tmp_path, timeout=60, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "File exists" in ran.stderr) == (1, True)


# Other engines: whatever runs a command and brings back what it wrote


def test_what_an_engine_brings_is_kept_and_told_as_what_was_judged_here(tmp_path):
    async def elsewhere(words, limit):
        assert (words[:1], limit) == (("run",), 7)
        wrote = {"good": PUBLISHED.read_bytes(), "torn": b"{"}
        return Ended("Its node was lost.", wrote.get(words[-1]), 2.5)

    ended = []
    plan = Plan(("run",), jobs=2, limit=7, folder=tmp_path)
    rows = several.judge(["good", "lost", "torn"], plan, ended.append, elsewhere)
    assert sorted(ended, key=lambda row: row.target) == rows
    assert [(row.target, row.verdict) for row in rows] == [
        ("good", reading.load(PUBLISHED)["verdict"]), ("lost", "no-result"), ("torn", "no-result"),
    ]  # fmt: skip
    assert rows[0].seconds == 2.5
    assert rows[1].says == "Its node was lost."
    assert "can't be read as JSON" in rows[2].says
    assert reading.load(tmp_path / "good.json") == reading.load(PUBLISHED)
    assert reading.load_any(tmp_path / "lost.json")["reason"] == "Its node was lost."


def test_more_than_a_results_file_may_hold_is_not_brought(monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 3)
    program = "import sys; open(sys.argv[-1], 'w').write('four')"
    ended = asyncio.run(single.run(("-c", program), 60))
    assert (ended.wrote, ended.reason) == (
        None, "What it wrote can't be read: it has more than 3 bytes.",
    )  # fmt: skip


@pytest.fixture
def on_ray(monkeypatch):
    """Have something in the place of Ray's engine: what is given is raised, or runs commands."""

    def call(stands_in):
        @contextmanager
        def engine(jobs, device):
            if isinstance(stands_in, Exception):
                raise stands_in
            yield lambda words, limit: stands_in(jobs, device, words, limit)

        monkeypatch.setattr(console, "find_spec", lambda _: True)
        monkeypatch.setattr(running, "on_ray", SimpleNamespace(engine=engine), False)

    return call


def test_the_engine_of_the_command_line_runs_the_same_command(on_ray, tmp_path):
    seen = []

    async def elsewhere(*given):
        seen.append(given)
        return Ended("Its node was lost.")

    on_ray(elsewhere)
    words = ["--engine", "ray", "-j", "3", "--limit", "9", "--profile", "quick"]
    ran = CliRunner().invoke(cli.app, ["run", "a:b", "c:d", *words, "--json", str(tmp_path)])
    assert (ran.exit_code, "2 no result, of 2 subjects." in ran.stdout) == (KIT_ERROR, True)
    asked = ("--device", "cpu", "--profile", "quick", "--timeout", "30.0")
    assert seen == [
        (3, "cpu", ("-m", "bn1d_conformance", "run", *asked, target), 9.0)
        for target in ("a:b", "c:d")
    ]
    assert {file.name for file in tmp_path.iterdir()} == {"a-b.json", "c-d.json"}


def refused(*words):
    """The first line of what a wrong use is told."""
    ran = CliRunner().invoke(cli.app, ["run", *words])
    assert (ran.exit_code, ran.stdout) == (WRONG_USE, "")
    return ran.stderr.splitlines()[0]


def test_an_engine_that_can_not_begin_is_refused(on_ray):
    on_ray(TargetError("RAY_ADDRESS can't be reached: refused.", "Start it."))
    said = refused("a:b", "c:d", "--engine", "ray")
    assert said == "bn1d: RAY_ADDRESS can't be reached: refused."


def test_without_ray_its_engine_is_refused(monkeypatch):
    monkeypatch.setattr(console, "find_spec", lambda _: None)
    assert refused("a:b", "c:d", "--engine", "ray") == "bn1d: --engine ray needs Ray."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a:b", "c:d", "--engine", "slurm"], "bn1d: There is no engine 'slurm'."),
        (["a:b", "--engine", "ray"], "bn1d: --engine ray is about several subjects."),
        (["--worker", "w", "--engine", "ray"], "bn1d: --engine ray is about several subjects."),
    ],
)
def test_an_engine_that_will_not_do_is_refused(words, said):
    assert refused(*words) == said


# What is said


def counted(**numbers):
    names = ("pass", "fail", "crash", "timeout", "not_applicable", "not_run", "error")
    return {**dict.fromkeys(names, 0), **numbers}


def test_the_table_has_a_line_a_subject(capsys, tmp_path):
    rows = [
        Row("a.py", "conforms", "", counted(not_applicable=1, **{"pass": 9})),
        Row("b.py", "no-result", "\x1b[31mIt hangs.", {}),
        Row("c.py", "diverges", "STATS-2 " + "x" * 500, counted(fail=2, crash=1, not_run=7)),
    ]
    report_several.show(rows, tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0][:2] == ["subject", "verdict"]
    assert lines[1][:5] == ["a.py", "conforms", "0", "1", "9"]
    assert lines[2][:6] == ["b.py", "no", "result", "·", "·", "·"]
    assert lines[3][:5] == ["c.py", "diverges", "3", "7", "0"]
    assert lines[3][-1] == "..."
    assert " ".join(lines[4]) == "1 conforms, 1 diverges, 1 no result, of 3 subjects."


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["conforms", "conforms"], CONFORMS),
        (["conforms", "no-result"], KIT_ERROR),
        (["incomplete"], KIT_ERROR),
        (["no-result", "diverges", "conforms"], DIVERGES),
    ],
)
def test_the_exit_code_is_that_of_the_worst(verdicts, code):
    assert several.exit_code([Row("t", verdict, "", {}) for verdict in verdicts]) == code


@pytest.mark.parametrize(
    "options", [["--shard", "1/2"], ["--resume"], ["--expect", "x.toml"], ["--timings"]]
)
def test_what_is_about_one_subject_is_refused(options):
    ran = CliRunner().invoke(cli.app, ["run", "a:b", "c:d", *options])
    assert ran.exit_code == WRONG_USE
    assert f"{options[0]} is about one subject" in ran.stderr


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    ran = CliRunner().invoke(cli.app, ["run", "a:b", "c:d", "--json", str(tmp_path / "out")])
    assert (ran.exit_code, "can't be a folder" in ran.stderr) == (WRONG_USE, True)


def test_each_run_is_asked_the_same(monkeypatch):
    asked = Options(
        "",
        "cpu",
        "quick",
        fail_fast=True,
        select="STATS",
        names=("weight=w",),
        seed=3,
        timeout=5.0,
        dialect=("running_var=biased",),
    )
    seen = []
    monkeypatch.setattr(console, "judge", lambda options, *_, **__: seen.append(options))
    monkeypatch.setattr(console, "exit_code", lambda _: 0)
    ran = CliRunner().invoke(cli.app, ["run", *command.words(asdict(asked)), "a:b"])
    assert ran.exit_code == 0, ran.stderr
    assert seen == [Options(**{**vars(asked), "target": "a:b"})]


# The whole way


def test_two_students_and_a_broken_one(bn1d, students, tmp_path):
    (students / "carl.py").write_text("def broken(:")
    words = ["--profile", "quick", "-k", "test_momentum", "--json", "out"]
    ran = bn1d("run", "students:Right", "students/carl.py", *words, "-j", "2", cwd=tmp_path)
    assert ran.returncode == DIVERGES, ran.stderr
    assert "1 diverges, 1 incomplete, 2 no result, of 4 subjects." in ran.stdout
    kept = {p.name: json.loads(p.read_text("utf-8")) for p in (tmp_path / "out").iterdir()}
    assert len(kept) == 4
    bob = next(d for d in kept.values() if d["verdict"] == "diverges")
    assert bob["subject"]["target"] == "students/bob.py:Right"
    assert bob["diagnoses"][0]["requirement"] == "STATS-2"
