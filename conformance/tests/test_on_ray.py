"""Several subjects on a cluster of Ray, which each test starts here; `nox -s ray` runs these."""

import sys
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra")

from bn1d_conformance.documents import reading  # noqa: E402 - after it is known to be here
from bn1d_conformance.running import on_ray, several, single  # noqa: E402 - after it is known to be here
from bn1d_conformance.running.several import Plan  # noqa: E402
from bn1d_conformance.subject import TargetError  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs that use signals")

PROGRAM = """
import os, pathlib, signal, sys, time
target = sys.argv[1]
if target == "hangs":
    time.sleep(600)
if target == "refused":
    sys.exit(print("bn1d: It is none, in " + os.getcwd() + ".", file=sys.stderr) or 2)
if target == "dies":
    os.abort()
if target == "is nice":
    sys.exit(40 + os.nice(0))
if target == "loses its worker" or target == "loses it once" and not os.path.exists("once"):
    with open("once" if "once" in target else "pids", "a") as file:
        print(os.getpid(), file=file)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
sys.exit(5)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A cluster of this machine with two CPUs, asked from a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.chdir(tmp_path_factory.mktemp("asked"))
        with on_ray.engine(2, "cpu") as run:
            yield run


def judged(run, *words):
    """Judge by the program; return what is said of each target."""
    plan = Plan(("-c", PROGRAM), jobs=2, limit=5)
    rows = several.judge(words, plan, lambda _: None, run)
    assert [row.target for row in rows] == [*words]
    assert {row.verdict for row in rows} == {"no-result"}
    return [row.says for row in rows]


def test_what_is_said_of_a_run_is_the_same_as_here(engine):
    words = ["hangs", "refused", "dies", "is nice"]
    said = judged(engine, *words)
    assert said[0] == "It was not done after 5 seconds."
    assert said[1] == f"It is none, in {Path.cwd()}."
    assert said == judged(single.run, *words)


def test_a_run_that_loses_its_worker_is_run_again(engine):
    assert judged(engine, "loses it once") == ["Its run ended with exit code 5."]


def test_a_run_that_loses_every_worker_costs_its_own_row_and_leaves_nothing(engine):
    said = judged(engine, "loses its worker", "other")
    assert said == [
        "Ray gave its run up: WorkerCrashedError.",
        "Its run ended with exit code 5.",
    ]
    pids = Path("pids").read_text().split()
    assert len(pids) == 1 + on_ray.RETRIES
    deadline = time.monotonic() + 30  # Ray looks for what a worker has left every ten seconds
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a run goes on without its worker"
        time.sleep(0.2)


def is_running(pid):
    """Whether a process is there, and not only its name."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_what_could_not_be_run_at_all_is_a_sentence(engine):
    said = judged(lambda words, limit: engine((*words, "\0"), limit), "null")
    assert said == ["Its run could not be started: embedded null byte."]


@pytest.mark.usefixtures("engine")
def test_a_cluster_without_a_gpu_takes_no_subject_that_needs_one(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(TargetError, match="has no GPU"):
        on_ray._runs(1)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://[::1]:1", "nonsense"])
def test_an_address_without_a_cluster_is_told_at_once(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    start = time.monotonic()
    with (
        pytest.raises(TargetError, match=r"^RAY_ADDRESS can't be reached: "),
        on_ray.engine(1, "cpu"),
    ):
        pass
    assert time.monotonic() - start < 30


@pytest.mark.usefixtures("students")
def test_students_are_judged_on_a_cluster_that_is_there(bn1d, tmp_path):
    words = ("students:Right", "missing.py:Right", "--profile", "quick", "-k", "test_momentum")
    tables = [
        bn1d("run", *words, "-j", "2", "--json", engine, "--engine", engine, cwd=tmp_path)
        for engine in ("local", "ray")
    ]
    assert [ran.returncode for ran in tables] == [1, 1], tables[1].stderr
    assert "1 diverges, 1 incomplete, 1 no result, of 3 subjects." in tables[1].stdout
    assert tables[0].stderr == tables[1].stderr  # Ray says nothing
    here, there = ({p.name: p for p in (tmp_path / e).iterdir()} for e in ("local", "ray"))
    assert len(here) == 3
    for name, file in here.items():
        assert lasting(reading.load_any(file)) == lasting(reading.load_any(there[name]))


def lasting(document):
    """A results file without the times that it took."""
    rows = {k: {**row, "seconds": 0} for k, row in document.get("requirements", {}).items()}
    return {**document, "requirements": rows, "seconds": 0, "timings": 0, "date": ""}
