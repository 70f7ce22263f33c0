"""What a device answered elsewhere: the checks ask, and the answers are looked up."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bn1d_conformance.subject import Request, UnaskedError
from bn1d_conformance.vectors import archive, steps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bn1d_conformance.subject import Config
    from bn1d_conformance.vectors.steps import Answers, Step


class RecordedSubject:
    """The subject behind `bn1d vectors judge`.

    What the vectors were exported with decides what it offers; the questions are the checks' own,
    and what was not asked, or not answered, is not run.
    """

    adapter = "recorded"
    dialect: Mapping[str, str] = {}
    names: Mapping[str, str | None] = {}

    def __init__(self, folder: Path, answers: Path, request: Request) -> None:
        """Read both folders.

        Raises:
            TargetError: if one of them is damaged, or is no such folder.
        """
        self.target = request.target
        manifest = archive.read_manifest(folder)
        self.capabilities = frozenset(manifest["capabilities"])
        self.vectors = archive.read_vectors(folder)
        programs = manifest["files"]["vectors.json"]["sha256"]
        self.recorded = archive.read_answers(answers, self.vectors, programs)
        self.name, self.version = self.recorded.name, self.recorded.version
        self.places: dict[str, list[int]] = defaultdict(list)
        for k, vector in enumerate(self.vectors):
            for key in vector.chains():
                self.places[key].append(k)
        self.used: Counter[int] = Counter()

    def build(self, config: Config) -> RecordedLayer:
        """Construct a layer that knows no answers of its own."""
        return RecordedLayer(self, config)

    def build_default(self, _: int) -> RecordedLayer:
        """Decline: a vector says all that a layer is constructed from."""
        raise UnaskedError("defaults are not recorded", "not-applicable")


class RecordedLayer(steps.Asked):
    """The steps so far, and the vector that has the same."""

    def __init__(self, subject: RecordedSubject, config: Config) -> None:
        """Start before the first step."""
        self.subject, self.key = subject, ""
        self.index, self.vector = -2, -1  # the construction is no step of a vector
        super().__init__(config, subject.capabilities)

    def do(self, step: Step, *_: Any) -> Answers:
        """Look the answers to a step up.

        Raises:
            UnaskedError: if there are none.
            ValueError: if the device refused.
        """
        self.key = steps.chain(self.key, steps.spell(step, {}))
        self.index += 1
        if not steps.asked(step["do"], self.config, self.has):
            return {}
        vector = self._vector()
        place, recorded = f"{vector.id}/{self.index}", self.subject.recorded
        if lacking := recorded.missing(vector, self.index):
            raise UnaskedError(f"no answer recorded: {lacking}")
        if place in recorded.refused:
            raise ValueError(recorded.refused[place])
        named = {q: recorded.arrays.get(f"{place}/{q}") for q in steps.QUANTITIES}
        return {q: array for q, array in named.items() if array is not None}

    def _vector(self) -> archive.Vector:
        """A vector with these steps: the same as before, or the one that was used least.

        Two layers that are asked the same get two runs of the device, where two are recorded.
        """
        subject = self.subject
        found = subject.places.get(self.key, [])
        if not found:
            raise UnaskedError("no answer recorded: no vector has these steps")
        if self.vector not in found:
            self.vector = min(found, key=lambda k: subject.used[k])
            subject.used[self.vector] += 1
        return subject.vectors[self.vector]
