"""The pytest plugin: options, the `trial` fixture, what applies, and the records of a run.

It is loaded into every pytest session where the kit is installed, so it imports neither NumPy
nor a framework until a check runs.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bn1d_conformance import parts
from bn1d_conformance.plugin import selection
from bn1d_conformance.records import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.trial import Memory, Trial

PROFILES = ("quick", "full", "deep")
MEMORY = pytest.StashKey["Memory | None"]()
RECORDER = pytest.StashKey[Recorder]()
STOPPED = "bn1d_stopped"  # why a worker stopped, among what xdist hands to the parent
REFUSED = "bn1d_refused"  # why it could not begin, beside that
PLACE = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of both doors; `--bn1d-records` is for `bn1d run`."""
    group = parser.getgroup("bn1d", "BatchNorm1d conformance")
    group.addoption("--bn1d-subject", metavar="TARGET", help="as for bn1d run")
    group.addoption("--bn1d-worker", metavar="COMMAND", help="start it, and judge what it serves")
    group.addoption("--bn1d-profile", choices=PROFILES, default="full", help="how much to try")
    group.addoption("--bn1d-seed", type=int, help="of the random cases; a new one in deep, else 0")
    group.addoption("--bn1d-device", default="cpu", help="where the subject computes")
    group.addoption(
        "--bn1d-map",
        action="append",
        default=[],
        metavar="weight=gamma",
        help="what the subject calls it",
    )
    group.addoption(
        "--bn1d-dialect",
        action="append",
        default=[],
        metavar="running_var=biased",
        help="a documented convention of the subject's",
    )
    group.addoption("--bn1d-spec", metavar="VERSION", help="only what it asks, for example 0.1")
    group.addoption("--bn1d-huge", type=int, default=0, metavar="N", help="a batch of N values")
    group.addoption("--bn1d-shard", type=parts.shard, metavar="K/N", help="only part K of N")
    group.addoption("--bn1d-records", type=Path, metavar="DIR", help="write the run's events here")


@pytest.hookimpl(tryfirst=True)  # before faulthandler takes hold of stderr
def pytest_configure(config: pytest.Config) -> None:
    """Open this process's records; a worker of `bn1d run` also sends its output to a file."""
    config.addinivalue_line("markers", "requirement(*ids): what a check judges")
    config.addinivalue_line("markers", "needs(*capabilities): besides what its requirements need")
    config.addinivalue_line("markers", "huge: only where --bn1d-huge says that there is memory")
    if config.option.bn1d_seed is None:  # workers of xdist are given the options as they are now
        config.option.bn1d_seed = fresh_seed(config.option.bn1d_profile)
    folder, worker = config.getoption("--bn1d-records"), _worker(config)
    path = folder / f"{worker}.jsonl" if folder and worker else None
    config.stash[RECORDER] = Recorder(path, functools.partial(_stop, config))
    if folder and worker:
        _redirect(folder / f"{worker}.log")
        config.pluginmanager.import_plugin("bn1d_conformance.plugin.brief")
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the run means no subject


def _stop(config: pytest.Config, error: OSError) -> NoReturn:
    """End the run of a worker that can't write down what it sees, and tell the parent why."""
    getattr(config, "workeroutput", {})[STOPPED] = unwritable(error)
    pytest.exit(unwritable(error))


def unwritable(error: OSError) -> str:
    """Why a run stops that can't write down what it sees."""
    return f"the records of the run can't be written: {error.strerror}"


def fresh_seed(profile: str) -> int:
    """Where a run's random cases come from if nobody says: chance in `deep`, else 0."""
    return secrets.randbelow(2**31) if profile == "deep" else 0


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is judged, and how to draw the same cases again."""
    option = config.getoption
    if not (target := _target(config)):
        return None
    profile, seed = option("--bn1d-profile"), option("--bn1d-seed")
    return f"bn1d: {target}, --bn1d-profile {profile} --bn1d-seed {seed}"


def _target(config: pytest.Config) -> str:
    """What is judged, in the user's words; "" where nothing is."""
    return str(config.getoption("--bn1d-worker") or config.getoption("--bn1d-subject") or "")


def _worker(config: pytest.Config) -> str:
    """The name of this process among the workers of a run; "" in the parent, or without any."""
    return str(getattr(config, "workerinput", {}).get("workerid", ""))


def _redirect(log: Path) -> None:
    """Send what the subject prints, from Python or from C, to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Any:
    """Count the time of collecting; importing the subject counts for itself."""
    if not _target(session.config):
        return (yield)
    from bn1d_conformance import clock  # noqa: PLC0415

    with clock.of("collection"):
        return (yield)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let -k select by requirement: the ids are what users see."""
    item.extra_keyword_matches.update(selection.ids(item))


@pytest.hookimpl(trylast=True)  # after -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the checks in order; keep this part's, and none where the subject cannot be judged."""
    checks = [item for item in items if item.get_closest_marker("requirement")]
    if not checks:
        return
    memory = _memory(config)
    others = [item for item in items if not item.get_closest_marker("requirement")]
    if memory is None:
        config.hook.pytest_deselected(items=checks)
        items[:] = others
        return
    checks.sort(key=selection.order)
    for place, item in enumerate(checks):
        item.stash[PLACE] = place
    shard, folder = config.getoption("--bn1d-shard"), config.getoption("--bn1d-records")
    left = selection.left(checks, shard, folder)
    asked = [item for item in left if memory.rules.keys() & selection.ids(item)]
    small = not config.getoption("--bn1d-huge")
    kept = [item for item in asked if not (small and item.get_closest_marker("huge"))]
    judged = set(kept)
    config.hook.pytest_deselected(items=[item for item in checks if item not in judged])
    items[:] = kept + others


def _memory(config: pytest.Config) -> Memory | None:
    """Load the subject, once a process; None where it was refused."""
    if MEMORY not in config.stash:
        config.stash[MEMORY] = _load(config)
    return config.stash[MEMORY]


def _load(config: pytest.Config) -> Memory | None:
    """Load the subject; where it is refused, see to it that whoever reads this run hears why."""
    from bn1d_conformance.plugin import loading  # noqa: PLC0415
    from bn1d_conformance.subject import TargetError  # noqa: PLC0415

    try:
        return loading.memory(config, _target(config), _worker(config), config.stash[RECORDER])
    except TargetError as error:
        if config.getoption("--bn1d-records"):
            return None
        if _worker(config):  # what it raises while it collects is heard by nobody
            config.workeroutput[REFUSED] = f"{error} {error.hint}"  # type: ignore[attr-defined]
            return None
        raise pytest.UsageError(f"{error} {error.hint}") from None


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_testnodedown(node: Any) -> None:
    """Say what a worker could not: that the subject can't be judged, and why."""
    if why := getattr(node, "workeroutput", {}).get(REFUSED):
        pytest.exit(why, pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Let a subject get ready before the item's time runs: pytest's watch is set further in."""
    memory = item.config.stash.get(MEMORY, None)
    if memory:
        getattr(memory.subject, "prepare", lambda: None)()
    return (yield)


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """What a check judges with; the item fails if any of its requirements does."""
    from bn1d_conformance.trial import Trial  # noqa: PLC0415

    memory = _memory(request.config)
    if memory is None:
        pytest.skip("the subject was refused")
    ids, start = selection.ids(request.node), time.perf_counter()
    node, place = request.node.nodeid, request.node.stash.get(PLACE, 0)
    memory.recorder.write("item", nodeid=node, requirements=ids, place=place)
    try:
        _count_losses(memory)
        _skip_unless_applicable(request.node, memory, ids)
        yield Trial(memory, ids)
    finally:
        seconds = round(time.perf_counter() - start, 4)
        memory.recorder.write("end", requirements=ids, seconds=seconds)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Fail the item, once all of its cases are judged; what binds nobody is an xfail."""
    result = yield
    running: Any = pyfuncitem.funcargs.get("trial")
    if running is not None and running.failures:
        if not running.diverges:
            pytest.xfail(running.report())
        pytest.fail(running.report(), pytrace=False)
    return result


def _skip(memory: Memory, ids: tuple[str, ...], verdict: str, why: str) -> None:
    memory.recorder.write("skip", requirements=ids, verdict=verdict, why=why)
    pytest.skip(why)


def _count_losses(memory: Memory) -> None:
    """Read what has cost a process so far: the parent adds a line at every loss."""
    lost = memory.folder / "lost" if memory.folder else None
    if lost and lost.exists():
        memory.lost = Counter(json.loads(line) for line in lost.read_text().splitlines())


def _skip_unless_applicable(item: pytest.Item, memory: Memory, ids: tuple[str, ...]) -> None:
    """Skip a check none of whose requirements applies, or that asks for more than there is."""
    from bn1d_reference import spec  # noqa: PLC0415

    if memory.offer is None:
        _skip(memory, ids, "not-run", "asking what the subject offers ended the process")
    has = memory.capabilities
    asked = {c for mark in item.iter_markers("needs") for c in mark.args}
    needed = {i: set(spec.requirements()[i].needs) | asked for i in ids}
    lacking = {i: needs - has for i, needs in needed.items() if needs - has}
    if not lacking:
        return
    why = f"the subject does not offer: {', '.join(sorted(set.union(*lacking.values())))}"
    if len(lacking) == len(needed):
        _skip(memory, ids, "not-applicable", why)
    memory.recorder.write("skip", requirements=[*lacking], verdict="not-applicable", why=why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Record an exception that is not the subject's: the kit's own error."""
    report = yield
    memory = item.config.stash.get(MEMORY, None)
    expected = (pytest.fail.Exception, pytest.skip.Exception)
    if memory and call.excinfo and not call.excinfo.errisinstance(expected):
        said = f"{call.excinfo.typename}: {call.excinfo.value}"[:500]
        memory.recorder.write(
            "error", nodeid=item.nodeid, requirements=selection.ids(item), said=said
        )
    if report.failed and item.config.getoption("--bn1d-records"):
        report.longrepr = None  # the records have it, and what crosses to the parent must be UTF-8
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Record where the time went, and take leave of a subject that expects it."""
    memory = session.config.stash.get(MEMORY, None)
    if memory:
        from bn1d_conformance import clock  # noqa: PLC0415

        spent = {name: round(seconds, 4) for name, seconds in clock.spent.items()}
        memory.recorder.write("spent", seconds=spent)
        getattr(memory.subject, "close", lambda: None)()
