"""The oracle's answers, kept on disk: they depend on the case and on the oracle, on no subject.

An SQLite file of keys and values, so that many processes may read and write it at once and one
that is killed leaves it whole. Each key is a hash of all that the answer depends on; each value
is checked when it is read, and what does not check is computed anew. A new version of the oracle
or the bounds starts a new file. Nothing here can fail a run: where the disk is full, read-only
or broken, answers are computed, as they are without it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from pathlib import Path

LARGEST = 256 << 20  # bytes of one file; when it is full, what is new is not kept
FILES = 4  # versions of the oracle whose answers stay
CHECK = 16  # bytes of the checksum before each value
WAIT = 2.0  # seconds for another process to finish writing
FAULTS = (OSError, sqlite3.Error, UnicodeDecodeError)
#: Subclasses of DatabaseError say: busy, full, read-only. The other is of a message of SQLite's
#: that quotes what is damaged.
DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
#: The kit's modules that an answer depends on, beside bn1d_reference.
DECIDING = ("answer.py", "cases.py", "expected.py", "keep.py", "numbers.py")


@lru_cache(maxsize=1)
def version() -> str:
    """A hash of the code that an answer depends on."""
    digest = hashlib.blake2b(digest_size=8)
    reference = Path(str(resources.files("bn1d_reference")))
    own = [Path(__file__).with_name(name) for name in DECIDING]
    for path in [*sorted(reference.glob("*.py")), *own]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def folder() -> Path | None:
    """Where answers are kept: BN1D_CACHE, or the user's cache; None if it is set to nothing."""
    chosen = os.environ.get("BN1D_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    from platformdirs import user_cache_path  # noqa: PLC0415

    return user_cache_path("bn1d-conformance", appauthor=False)


class Store:
    """Bytes by key; a key that can't be read is one that is not there."""

    def __init__(self, home: Path) -> None:
        """Open nothing yet: most processes that have a store never ask it."""
        self.path = home / f"answers-{version()}.sqlite"
        self._connections: dict[int, sqlite3.Connection] = {}
        self._wait = WAIT

    def get(self, key: bytes) -> bytes | None:
        """The value, if it is there and whole."""
        try:
            row = (
                self._open().execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
            )
        except FAULTS as error:
            self._broken(error)
            return None
        if row is None or not isinstance(row[0], bytes):
            return None
        check, value = row[0][:CHECK], row[0][CHECK:]
        return value if check == _checksum(key, value) else None

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value, if there is room."""
        row = key, _checksum(key, value) + value
        try:
            self._open().execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)
        except FAULTS as error:
            self._broken(error)

    def _open(self) -> sqlite3.Connection:
        """This process's connection: a fork of its process may neither use nor close it."""
        process = os.getpid()
        if process not in self._connections:
            self._connections[process] = self._connect()
        return self._connections[process]

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _forget_old(self.path)
        new = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None)
        new.execute("PRAGMA journal_mode = WAL")  # readers do not wait for a writer
        new.execute("PRAGMA synchronous = OFF")  # what a power cut loses is computed again
        [size] = new.execute("PRAGMA page_size").fetchone()
        new.execute(f"PRAGMA max_page_count = {LARGEST // size}")
        new.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value BLOB)")
        return new

    def _broken(self, error: Exception) -> None:
        """Go without this once; a file that is no database any more is removed, and begun anew.

        Whoever holds the file longer than anybody writes is stopped, or hangs: nobody waits for
        it again.
        """
        if "locked" in str(error):
            self._wait = 0.0
            if held := self._connections.get(os.getpid()):
                held.execute("PRAGMA busy_timeout = 0")
        if type(error) in DAMAGE:
            self._connections.pop(os.getpid(), None)
            _remove(self.path)


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=CHECK, key=key[:64]).digest()


def _forget_old(current: Path) -> None:
    """Remove the files of all but the last few versions; one that is gone already is gone."""
    with suppress(OSError):
        others = [p for p in current.parent.glob("answers-*.sqlite") if p != current]
        others.sort(key=lambda path: path.stat().st_mtime)
        for path in others[: -(FILES - 1)]:
            _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
