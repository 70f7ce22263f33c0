"""What the words of a command line stand for: targets, and a results file for each."""

from __future__ import annotations

import re
from collections import Counter
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from bn1d_conformance import files
from bn1d_conformance.subject import TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence


def expand(word: str) -> list[str]:
    """Return the targets that a word of the command line stands for, by name; often the word.

    A folder, or a pattern, stands for Python files whose names don't begin with `_`; `:attr` after
    it is taken from each of them.

    Raises:
        TargetError: if a folder or a pattern has no such file.
    """
    place, sign, attr = word.rpartition(":") if ":" in word else (word, "", "")
    path = Path(place)
    if files.is_dir(path) and not (path / "manifest.json").is_file():  # that would be of `vectors`
        found = [*path.glob("*.py")]
    elif has_magic(place) and not files.exists(path):
        found = [Path(name) for name in glob(place, recursive=True)]  # noqa: PTH207 - any root
    else:
        return [word]
    wanted = sorted(f for f in found if f.suffix == ".py" and f.is_file() and f.name[0] != "_")
    if not wanted:
        hint = "Files whose names begin with _ are left out; '**/*.py' looks into folders."
        raise TargetError(f"{place} has no Python file to judge.", hint)
    return [f"{file}{sign}{attr}" for file in wanted]


def file_names(targets: Sequence[str]) -> list[str]:
    """Name a results file for each target: by the file's stem, or by all of it; each name once."""
    whole = [re.sub(r"[^\w.-]+", "-", target)[-150:].strip("-.") for target in targets]
    stems = [_stem(target) or name for target, name in zip(targets, whole, strict=True)]
    names = stems if len({s.lower() for s in stems}) == len(stems) else whole
    seen: Counter[str] = Counter()
    for k, name in enumerate(names):
        seen[name.lower()] += 1
        if (times := seen[name.lower()]) > 1:
            names[k] = f"{name}-{times}"
    return [f"{name}.json" for name in names]


def _stem(target: str) -> str:
    """The stem of a target that is a file; "" of another."""
    path = Path(target.rpartition(":")[0] or target)
    return re.sub(r"[^\w.-]+", "-", path.stem) if path.suffix == ".py" else ""
