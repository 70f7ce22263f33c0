"""Text files that are written whole or not at all, whatever ends the process or the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from stat import S_ISREG


def write(text: str, path: Path) -> None:
    """Put a new file in the place of `path`, once all of it is on the disk.

    A kill leaves the old file, or the new one; beside them it may leave one whose name ends in
    `.part`. A power cut does the same, as the text is on the disk before the name is.

    Raises:
        OSError: if it can't be written; the old file is as it was.
        UnicodeEncodeError: if the text has what UTF-8 has not; the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Have the folder on the disk too: it is what has the names."""
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# What is there, for names that somebody typed: to os.path, a name that the system can't have, as
# one that is too long, is that of none, where pathlib raises.


def exists(path: Path) -> bool:
    """Whether there is anything of this name."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Whether there is a file of this name."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: Path) -> bool:
    """Whether there is a folder of this name."""
    return os.path.isdir(path)  # noqa: PTH112


def has_room(folder: Path) -> bool:
    """Whether files can be put into a folder, which is made if need be."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def is_writable(path: Path) -> bool:
    """Whether a file can be put there, as far as that is known before it is done."""
    try:
        taken = not S_ISREG(path.stat().st_mode)  # a folder, a device, a pipe
    except FileNotFoundError:
        taken = False
    except OSError:  # no name that the system can have
        return False
    folder = path.resolve().parent
    return not taken and folder.is_dir() and os.access(folder, os.W_OK)
