"""Where the records of a run lie while it goes, so that a run that was cut short can go on.

A run that writes OUT keeps them in the folder OUT.partial, one folder in it for each attempt, and
removes it once OUT is written and nothing was left open. `identity.json` says which run it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn1d_conformance import files, results
from bn1d_conformance.documents.merge import difference
from bn1d_conformance.expectations import ExpectationsError
from bn1d_conformance.records import Journal, lines
from bn1d_conformance.subject import TargetError

try:
    import fcntl
except ImportError:  # Windows: there, nobody keeps two runs from writing to one file
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

    from bn1d_conformance.running.run import Options

IDENTITY, LOCK = "identity.json", "lock"
SHARED = ("offer.json", "unknown")  # what one attempt has found out for the next ones


@dataclass
class Place:
    """Where an attempt at a run writes its records.

    Attributes:
        folder: of this attempt.
        earlier: the folders of those that were cut short, in their order.
        complete: set by the run, once every item has ended.
    """

    folder: Path
    earlier: tuple[Path, ...] = ()
    complete: bool = False

    def journal(self) -> Journal:
        """All that the attempts have written down."""
        return Journal(*self.earlier, self.folder)


@contextmanager
def place(options: Options, out: Path | None, *, resume: bool) -> Iterator[Place]:
    """Give a run a folder for its records, and remove it when they are no longer needed.

    Args:
        options: the run's.
        out: the results file that it will write; without one, nothing is kept.
        resume: go on with what is there, if anything is.

    Raises:
        TargetError: if what is there is of another run or of none, or is being written.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="bn1d-") as name:
            yield Place(Path(name))
        return
    home = folder_of(out)
    with _locked(home):
        attempt = _attempt(home, options, resume=resume)
        try:
            yield attempt
        except (TargetError, ExpectationsError):  # nothing was judged
            shutil.rmtree(attempt.folder)
            if not attempt.earlier:
                _remove(home)
            raise
        if attempt.complete:
            _remove(home)


def _remove(home: Path) -> None:
    """Remove the folder; what says whose it is goes last, wherever a kill cuts this short."""
    for folder in _attempts(home):
        shutil.rmtree(folder)
    (home / IDENTITY).unlink()
    shutil.rmtree(home)


def _attempts(home: Path) -> list[Path]:
    return sorted(p for p in home.iterdir() if p.is_dir())


def folder_of(out: Path) -> Path:
    """The folder beside a results file that has the records of its run."""
    return out.with_name(f"{out.name}.partial")


def seed_of(out: Path) -> int | None:
    """The seed of the run that was cut short; None where there is none."""
    options = _read(folder_of(out)).get("options", {})
    seed = options.get("seed") if isinstance(options, dict) else None
    return seed if isinstance(seed, int) else None


def _attempt(home: Path, options: Options, *, resume: bool) -> Place:
    """Begin: anew, or after the attempts that there were."""
    now, then = _identity(options), _read(home)
    if resume and then and (found := difference(then, now)):
        field, was, is_ = found
        raise TargetError(
            f"{home} is of another run: {field} was {was}, and is {is_}.",
            "Without --resume the run begins anew.",
        )
    earlier = _attempts(home)
    while earlier and not (resume and then):
        shutil.rmtree(earlier.pop())
    results.write(now, home / IDENTITY)
    folder = home / f"{len(earlier) + 1:04}"
    folder.mkdir()
    _hand_over(earlier, folder)
    return Place(folder, tuple(earlier))


def _hand_over(earlier: list[Path], folder: Path) -> None:
    """Tell an attempt what the earlier ones know: what has ended, what it cost, the offer."""
    (folder / "done").write_text(json.dumps([*Journal(*earlier).ended]), "utf-8")
    lost = [stage for f in earlier for stage in lines(f / "lost") if stage]
    (folder / "lost").write_text("".join(json.dumps(stage) + "\n" for stage in lost), "utf-8")
    for name in SHARED:
        for path in [f / name for f in earlier if (f / name).exists()][-1:]:
            shutil.copy(path, folder / name)


def _identity(options: Options) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    asked = {k: v for k, v in asdict(options).items() if k != "jobs"}
    file = Path(options.target.rpartition(":")[0])
    content = hashlib.sha256(file.read_bytes()).hexdigest() if files.is_file(file) else ""
    document = {"kit": results.kit(), "options": asked, "content of the target": content}
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return {**plain, "environment": results.environment()}


def _read(home: Path) -> Mapping[str, Any]:
    """The identity of the run whose records are there; empty if there is none."""
    try:
        identity = json.loads((home / IDENTITY).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return identity if isinstance(identity, dict) else {}


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Keep the folder to this process; a lock ends with who holds it, however that ends."""
    if home.is_symlink() or (home.exists() and not _is_ours(home)):
        raise TargetError(f"{home} is in the way.", "It is no folder of a run's records: move it.")
    home.mkdir(exist_ok=True)
    if fcntl is None:
        yield
        return
    with (home / LOCK).open("w") as file:
        _lock(file, home)
        yield


def _is_ours(home: Path) -> bool:
    """Whether it says so, or has nothing yet but what comes first."""
    if not home.is_dir():
        return False
    return (home / IDENTITY).exists() or all(
        p.name.startswith((IDENTITY, LOCK)) for p in home.iterdir()
    )


def _lock(file: IO[str], home: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sentence = f"Another run is writing {home.name.removesuffix('.partial')}."
        raise TargetError(sentence, "Wait for it, or give another file.") from None
