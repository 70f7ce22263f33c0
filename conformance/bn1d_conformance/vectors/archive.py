"""The folders of vectors and of answers: what is in them, and that nothing else is believed.

A folder of vectors has `manifest.json`, `vectors.json` (programs), a table `arrays.*` of what the
programs name, and `expected/`: the right answers, in the layout in which a device answers, and a
table `bounds.*`. A folder of answers has `answers.json` and a table `arrays.*`, whose names are
VECTOR/STEP/QUANTITY. The schemas beside the results file's describe all of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bn1d_conformance import bounded, results
from bn1d_conformance.subject import COUNTER, TargetError
from bn1d_conformance.vectors import steps, tables
from bn1d_conformance.vectors.tables import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bn1d_conformance.vectors.recording import Note, Tape
    from bn1d_conformance.vectors.steps import Answers, Step

SCHEMA_VERSION = 1
FILE = re.compile(r"(expected/)?(vectors|answers|arrays|bounds)\.(json|npz|safetensors)")
IDENT = re.compile(r"v[0-9]{5}")
KINDS_OF_STEPS = ("load", "train", "forward", "backward", "state")


@dataclass
class Vector:
    """One program: what a layer is constructed from, and what is done to it.

    Attributes:
        id: its name in this folder.
        requirements: the ids of the checks that ask for it.
        config: as `subject.Config`, numbers as hex floats.
        steps: `do`, what it is done with, and the quantities that answer it.
    """

    id: str
    requirements: list[str]
    config: dict[str, Any]
    steps: list[Step]

    def chains(self) -> Iterator[str]:
        """The name of the program up to each of its steps."""
        key = steps.chain("", {"do": "build", "config": self.config})
        yield key
        for step in self.steps:
            key = steps.chain(key, step)
            yield key


@dataclass
class Recorded:
    """What a device answered, by VECTOR/STEP and by VECTOR/STEP/QUANTITY."""

    name: str
    version: str
    arrays: Answers
    refused: dict[str, str] = field(default_factory=dict)

    def missing(self, vector: Vector, index: int) -> str:
        """The first answer to a step that is not there; "" where none is missing."""
        place = f"{vector.id}/{index}"
        names = [f"{place}/{q}" for q in vector.steps[index].get("answers", ())]
        lacking = [n for n in names if n not in self.arrays]
        return "" if place in self.refused or not lacking else lacking[0]


# Writing


def export(tape: Tape, kind: str, folder: Path) -> int:
    """Write all that the tape noted into a prepared folder; return the number of vectors."""
    programs = list(tape.programs())
    tables_of = ("arrays", "expected/arrays", "expected/bounds")
    names = ["vectors.json", "expected/answers.json", *(f"{t}.{kind}" for t in tables_of)]
    vectors = [_vector(k, notes) for k, notes in enumerate(programs)]
    _dump({"schema_version": SCHEMA_VERSION, "vectors": vectors}, folder / "vectors.json")
    tables.write(tape.arrays, folder / f"arrays.{kind}")
    _expect(programs, _hash(folder / "vectors.json"), folder / "expected", kind)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kit": results.kit(),
        "profile": tape.memory.profile,
        "seed": 0,
        "capabilities": sorted(tape.capabilities),
        "vectors": len(vectors),
        "files": {name: _row(folder / name) for name in names},
    }
    _dump(manifest, folder / "manifest.json")
    return len(vectors)


def prepare(folder: Path) -> None:
    """Make the folder.

    Raises:
        TargetError: if it is not empty or can't be written.
    """
    try:
        occupied = folder.exists() and any(folder.iterdir())
        if not occupied:
            (folder / "expected").mkdir(parents=True)
    except OSError:
        occupied = True
    if occupied:
        raise TargetError(f"{folder} is no empty folder.", "Name a folder that is not there yet.")


def _vector(k: int, notes: list[Note]) -> dict[str, Any]:
    ids = sorted({i for note in notes for i in note.ends}, key=_by_number)
    first, *rest = notes
    head = {"id": ident(k), "case": notes[-1].case, "requirements": ids}
    return {**head, "config": first.step["config"], "steps": [note.step for note in rest]}


def ident(k: int) -> str:
    """The id of vector k."""
    return f"v{k:05}"


def _by_number(requirement: str) -> tuple[str, int]:
    area, _, number = requirement.rpartition("-")
    return area, int(number)


def _expect(programs: list[list[Note]], vectors: str, folder: Path, kind: str) -> None:
    """Write the right answers as a device would, and the bounds beside them."""
    places = {
        f"{ident(k)}/{index}": note
        for k, notes in enumerate(programs)
        for index, note in enumerate(notes[1:])
    }
    answers = {f"{p}/{q}": a for p, note in places.items() for q, a in note.answers.items()}
    bounds = {f"{p}/{q}": b for p, note in places.items() for q, b in note.bounds.items()}
    document = {
        "schema_version": SCHEMA_VERSION,
        "vectors": vectors,
        "device": {"name": "bn1d_reference", "version": results.kit()["version"]},
        "refused": {p: note.refused for p, note in places.items() if note.refused},
    }
    _dump(document, folder / "answers.json")
    tables.write(answers, folder / f"arrays.{kind}")
    tables.write(bounds, folder / f"bounds.{kind}")


def _dump(document: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _row(path: Path) -> dict[str, Any]:
    return {"sha256": _hash(path), "bytes": path.stat().st_size}


# Reading


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what the folder says of itself, and check every file against it.

    `expected/` may be missing: who answers need not see it.

    Raises:
        TargetError: if a file is missing, or is another than the one that was written.
    """
    path = folder / "manifest.json"
    manifest = _document(path)
    files = _field(path, manifest, "files", dict)
    _field(path, manifest, "kit", dict)
    if _field(path, manifest, "profile", str) not in ("quick", "full"):
        raise refuse(path, f"profile is {manifest['profile']!r}, where quick or full is right.")
    has = _words(path, manifest, "capabilities")
    if unknown := [c for c in has if c not in steps.RECORDABLE]:
        raise refuse(path, f"capabilities holds {unknown[0]!r}, which can't be recorded.")
    if "vectors.json" not in files:
        raise refuse(path, "files has no vectors.json.")
    for name, row in files.items():
        _verify(folder, name, row)
    return manifest


def _verify(folder: Path, name: str, row: Any) -> None:
    """Check one file of the manifest's against its size and its hash."""
    manifest, path = folder / "manifest.json", folder / name
    if not FILE.fullmatch(name):
        raise refuse(manifest, f"files names {name!r}, which is no file of a folder of vectors.")
    if name.startswith("expected/") and not path.exists():
        return
    if path.resolve() != folder.resolve() / name:  # a link, in whatever part of the name
        raise refuse(path, "there is no such file in this folder.")
    told = row.get("sha256") if isinstance(row, dict) else row
    if (found := _hash(tables.checked(path))) != told:
        raise refuse(path, f"its sha256 is {found}, where the manifest says {told}.")


def _document(path: Path) -> dict[str, Any]:
    document = tables.read_json(path)
    if document.get("schema_version") != SCHEMA_VERSION:
        said = json.dumps(document.get("schema_version"))[:60]
        raise refuse(path, f"schema_version is {said}, where {SCHEMA_VERSION} is read.")
    return document


def _field(path: Path, document: Mapping[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        said = json.dumps(value)[:60]
        raise refuse(path, f"{name} is {said}, where a JSON {kind.__name__} is right.")
    return value


def _words(path: Path, document: Mapping[str, Any], name: str) -> list[str]:
    words: list[str] = _field(path, document, name, list)
    if other := [w for w in words if not isinstance(w, str)]:
        raise refuse(path, f"{name} holds {json.dumps(other[0])[:60]}, where strings are right.")
    return words


def read_vectors(folder: Path) -> list[Vector]:
    """Read the programs; their arrays are names, and stay so.

    Raises:
        TargetError: if they are not as the schema says.
    """
    path = folder / "vectors.json"
    rows = _field(path, _document(path), "vectors", list)
    return [_checked_vector(path, k, row) for k, row in enumerate(rows)]


def _checked_vector(path: Path, k: int, row: Any) -> Vector:
    named = isinstance(row, dict) and isinstance(row.get("id"), str) and IDENT.fullmatch(row["id"])
    if not named:
        raise refuse(path, f"vectors[{k}] has no id such as {ident(k)}.")
    requirements = _words(path, row, "requirements")
    config, done = _field(path, row, "config", dict), _field(path, row, "steps", list)
    for index, step in enumerate(done):
        if not _is_step(step):
            said = json.dumps(step)[:60]
            raise refuse(path, f"step {index} of {row['id']} is {said}, which is no step.")
    return Vector(row["id"], requirements, config, done)


def _is_step(step: Any) -> bool:
    if not isinstance(step, dict) or step.get("do") not in KINDS_OF_STEPS:
        return False
    wanted = step.get("answers", [])
    return isinstance(wanted, list) and all(w in steps.QUANTITIES for w in wanted)


def read_answers(folder: Path, vectors: list[Vector], programs: str) -> Recorded:
    """Read what a device answered.

    Args:
        folder: of the answers.
        vectors: what was asked.
        programs: the sha256 of the vectors.json that was asked.

    Raises:
        TargetError: if an answer is to nothing that was asked, or can't be read.
    """
    path = folder / "answers.json"
    document = _document(path)
    if (told := document.get("vectors")) != programs:
        said = f"vectors is {json.dumps(told)[:80]}, and these vectors.json's sha256 is {programs}"
        raise refuse(path, f"{said}.", "Answer the vectors of the folder that is judged.")
    device, refused = (_field(path, document, n, dict) for n in ("device", "refused"))
    table = _table(folder)
    if (told := document.get("sha256")) is not None and (found := _hash(table)) != told:
        raise refuse(table, f"its sha256 is {found}, where answers.json says {told}.")
    recorded = Recorded(
        bounded.printable(_field(path, device, "name", str)),
        bounded.printable(_field(path, device, "version", str)),
        tables.read(table),
        {str(k): bounded.printable(v) for k, v in refused.items()},
    )
    _match(path, table, recorded, vectors)
    return recorded


def _table(folder: Path) -> Path:
    """The one table of a folder."""
    found = [p for kind in tables.KINDS if (p := folder / f"arrays.{kind}").exists()]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise refuse(
            folder, f"one of arrays.json, .npz and .safetensors is right; there is {names}."
        )
    return tables.checked(found[0])


def _match(path: Path, table: Path, recorded: Recorded, vectors: list[Vector]) -> None:
    """Refuse an answer to what was not asked, and a counter that is no whole number."""
    asking = {f"{v.id}/{k}" for v in vectors for k, s in enumerate(v.steps) if "answers" in s}
    for place in recorded.refused:
        if place not in asking:
            raise refuse(path, f"refused names {place!r}, which no vector asks.")
    for name, array in recorded.arrays.items():
        place, _, quantity = name.rpartition("/")
        if place not in asking or quantity not in steps.QUANTITIES:
            raise refuse(table, f"{name!r} answers nothing that a vector asks.")
        if (quantity == COUNTER) != (array.dtype.name == "int64"):
            raise refuse(table, f"{name!r}: its format is {array.dtype.name}, which is not right.")
        if quantity == COUNTER and array.size != 1:
            raise refuse(table, f"{name!r} has {array.size} values, where one is right.")
