"""The results of the version that a subject had before, kept beside the published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_conformance import results
from bn1d_conformance.documents.unavailable import is_absent

if TYPE_CHECKING:
    from pathlib import Path

    from bn1d_conformance.results import Result

FOLDER = "former"  # beside the published results; its files have their names


def keep(before: Result, now: Result, file: Path) -> Path | None:
    """Keep results whose subject has another version now.

    Args:
        before: results, or that there were none, with the last good ones in it.
        now: what has taken their place.
        file: where that stands.

    Returns:
        Where they are kept; None where the version is the same, or not known of both.

    Raises:
        OSError: if they can't be written.
    """
    good = before["last_good"] if is_absent(before) else before
    if not good or is_absent(now) or good["subject"]["version"] == now["subject"]["version"]:
        return None
    place = file.parent / FOLDER / file.name
    results.write(good, place)
    return place
