"""Run the checks on a target, in processes of their own, and collect what they wrote down.

pytest-xdist keeps the subject out of this process and replaces a worker that dies; pytest's
faulthandler timeout ends a worker that hangs. It is a thread in C that needs no GIL, so a subject
that hangs in C, holding the GIL, is ended too, which a timeout in Python can't do.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from bn1d_conformance import asked, checks, device, expectations, offer, results, signals
from bn1d_conformance.documents import merge
from bn1d_conformance.plugin import STOPPED, unwritable
from bn1d_conformance.records import events
from bn1d_conformance.running.partial import Place
from bn1d_conformance.subject import TargetError
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.records import Journal

#: Variables of a pytest around this one, which have no say in a verdict.
HANDS_OFF = (
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
)
#: pytest's own plugins of which no verdict has anything. The first five cost as much as the
#: oracle: in three phases of every item they catch what is logged, printed and warned of, which
#: goes to a file here, and collect garbage five times. The others wrap every item or fixture too,
#: or import what nobody here uses.
UNUSED = (
    "logging", "capture", "warnings", "unraisableexception", "threadexception",
    "debugging", "doctest", "junitxml", "legacypath", "pastebin", "setuponly", "setupplan",
    "stepwise", "subtests", "unittest",
)  # fmt: skip
AGAIN = "rerun"  # an outcome of pytest's reports: this one says nothing
HUGE = 2**31  # values of a batch that --huge asks for, at least
GRACE = 2.0  # seconds in which a process that hung up has ended
SIGNS = {
    device.SIGN: ("crash", "lost its device"),
    "Timeout (": ("timeout", "did not return within the time limit"),
    "Segmentation fault": ("crash", "ended the process with a segmentation fault"),
    "Aborted": ("crash", "aborted the process"),
    "Illegal instruction": ("crash", "ended the process with an illegal instruction"),
    "Floating point exception": ("crash", "ended the process with an arithmetic fault"),
    "Bus error": ("crash", "ended the process with a bus error"),
}


@dataclass(frozen=True)
class Options:
    """What `bn1d run` is asked for; the defaults are the command's.

    Attributes:
        target: `module:attr`, `path/file.py:attr` or a name; of a worker, its command.
        worker: whether the target is the command of a worker.
        device: where the subject computes.
        profile: "quick", "full" or "deep".
        fail_fast: stop at the first item that a binding requirement fails in.
        jobs: processes that judge at the same time.
        select: pytest's -k.
        names: --map, as `weight=gamma`.
        seed: of the random cases.
        timeout: seconds that one item may take.
        shard: K/N, to judge part K of N; "" for all.
        expect: --expect, the path of an expectations file; "" for none.
        dialect: --dialect, as `running_var=biased`.
        spec: the minor version of the spec whose requirements are asked for.
        huge: whether there is memory for a batch of more than 2^31 values.
    """

    target: str
    device: str = "cpu"
    profile: str = "full"
    fail_fast: bool = False
    jobs: int = 1
    select: str = ""
    names: tuple[str, ...] = ()
    seed: int = 0
    timeout: float = 30.0
    shard: str = ""
    expect: str = ""
    worker: bool = False
    dialect: tuple[str, ...] = ()
    spec: str = spec.CURRENT
    huge: bool = False


class Progress(Protocol):
    """What follows a run while it goes."""

    def total(self, items: int) -> None:
        """So many items will be judged."""

    def advance(self, nodeid: str) -> None:
        """One more item has ended."""


@dataclass
class Parent:
    """The plugin of the parent process: counts items, and accounts for lost workers."""

    folder: Path
    progress: Progress
    jobs: int = 1
    started: int = 0
    items: list[str] | None = None
    ended: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    stopped: str = ""

    def pytest_configure_node(self) -> None:
        """Give up when workers die before they could even collect."""
        self.started += 1
        if self.started > self.jobs and self.items is None:
            pytest.exit("the subject can't be imported")

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Every worker collects the same items; the first to say so is enough."""
        if self.items is None:
            self.items = ids
            self.progress.total(len(ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an item when it is reported, or lost for good."""
        if report.outcome != AGAIN and report.nodeid not in self.ended:
            self.ended.add(report.nodeid)
            self.progress.advance(report.nodeid)

    def pytest_testnodedown(self, node: Any) -> None:
        """End the run if a worker says that it can't go on, and why."""
        if why := getattr(node, "workeroutput", {}).get(STOPPED):
            self._stop(why)

    def _stop(self, why: str) -> NoReturn:
        self.stopped = why
        pytest.exit(why)

    def pytest_handlecrashitem(self, crashitem: str, report: Any, sched: Any) -> None:
        """Account for a lost worker: say what it was doing, or have the item judged again.

        Nothing is said of the subject where the worker had done nothing for it yet, or was killed
        from outside: by an operator, or by a machine that is out of memory. That of an item which
        is killed again is its own.
        """
        begun = list(_last_item(self.folder / f"{report.node.gateway.id}.jsonl"))
        is_begun = bool(begun) and begun[0]["nodeid"] == crashitem
        is_killed = _killed(report.node.gateway) and crashitem not in self.again
        if begun and not is_killed:
            self._died(begun, report.node.gateway.id)
        if (not is_begun or is_killed) and crashitem not in self.again:
            # lost in the same way again, it stays open, and the run is incomplete
            self.again.add(crashitem)
            report.outcome = AGAIN
            sched.mark_test_pending(crashitem)

    def _died(self, begun: list[dict[str, Any]], worker: str) -> None:
        """Write down what the worker was doing when it was lost, and that it was."""
        verdict, how = _cause_of_death(self.folder / f"{worker}.log")
        offer.died(self.folder, worker)
        case, stage = _at_hand(begun)
        event = {
            "e": "died",
            "nodeid": begun[0]["nodeid"],
            "requirements": begun[0]["requirements"],
            "case": case,
            "verdict": verdict,
            "message": f"The subject {how}, in {stage}.",
            "cause": f"{stage} raises {verdict}",
            "says": f"the subject {how}, in {stage}",
        }
        try:
            with (self.folder / "parent.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
            offer.lose(self.folder, stage)
        except OSError as error:
            self._stop(unwritable(error))


def _killed(gateway: Any) -> bool:
    """Whether a worker was ended by a signal that no fault of its own raises."""
    child = getattr(getattr(gateway, "_io", None), "popen", None)  # execnet has no public name
    with suppress(subprocess.TimeoutExpired):
        return child is not None and signals.is_from_outside(child.wait(GRACE))
    return False


def _last_item(path: Path) -> Iterator[dict[str, Any]]:
    """The events from the last `item` on."""
    whole = [event for event in events(path) if event]
    starts = [k for k, event in enumerate(whole) if event["e"] == "item"]
    yield from whole[starts[-1] :] if starts else []


def _at_hand(begun: list[dict[str, Any]]) -> tuple[str, str]:
    """The case of an item that was begun last, and what was being done."""
    last = {event["e"]: event for event in begun}
    case = last.get("case", {"case": ""})["case"]
    stage = last.get("doing", {"stage": "finding out what it offers"})["stage"]
    return case, stage


def _cause_of_death(log: Path) -> tuple[str, str]:
    """Verdict and words, from what faulthandler left at the end of the worker's output."""
    tail = log.read_bytes()[-20000:].decode("utf-8", "replace") if log.exists() else ""
    found = [(tail.rfind(sign), sign) for sign in SIGNS if sign in tail]
    if not found:
        return "crash", "ended the process"
    place, sign = max(found)
    verdict, how = SIGNS[sign]
    said = tail[place + len(sign) :].partition("\n")[0]
    return verdict, f"{how} ({said})" if sign == device.SIGN else how


class Silent:
    """Follows a run and says nothing."""

    def total(self, items: int) -> None:
        """Nothing to say."""

    def advance(self, nodeid: str) -> None:
        """Nothing to say."""


def run(
    options: Options,
    progress: Progress | None = None,
    place: Place | None = None,
    *,
    update: bool = False,
) -> results.Result:
    """Judge a target and return the results document.

    Args:
        options: what is asked for.
        progress: follows the run.
        place: where its records lie; by default in a folder that is removed.
        update: whether to bring the expectations file up to date before it is applied.

    Raises:
        TargetError: if the target can't be judged at all.
        ExpectationsError: if the expectations file is none.
        OSError: if the records can't be written; what was judged before is in them.
    """
    if place is None:
        with tempfile.TemporaryDirectory(prefix="bn1d-") as name:
            return run(options, progress, Place(Path(name)))
    start = time.perf_counter()
    expected = _expected(options, update=update)
    parent = Parent(place.folder, progress or Silent(), options.jobs)
    status = _pytest(options, parent, place.folder)
    if parent.stopped:
        raise OSError(parent.stopped)
    ended = time.perf_counter()
    journal = place.journal()
    tally = results.Tally(journal.events())
    _refuse(options, tally, parent)
    rules = asked.requirements(options.spec, options.profile)
    stopped = options.fail_fast and tally.diverges(rules)
    place.complete = _went_through(status) and (stopped or _all_ended(parent, journal))
    whole = place.complete and not options.shard
    applied = _apply(options, expected, tally, complete=whole, update=update)
    result = results.build(tally, asdict(options), complete=whole, expected=applied)
    if options.shard:
        rows = result["requirements"]
        version, complete = options.spec, place.complete
        result["part"] = merge.summary(tally, rows, options.shard, version, complete=complete)
    now = time.perf_counter()
    result["timings"]["reporting"] = round(now - ended, 3)
    result["seconds"] = round(now - start, 3)
    return result


def _expected(options: Options, *, update: bool) -> list[expectations.Expectation]:
    """The entries of the file; of one that an update will make, none."""
    path = Path(options.expect)
    if not options.expect or (update and not path.exists()):
        return []
    return expectations.load(path)


def _apply(
    options: Options,
    expected: list[expectations.Expectation],
    tally: results.Tally,
    *,
    complete: bool,
    update: bool,
) -> expectations.Applied:
    """Compare what was expected with what was seen; with `update`, make it the same before."""
    rules = asked.requirements(options.spec, options.profile)
    whole = complete and not options.select and not options.fail_fast
    known = expectations.facts(asdict(options), tally.subject["version"])
    applied = expectations.Applied.of(expected, known, tally.seen, rules, whole=whole)
    if not update:
        return applied
    entries = expectations.refreshed(expected, applied)
    expectations.write(entries, Path(options.expect))
    return expectations.Applied.of(entries, known, tally.seen, rules, whole=whole)


def _went_through(status: int) -> bool:
    """Whether pytest came to its end; an earlier attempt may have left nothing to do."""
    ends = pytest.ExitCode
    return status in (ends.OK, ends.TESTS_FAILED, ends.NO_TESTS_COLLECTED)


def _all_ended(parent: Parent, journal: Journal) -> bool:
    """Whether everything that was asked for was written down to its end."""
    return parent.items is not None and journal.ended.keys() >= {*parent.items}


def _refuse(options: Options, tally: results.Tally, parent: Parent) -> None:
    """Say why nothing could be judged."""
    if tally.refused:
        raise TargetError(tally.refused["sentence"], tally.refused["hint"])
    if options.select and parent.items == [] and not tally.begun:
        more = ", and --profile full asks about all of them" * (options.profile == "quick")
        raise TargetError(
            f"-k {options.select!r} selects no check.", f"bn1d list shows the ids{more}."
        )
    if not tally.subject:
        logs = sorted(parent.folder.glob("gw*.log"))
        _, how = _cause_of_death(logs[-1]) if logs else ("", "ended the process")
        if options.worker:
            raise TargetError(
                f"Greeting the worker {how}.", "Run bn1d smoke to see how far it comes."
            )
        raise TargetError(
            f"Importing {options.target.rpartition(':')[0] or options.target} {how}.",
            "The module must be importable without side effects of this kind.",
        )


def _pytest(options: Options, parent: Parent, folder: Path) -> int:
    """Judge the target in workers outside of this process."""
    arguments = [
        "-p", "xdist", "-n", str(options.jobs), "--max-worker-restart", "100",
        "-o", f"faulthandler_timeout={options.timeout}",
        "--bn1d-worker" if options.worker else "--bn1d-subject", options.target,
        "--bn1d-device", options.device,
        "--bn1d-profile", options.profile, "--bn1d-seed", str(options.seed),
        "--bn1d-spec", options.spec, "--bn1d-records", str(folder),
    ]  # fmt: skip
    arguments += [word for pair in options.names for word in ("--bn1d-map", pair)]
    arguments += [word for pair in options.dialect for word in ("--bn1d-dialect", pair)]
    arguments += ["-k", options.select] if options.select else []
    arguments += ["--bn1d-shard", options.shard] if options.shard else []
    arguments += ["-x"] if options.fail_fast else []
    arguments += ["--bn1d-huge", str(HUGE)] if options.huge else []
    os.environ.setdefault(*_threads(options.profile))
    return call_pytest(arguments, parent)


def _threads(profile: str) -> tuple[str, str]:
    """The variable that says how OpenMP's threads share the processors, and its value.

    Small cases have one thread: more would wait for each other. `deep` has large ones, and threads
    that sleep while they wait. Where there are fewer processors than threads, as with `-j` or on a
    busy machine, one that spins holds up the one that it waits for: a pass of milliseconds took
    half a minute, which is a timeout.
    """
    return ("OMP_WAIT_POLICY", "PASSIVE") if profile == "deep" else ("OMP_NUM_THREADS", "1")


def call_pytest(arguments: list[str], own: object) -> int:
    """Run the checks by pytest in this process, with a plugin; nothing of the user's has a say."""
    folder = Path(checks.__file__).parent
    always = [
        "--pyargs", "bn1d_conformance.checks", "-c", str(folder / "pytest.ini"),
        "--rootdir", str(folder), "-p", "bn1d_conformance.plugin", "-p", "no:terminal",
        *(word for name in UNUSED for word in ("-p", f"no:{name}")),
    ]  # fmt: skip
    kept = {k: os.environ.pop(k, None) for k in HANDS_OFF}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        return int(pytest.main([*always, *arguments], plugins=[own]))
    finally:
        os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        os.environ.update({k: v for k, v in kept.items() if v is not None})
