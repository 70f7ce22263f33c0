"""The results file: built from a run's events, checked against its schema, written atomically."""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from bn1d_conformance import __version__, asked, files
from bn1d_conformance.diagnosis import diagnose
from bn1d_conformance.expectations import Applied
from bn1d_conformance.suite import suite_hash
from bn1d_reference import SPEC_VERSION, spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SCHEMA_VERSION = 1
VERDICTS = (
    "pass", "fail", "deviates", "not-applicable", "not-run", "crash", "timeout", "error",
    "expected-fail", "unexpected-pass",
)  # fmt: skip
FAILING = ("fail", "crash", "timeout")
HELD = ("pass", "deviates", "unexpected-pass")
DESCRIBED = ("name", "version", "adapter", "dialect", "language", "homepage", "device")
KEPT = 5  # failures of one requirement that the file keeps in full
Result = dict[str, Any]


class Tally:
    """What the events say of each requirement."""

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Read every event once."""
        self.cases: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.deviating: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.held: dict[str, set[str]] = {}
        self.seen: dict[str, dict[str, bool]] = defaultdict(dict)
        self.seconds: Counter[str] = Counter()
        self.marks: dict[str, set[str]] = defaultdict(set)
        self.subject: dict[str, Any] = {}
        self.spent: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.accuracy: list[Mapping[str, Any]] = []
        self.found: dict[str, Any] = {
            "capabilities": [],
            "names": {},
            "host": "",
            "calls": {},
        }
        self.refused: Mapping[str, Any] | None = None
        self.halted: set[str] = set()
        self.begun, self.place = False, 0
        self.strays: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.straying: Counter[str] = Counter()
        for event in events:
            getattr(self, "_on_" + event["e"], lambda _: None)(event)
        self.settle()

    def _on_refused(self, event: Mapping[str, Any]) -> None:
        self.refused = event

    def _on_loaded(self, event: Mapping[str, Any]) -> None:
        self.subject = {k: event[k] for k in DESCRIBED}

    def _on_item(self, event: Mapping[str, Any]) -> None:
        self.begun = True
        self.place = event["place"]

    def _on_end(self, event: Mapping[str, Any]) -> None:
        for ident in event["requirements"]:
            self.seconds[ident] += event["seconds"] / len(event["requirements"])

    def _on_judged(self, event: Mapping[str, Any]) -> None:
        ident = event["requirement"]
        self.cases[ident] += 1
        self.failed[ident] += not event["passed"]
        self.failures[ident] += [{**f, "place": self.place} for f in event["failures"]]
        self.deviating[ident].update(event.get("deviates", ()))
        if strays := event.get("strays"):
            self.strays[ident] += [{**f, "place": self.place} for f in strays]
            self.straying[ident] += event["passed"]
        self._sees(ident, event["case"], ok=event["passed"])
        formats = self.held.setdefault(ident, set())
        if event["passed"] and event["format"]:
            formats.add(event["format"])

    def settle(self) -> None:
        """Where anything deviates, fail what goes against the dialect, although it is PyTorch's.

        A layer follows its convention everywhere, or has two.
        """
        if not any(self.deviating.values()):
            return
        for ident, strays in self.strays.items():
            self.failed[ident] += self.straying.pop(ident)
            self.failures[ident] = sorted(self.failures[ident] + strays, key=place)
            for failure in strays:
                self._sees(ident, failure["case"], ok=False)
        self.strays.clear()

    def _sees(self, ident: str, case: str, *, ok: bool) -> None:
        """A case that several checks judge holds if it does for all of them."""
        self.seen[ident][case] = ok and self.seen[ident].get(case, True)

    def _on_skip(self, event: Mapping[str, Any]) -> None:
        for ident in event["requirements"]:
            self.marks[ident].add(event["verdict"])

    def _on_accuracy(self, event: Mapping[str, Any]) -> None:
        self.accuracy.append(event)

    def _on_error(self, event: Mapping[str, Any]) -> None:
        self.errors.append({k: event[k] for k in ("nodeid", "said")})
        for ident in event["requirements"]:
            self.marks[ident].add("error")

    def _on_died(self, event: Mapping[str, Any]) -> None:
        for ident in event["requirements"]:
            self.marks[ident].add(event["verdict"])
            self.cases[ident] += 1
            self.failed[ident] += 1
            self._sees(ident, event["case"], ok=False)
            self.failures[ident].append(
                {k: event[k] for k in ("case", "message", "cause", "says")}
            )
            self.failures[ident][-1].update(requirement=ident, evidence={}, place=self.place)

    def _on_lost(self, event: Mapping[str, Any]) -> None:
        for ident in event["requirements"]:
            self.marks[ident].add(event["verdict"])

    def _on_halted(self, event: Mapping[str, Any]) -> None:
        self.halted.add(event["stage"])

    def _on_spent(self, event: Mapping[str, Any]) -> None:
        self.spent.update(event["seconds"])

    def _on_offer(self, event: Mapping[str, Any]) -> None:
        self.found = {k: event[k] for k in ("capabilities", "names", "host", "calls")}

    def diverges(self, rules: Mapping[str, spec.Requirement]) -> bool:
        """Whether a binding requirement has failed."""
        return any(self.failed[i] for i, r in rules.items() if r.binding)

    def verdict(self, ident: str) -> str:
        """The one verdict of a requirement: the worst that was seen of it."""
        marks = self.marks[ident]
        for bad in ("crash", "timeout"):
            if bad in marks:
                return bad
        if self.failed[ident]:
            return "fail"
        for other in ("error", "not-run"):
            if other in marks:
                return other
        if self.cases[ident]:
            return "deviates" if self.deviating[ident] else "pass"
        return "not-applicable" if "not-applicable" in marks else "not-run"


def place(failure: Mapping[str, Any]) -> int:
    """The place of the item that a failure is of, among all."""
    number: int = failure["place"]
    return number


def build(
    tally: Tally,
    options: Mapping[str, Any],
    *,
    complete: bool,
    expected: Applied = Applied(),  # noqa: B008 - frozen
    seconds: float = 0.0,
) -> Result:
    """Make the results document of a run.

    Args:
        tally: what was seen.
        options: the run's, as they were given.
        complete: whether every item that was asked for has ended.
        expected: the entries of an expectations file that take part, and what they met.
        seconds: wall time of the whole run.
    """
    version = options.get("spec", spec.CURRENT)
    rows = {i: _row(tally, i, expected) for i in _told(tally, version, options["profile"])}
    failing = {
        i: _unexpected(tally, i, expected) for i, row in rows.items() if row["verdict"] in FAILING
    }
    counts = Counter(row["verdict"] for row in rows.values())
    return {
        "schema_version": SCHEMA_VERSION,
        "kit": kit(),
        "subject": {
            "target": options["target"],
            **(tally.subject or {**dict.fromkeys(DESCRIBED, ""), "dialect": {}}),
            **tally.found,
        },
        "environment": environment(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "options": dict(options),
        "verdict": overall(
            rows, version, complete=complete, halted=gave_up(tally.halted, tally.subject)
        ),
        "counts": {"total": len(rows), **{v.replace("-", "_"): counts[v] for v in VERDICTS}},
        "requirements": rows,
        "expectations": expected.rows(),
        "diagnoses": diagnose(failing, tally.held),
        "accuracy": accuracy(tally.accuracy),
        "errors": tally.errors,
        "halted": sorted(tally.halted),
        "timings": {k: round(v, 3) for k, v in sorted(tally.spent.items())},
        "seconds": round(seconds, 3),
    }


def _told(tally: Tally, version: str, profile: str) -> Iterator[str]:
    """Yield the requirements that were asked about, and those that need not be: none applies."""
    rules, has = asked.requirements(version, profile), {*tally.found["capabilities"]}
    for ident, rule in spec.at(version).items():
        if ident not in rules and has and not {*rule.needs} <= has:
            tally.marks[ident].add("not-applicable")
        if ident in rules or tally.marks[ident]:
            yield ident


def _row(tally: Tally, ident: str, expected: Applied) -> dict[str, Any]:
    failures = [
        {k: f[k] for k in ("case", "message", "cause", "evidence")} for f in tally.failures[ident]
    ]
    row = {
        "level": spec.requirements()[ident].level,
        "verdict": expected.verdict(ident, tally.verdict(ident)),
        "cases": tally.cases[ident],
        "failed": tally.failed[ident],
        "failures": failures[:KEPT],
        "seconds": round(tally.seconds[ident], 4),
    }
    deviating = dict(sorted(tally.deviating[ident].items()))
    return {**row, "deviates": deviating} if deviating else row


def _unexpected(tally: Tally, ident: str, expected: Applied) -> list[dict[str, Any]]:
    """The failures that no entry is about: what there is to diagnose."""
    covered = expected.covered(ident)
    return [f for f in tally.failures[ident] if f["case"] not in covered]


def gave_up(halted: Iterable[str], subject: Mapping[str, Any]) -> bool:
    """Whether a worker was lost so often that it was not started again."""
    return bool(halted) and subject.get("adapter") == "wire"


def overall(
    rows: Mapping[str, Mapping[str, Any]],
    version: str = spec.CURRENT,
    *,
    complete: bool,
    halted: bool,
) -> str:
    """Diverges if a binding requirement fails; incomplete if one that applies is open.

    What deviates is as the subject declares: it is counted, and makes nobody diverge.
    Which requirements bind is that of the spec's `version`.
    Where a worker was lost so often that the rest was not run (`halted`), and nothing that came
    back was wrong, that it does not run is all that is known.
    """
    rules = spec.at(version)
    binding = {r["verdict"] for i, r in rows.items() if rules[i].binding}
    if binding & ({"fail"} if halted else set(FAILING)):
        return "diverges"
    erred = any(r["verdict"] == "error" for r in rows.values())
    is_open = halted or erred or "not-run" in binding or not complete
    return "incomplete" if is_open else "conforms"


GRADES = ("conforming", "blocked", "accurate")
SCORE = {"ulp": "ulp", "worst": "worst", "bound_fraction": "fraction"}  # here: in an event


def accuracy(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the graded comparisons: the grade, and ulp by output and format.

    Each output has a row for all of its cases, and one for each condition |mean|/σ, by its power
    of ten: what is lost there grows with it for most subjects, whatever they do well.
    """
    rows = list(rows)
    outputs: dict[str, dict[str, Any]] = {}
    for row in rows:
        output = outputs.setdefault(f"{row['quantity']} {row['format']}", {})
        conditions = output.setdefault("conditions", {})
        _worsen(output, row)
        _worsen(conditions.setdefault(str(10 ** row["condition"]), {}), row)
    for output in outputs.values():
        output["conditions"] = dict(sorted(output.pop("conditions").items(), key=_power))
    return {"grade": _worst_grade(rows), "outputs": dict(sorted(outputs.items()))}


def _power(item: tuple[str, Any]) -> int:
    return int(item[0])


def _worsen(score: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Take the worse of what a score says and what an event does."""
    for name, seen in SCORE.items():
        score[name] = max(score.get(name, 0.0), round(row[seen], 4))
    score["grade"] = _worst_grade([score, row] if "grade" in score else [row])


def _worst_grade(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The best grade that all of them have; None for none."""
    return min((row["grade"] for row in rows), key=GRADES.index, default=None)


def kit() -> dict[str, str]:
    """What judges: the distribution, and the suite that it holds."""
    return {
        "name": "bn1d-conformance",
        "version": __version__,
        "spec_version": SPEC_VERSION,
        "suite_hash": suite_hash(),
    }


def environment() -> dict[str, Any]:
    """Where a run took place; no names of people, machines or folders."""
    packages = {}
    for name in ("torch", "numpy", "ml-dtypes", "pytest", "hypothesis"):
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": packages,
    }


def write(result: Result, path: Path) -> None:
    """Write the document whole or not at all.

    Raises:
        OSError: if it can't be written.
        ValueError: if it has what JSON has not.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files.write(text, path)


def schema(name: str = "results") -> dict[str, Any]:
    """Return a JSON Schema: of the results file, or of another file by its name."""
    file = resources.files("bn1d_conformance") / "schema" / f"{name}.schema.json"
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document
