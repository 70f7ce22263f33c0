"""Which checks a pytest session runs, and in which order; NumPy is imported where it is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bn1d_conformance import parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


def ids(item: pytest.Item) -> tuple[str, ...]:
    """The requirements that an item judges; none where it is no check."""
    return tuple(i for mark in item.iter_markers("requirement") for i in mark.args)


def order(item: pytest.Item) -> tuple[str, int, int, int]:
    """Single checks in the order of the spec; then the families, each with all its areas.

    The checks of a family ask the same questions, one after another, and share the answers.
    """
    from bn1d_conformance.numbers import FORMATS  # noqa: PLC0415
    from bn1d_reference.spec import AREAS  # noqa: PLC0415

    values = getattr(item, "callspec", None)
    params = values.params if values and "family" in values.params else {}
    area = AREAS.index(ids(item)[0].rpartition("-")[0])
    fmt = FORMATS.index(params["fmt"]) if params else 0
    return (params.get("family", ""), fmt, params.get("rank", 0), area)


def left(
    checks: Sequence[pytest.Item], shard: tuple[int, int] | None, folder: Path | None
) -> list[pytest.Item]:
    """Return the checks of a part that no earlier attempt at the run has judged.

    Args:
        checks: of the whole run, in order.
        shard: which part of how many; None for all.
        folder: of the run's records; None where it leaves none.
    """
    mine = parts.split(checks, _group, *shard) if shard else [*checks]
    done = folder / "done" if folder else None
    if not (done and done.exists()):
        return mine
    judged = set(json.loads(done.read_text("utf-8")))
    return [item for item in mine if item.nodeid not in judged]


def _group(item: pytest.Item) -> object:
    """What is judged in one place, because it shares answers: a family, or one check's cases."""
    family = order(item)[:3]
    return family if family[0] else item.nodeid.partition("[")[0]
