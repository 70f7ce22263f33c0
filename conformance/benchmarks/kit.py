"""Where the seconds of `bn1d run torch.nn:BatchNorm1d` go, beside the least that they could be.

    python conformance/benchmarks/kit.py [--repeats 3] [--profiles quick full]

Wall time, the best of the repeats, everything in turns so that a busy machine slows all alike.
The floor is what no kit can do without: a Python that imports torch, and a pytest session with
the same plugins, one worker process, and one test that does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

TARGET = "torch.nn:BatchNorm1d"
PARTS = ("import", "subject", "oracle", "judging")
Row = dict[str, float]


def wall(command: list[str], cwd: str) -> float:
    """Seconds of a command that must succeed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)  # noqa: S603 - ours
    return time.perf_counter() - start


def import_torch(folder: str) -> Row:
    """A Python that imports torch and leaves."""
    return {"all": wall([sys.executable, "-c", "import torch"], folder)}


def empty_session(folder: str) -> Row:
    """A pytest session with the kit's plugins, a worker, and one empty test."""
    (Path(folder) / "test_nothing.py").write_text("def test_nothing(): pass\n")
    words = ["-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "test_nothing.py"]
    return {"all": wall([sys.executable, *words], folder)}


def judge(folder: str, profile: str) -> Row:
    """One run: its whole time, and the parts that its results file tells."""
    out = Path(folder) / f"{profile}.json"
    words = ["-m", "bn1d_conformance", "run", TARGET, "--profile", profile, "--json", str(out)]
    seconds = wall([sys.executable, *words], folder)
    result = json.loads(out.read_text("utf-8"))
    parts = {name: result["timings"].get(name, 0.0) for name in PARTS}
    return {"all": seconds, **parts, "rest": seconds - sum(parts.values())}


def measure(profiles: list[str], repeats: int) -> dict[str, Row]:
    """The best of the repeats of each line, by its name."""
    best: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            rows = {"import torch": import_torch(folder), "empty pytest": empty_session(folder)}
            rows |= {f"bn1d run, {profile}": judge(folder, profile) for profile in profiles}
            for name, row in rows.items():
                if name not in best or row["all"] < best[name]["all"]:
                    best[name] = row
    return best


def show(rows: dict[str, Row]) -> None:
    """Print one line a measurement, and the runs in multiples of the floor."""
    columns = ("all", *PARTS, "rest")
    print(f"{'seconds':18}" + "".join(f"{name:>10}" for name in columns))
    for name, row in rows.items():
        cells = (f"{row[c]:10.2f}" if c in row else f"{'':10}" for c in columns)
        print(f"{name:18}" + "".join(cells).rstrip())
    floor = rows["import torch"]["all"] + rows["empty pytest"]["all"]
    runs = (
        f"{name} {row['all'] / floor:.1f}" for name, row in rows.items() if name.startswith("bn1d")
    )
    print(f"\nTimes the floor ({floor:.2f} s, both of its lines): {'; '.join(runs)}.")


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profiles", nargs="+", default=["quick", "full"])
    options = parser.parse_args()
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "numpy", "pytest"))
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} processors\n")
    show(measure(options.profiles, options.repeats))


if __name__ == "__main__":
    main()
