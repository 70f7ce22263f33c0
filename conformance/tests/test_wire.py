"""Workers that die, hang, flood and lie cost a verdict where they do it, and no more."""

import shlex
import sys
import time
from pathlib import Path

import pytest

from bn1d_conformance import plugin, records, results
from bn1d_conformance.subject import Request

HERE = Path(__file__).parent / "workers"
CHECKS = Path(plugin.__file__).parent / "checks"
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


class Listener(records.Recorder):
    """Keeps the events of a run in this process."""

    def __init__(self):
        super().__init__(None)
        self.events = []

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config):
        config.stash[plugin.RECORDER] = self

    def write(self, event, **values):
        self.events.append({"e": event, **values})


@pytest.fixture
def here(monkeypatch):
    """Judge some requirements of one area in this process: the results document."""

    def call(worker, *ids):
        monkeypatch.setattr(Request, "timeout", 3.0)
        listener, file = Listener(), CHECKS / f"test_{ids[0].partition('-')[0].lower()}.py"
        options = f"{file} -c {CHECKS / 'pytest.ini'} --rootdir {CHECKS} --bn1d-profile quick"
        quiet = "-p no:terminal -p no:faulthandler -p no:xdist -p no:logging -s -W ignore"
        asked = ("--bn1d-worker", worker, "-k", " or ".join(ids))
        pytest.main([*options.split(), *quiet.split(), *asked], plugins=[listener])
        return results.build(results.Tally(listener.events), {"target": worker}, complete=True)

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
