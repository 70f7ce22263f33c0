"""What a subject offers: asked once in a run, by one process, and told to the others.

Asking may construct a layer and run it, so it may end the process. Then the question is not put
again: the item that asked has its verdict, and what depends on the answer is not run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from bn1d_conformance import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Offer:
    """A subject's capabilities, its names for the tensors, where its arrays live, how to call it.

    `calls` maps words of the spec to the subject's: arguments of a function or a constructor;
    "forward" to the method that answers, "mode" to what switches ("methods", "attribute NAME" or
    "argument NAME"). A torch module needs none of it.
    """

    capabilities: list[str] = field(default_factory=list)
    names: dict[str, str | None] = field(default_factory=dict)
    host: str = ""
    calls: dict[str, str] = field(default_factory=dict)


def ask(folder: Path | None, worker: str, question: Callable[[], Offer]) -> Offer | None:
    """Return what the run knows of the subject's offer, putting the question if nobody has.

    Args:
        folder: the run's; None asks without telling anybody.
        worker: this process's name.
        question: asks the subject; may not return.

    Returns:
        The offer, or None if asking has ended a process before.
    """
    if folder is None:
        return question()
    known, asking = folder / "offer.json", folder / f"{worker}.asking"
    if known.exists():
        return Offer(**json.loads(known.read_text()))
    if (folder / "unknown").exists():
        return None
    asking.touch()
    offer = question()
    files.write(json.dumps(asdict(offer)), known)
    asking.unlink()
    return offer


def died(folder: Path, worker: str) -> None:
    """Note that a process is lost: if it was asking, nobody asks again."""
    if (folder / f"{worker}.asking").exists():
        (folder / "unknown").touch()


def lose(folder: Path | None, stage: str) -> None:
    """Note for all processes of a run that one was lost in this stage."""
    if folder:
        with (folder / "lost").open("a", encoding="utf-8") as file:
            file.write(json.dumps(stage) + "\n")
