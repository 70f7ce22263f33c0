"""Change the kit's own code in one place at a time, and see whether its tests notice.

    python conformance/mutants/own.py [MODULE ...] [--sample N [--seed S]]

cosmic-ray mutates a copy of the checkout. `own.toml` has the modules, the tests of each, the
operators that say nothing, and the survivors with the reason why each survives. The exit code is
1 where fewer than 95 % are killed, one survives without a reason, or a reason of a complete run
is not needed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no tomllib
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OWN: dict[str, Any] = tomllib.loads((HERE / "own.toml").read_text("utf-8"))
SITE = ROOT / "site"
SECONDS = 120  # for the tests of one mutant
LEAST = 0.95  # of the mutants are killed


def main() -> int:
    """Mutate what is asked for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(OWN["module"]))
    parser.add_argument("--sample", type=int, default=0, help="of each module so many, by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the chance")
    asked = parser.parse_args()
    bad = 0
    for name in asked.modules or OWN["module"]:
        with tempfile.TemporaryDirectory() as folder:
            bad += mutate(name, Path(folder), asked.sample, asked.seed)
    return min(bad, 1)


def mutate(name: str, folder: Path, sample: int, seed: int) -> int:
    """Mutate one module in a copy; print what survives, and return how much should not."""
    copy, row = folder / "copy", OWN["module"][name]
    shutil.copytree(ROOT, copy, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", copy)
    config, work = folder / "config.toml", folder / "work.sqlite"
    config.write_text(configured(row), "utf-8")
    run(copy, "cosmic-ray", "baseline", config)  # the tests pass, or this ends here
    run(copy, "cosmic-ray", "init", config, work)
    run(copy, "cr-filter-operators", work, config)
    if sample:
        skip_all_but(work, sample, seed)
    run(copy, "cosmic-ray", "exec", config, work)
    return report(name, work, complete=not sample)


def left_out(folder: str, names: list[str]) -> set[str]:
    """What of a folder is no source: what is hidden, caches, the built site."""
    return {n for n in names if n[0] == "." or n == "__pycache__" or Path(folder, n) == SITE}


def configured(row: dict[str, Any]) -> str:
    """cosmic-ray's configuration; JSON's strings and lists are TOML's too."""
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {row['tests']}"
    rows = {
        "cosmic-ray": {
            "module-path": row["path"],
            "timeout": SECONDS,
            "excluded-modules": [],
            "test-command": command,
        },
        "cosmic-ray.distributor": {"name": "local"},
        "cosmic-ray.filters.operators-filter": {"exclude-operators": OWN["operators"]},
    }
    lines = (
        f"[{table}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in values.items())
        for table, values in rows.items()
    )
    return "\n".join(lines) + "\n"


def run(copy: Path, program: str, *words: Path | str) -> None:
    """Run one of cosmic-ray's programs in the copy, on its own packages."""
    path = os.pathsep.join(str(copy / part) for part in ("reference", "conformance"))
    command = [str(Path(sys.executable).with_name(program)), *map(str, words)]
    quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # half of the time of a mutant that is killed
    env = {**os.environ, **quick, "PYTHONPATH": path}
    subprocess.run(command, cwd=copy, env=env, check=True)  # noqa: S603 - words of this file


def skip_all_but(work: Path, sample: int, seed: int) -> None:
    """Leave a sample to do: the same every time for one seed."""
    with use_db(work, WorkDB.Mode.open) as found:
        pending = [item.job_id for item in found.pending_work_items]
        random.Random(seed).shuffle(pending)  # noqa: S311 - a choice, and no secret
        found.set_multiple_results(pending[sample:], WorkResult(WorkerOutcome.SKIPPED))


def report(name: str, work: Path, *, complete: bool) -> int:
    """Say how many were killed, and which survive; return how many should not, or not be there."""
    with use_db(work, WorkDB.Mode.open) as found:
        seen = [(item, r) for item, r in found.completed_work_items if r.test_outcome]
    survivors = [change(r.diff or "") for _, r in seen if r.test_outcome == TestOutcome.SURVIVED]
    known = {row["change"] for row in OWN.get("survivor", []) if row["module"] == name}
    unknown = [each for each in survivors if each not in known]
    idle = known - set(survivors) if complete else set()
    killed = len(seen) - len(survivors)
    rate = killed / len(seen)
    said = f"{len(survivors) - len(unknown)} of {len(survivors)} survivors explained"
    print(f"{name}: {killed} of {len(seen)} killed ({rate:.1%}), {said}", flush=True)
    for each in unknown:
        print(f"  survives: {each}")
    for each in idle:
        print(f"  is explained, and does not survive: {each}")
    return len(unknown) + len(idle) + (rate < LEAST)


def change(diff: str) -> str:
    """What a mutant does, on one line: what was there, and what is."""
    return " / ".join(lines(diff, "-")) + " => " + " / ".join(lines(diff, "+"))


def lines(diff: str, sign: str) -> Iterator[str]:
    """The lines of a diff that begin with a sign."""
    for line in diff.splitlines():
        if line.startswith(sign) and not line.startswith(3 * sign):
            yield " ".join(line[1:].split())


if __name__ == "__main__":
    sys.exit(main())
