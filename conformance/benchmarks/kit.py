"""Where the seconds of `bn1d run torch.nn:BatchNorm1d` go, beside the least that they could be.

    python conformance/benchmarks/kit.py [--repeats 3] [--profiles quick full] [--json FILE]
        [--pytorch CHECKOUT]

The commands take turns, so that a busy machine slows all alike, and the repeat that took the least
processor time counts; one more is for the memory, as looking at it slows what is looked at.
`deep`, which takes minutes, has one for all.  The floor of a run is what it spent in importing
PyTorch and in the layer that it judged: without a kit, these calls would take no less.  The floor
of its memory is that of `alone.py`.  A cold run finds none of the oracle's answers in the cache;
`deep` keeps none.  Where there is a checkout of PyTorch, its own tests of batch norm are timed.
Then `growth.py` is run: how the time of a case grows; and `shares.py`: whose code `quick` and
`full` are in.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import growth
import shares
from memory import Memory

TARGET = "torch.nn:BatchNorm1d"
PARTS = ("import", "subject", "collection", "oracle", "judging", "reporting")  # of `--timings`
DEEP = "deep"
ALONE = Path(__file__).with_name("alone.py")
BN1D = (sys.executable, "-m", "bn1d_conformance")
QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
Row = dict[str, float]


def commands(profiles: list[str], checkout: Path | None = None) -> dict[str, list[str]]:
    """What is measured, by the name of its row."""
    rows = {
        "import torch": [sys.executable, "-c", "import torch"],
        "bn1d --help": [*BN1D, "--help"],
        "bn1d explain STATS-3": [*BN1D, "explain", "STATS-3"],
    }
    for profile in profiles:
        run = [*BN1D, "run", TARGET, "--profile", profile, "--json", "result.json"]
        if profile == DEEP:
            rows |= {profile: run, "deep, -j 2": [*run, "-j", "2"]}
        else:
            rows |= {f"PyTorch alone, {profile}": [sys.executable, str(ALONE), profile]}
            rows |= {profile: run, f"{profile}, cold": run}
    if checkout:
        tests = checkout.resolve() / "test" / "test_nn.py"
        rows["PyTorch's own tests"] = [sys.executable, str(tests), "-k", "BatchNorm"]
    return rows


def measure(name: str, command: list[str], folder: Path, *, watched: bool) -> Row:
    """Seconds of a command that must succeed: by the clock, of processors, of its parts; MiB."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=surroundings(name, folder), **QUIET)  # noqa: S603 - ours
    memory = Memory(process.pid, pause=0.05)
    if watched:
        memory.start()
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    parts = json.loads(result.read_text("utf-8"))["timings"] if result.exists() else {}
    row = {"wall": wall, "processor": spent, **{part: parts[part] for part in PARTS if parts}}
    if watched:
        memory.join()
        row["memory"] = memory.peak / 2**20
    return row


def surroundings(name: str, folder: Path) -> dict[str, str]:
    """The environment of a command: nothing of pytest's, and an empty cache where it is cold."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    if "cold" not in name:
        return env
    return {**env, "BN1D_CACHE": tempfile.mkdtemp(dir=folder)}


def best(asked: dict[str, list[str]], repeats: int) -> dict[str, Row]:
    """The best of the repeats of each command, by its row's name."""
    found: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for turn in range(repeats + 1):
            for name, command in asked.items():
                is_deep, is_last = name.startswith(DEEP), turn == repeats
                if turn and is_deep:
                    continue
                row = measure(name, command, folder, watched=is_last or is_deep)
                if is_last:
                    found[name]["memory"] = row["memory"]
                elif name not in found or row["processor"] < found[name]["processor"]:
                    found[name] = row
    return found


def machine() -> dict[str, str]:
    """What all this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "")
    versions = {n: metadata.version(n) for n in ("torch", "numpy", "pytest")}
    processors = f"{os.cpu_count()} × {model or platform.machine()}"
    return {"processors": processors, "python": platform.python_version(), **versions}


def show(rows: dict[str, Row]) -> None:
    """Print a line for each command."""
    columns = ("wall", "processor", *PARTS, "memory")
    print(f"{'':22}" + "".join(f"{name:>11}" for name in columns) + f"{'× floor':>11}")
    for name, row in rows.items():
        cells = "".join(f"{row[c]:11.2f}" if c in row else f"{'':11}" for c in columns)
        floor = row.get("import", 0) + row.get("subject", 0)
        print(f"{name:22}" + cells + (f"{row['wall'] / floor:11.2f}" if floor else ""))


def main() -> None:
    """Read the command line, measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profiles", nargs="+", default=["quick", "full"])
    parser.add_argument("--pytorch", type=Path, help="a checkout of its sources, for its tests")
    parser.add_argument("--json", type=Path, help="what the site's page on speed is drawn from")
    options = parser.parse_args()
    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items()), "\n")
    rows = best(commands(options.profiles, options.pytorch), options.repeats)
    show(rows)
    print()
    grown = growth.measure(options.repeats)
    growth.show(grown)
    shared = {profile: shares.measure(profile, options.repeats) for profile in ("quick", "full")}
    for profile, found in shared.items():
        print(f"\n{profile}")
        shares.show(found)
    if options.json:
        whole = {"machine": about, "rows": rows, "growth": grown, "shares": shared}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
