"""Judge every mutant of the zoo by every check, and write `zoo/kills.json`: `nox -s kills`.

Each has a process of its own, forked from one that has imported everything: what a mutant does to
its process is nobody else's trouble. The oracle's answers are kept on disk, and computed once.
Names on the command line: these alone are judged anew, and each row says by which suite it was.
The last lines say how many mutants are named rightly, and in how many diagnoses.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import deque
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import wait
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "zoo"))

from register import GAPS, MUTANTS
from runs import ZOO, call_pytest, from_zoo, here

from bn1d_conformance import results
from bn1d_conformance.documents import kills

PATIENCE = 600.0  # seconds that one mutant may take
FILE = ZOO / "kills.json"
FORK = multiprocessing.get_context("fork")
TORCH = "torch.nn:BatchNorm1d"


class Child:
    """A process that calls a function, and hands over what it returns."""

    def __init__(self, name, call, *arguments):
        self.name, self.until = name, time.monotonic() + PATIENCE
        self.pipe, end = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self.work, args=(end, call, arguments))
        self.process.start()
        end.close()

    @staticmethod
    def work(end, call, arguments):
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            end.send(call(*arguments))

    def answer(self, *, ready):
        """What was returned; what became of the process, where nothing was."""
        try:
            return self.pipe.recv() if ready else {"lost": "timeout"}
        except EOFError:
            return {"lost": "crash"}
        finally:
            self.process.kill()
            self.process.join()


def in_children(todo, jobs):
    """Yield (name, what was returned) of each (name, call, *arguments), as they come."""
    todo, running = deque(todo), {}
    while todo or running:
        while todo and len(running) < jobs:
            child = Child(*todo.popleft())
            running[child.pipe] = child
        ready = wait(list(running), timeout=1.0)
        late = [p for p, c in running.items() if p not in ready and time.monotonic() > c.until]
        for pipe in [*ready, *late]:
            child = running.pop(pipe)
            yield child.name, child.answer(ready=pipe in ready)


def judged(wrong):
    """What a run of all checks finds: the ids that fail, the first diagnosis, and how many."""
    result = here(f"{ZOO}/{wrong.target}", profile=wrong.profile)
    rows = result["requirements"].items()
    first = result["diagnoses"][0] if result["diagnoses"] else {"requirement": "", "cause": ""}
    return {
        "failing": sorted(i for i, row in rows if row["verdict"] in results.FAILING),
        "home": first["requirement"],
        "cause": first["cause"],
        "diagnoses": len(result["diagnoses"]),
        "lost": "error" if result["errors"] else "",
        "suite": result["kit"]["suite_hash"],
    }


def described(wrong):
    """What the register says."""
    said = ("why", "would") if wrong in GAPS else ("requirement",)
    return {
        "name": wrong.made.__name__,
        "file": wrong.target.partition(":")[0],
        "sentence": wrong.sentence,
        **{name: getattr(wrong, name) for name in (*said, "seen", "profile")},
    }


def found(wanted):
    """What is found of each of these, by name."""
    start = time.monotonic()
    call_pytest(
        "--pyargs", "bn1d_conformance.checks", "--collect-only", "--bn1d-subject", TORCH
    )  # imports what the children need
    gc.freeze()  # a child that wrote into it would need memory of its own
    todo = [(wrong.made.__name__, judged, wrong) for wrong in wanted]
    rows = {}
    for name, row in in_children(todo, os.cpu_count() or 1):
        rows[name] = row
        said = row["lost"] or f"{len(row['failing'])} fail"
        print(f"{time.monotonic() - start:5.0f} s {len(rows):4}/{len(todo)} {name}: {said}")
    return rows


def kept(names):
    """What the file has of the mutants that are not judged anew."""
    document = json.loads(FILE.read_text("utf-8")) if names else {"mutants": [], "gaps": []}
    rows = [*document["mutants"], *document["gaps"]]
    return {r["name"]: {k: r[k] for k in r if k in JUDGED} for r in rows if r["name"] not in names}


JUDGED = ("failing", "home", "cause", "diagnoses", "lost", "suite")


def written(rows):
    """Write the file, a mutant a line; the same matrix is the same bytes."""
    parts = [
        f'"{kind}": [\n'
        + ",\n".join(json.dumps({**described(w), **rows[w.made.__name__]}) for w in register)
        + "\n]"
        for kind, register in (("mutants", MUTANTS), ("gaps", GAPS))
    ]
    text = ",\n".join([f'"kit": {json.dumps(results.kit())}', *parts])
    FILE.write_text(f"{{\n{text}\n}}\n", "utf-8")


def main(names):
    from_zoo("mutants_*", "gaps")
    torch.set_num_threads(1)
    register = {w.made.__name__: w for w in [*MUTANTS, *GAPS]}
    if unknown := sorted(set(names) - set(register)):
        sys.exit(f"The zoo has no {', '.join(unknown)}.")
    rows = kept(names)
    rows |= found([w for name, w in register.items() if name not in rows])
    written(rows)
    matrix = kills.read(ZOO)
    for what in ("survivors", "closed", "unexplained", "stale"):
        if left := getattr(matrix, what):
            print(f"{what}: {', '.join(left)}")
    right, counts = matrix.well_named, [m.diagnoses for m in matrix.mutants]
    print(f"The first diagnosis names the right area of {right} of {len(counts)} mutants.")
    print(f"Diagnoses of a mutant: median {statistics.median(counts):g}, at most {max(counts)}.")
    return bool(matrix.survivors or matrix.closed or matrix.unexplained or matrix.stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
