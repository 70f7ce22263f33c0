"""From the options of a pytest session to what its checks share: subject, seed, what is asked."""

from __future__ import annotations

import faulthandler
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bn1d_conformance import asked, clock, dialect, keep, targets
from bn1d_conformance.subject import Request, TargetError
from bn1d_conformance.trial import Memory
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bn1d_conformance.records import Recorder
    from bn1d_conformance.subject import Subject

IMPORT_TIMEOUT = 30.0  # seconds that importing a target may take, at least


def memory(config: pytest.Config, target: str, worker: str, recorder: Recorder) -> Memory:
    """Load the subject, and write down that it was loaded or refused.

    Args:
        config: has the options.
        target: what is judged, in the user's words.
        worker: the name of this process among those of a run; "" where it is none.
        recorder: of this process.

    Raises:
        TargetError: if the subject can't be judged.
        pytest.UsageError: if there is no such version of the spec.
    """
    option = config.getoption
    profile, folder = option("--bn1d-profile"), option("--bn1d-records")
    recorder.write("loading")
    try:
        subject = _subject(config, target, watched=bool(folder))
        declared = {**subject.dialect, **_pairs(option("--bn1d-dialect"))}
        dialect.check(declared)
    except TargetError as error:
        recorder.write("refused", sentence=str(error), hint=error.hint)
        raise
    recorder.write("loaded", **_described(subject, declared))
    return Memory(
        subject,
        profile,
        option("--bn1d-seed"),
        recorder,
        folder,
        worker,
        store=_store(profile),
        dialect=dialect.differing(declared),
        rules=rules(option("--bn1d-spec"), profile),
    )


def _subject(config: pytest.Config, target: str, *, watched: bool) -> Subject:
    """Import the target; one that hangs ends the process, where a run would notice."""
    if watched:  # no item runs yet, so pytest's own watch is not set
        patience = max(IMPORT_TIMEOUT, float(config.getini("faulthandler_timeout")))
        faulthandler.dump_traceback_later(patience, exit=True, file=2)
    try:
        with clock.of("import"), _made_for_good():
            return targets.load(_request(config, target))
    finally:
        faulthandler.cancel_dump_traceback_later()


def _request(config: pytest.Config, target: str) -> Request:
    option = config.getoption
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


def _timeout(config: pytest.Config) -> float:
    """Seconds that pytest gives an item; 0 for as many as it takes."""
    watched = config.pluginmanager.hasplugin("faulthandler")
    return float(config.getini("faulthandler_timeout")) if watched else 0.0


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


def _described(subject: Subject, declared: Mapping[str, str]) -> dict[str, object]:
    """What the records say of a subject that was loaded."""
    return {
        "name": subject.name,
        "version": subject.version,
        "adapter": subject.adapter,
        "dialect": declared,
        "language": getattr(subject, "language", "Python"),
        "homepage": getattr(subject, "homepage", ""),
        "device": getattr(subject, "device_name", ""),
    }


def _pairs(words: list[str]) -> dict[str, str]:
    """What stands before and after the sign of each `name=value`."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _store(profile: str) -> keep.Store | None:
    """Where the oracle's answers are kept; not those to what `deep` draws: none comes again."""
    home = None if profile == "deep" else keep.folder()
    return keep.Store(home) if home else None


def rules(version: str | None, profile: str) -> Mapping[str, spec.Requirement]:
    """What is asked for.

    Raises:
        pytest.UsageError: if there is no such version of the spec.
    """
    try:
        return asked.requirements(version or spec.CURRENT, profile)
    except spec.SpecError as error:
        raise pytest.UsageError(f"--bn1d-spec: {error}.") from None
