"""Whose code the processor is in while the checks run: PyTorch's, pytest's, or which of the kit's.

    python conformance/benchmarks/shares.py [--profile quick] [--repeats 3]

One process runs the checks on torch.nn.BatchNorm1d, as a worker of `bn1d run` does but for writing
down what it sees, and looks at itself every few milliseconds of processor time: what counts is the
innermost call of code that has a name here, so that NumPy's and Python's own time is its caller's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PAUSE = 0.004  # seconds of processor time from one look to the next: Linux's own tick, often
#: Whose code it is, by what the path of a module has in it; the first that fits.
OWNERS = {
    "/bn1d_conformance/checks/": "the checks",
    "/bn1d_conformance/judge": "judging",
    "/bn1d_conformance/expected": "the oracle's answers",
    "/bn1d_conformance/keep": "the oracle's answers",
    "/bn1d_conformance/answer": "the oracle's answers",
    "/bn1d_reference/": "the oracle's answers",
    "/bn1d_conformance/cases": "drawing cases",
    "/bn1d_conformance/exact_cases": "drawing cases",
    "/bn1d_conformance/adapters/": "the adapter",
    "/bn1d_conformance/": "the rest of the kit",
    "/torch/": "PyTorch",
    "/_pytest/": "pytest",
    "/pluggy/": "pytest",
    "/hypothesis/": "Hypothesis",
}
IMPORTING = "<frozen importlib._bootstrap>"
OTHERS = "others"


def owner(frame: FrameType | None) -> str:
    """Whose code a stack is in; where it imports, what was imported first."""
    paths = []
    while frame:
        paths.append(frame.f_code.co_filename)
        frame = frame.f_back
    if IMPORTING in paths:
        outermost = len(paths) - paths[::-1].index(IMPORTING)
        return f"importing {named(paths[:outermost][::-1])}"
    return named(paths)


def named(paths: list[str]) -> str:
    """Who owns the first of these paths that anybody does."""
    return next((who for path in paths for part, who in OWNERS.items() if part in path), OTHERS)


def watched(profile: str) -> Counter[str]:
    """Run the checks in this process; how often it was in whose code."""
    from bn1d_conformance.running.run import call_pytest  # noqa: PLC0415 - for the process asked

    looks: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, lambda _, frame: looks.update([owner(frame)]))
    signal.setitimer(signal.ITIMER_PROF, PAUSE, PAUSE)
    words = ["--bn1d-subject", "torch.nn:BatchNorm1d", "--bn1d-profile", profile]
    if status := call_pytest(words, object()):
        sys.exit(f"the checks ended with {status}")
    signal.setitimer(signal.ITIMER_PROF, 0)
    return looks


def measure(profile: str, repeats: int) -> dict[str, float]:
    """The share of each owner, of 1, over the repeats; the largest first."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__)), "--profile", profile, "--once"]
    looks: Counter[str] = Counter()
    for _ in range(repeats):
        ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ours
        looks.update(json.loads(ran.stdout))
    return {who: times / looks.total() for who, times in looks.most_common()}


def show(found: dict[str, float]) -> None:
    """Print a line for each owner."""
    for who, share in found.items():
        print(f"{who:30}{share:7.1%}")


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="here, as JSON")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(watched(options.profile)))
    else:
        show(measure(options.profile, options.repeats))


if __name__ == "__main__":
    main()
