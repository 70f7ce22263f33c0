"""Whatever fails around a run, what was judged is kept or judged again: not wrong, not lost.

The parts of the kit that see to it, each on its own, are in test_fault_parts.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from textwrap import dedent

import pytest

from bn1d_conformance.running import partial

CONFORMS, DIVERGES, WRONG_USE, STOPPED = 0, 1, 2, 3
SOME = ("--profile", "quick", "-k", "test_stats")
LIMIT = 120  # seconds, on a busy machine
SUBJECT = "layers.py:Biased"


def content(path):
    """What a run found, without its times and what it was asked by."""
    result = json.loads(path.read_text("utf-8"))
    for row in result["requirements"].values():
        row.pop("seconds")
    return {k: v for k, v in result.items() if k not in {"seconds", "timings", "options"}}


def command(out, *words):
    return [sys.executable, "-m", "bn1d_conformance", "run", *words, *SOME, "--json", str(out)]


@pytest.fixture
def judged(folder, tmp_path):
    """Judge some checks: the process, and the path of the results file."""

    def call(*words, name="result.json", **options):
        out = tmp_path / name
        environment = {**os.environ, **options.pop("env", {})}
        ran = subprocess.run(
            command(out, *words),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            **options,
        )
        assert "Traceback" not in ran.stderr
        assert "INTERNALERROR" not in ran.stderr
        return ran, out

    return call


@pytest.fixture(scope="module")
def right(folder, tmp_path_factory):
    """What a run finds that nothing happens to."""
    out = tmp_path_factory.mktemp("right") / "result.json"
    subprocess.run(command(out, SUBJECT), cwd=folder, capture_output=True, check=False)
    found = content(out)
    assert found["requirements"]["STATS-2"]["verdict"] == "fail"
    return found


# A full disk


def no_room(size):
    """Let no file of a process grow beyond so many bytes: as a full disk, without one."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [500, 60_000], ids=["from the start", "half way"])
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(judged, right, size):
    ran, out = judged(SUBJECT, preexec_fn=no_room(size))
    assert ran.returncode == STOPPED
    said = ran.stderr[ran.stderr.index("bn1d: ") :]
    assert "can't be written: File too large." in said or "File too large" in said
    assert said.count("\n") <= 2
    assert not out.exists()
    ran, out = judged(SUBJECT, "--resume")
    assert content(out) == right
    assert not partial.folder_of(out).exists()


# A process that is lost


def workers_of(pid):
    """The processes that a run judges in."""
    ran = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False
    )
    return [int(word) for word in ran.stdout.split()]


@pytest.fixture
def going(folder, tmp_path):
    """Start a run, and wait until so many items have ended: the process, and its results file."""
    begun = []

    def call(items, *words, name="result.json"):
        out = tmp_path / name
        process = subprocess.Popen(
            command(out, *words),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        until = time.monotonic() + LIMIT
        while ended(out) < items:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.002)
        return process, out

    yield call
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(out):
    """How many items of a run have ended."""
    texts = [p.read_text("utf-8") for p in partial.folder_of(out).glob("*/*.jsonl")]
    return sum(text.count('{"e": "end"') for text in texts)


def test_what_somebody_kills_is_no_crash_of_the_subjects(going, right):
    process, out = going(10, SUBJECT)
    for items in (10, 40):
        while ended(out) < items:
            time.sleep(0.002)
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
    printed, _ = process.communicate(timeout=LIMIT)
    assert content(out) == right, printed


KILLS_ITSELF = """
import os, signal
import layers

class Kills(layers.Biased):
    def forward(self, x):
        if self.training and len(x) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""


def test_what_is_killed_wherever_it_runs_kills_itself(judged, folder):
    (folder / "suicide.py").write_text(KILLS_ITSELF)
    ran, out = judged("suicide.py:Kills")
    found = content(out)
    seen = {row["verdict"] for row in found["requirements"].values()}
    assert "crash" in seen, ran.stderr
    assert ran.returncode == DIVERGES
    assert found["requirements"]["STATS-2"]["verdict"] in {"crash", "fail"}


# A home that can't be written


def test_a_home_that_can_not_be_written_changes_nothing(judged, right, tmp_path):
    (tmp_path / "file").write_text("in the way")
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "BN1D_CACHE")
    below = {name: str(tmp_path / "file" / "below") for name in names}
    _, out = judged(SUBJECT, env=below)
    assert content(out) == right


# Two runs at once


def test_two_runs_share_a_cache_and_no_file(going, judged, right, tmp_path, monkeypatch):
    monkeypatch.setenv("BN1D_CACHE", str(tmp_path / "cache"))
    first, out = going(1, SUBJECT)
    second, other = going(0, SUBJECT, name="other.json")
    first.send_signal(signal.SIGSTOP)  # or it may have ended when the third one looks
    refused, _ = judged(SUBJECT)
    first.send_signal(signal.SIGCONT)
    assert refused.returncode == WRONG_USE
    assert "Another run is writing result.json." in refused.stderr
    for process in (first, second):
        process.communicate(timeout=LIMIT)
    assert content(out) == content(other) == right


# A clock that jumps

#: Set when a process starts: every look at the clock finds it a day earlier or later.
JUMPS = """
import itertools, time
now, days = time.time, itertools.cycle([86400, -86400, 0, -3 * 86400])
time.time = lambda: now() + next(days)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def test_a_clock_that_jumps_changes_no_verdict_and_no_duration(
    judged, python, right, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text(dedent(JUMPS))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    assert python("import time\nprint(time.time() > time.time() + 1e5)").stdout == "True\n"
    start = time.monotonic()
    _, out = judged(SUBJECT)
    took = time.monotonic() - start
    assert content(out) == right
    result = json.loads(out.read_text("utf-8"))
    rows = [row["seconds"] for row in result["requirements"].values()]
    for seconds in (result["seconds"], *result["timings"].values(), *rows):
        assert 0 <= seconds <= took
