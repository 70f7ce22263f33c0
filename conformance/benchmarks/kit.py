"""Where the seconds of `bn1d run torch.nn:BatchNorm1d` go, beside the least that they could be.

    python conformance/benchmarks/kit.py [--repeats 3] [--profiles quick full] [--json FILE]

The commands take turns, so that a busy machine slows all alike, and the repeat that took the least
processor time counts; then each runs once more, while its memory is looked at.  The floor of a run
is what it spent in importing PyTorch and in the layer that it judged: without a kit, these calls
would take no less.  A cold run finds none of the oracle's answers in the cache.
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

from memory import peak

TARGET = "torch.nn:BatchNorm1d"
PARTS = ("import", "subject", "collection", "oracle", "judging", "reporting")  # of `--timings`
BN1D = (sys.executable, "-m", "bn1d_conformance")
Row = dict[str, float]


def commands(profiles: list[str]) -> dict[str, list[str]]:
    """What is measured, by the name of its row."""
    rows = {
        "import torch": [sys.executable, "-c", "import torch"],
        "bn1d --help": [*BN1D, "--help"],
        "bn1d explain STATS-3": [*BN1D, "explain", "STATS-3"],
    }
    for profile in profiles:
        run = [*BN1D, "run", TARGET, "--profile", profile, "--json", "result.json"]
        rows |= {profile: run, f"{profile}, cold": run}
        if profile == "deep":
            rows["deep, -j 2"] = [*run, "-j", "2"]
    return rows


def measure(name: str, command: list[str], folder: Path) -> Row:
    """Seconds of a command that must succeed: by the clock, of processors, and of its parts."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = surroundings(name, folder)
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)  # noqa: S603 - ours
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    parts = json.loads(result.read_text("utf-8"))["timings"] if result.exists() else {}
    return {"wall": wall, "processor": spent, **{part: parts[part] for part in PARTS if parts}}


def surroundings(name: str, folder: Path) -> dict[str, str]:
    """The environment of a command: nothing of pytest's, and an empty cache where it is cold."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    if "cold" not in name:
        return env
    return {**env, "BN1D_CACHE": tempfile.mkdtemp(dir=folder)}


def best(profiles: list[str], repeats: int) -> dict[str, Row]:
    """The best of the repeats of each command, and its memory in MiB, by its row's name."""
    found: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for _ in range(repeats):
            for name, command in commands(profiles).items():
                row = measure(name, command, folder)
                if name not in found or row["processor"] < found[name]["processor"]:
                    found[name] = row
        for name, command in commands(profiles).items():
            found[name]["memory"] = peak(command, folder, surroundings(name, folder)) / 2**20
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
    parser.add_argument("--json", type=Path, help="what the site's page on speed is drawn from")
    options = parser.parse_args()
    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items()), "\n")
    rows = best(options.profiles, options.repeats)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
