"""How well the mutants of the zoo are diagnosed: whether the first diagnosis is of their area.

    nice python conformance/benchmarks/diagnosis.py [-k WORD] [-j 2] [--findings FILE] [--all]

Every mutant is judged by all checks, in the profile that catches it, in a process of its own: half
an hour on two cores. The findings are kept in FILE, and mutants that it holds are not judged
again: a change of how failures are diagnosed is measured in seconds. Delete FILE, or the mutant's
line, after a change of the checks, of the catalogue of misreadings, or of the mutant.

Printed are the share of mutants whose first diagnosis is of the area of their requirement, and how
many diagnoses there are, which is the number of requirements that fail and are folded under no
other; then the mutants that are diagnosed wrongly or at length (--all: every one).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bn1d_conformance import trial
from bn1d_conformance.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import test_zoo

MANY = 6  # diagnoses, from which on a mutant is listed
WORTH = 20  # mutants to judge, from which on the answers are asked for beforehand
FAILING = ("fail", "crash", "timeout")


@dataclass(frozen=True)
class Finding:
    """What the checks say of one mutant: its requirement, and what `diagnose` is given."""

    mutant: str
    requirement: str
    failures: dict[str, list[dict[str, Any]]]
    held: dict[str, list[str]]

    @property
    def killed(self) -> bool:
        """Whether the requirement that the mutant breaks fails."""
        return self.requirement in self.failures


def judge(index: int) -> Finding:
    """Judge the mutant of this index by all checks, in this process."""
    mutant = test_zoo.MUTANTS[index]
    tally = test_zoo.tallied(f"{test_zoo.ZOO}/{mutant.target}", "", mutant.profile)
    failing = {i: rows for i, rows in tally.failures.items() if tally.verdict(i) in FAILING}
    held = {i: sorted(formats) for i, formats in tally.held.items()}
    return Finding(mutant.target, mutant.requirement, failing, held)


def remember_answers() -> None:
    """Ask the oracle once for all processes, by judging a right layer in this one."""
    known: dict[Any, Any] = {}
    ask = trial.Trial.expected

    def expected(self: trial.Trial, case: Any, grade: str = "conforming") -> Any:
        if (case, grade) not in known:
            known[case, grade] = ask(self, case, grade)
        return known[case, grade]

    trial.Trial.expected = expected  # type: ignore[method-assign]
    test_zoo.tallied("torch.nn:BatchNorm1d")


def findings(word: str, jobs: int, kept: Path | None) -> Iterator[Finding]:
    """What is kept, and then what is judged anew, one line of `kept` a mutant."""
    known = kept.read_text("utf-8").splitlines() if kept and kept.exists() else []
    old = {f.mutant: f for f in (Finding(**json.loads(line)) for line in known)}
    wanted = [
        m.target for m in test_zoo.MUTANTS if word.lower() in f"{m.requirement} {m.target}".lower()
    ]
    yield from (old[name] for name in wanted if name in old)
    todo = [
        k for k, m in enumerate(test_zoo.MUTANTS) if m.target in wanted and m.target not in old
    ]
    random.Random(0).shuffle(todo)  # noqa: S311 - so that a part of them is like the whole
    if len(todo) > WORTH:
        remember_answers()
    context = multiprocessing.get_context("fork")  # torch is imported already
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        for found in pool.imap_unordered(judge, todo):
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(found)) + "\n")
            yield found


def is_right(found: Finding, diagnoses: list[dict[str, Any]]) -> bool:
    """Whether the first diagnosis is of the area of the mutant's requirement."""
    first, wanted = diagnoses[0]["requirement"], found.requirement
    return first.rpartition("-")[0] == wanted.rpartition("-")[0]


def show(rows: list[tuple[Finding, list[dict[str, Any]]]], *, everything: bool) -> None:
    """Print the mutants of note, then the shares."""
    for found, diagnoses in sorted(rows, key=lambda row: (row[0].requirement, row[0].mutant)):
        right = is_right(found, diagnoses)
        if everything or not right or len(diagnoses) >= MANY:
            heads = " ".join(d["requirement"] for d in diagnoses)
            print(f"{'' if right else 'wrong':6}{found.requirement:11}{found.mutant}: {heads}")
            print(f"{'':17}{diagnoses[0]['cause'][:100]}")
    counts = sorted(len(diagnoses) for _, diagnoses in rows)
    tenths = statistics.quantiles(counts, n=10, method="inclusive")
    share = sum(is_right(*row) for row in rows) / len(rows)
    print(
        f"\n{len(rows)} mutants killed; the first diagnosis names the right area of {share:.1%}."
    )
    middle = statistics.median(counts)
    print(f"Diagnoses: median {middle:g}, 90th percentile {tenths[-1]:g}, at most {counts[-1]}.")


def main() -> None:
    """Read the command line, judge, diagnose, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-k", default="", help="mutants whose requirement or name contains this")
    parser.add_argument("-j", type=int, default=2, help="processes")
    parser.add_argument("--findings", type=Path, help="where to keep what the checks find")
    parser.add_argument("--all", action="store_true", help="list every mutant")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = list(findings(options.k, options.j, options.findings))
    for lost in (f for f in found if not f.killed):
        print(f"{lost.mutant} survives {lost.requirement}")
    killed = [f for f in found if f.killed]
    show([(f, diagnose(f.failures, f.held)) for f in killed], everything=options.all)


if __name__ == "__main__":
    main()
