"""Many subjects judged in one collected pytest session: each in a fork, up to its first failure.

What a mutant costs is its own answers alone. Torch is imported, the checks are collected and the
oracle has answered, before the fork.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import pytest

from bn1d_conformance import asked, cases, plugin, records, targets, trial
from bn1d_conformance.plugin import selection
from bn1d_conformance.running.run import call_pytest
from bn1d_conformance.subject import Request
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Tell = Callable[[tuple[str, Any]], object]

PROFILES = ("quick", "full")
FORK = multiprocessing.get_context("fork")


@dataclass
class Outcome:
    """What became of a subject.

    Attributes:
        verdict: "alive", or how the requirement failed: "fail", "crash", "timeout"; "error" for
            a fault of the kit's own.
        requirement: the first binding one that failed, or another if none did; "" for none.
        profile: in which it failed.
        said: the words of an error.
    """

    verdict: str = "alive"
    requirement: str = ""
    profile: str = ""
    said: str = ""


class Clerk(records.Recorder):
    """Tells of each item that begins, each requirement that fails, and the kit's own errors."""

    def __init__(self, tell: Tell) -> None:
        """Keep nothing: everything is told."""
        super().__init__(None)
        self.tell = tell

    def write(self, event: str, **values: Any) -> None:
        """Tell what decides an outcome."""
        if event == "item":
            self.tell(("item", values["requirements"]))
        elif event == "judged" and not values["passed"]:
            self.tell(("fail", values["requirement"]))
        elif event == "error":
            self.tell(("error", values["said"]))


class Session:
    """The plugin that takes the place of pytest's own loop over the items."""

    def __init__(self, work: Callable[[Session], None]) -> None:
        """`work` is done when the checks are collected."""
        self.work = work
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do the work instead."""
        self.items = session.items
        self.memory = session.config.stash[plugin.MEMORY]
        self.config = session.config
        self.work(self)
        return True

    def judge(self, path: Path, profile: str, tell: Tell, first: str = "") -> None:
        """Judge the BatchNorm1d of a file in this process, by the checks of `first` first."""
        target = f"{path}:BatchNorm1d"
        rules = asked.requirements(spec.CURRENT, profile)
        self.config.stash[plugin.MEMORY] = replace(
            self.memory, subject=targets.load(Request(target)), profile=profile,
            recorder=Clerk(tell), steps=OrderedDict(), facts={}, lost=Counter(), rules=rules,
        )  # fmt: skip
        about = [item for item in self.items if rules.keys() & selection.ids(item)]
        items = sorted(about, key=partial(_distance, first))
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _distance(first: str, item: pytest.Item) -> int:
    """0 for a check of the requirement, 1 for one of its area, 2 for any other."""
    ids = selection.ids(item)
    areas = {i.rpartition("-")[0] for i in ids}
    return 0 if first in ids else 1 if first.rpartition("-")[0] in areas else 2


def session(original: Path, work: Callable[[Session], None]) -> None:
    """Collect the checks on a subject that conforms, and do the work among them."""
    remember_all()
    quiet = ("-W", "ignore", "-p", "no:faulthandler", "-p", "no:logging")
    call_pytest(["--bn1d-subject", f"{original}:BatchNorm1d", *quiet], Session(work))


def remember_all() -> None:
    """Forget no case and no answer of the oracle's: every subject is asked the same questions."""
    trial.KEPT = 1_000_000
    cases.family = lru_cache(maxsize=None)(cases.family.__wrapped__)
    cases.drawn = lru_cache(maxsize=None)(cases.drawn.__wrapped__)


@dataclass
class Judgement:
    """A subject that is being judged in a fork."""

    session: Session
    profiles: tuple[str, ...]
    patience: float  # seconds without a message
    ident: str
    path: Path
    first: str = ""  # the requirement that is judged first
    outcome: Outcome = field(default_factory=Outcome)
    lesser: Outcome | None = None  # of a requirement that binds nobody
    item: tuple[str, ...] = ()

    def start(self) -> Judgement:
        """Fork."""
        self.pipe, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self._work, args=(theirs,))
        self.process.start()
        theirs.close()
        self.deadline = time.monotonic() + self.patience
        return self

    def _work(self, pipe: Connection) -> None:
        """In the fork: judge in both profiles, as long as nobody ends it."""
        for profile in self.profiles:
            pipe.send(("profile", profile))
            self.session.judge(self.path, profile, pipe.send, self.first)
        pipe.send(("end", ""))

    def hear(self) -> bool:
        """Take one message; return whether it was the last that matters."""
        self.deadline = time.monotonic() + self.patience
        try:
            kind, value = self.pipe.recv()
        except EOFError:
            return self._over("crash", self._binding())
        if kind == "profile":
            self.outcome.profile = value
        elif kind == "item":
            self.item = value
        elif kind == "error":
            self.outcome.said = value
            return self._over("error", self._binding())
        elif kind == "fail" and spec.requirements()[value].binding:
            return self._over("fail", value)
        elif kind == "fail":
            self.lesser = self.lesser or replace(self.outcome, verdict="fail", requirement=value)
        over = kind == "end" or (kind == "profile" and self.lesser is not None)
        self.outcome = self.lesser if over and self.lesser else self.outcome
        return over

    def late(self) -> bool:
        """Whether it has said nothing for too long."""
        return time.monotonic() > self.deadline and self._over("timeout", self._binding())

    def end(self) -> None:
        """End the process, wherever it is."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _over(self, verdict: str, requirement: str) -> bool:
        self.outcome = replace(self.outcome, verdict=verdict, requirement=requirement)
        return True

    def _binding(self) -> str:
        """The requirement at hand: the first of the item's that binds."""
        return next((i for i in self.item if spec.requirements()[i].binding), "")


def judge_all(
    subjects: Iterable[tuple[str, Path, str]],
    begin: Callable[[str, Path, str], Judgement],
    jobs: int,
) -> Iterator[tuple[str, Outcome]]:
    """Judge (id, file, requirement to begin with), `jobs` at a time; yield ids and outcomes."""
    waiting = iter(subjects)
    running: dict[Connection, Judgement] = {}
    while True:
        while len(running) < jobs and (following := next(waiting, None)):
            begun = begin(*following).start()
            running[begun.pipe] = begun
        if not running:
            return
        ready = wait(list(running), timeout=1)
        for judged in list(running.values()):
            if (judged.pipe in ready and judged.hear()) or judged.late():
                del running[judged.pipe]
                judged.end()
                yield judged.ident, judged.outcome
