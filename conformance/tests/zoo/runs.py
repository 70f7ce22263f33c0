"""Runs of the checks in this process, to spare the start of another, and the zoo's modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from bn1d_conformance import checks, plugin, records, results
from bn1d_conformance.running.run import Options

ZOO = Path(__file__).parent
CHECKS = Path(checks.__file__).parent


def from_zoo(*patterns):
    """Import the modules of the zoo, which find each other as scripts in one folder do."""
    names = sorted(path.stem for pattern in patterns for path in ZOO.glob(f"{pattern}.py"))
    sys.path.insert(0, str(ZOO))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(ZOO))


class Listener(records.Recorder):
    """Keeps the events of a run in this process, where a worker would write them to a file."""

    def __init__(self):
        super().__init__(None)
        self.events = []

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config):
        config.stash[plugin.RECORDER] = self

    def write(self, event, **values):
        self.events.append({"e": event, **values})


def here(target, select="", profile="quick"):
    """The results document of the checks that match, run in this process."""
    subject = ("--bn1d-profile", profile, "--bn1d-subject", target, "-k", select)
    tally = tallied("--pyargs", "bn1d_conformance.checks", *subject)
    asked = vars(Options(target, profile=profile))
    return results.build(tally, asked, complete=True, seconds=0.0)


def tallied(*arguments):
    """What pytest with these arguments sees, in this process."""
    listener = Listener()
    call_pytest(*arguments, plugins=[listener])
    return results.Tally(listener.events)


def call_pytest(*arguments, plugins=()):
    options = f"-c {CHECKS / 'pytest.ini'} --rootdir {CHECKS}"
    quiet = "-p no:terminal -p no:faulthandler -p no:xdist -p no:logging -s -W ignore"
    return pytest.main([*options.split(), *quiet.split(), *arguments], plugins=[*plugins])
