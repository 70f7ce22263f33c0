"""Fifty runs on hostile workers: no result is lost, nothing hangs, the kit does not fail.

    python conformance/tests/hostile_runs.py [CHAOS]

Every worker of `workers/` that says hello, and CHAOS (25) runs on one that misbehaves at random,
are judged by the command. It takes about ten minutes; the tests do the same in small.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bn1d_conformance.results import VERDICTS
from bn1d_reference import spec

WORKERS = Path(__file__).parent / "workers"
SELECT = "CTOR or STATS"
SILENT = {"exits_at_start", "hangs_at_start", "prints_at_start", "polite", "chaos"}
LIMIT = 240  # seconds that a run may take
CODES = {"conforms": 0, "diverges": 1, "incomplete": 3}


def commands(chaos):
    """By name: the command of a worker."""
    bad = sorted(p.stem for p in WORKERS.glob("*.py") if p.stem not in SILENT)
    found = {name: [WORKERS / f"{name}.py"] for name in bad}
    found |= {f"chaos {seed}": [WORKERS / "chaos.py", seed] for seed in range(chaos)}
    return {k: shlex.join([sys.executable, "-S", *map(str, v)]) for k, v in found.items()}


def judge(command, folder):
    """Run the command: seconds, exit code, what was printed, the results document."""
    out = Path(folder) / "result.json"
    out.unlink(missing_ok=True)
    if "starts_once" in command or "killed" in command:
        command += f" {folder}/mark"
    options = ["--profile", "quick", "--timeout", "8", "-k", SELECT, "--json", str(out)]
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "bn1d_conformance", "run", "--worker", command, *options],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    result = json.loads(out.read_text("utf-8")) if out.exists() else None
    return time.perf_counter() - start, ran.returncode, ran.stdout + ran.stderr, result


def faults(code, printed, result):
    """What is wrong with the kit, as words."""
    if result is None:
        return [f"no results file: {printed[-300:]}"]
    rows = result["requirements"]
    asked = {i for i in rows if i.split("-")[0] in SELECT.split(" or ")}
    silent = [i for i in asked if rows[i]["verdict"] in {"fail", "crash", "timeout"}]
    checks = {
        f"the kit's errors {result['errors']}": bool(result["errors"]),
        "a traceback": "Traceback" in printed or "kit itself failed" in printed,
        "a requirement without a row": set(rows) != set(spec.requirements()),
        "a verdict that there is not": not {r["verdict"] for r in rows.values()} <= set(VERDICTS),
        f"exit code {code} for {result['verdict']}": code != CODES[result["verdict"]],
        "a failure without words": any(not rows[i]["failures"] for i in silent),
    }
    return [said for said, is_so in checks.items() if is_so]


def left():
    """Processes of workers that still run."""
    ran = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True)
    rows = [row.split(None, 1) for row in ran.stdout.splitlines()]
    return [args for stat, args in rows if stat[0] != "Z" and f" -S {WORKERS}" in args]


def say(*words):
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main():
    bad, runs = 0, commands(int([*sys.argv, "25"][1]))
    with tempfile.TemporaryDirectory() as folder:
        for name, command in runs.items():
            seconds, code, printed, result = judge(command, folder)
            wrong = faults(code, printed, result)
            wrong += [f"left behind: {args}" for args in left()]
            bad += bool(wrong)
            seen = Counter(r["verdict"] for r in result["requirements"].values()) if result else {}
            words = ", ".join(f"{seen[v]} {v}" for v in VERDICTS if seen.get(v))
            say(f"{name:20} {seconds:5.1f} s  exit {code}  {words}", *wrong)
    say(f"{len(runs)} runs, {bad} with a fault of the kit's.")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
