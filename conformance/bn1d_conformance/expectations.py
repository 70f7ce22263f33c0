"""The file of `bn1d run --expect`: what a maintainer knows to fail, and why.

    [[expect]]
    requirement = "INPUT-1"            # or case = "momentum/*", or both
    reason = "TorchScript raises torch.jit.Error for every exception."
    url = "https://example.org/issue"  # optional
    when = { profile = ["full", "deep"], device = "cuda*" }  # optional: all of them hold

An entry takes part where its condition holds. It must be met: one that nothing fails of, or that
names nothing which was judged, is out of date, and fails the run.
"""

from __future__ import annotations

import fnmatch
import json
import platform
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bn1d_conformance import bounded, files
from bn1d_conformance.bounded import printable, short
from bn1d_reference import spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

    #: By requirement and case: whether it held, every time.
    Seen = Mapping[str, Mapping[str, bool]]

CONDITIONS = ("device", "profile", "version", "system", "machine", "python")
MOST_BYTES = 2**20  # of a file
MOST_ENTRIES = 1000  # of a file
KEYS = ("requirement", "case", "reason", "url", "when")
TODO = "TODO: say why"
#: What became of an entry: something that it names failed; all of it passed; none of it was
#: judged, in a run of everything; or in a run of less, which says nothing about the file.
MET, PASSES, NO_MATCH, NOT_ASKED = "met", "passes", "no-match", "not-asked"
OUT_OF_DATE = (PASSES, NO_MATCH)


class ExpectationsError(ValueError):
    """A file that is none: one sentence that names it, and where in it."""


@dataclass(frozen=True)
class Expectation:
    """One entry.

    Attributes:
        requirement: an id; "" for any.
        case: a pattern of case ids, as for fnmatch; "" for any.
        reason: why it fails, for whoever reads the results.
        url: where that is discussed.
        when: patterns by the name of a condition, one of which must match.
    """

    requirement: str = ""
    case: str = ""
    reason: str = TODO
    url: str = ""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[Any, ...]:
        """What it is about; no two entries of a file may be about the same."""
        return self.requirement, self.case, tuple(sorted(self.when.items()))

    @property
    def name(self) -> str:
        """What it is about, for a sentence."""
        return " ".join(filter(None, (self.requirement, self.case)))

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether its condition does."""
        return all(
            any(fnmatch.fnmatchcase(facts[name], pattern) for pattern in patterns)
            for name, patterns in self.when.items()
        )

    def covers(self, ident: str, case: str) -> bool:
        """Whether it is about this case of this requirement."""
        about = self.requirement in {"", ident}
        return about and (not self.case or fnmatch.fnmatchcase(case, self.case))


@dataclass(frozen=True)
class Applied:
    """The entries that take part in a run, and what the run saw.

    Attributes:
        entries: those whose conditions hold.
        seen: by requirement and case, whether the case held.
        whole: whether everything was asked for, and judged to the end.
    """

    entries: Sequence[Expectation] = ()
    seen: Seen = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def of(
        cls,
        entries: Sequence[Expectation],
        known: Mapping[str, str],
        seen: Seen,
        asked: Container[str],
        *,
        whole: bool,
    ) -> Applied:
        """Take the entries whose conditions hold of these facts, about what is asked."""
        about = [e for e in entries if not e.requirement or e.requirement in asked]
        return cls(tuple(e for e in about if e.holds(known)), seen, whole)

    def outcome(self, entry: Expectation) -> str:
        """What became of an entry."""
        held = [
            ok for i, cases in self.seen.items() for c, ok in cases.items() if entry.covers(i, c)
        ]
        if not all(held):
            return MET
        if not self.whole:
            return NOT_ASKED
        return PASSES if held else NO_MATCH

    @cached_property
    def stale(self) -> list[Expectation]:
        """The entries that nothing fails of."""
        return [e for e in self.entries if self.outcome(e) == PASSES]

    def covered(self, ident: str) -> set[str]:
        """The cases of a requirement that some entry is about."""
        cases = self.seen.get(ident, {})
        return {c for c in cases if any(e.covers(ident, c) for e in self.entries)}

    def unexpected(self, ident: str) -> set[str]:
        """The failing cases of a requirement that no entry is about."""
        failing = {case for case, ok in self.seen.get(ident, {}).items() if not ok}
        return failing - self.covered(ident)

    def verdict(self, ident: str, verdict: str) -> str:
        """The verdict on a requirement, by what was expected of its cases."""
        cases = self.seen.get(ident, {})
        if not all(cases.values()) and not self.unexpected(ident):
            return "expected-fail"
        stale = self.stale
        if verdict == "pass" and any(e.covers(ident, case) for e in stale for case in cases):
            return "unexpected-pass"
        return verdict

    def rows(self) -> list[dict[str, Any]]:
        """What the results file says of the entries."""
        return [
            {**{key: getattr(e, key) for key in KEYS[:-1]}, "outcome": self.outcome(e)}
            for e in self.entries
        ]


def facts(options: Mapping[str, Any], version: str) -> dict[str, str]:
    """What a condition can ask about a run.

    Args:
        options: the run's.
        version: the subject's.
    """
    return {
        "device": options["device"],
        "profile": options["profile"],
        "version": version,
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def load(path: Path) -> list[Expectation]:
    """Read a file of expectations.

    Raises:
        ExpectationsError: if it can't be read or an entry says nothing that could be met.
    """
    try:
        document = tomllib.loads(bounded.read(path, MOST_BYTES).decode())
    except RecursionError:
        raise ExpectationsError(f"{path} can't be read as TOML: it is nested too deep.") from None
    except (OSError, ValueError) as error:
        said = printable(error)[:200].rstrip(".")
        raise ExpectationsError(f"{path} can't be read as TOML: {said}.") from None
    rows = document.pop("expect", [])
    if document or not isinstance(rows, list):
        raise ExpectationsError(f"{path} holds something else than tables [[expect]].")
    if len(rows) > MOST_ENTRIES:
        said = f"{len(rows)} entries, more than the {MOST_ENTRIES} that are read"
        raise ExpectationsError(f"{path} has {said}.")
    entries = [_entry(row, f"{path}, entry {k}") for k, row in enumerate(rows, 1)]
    places: set[Any] = set()
    for k, entry in enumerate(entries, 1):
        if entry.place in places:
            raise ExpectationsError(f"{path}, entry {k}: {short(entry.name)} is there twice.")
        places.add(entry.place)
    return entries


def _entry(row: Any, where: str) -> Expectation:
    """Check one table."""
    if not isinstance(row, dict):
        raise ExpectationsError(f"{where} is {short(row)}, where a table is right.")
    if unknown := sorted(row.keys() - set(KEYS)):
        raise ExpectationsError(
            f"{where} has {short(unknown[0])}, which is none of {', '.join(KEYS)}."
        )
    for key in KEYS[:-1]:
        if not isinstance(row.get(key, ""), str):
            said = f"{key} is {short(row[key])}, where a string is right"
            raise ExpectationsError(f"{where}: {said}.")
    if not (row.get("requirement") or row.get("case")):
        raise ExpectationsError(f"{where} names neither a requirement nor a case.")
    if row.get("requirement") and row["requirement"] not in spec.requirements():
        raise ExpectationsError(f"{where}: there is no requirement {short(row['requirement'])}.")
    if not row.get("reason", "").strip():
        raise ExpectationsError(f"{where} gives no reason.")
    return Expectation(**{**row, "when": _condition(row.get("when", {}), where)})


def _condition(when: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Check a table of patterns, each a string or an array of strings."""
    if not isinstance(when, dict):
        raise ExpectationsError(f"{where}: when is {short(when)}, where a table is right.")
    checked = {}
    for name, value in when.items():
        patterns = value if isinstance(value, list) else [value]
        if name not in CONDITIONS:
            raise ExpectationsError(
                f"{where}: when has {short(name)}, which is none of {', '.join(CONDITIONS)}."
            )
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            said = f"when.{name} is {short(value)}, where a string or strings are right"
            raise ExpectationsError(f"{where}: {said}.")
        checked[name] = tuple(patterns)
    return checked


def refreshed(entries: Sequence[Expectation], applied: Applied) -> list[Expectation]:
    """Return the entries of a file that are not out of date, and one for each other failure."""
    stale = [e for e in applied.entries if applied.outcome(e) in OUT_OF_DATE]
    kept = [e for e in entries if e not in stale]
    return [*kept, *(Expectation(ident) for ident in applied.seen if applied.unexpected(ident))]


def write(entries: Sequence[Expectation], path: Path) -> None:
    """Write a file; what stands before its first entry, a comment, is kept."""
    head = ""
    if path.is_file():
        head = path.read_text("utf-8").partition("[[expect]]")[0].strip()
    blocks = filter(None, [head, *map(_block, entries)])
    files.write("\n\n".join(blocks) + "\n", path)


def _block(entry: Expectation) -> str:
    """One table of TOML, whose strings are written as JSON writes them."""
    words = {k: v for k in KEYS[:-1] if (v := getattr(entry, k))}
    lines = ["[[expect]]", *(f"{k} = {_quoted(v)}" for k, v in words.items())]
    if entry.when:
        pairs = (f"{k} = [{', '.join(map(_quoted, v))}]" for k, v in entry.when.items())
        lines.append(f"when = {{ {', '.join(pairs)} }}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
