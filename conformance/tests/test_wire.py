"""Workers that die, hang, flood and lie cost a verdict where they do it, and no more."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bn1d_conformance import results
from bn1d_conformance.adapters import wire
from bn1d_conformance.running.run import Options
from bn1d_conformance.subject import Config, Request, State, SubjectError, TargetError
from bn1d_conformance.wire import session
from bn1d_conformance.wire.process import Process

ZOO = Path(__file__).parent / "zoo"

sys.path.insert(0, str(ZOO))
try:
    from runs import CHECKS, tallied
finally:
    sys.path.remove(str(ZOO))

HERE = Path(__file__).parent / "workers"
DIVERGES, WRONG_USE, INCOMPLETE = 1, 2, 3
LIMIT = 60  # seconds for one run, on a busy machine

#: By worker: the requirement at hand, its verdict, and words of the message.
BAD = {
    "exits": ("CTOR-10", "crash", 'ended with exit status 3; its last words: "out of ideas"'),
    "leaves": ("CTOR-10", "crash", "the worker ended with exit status 0"),
    "segfaults": ("CTOR-10", "crash", "the worker was killed by signal 11 (SIGSEGV)"),
    "closes_stdout": ("CTOR-10", "crash", "the worker closed its standard output"),
    "loses_its_device": (
        "CTOR-10",
        "crash",
        "has lost its device: CUDA error: an illegal memory access was encountered",
    ),
    "hangs": ("CTOR-10", "timeout", "the worker did not answer in time"),
    "hangs_with_children": ("CTOR-10", "timeout", "the worker did not answer in time"),
    "ignores_signals": ("CTOR-10", "timeout", "the worker did not answer in time"),
    "writes_rubbish": ("CTOR-10", "fail", 'wrote a line that is no JSON: "epoch 1: loss 0.693"'),
    "writes_a_megabyte": ("CTOR-10", "fail", 'wrote a line that is no JSON: "xxxx'),
    "writes_no_newline": ("CTOR-10", "fail", "wrote too much: more than 10"),
    "floods": ("CTOR-10", "fail", 'wrote a line that is no JSON: "step"'),
    "answers_twice": ("CTOR-10", "fail", "the worker wrote more than an answer"),
    "wrong_id": ("CTOR-10", "fail", "the worker answered with a wrong id"),
    "not_utf8": ("CTOR-10", "fail", "the worker wrote a line that is not UTF-8"),
    "nests_deeply": ("CTOR-10", "fail", "the worker wrote JSON nested too deeply"),
    "no_object": ("CTOR-10", "fail", 'wrote JSON that is no object: "[1, 2, 3]"'),
    "empty_line": ("CTOR-10", "fail", 'wrote a line that is no JSON: ""'),
    "huge_number": ("CTOR-10", "fail", "wrote a line that is no JSON"),
    "infinite_size": ("CTOR-10", "fail", "shape in y in forward's result that is no list"),
    "bad_base64": ("CTOR-10", "fail", "data in y in forward's result that is no base64"),
    "too_short": ("CTOR-10", "fail", "6 bytes, where float32 of shape [4, 3] has 48"),
    "misspells": ("CTOR-10", "fail", "forward's result that has a field \"output\": there are y"),
    "unknown_dtype": ("CTOR-10", "fail", 'of dtype "float31": there are bfloat16'),
    "wrong_shape": ("TRAIN-11", "fail", "y has shape (3, 6), where (6, 3) is right"),
    "wrong_dtype": ("TRAIN-11", "fail", "y is of dtype int32, which is no floating format"),
    "all_nan": ("TRAIN-11", "fail", "y[0, 0] is nan"),
}  # fmt: skip
NEIGHBOURS = {"CTOR-10": ("CTOR-2", "CTOR-3"), "TRAIN-11": ("TRAIN-2", "TRAIN-9")}


def command(name, *words):
    """How a worker of the folder is started; without NumPy, which takes longer to import."""
    return shlex.join([sys.executable, "-S", str(HERE / f"{name}.py"), *map(str, words)])


@pytest.fixture
def here(monkeypatch):
    """Judge some requirements of one area in this process: the results document."""

    def call(worker, *ids):
        monkeypatch.setattr(Request, "timeout", 3.0)
        file = CHECKS / f"test_{ids[0].partition('-')[0].lower()}.py"
        words = ("--bn1d-worker", worker, "-k", " or ".join(ids))
        tally = tallied(str(file), "--bn1d-profile", "quick", *words)
        asked = vars(Options(worker, profile="quick", worker=True))
        return results.build(tally, asked, complete=True)

    return call


@pytest.mark.parametrize("name", BAD)
def test_it_costs_the_requirement_at_hand(here, name):
    ident, verdict, words = BAD[name]
    start = time.perf_counter()
    result = here(command(name), ident, *NEIGHBOURS[ident])
    row = result["requirements"][ident]
    assert row["verdict"] == verdict, row
    assert any(words in f["message"] for f in row["failures"]), row
    assert {result["requirements"][i]["verdict"] for i in NEIGHBOURS[ident]} == {"pass"}
    assert result["verdict"] == "diverges"
    assert not result["errors"]
    assert time.perf_counter() - start < LIMIT


@pytest.mark.parametrize("name", ["polite", "logs_megabytes", "ignores_close"])
def test_it_costs_nothing(here, name):
    result = here(command(name), "CTOR-10", "CTOR-2", "CTOR-3")
    seen = {i: r["verdict"] for i, r in result["requirements"].items()}
    assert {seen[i] for i in ("CTOR-10", "CTOR-2", "CTOR-3")} == {"pass"}
    assert not result["errors"]


# A worker that is lost again and again


def test_what_ends_in_every_pass_is_given_up(here):
    result = here(command("exits_always"), "STATS-")
    seen = {i: r["verdict"] for i, r in result["requirements"].items() if i.startswith("STATS")}
    assert list(seen.values()).count("crash") >= 1
    assert set(seen.values()) <= {"crash", "not-run", "not-applicable"}, seen
    assert "not-run" in seen.values()
    assert result["verdict"] == "incomplete"
    assert not result["errors"]


def test_the_exit_code_says_incomplete(bn1d):
    options = ("--profile", "quick", "--timeout", "5", "-k", "STATS-1 or STATS-2 or STATS-9")
    ran = bn1d("run", "--worker", command("exits_always"), *options)
    assert ran.returncode == INCOMPLETE, ran.stdout + ran.stderr
    assert "incomplete" in ran.stdout
    assert "the worker ended with exit status 3" in ran.stdout
    assert "not run" in ran.stdout
    assert "Given up, after too many lost processes: forward in training." in ran.stdout


def test_what_starts_but_once_is_given_up(here, tmp_path):
    result = here(command("starts_once", tmp_path / "mark"), "CTOR-")
    rows = result["requirements"]
    assert rows["CTOR-10"]["verdict"] == "crash"
    said = [f["message"] for row in rows.values() for f in row["failures"]]
    words = 'the worker, started again, ended with exit status 1; its last words: "no second'
    assert any(words in text for text in said), said
    assert rows["CTOR-2"]["verdict"] == rows["CTOR-3"]["verdict"] == "pass"
    assert result["verdict"] == "incomplete"


def test_what_somebody_kills_is_asked_once_more(here, tmp_path):
    result = here(command("killed", tmp_path / "mark"), "CTOR-10", "CTOR-2", "CTOR-3")
    assert (tmp_path / "mark").exists()
    seen = {result["requirements"][i]["verdict"] for i in ("CTOR-10", "CTOR-2", "CTOR-3")}
    assert seen == {"pass"}


def test_what_is_killed_whenever_it_is_asked_has_crashed(here, tmp_path):
    result = here(command("killed", tmp_path / "mark", "always"), "CTOR-10", "CTOR-2")
    row = result["requirements"]["CTOR-10"]
    assert row["verdict"] == "crash"
    assert "was killed by signal 9 (SIGKILL)" in row["failures"][0]["message"]


# A worker that does not come as far as that

REFUSED = {
    "exits_at_start": 'The worker, greeted, ended with exit status 1; its last words: "no licence',
    "hangs_at_start": "The worker, greeted, did not answer in time",
    "prints_at_start": 'The worker, greeted, wrote a line that is no JSON: "Welcome to ver',
}


@pytest.mark.parametrize("name", REFUSED)
def test_at_the_start_it_is_wrong_use(monkeypatch, name):
    monkeypatch.setattr(wire, "START", 1.0)
    with pytest.raises(TargetError) as refused:
        wire.WireSubject(Request(command(name), worker=True, timeout=1.0))
    assert REFUSED[name] in str(refused.value)
    assert "bn1d smoke" in refused.value.hint


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--worker", "no-such-command at all"), "The worker can't be started"),
        (("--worker", "python 'layer.py"), "is no command: No closing quotation"),
        (("--worker", " "), "--worker is empty"),
        (("--worker", f"{sys.executable} no_such_file.py"), "ended with exit status 2"),
        (("--worker", "python worker.py", "layers.py:Right"), "One of TARGET and --worker"),
        ((), "One of TARGET and --worker"),
        (("--worker", "python worker.py", "--map", "weight=gamma"), "--map is for what"),
    ],
)
def test_wrong_use_is_one_sentence(bn1d, words, sentence):
    ran = bn1d("run", *words)
    assert ran.returncode == WRONG_USE
    assert "Traceback" not in ran.stderr
    said = ran.stderr[ran.stderr.index("bn1d: ") :].strip().splitlines()
    assert sentence in said[0]
    assert len(said) <= 2


HELLO = {
    "protocol": 1,
    "name": "x",
    "version": "1",
    "language": "none",
    "capabilities": ["train", "fp32"],
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"protocol": 2}, "The worker speaks version 2 of the wire, not 1."),
        ({"capabilities": ["trian"]}, "names a capability that the wire has not: 'trian'"),
        ({"capabilities": ["torch-module"]}, "that the wire has not: 'torch-module'"),
        ({"names": {"gamma": "weight"}}, "gives a name to 'gamma', which no layer has"),
    ],
)
def test_what_can_not_be_judged_is_said(changes, sentence):
    fault = session.misfit(session.Hello(**{**HELLO, **changes}), "cpu")
    assert fault is None if sentence is None else sentence in fault[0]


def test_another_device_must_be_confirmed():
    assert "computes on cpu, and not on cuda" in session.misfit(session.Hello(**HELLO), "cuda")[0]
    assert session.misfit(session.Hello(**HELLO, device="cuda NVIDIA H100"), "cuda") is None


# What is left of it, and what is done again


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    ran = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return ran.stdout.strip()[:1] not in {"", "Z"}


def ends(pids):
    """Whether all of them end within a moment."""
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


#: Starts a process of its own, says which, and waits.
FAMILY = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
sys.stdin.readline()
print(child.pid, flush=True)
time.sleep(1000)
"""


def test_its_children_are_ended_with_it():
    process = Process([sys.executable, "-S", "-c", FAMILY])
    child = int(process.exchange(b"?\n", 20, 100))
    assert alive(child)
    process.stop()
    assert ends([child, process.child.pid, process.keeper.pid])


def test_it_is_ended_when_the_kit_is_killed(python):
    code = f"""
        import os, sys
        from bn1d_conformance.wire.process import Process
        process = Process([sys.executable, "-S", "-c", {FAMILY!r}])
        child = int(process.exchange(b"?\\n", 20, 100))
        print(child, process.child.pid, process.keeper.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    pids = [int(word) for word in python(code).stdout.split()]
    assert len(pids) == 3
    assert ends(pids)


@pytest.fixture
def subject():
    made = wire.WireSubject(Request(command("polite"), worker=True, timeout=20.0))
    yield made
    made.close()


def kill(subject, by=signal.SIGKILL):
    os.kill(subject.session.process.child.pid, by)


X = np.array([[1, 2], [3, 6], [0, -2]], "float32")
TRAINING = True


def test_a_layer_is_made_again_with_all_that_was_done_to_it(subject):
    layers = [subject.build(Config(2, momentum=m)) for m in (0.5, None)]
    for k, layer in enumerate(layers):
        layer.load(State(weight=np.array([2, k], "float32"), num_batches_tracked=k))
        layer.train(TRAINING)
        layer.forward(X + k, grad=True)
        layer.forward(X * 2, grad=True)
    before = [(vars(layer.state()), layer.backward(X)) for layer in layers]
    kill(subject, by=signal.SIGSEGV)  # by SIGKILL it would be asked once more
    with pytest.raises(SubjectError, match="was killed by signal 11") as lost:
        layers[0].state()
    assert lost.value.verdict == "crash"
    after = [(vars(layer.state()), layer.backward(X)) for layer in layers]
    assert subject.session.starts == 2
    assert str(before) == str(after)


def test_a_layer_that_nobody_has_any_more_is_closed(subject):
    for _ in range(5):
        layer = subject.build(Config(2))
    assert len(subject.gone) <= 1
    number, _ = layer.place
    del layer
    subject.build(Config(2))
    with pytest.raises(SubjectError, match="raises KeyError"):
        subject.ask("state", {"layer": number})


def test_what_the_layer_has_not_is_not_loaded(subject):
    layer = subject.build(Config(2, affine=False, track_running_stats=False))
    ones = np.ones(2, "float32")
    layer.load(State(ones, ones, ones, ones, 3))
    assert layer.steps[-1][0] == "build"
    assert layer.state() == State()


def test_a_worker_leaves_when_told_to(subject):
    pid = subject.session.process.child.pid
    assert subject.session.finish()
    assert ends([pid])


@pytest.mark.parametrize(
    ("name", "bases", "is_a"),
    [
        ("ValueError", [], ValueError),
        ("InvalidArgumentError", ["ValueError"], ValueError),
        ("UnsupportedOperation", ["OSError", "ValueError"], OSError),
        ("KeyboardInterrupt", [], KeyboardInterrupt),
        ("RangeError", [], Exception),
        ("print", ["eval", "Exception"], Exception),
        ("Odd", ["KeyError", "OSError", "StopIteration"], KeyError),
    ],
)
def test_an_error_is_what_the_worker_says(name, bases, is_a):
    kind = session.exception(name, bases)
    assert kind.__name__ == name
    assert issubclass(kind, is_a)
    assert isinstance(kind("what"), BaseException)
