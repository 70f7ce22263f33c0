"""The pytest plugin: options, the `trial` fixture, what applies, and the records of a run.

It is loaded into every pytest session where the kit is installed, so it imports neither NumPy
nor a framework until a check runs.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import json
import os
import secrets
import signal
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bn1d_conformance import parts
from bn1d_conformance.records import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bn1d_conformance.keep import Store
    from bn1d_conformance.trial import Memory, Trial
    from bn1d_reference.spec import Requirement

IMPORT_TIMEOUT = 30.0  # seconds that importing a target may take, at least
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
        config.pluginmanager.import_plugin("bn1d_conformance.brief")
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
    item.extra_keyword_matches.update(_ids(item))


@pytest.hookimpl(trylast=True)  # after -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the checks in order; keep this part's, and none where the subject cannot be judged."""
    checks = [item for item in items if item.get_closest_marker("requirement")]
    if not checks:
        return
    memory = _memory(config)
    if memory is None:
        config.hook.pytest_deselected(items=checks)
        items[:] = [i for i in items if i not in set(checks)]
        return
    checks.sort(key=_order)
    for place, item in enumerate(checks):
        item.stash[PLACE] = place
    left = [item for item in _left(config, checks) if memory.rules.keys() & _ids(item)]
    small = not config.getoption("--bn1d-huge")
    kept = [item for item in left if not (small and item.get_closest_marker("huge"))]
    config.hook.pytest_deselected(items=[i for i in checks if i not in set(kept)])
    items[:] = kept + [i for i in items if i not in set(checks)]


def _left(config: pytest.Config, checks: list[pytest.Item]) -> list[pytest.Item]:
    """The checks of this part that no earlier attempt at the run has judged."""
    shard, folder = config.getoption("--bn1d-shard"), config.getoption("--bn1d-records")
    mine = parts.split(checks, _group, *shard) if shard else checks
    done = folder / "done" if folder else None
    if not (done and done.exists()):
        return mine
    judged = set(json.loads(done.read_text("utf-8")))
    return [item for item in mine if item.nodeid not in judged]


def _group(item: pytest.Item) -> object:
    """What is judged in one place, because it shares answers: a family, or one check's cases."""
    family = _order(item)[:3]
    return family if family[0] else item.nodeid.partition("[")[0]


def _order(item: pytest.Item) -> tuple[str, int, int, int]:
    """Single checks in the order of the spec; then the families, each with all its areas.

    The checks of a family ask the same questions, one after another, and share the answers.
    """
    from bn1d_conformance.numbers import FORMATS  # noqa: PLC0415
    from bn1d_reference.spec import AREAS  # noqa: PLC0415

    values = getattr(item, "callspec", None)
    params = values.params if values and "family" in values.params else {}
    area = AREAS.index(_ids(item)[0].rpartition("-")[0])
    fmt = FORMATS.index(params["fmt"]) if params else 0
    return (params.get("family", ""), fmt, params.get("rank", 0), area)


def _memory(config: pytest.Config) -> Memory | None:
    """Load the subject, once a process; None where it was refused."""
    if MEMORY not in config.stash:
        config.stash[MEMORY] = _load(config)
    return config.stash[MEMORY]


def _load(config: pytest.Config) -> Memory | None:
    from bn1d_conformance import clock, dialect, targets  # noqa: PLC0415
    from bn1d_conformance.subject import TargetError  # noqa: PLC0415
    from bn1d_conformance.trial import Memory  # noqa: PLC0415

    recorder = config.stash[RECORDER]
    recorder.write("loading")
    if config.getoption("--bn1d-records"):  # no item runs yet, so pytest's own watch is not set
        patience = max(IMPORT_TIMEOUT, float(config.getini("faulthandler_timeout")))
        faulthandler.dump_traceback_later(patience, exit=True, file=2)
    try:
        with clock.of("import"), _made_for_good():
            subject = targets.load(_request(config))
        declared = {**subject.dialect, **_pairs(config.getoption("--bn1d-dialect"))}
        dialect.check(declared)
    except TargetError as error:
        recorder.write("refused", sentence=str(error), hint=error.hint)
        if config.getoption("--bn1d-records"):
            return None
        if _worker(config):  # what it raises while it collects is heard by nobody
            config.workeroutput[REFUSED] = f"{error} {error.hint}"  # type: ignore[attr-defined]
            return None
        raise pytest.UsageError(f"{error} {error.hint}") from None
    finally:
        faulthandler.cancel_dump_traceback_later()
    recorder.write(
        "loaded",
        name=subject.name,
        version=subject.version,
        adapter=subject.adapter,
        dialect=declared,
        language=getattr(subject, "language", "Python"),
        homepage=getattr(subject, "homepage", ""),
        device=getattr(subject, "device_name", ""),
    )
    option = config.getoption
    return Memory(
        subject,
        option("--bn1d-profile"),
        option("--bn1d-seed"),
        recorder,
        option("--bn1d-records"),
        _worker(config),
        store=_store(option("--bn1d-profile")),
        dialect=dialect.differing(declared),
        rules=_rules(option("--bn1d-spec"), option("--bn1d-profile")),
    )


@contextmanager
def _made_for_good() -> Iterator[None]:
    """Look through nothing that an import makes for garbage, now or later: it stays.

    PyTorch's import leaves some 300,000 objects, which every full collection would go through.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_testnodedown(node: Any) -> None:
    """Say what a worker could not: that the subject can't be judged, and why."""
    if why := getattr(node, "workeroutput", {}).get(REFUSED):
        pytest.exit(why, pytest.ExitCode.USAGE_ERROR)


def _rules(version: str | None, profile: str) -> Mapping[str, Requirement]:
    """What is asked for."""
    from bn1d_conformance import asked  # noqa: PLC0415
    from bn1d_reference import spec  # noqa: PLC0415

    try:
        return asked.requirements(version or spec.CURRENT, profile)
    except spec.SpecError as error:
        raise pytest.UsageError(f"--bn1d-spec: {error}.") from None


def _store(profile: str) -> Store | None:
    """Where the oracle's answers are kept; not those to what `deep` draws: none comes again."""
    from bn1d_conformance import keep  # noqa: PLC0415

    home = None if profile == "deep" else keep.folder()
    return keep.Store(home) if home else None


def _request(config: pytest.Config) -> Any:
    from bn1d_conformance.subject import Request, TargetError  # noqa: PLC0415

    target, option = _target(config), config.getoption
    if not target:
        hint = "Give --bn1d-subject module:attr, for example torch.nn:BatchNorm1d."
        raise TargetError("There is no subject to judge.", hint)
    return Request(
        target,
        option("--bn1d-device"),
        names=_pairs(option("--bn1d-map")),
        worker=bool(option("--bn1d-worker")),
        timeout=_timeout(config) or Request.timeout,
    )


def _pairs(words: list[str]) -> dict[str, str]:
    """What stands before and after the sign of each `name=value`."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _timeout(config: pytest.Config) -> float:
    """Seconds that pytest gives an item; 0 for as many as it takes."""
    watched = config.pluginmanager.hasplugin("faulthandler")
    return float(config.getini("faulthandler_timeout")) if watched else 0.0


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
    ids, start = _ids(request.node), time.perf_counter()
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


def _ids(item: pytest.Item) -> tuple[str, ...]:
    return tuple(i for mark in item.iter_markers("requirement") for i in mark.args)


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
        memory.recorder.write("error", nodeid=item.nodeid, requirements=_ids(item), said=said)
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
