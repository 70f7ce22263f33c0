"""Judge every generated mutant: killed by a requirement, or equivalent for a written reason.

    python conformance/mutants/run.py [--jobs 2] [-k WORD] [--only ID ...] [--quick]

A complete run writes results.json; one of a selection, or in the quick profile alone, only prints.
The exit code is 1 where a mutant survives without a reason, or a reason is not needed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no tomllib
    import tomli as tomllib

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small cases: threads would wait for each other

import torch
from judging import PROFILES, Judgement, Outcome, Session, judge_all, session
from population import HERE, SOURCES, population

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from operators import Mutant

MANIFEST = HERE / "manifest.toml"
RESULTS = HERE / "results.json"


@dataclass(frozen=True)
class Options:
    """What the command was asked for.

    Attributes:
        jobs: mutants that are judged at the same time.
        word: a part of the ids that are wanted; "" for all.
        only: ids; empty for all.
        profiles: in which a mutant is judged until it fails.
        patience: seconds without a word after which a mutant hangs.
    """

    jobs: int
    word: str
    only: tuple[str, ...]
    profiles: tuple[str, ...]
    patience: float

    @property
    def complete(self) -> bool:
        """Whether all are wanted, in all profiles."""
        return not (self.word or self.only) and self.profiles == PROFILES

    def wanted(self, mutants: Iterable[Mutant]) -> list[Mutant]:
        """The mutants that were asked for."""
        return [m for m in mutants if self.word in m.id and (not self.only or m.id in self.only)]


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="mutants judged at the same time")
    parser.add_argument("-k", dest="word", default="", help="only ids that contain this")
    parser.add_argument("--only", nargs="+", default=(), metavar="ID", help="only these ids")
    parser.add_argument("--quick", action="store_true", help="only the quick profile")
    parser.add_argument("--patience", type=float, default=120, help="seconds: a hang, after that")
    given = parser.parse_args()
    profiles = PROFILES[:1] if given.quick else PROFILES
    return Options(given.jobs, given.word, tuple(given.only), profiles, given.patience)


def reasons() -> dict[str, str]:
    """Why each of the survivors is equivalent, by id."""
    rows = tomllib.loads(MANIFEST.read_text("utf-8"))["equivalent"]
    return {ident: row["reason"] for row in rows for ident in row["ids"]}


def last_killers() -> dict[str, str]:
    """What each mutant failed in the last complete run: what most likely it fails again."""
    rows = json.loads(RESULTS.read_text("utf-8"))["mutants"] if RESULTS.exists() else []
    return {row["id"]: row["requirement"] for row in rows}


def warm(judges: Session, profiles: Iterable[str]) -> list[str]:
    """Judge both sources, so that the oracle's answers are there; return what they fail."""
    failed: list[str] = []
    for profile in profiles:
        for source in SOURCES:

            def tell(said: tuple[str, Any], at: str = f"{source} ({profile})") -> None:
                if said[0] != "item":
                    failed.append(f"{at}: {said[1]}")

            judges.judge(HERE / f"{source}.py", profile, tell)
    gc.collect()
    gc.freeze()  # what is there now is never collected again, in no fork
    return failed


def judge(chosen: list[Mutant], wish: Options) -> dict[str, Outcome]:
    """Judge the sources, then the mutants; return the outcomes by id.

    Raises:
        SystemExit: if a source fails anything.
    """
    outcomes: dict[str, Outcome] = {}
    failed: list[str] = []

    def work(judges: Session) -> None:
        failed.extend(warm(judges, wish.profiles))
        if failed:
            return
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            begin = partial(Judgement, judges, wish.profiles, wish.patience)
            files = list(_files(chosen, Path(folder)))
            for ident, outcome in judge_all(files, begin, wish.jobs):
                outcomes[ident] = outcome
                count, said = f"{len(outcomes)}/{len(chosen)}", asdict(outcome).values()
                print(count, ident, *said, flush=True)

    session(HERE / f"{SOURCES[0]}.py", work)
    if failed:
        sys.exit("The sources must conform. " + "; ".join(failed))
    return outcomes


def _files(chosen: list[Mutant], folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Write the mutants into a folder; what each failed last is judged first."""
    last = last_killers()
    for number, mutant in enumerate(chosen):
        path = folder / f"mutant{number}.py"
        path.write_text(mutant.text, "utf-8")
        yield mutant.id, path, last.get(mutant.id, "")


def row(mutant: Mutant, outcome: Outcome, reason: str) -> dict[str, str]:
    """What the results file says of a mutant."""
    alive = outcome.verdict == "alive"
    status = "killed" if not alive else "equivalent" if reason else "survived"
    said = {k: v for k, v in asdict(mutant).items() if k != "text"}
    judged = {"verdict": outcome.verdict, "requirement": outcome.requirement}
    profile = "" if alive else outcome.profile
    return {**said, "status": status, **judged, "profile": profile, "reason": reason}


def complaints(rows: list[dict[str, str]], known: dict[str, str], *, complete: bool) -> list[str]:
    """What is not as it should be, one sentence each."""
    found = [f"{r['id']} survives: {r['after']}" for r in rows if r["status"] == "survived"]
    found += [f"{r['id']}: an error of the kit" for r in rows if r["verdict"] == "error"]
    found += [
        f"{r['id']} is killed by {r['requirement']}: its reason is not needed"
        for r in rows
        if r["status"] == "killed" and r["reason"]
    ]
    gone = sorted(set(known) - {r["id"] for r in rows}) if complete else []
    return found + [f"{ident} is in the manifest, and is no mutant" for ident in gone]


def main() -> int:
    """Judge, say what is wrong, and keep the results of a complete run."""
    torch.set_num_threads(1)
    wish, start = options(), time.monotonic()
    chosen = wish.wanted(population().values())
    outcomes = judge(chosen, wish)
    known = reasons()
    rows = [row(m, outcomes[m.id], known.get(m.id, "")) for m in chosen]
    wrong = complaints(rows, known, complete=wish.complete)
    if wish.complete:
        text = json.dumps({"mutants": rows}, indent=1, ensure_ascii=False) + "\n"
        RESULTS.write_text(text, "utf-8")
    counts = Counter(r["status"] for r in rows)
    said = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    print(*wrong, sep="\n")
    print(f"{len(rows)} mutants: {said or 'none chosen'}; {time.monotonic() - start:.0f} s")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
