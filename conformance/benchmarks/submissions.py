"""Two hundred submissions in one command: how long, with how much memory, and what is said.

    python conformance/benchmarks/submissions.py [--number 200] [--jobs 2] [--keep FOLDER]

The submissions are files that each take one layer of the tests' zoo: the right variants, some that
hang, crash, exit, print or can't be imported, and, for the rest, mutants, evenly of all that break
a MUST. Memory is the largest sum of the proportional set sizes of all processes, looked at once a
second: on Linux.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

from memory import Memory

from bn1d_reference import spec

ZOO = Path(__file__).resolve().parents[1] / "tests" / "zoo"
HOSTILE = (
    "HangsInPython", "HangsInC", "Exits", "Segfaults", "Aborts", "RaisesKeyboardInterrupt",
    "RaisesAtConstruction", "PrintsMegabytes", "LeavesThreadsBehind",
)  # fmt: skip
#: What can't be imported.
BROKEN = {
    "no_python": "def forward(self, x:\n",
    "no_layer": "import math\n",
    "exits": "import sys\nsys.exit('done')\n",
    "prints": "print('loading' * 10**6)\nraise ImportError('no data')\n",
}
ROWS = 18  # of the table that are printed


def submission(module: str, name: str) -> str:
    """A file whose layer is that of a module of the zoo."""
    return (
        f"import sys\n\nsys.path.insert(0, {str(ZOO)!r})\n"
        f"from {module} import {name} as BatchNorm1d\n"
    )


def submissions(number: int) -> dict[str, str]:
    """So many files, by name; what a name begins with says what is to come of it."""
    sys.path.insert(0, str(ZOO))
    rules = spec.requirements()
    mutants = sorted(path.stem for path in ZOO.glob("mutants_*.py"))
    for module in mutants:
        importlib.import_module(module)
    known = importlib.import_module("register").MUTANTS
    wrong = [
        m.made for m in known if m.profile == "quick" and rules[m.requirement].level == "MUST"
    ]
    right = importlib.import_module("benign").BENIGN
    files = {f"right_{made.__name__}": submission("benign", made.__name__) for made in right}
    files |= {f"hostile_{name}": submission("hostile", name) for name in HOSTILE}
    files |= {f"broken_{name}": text for name, text in BROKEN.items()}
    rest = number - len(files)
    for made in (wrong[k * len(wrong) // rest] for k in range(rest)):
        files[f"wrong_{made.__name__}"] = submission(made.__module__, made.__name__)
    return files


def judge(folder: Path, jobs: int, out: Path) -> tuple[str, float, Memory]:
    """Judge a folder: what was printed, the seconds, and the memory."""
    words = ["run", f"{folder}:BatchNorm1d", "--profile", "quick", "-j", str(jobs)]
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", "bn1d_conformance", *words, "--json", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
    )
    memory = Memory(process.pid)
    memory.start()
    printed, _ = process.communicate()
    return printed, time.perf_counter() - start, memory


def outcomes(out: Path) -> dict[str, Counter[str]]:
    """By the kind of a submission: how many got which verdict."""
    counts: dict[str, Counter[str]] = {}
    for path in sorted(out.glob("*.json")):
        verdict = json.loads(path.read_text("utf-8"))["verdict"]
        counts.setdefault(path.stem.partition("_")[0], Counter())[verdict] += 1
    return counts


def show(printed: str, seconds: float, memory: Memory, out: Path) -> None:
    """Print the head and the foot of the table, and what was measured."""
    lines = printed.splitlines()
    print("\n".join([*lines[:ROWS], "...", *lines[-3:]]))
    for kind, counts in outcomes(out).items():
        print(f"{kind:8} " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
    print(
        f"\n{seconds:.0f} s; at most {memory.peak / 2**20:.0f} MiB in {memory.processes} processes"
    )


def main() -> None:
    """Read the command line, write the submissions, judge them, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where files and results stay")
    options = parser.parse_args()
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "numpy"))
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} processors\n")
    with tempfile.TemporaryDirectory() as scratch:
        home = options.keep or Path(scratch)
        folder = home / "submissions"
        folder.mkdir(parents=True)
        for name, text in submissions(options.number).items():
            (folder / f"{name}.py").write_text(text)
        out = home / "results"
        show(*judge(folder, options.jobs, out), out)


if __name__ == "__main__":
    main()
