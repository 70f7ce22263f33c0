"""No result: what stands for a subject that could not be judged, beside the last that there was.

Such a file has no counts and no requirements of its own, so that nobody takes it for 0 of them.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from bn1d_conformance import results
from bn1d_conformance.documents import reading
from bn1d_conformance.documents.reading import ResultsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bn1d_conformance.results import Result


def no_result(path: Path, target: str, reason: str) -> Result:
    """Return the document for a subject whose published file is `path`.

    Args:
        path: may have the last results, or say already that there are none, or not be there.
        target: what was to be judged; "" for what the file names.
        reason: why there is no result.

    Raises:
        ResultsError: if the file is there and can't be read, or nothing names a target.
    """
    last, named = _before(path)
    if not (target or named):
        raise ResultsError(f"{path} is not there to say what could not be judged.")
    return {
        "schema_version": results.SCHEMA_VERSION,
        "target": target or named,
        "verdict": "no-result",
        "reason": reason,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "last_good": last,
    }


def _before(path: Path) -> tuple[Result | None, str]:
    """The last results that there were, and the target."""
    if not path.exists():
        return None, ""
    document = reading.load_any(path)
    if is_absent(document):
        return document["last_good"], document["target"]
    return document, document["subject"]["target"]


def is_absent(document: Mapping[str, Any]) -> bool:
    """Whether a file says that there is no result."""
    return bool(document["verdict"] == "no-result")


def sentence(document: Mapping[str, Any]) -> str:
    """Why there is no result, and since when."""
    last: Any = document["last_good"]
    since = f"last good: {last['date']}" if last else "there was none before"
    return f"no result: {document['reason'].rstrip('.')} ({since})"
