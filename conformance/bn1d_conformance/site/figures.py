"""The figures of the pages that explain, drawn when the site is built, with their numbers.

A page says `<!-- drawn: NAME -->` where figure NAME of `FIGURES` is to stand.  What is right comes
from the oracle, what is wrong from the few lines of NumPy below.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance.documents import kills
from bn1d_conformance.site import glance, other_checks, published, speed
from bn1d_conformance.site.markup import literal, number, table
from bn1d_conformance.site.plot import Axis, Plot, Series
from bn1d_reference.bounds import arithmetic
from bn1d_reference.channel import Batch
from bn1d_reference.errors import moments_of
from bn1d_reference.formats import FP32
from bn1d_reference.oracle import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from bn1d_conformance.documents.kills import Kills
    from bn1d_conformance.results import Result

    F32 = np.ndarray[Any, np.dtype[np.float32]]

MARK = re.compile(r"^<!-- drawn: ([a-z-]+) -->$", re.MULTILINE)

#: The stream: 60 batches of 8 values; after 20 of them mean and spread change.
BATCHES, SIZE, SHIFT = 60, 8, 20
BEFORE, AFTER = (0.0, 1.0), (5.0, 2.0)  # mean and standard deviation
#: The four averages that are compared, by their name in the legend.
MOMENTA = {
    "momentum=1.0: the batch alone": 1.0,
    "momentum=0.1: exponential": 0.1,
    "momentum=None: cumulative": None,
    "momentum=0.0: stays": 0.0,
}
SHOWN = (1, 2, 10, 20, 21, 25, 30, 40, 60)  # the batches whose numbers stand in the table

#: Means, in standard deviations, for which a variance is computed in fp32; and of how many values.
DISTANCES = tuple(10 ** (k / 4) for k in range(21))
VALUES, CHANNELS = 64, 16
#: Those of which the published results say how accurate the output is.
LEVELS = ("1", "10", "100", "1000", "10000", "100000")


@dataclass(frozen=True)
class Sources:
    """What figures are drawn from, read when it is needed.

    Attributes:
        folder: `conformance` of a clone.
    """

    folder: Path

    @cached_property
    def published(self) -> dict[str, Result]:
        """The published results, by name."""
        files = sorted((self.folder / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_text("utf-8")) for file in files}

    @cached_property
    def backends(self) -> dict[str, dict[str, Any]]:
        """The rows of the table of what is judged, by name."""
        return published.backends(self.folder)

    @cached_property
    def kills(self) -> Kills:
        """The kill matrix."""
        return kills.read(self.folder / "tests" / "zoo")

    @cached_property
    def others(self) -> dict[str, Any]:
        """What other checks see of the mutants."""
        return self._measured("other_checks")

    @cached_property
    def costs(self) -> dict[str, Any]:
        """What a run costs."""
        return self._measured("kit")

    def _measured(self, name: str) -> dict[str, Any]:
        file = self.folder / "benchmarks" / f"{name}.json"
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found


def draw(markdown: str, sources: Sources) -> str:
    """Return a page with its figures in the places of their marks.

    Raises:
        KeyError: a mark names no figure.
    """
    return MARK.sub(lambda mark: FIGURES[mark[1]](sources), markdown)


def stream() -> list[list[float]]:
    """The batches: fp32 numbers, the same at every build."""
    random = Random(0)  # noqa: S311 - a picture is no secret
    moments = (BEFORE if k < SHIFT else AFTER for k in range(BATCHES))
    return [FP32.cast([random.gauss(*m) for _ in range(SIZE)]) for m in moments]


def followed(momentum: float | None) -> list[tuple[float, float]]:
    """running_mean and running_var after each batch of the stream, by the oracle."""
    layer, found = BatchNorm1d(1, momentum=momentum), []
    for batch in stream():
        layer.forward_channels([batch])
        mean, var = layer.running_mean or [], layer.running_var or []
        found.append((mean[0], var[0]))
    return found


def _averages(which: int, name: str, label: str, ticks: tuple[int, ...], truth: str) -> str:
    lines = {said: [row[which] for row in followed(m)] for said, m in MOMENTA.items()}
    plot = Plot(
        ident=f"following-{name}",
        title=f"running_{name} over {BATCHES} batches, for four values of momentum",
        description=f"After batch {SHIFT} {truth}. With momentum 1 the line jumps from batch to "
        "batch, with 0.1 it follows smoothly and is there after some 30 batches, with None it "
        "creeps up and is short of the new value at the end, with 0 it is flat.",
        x=Axis("batches", (0, 10, 20, 30, 40, 50, 60)),
        y=Axis(label, ticks),
        series=[Series(said, list(enumerate(line, 1))) for said, line in lines.items()],
    )
    head = ["after batch", *(f"momentum={m}" for m in MOMENTA.values())]
    rows = ([str(k), *(f"{line[k - 1]:.3f}" for line in lines.values())] for k in SHOWN)
    return _with_numbers(plot, table(head, rows, "rrrrr"))


def _with_numbers(plot: Plot, numbers: str) -> str:
    folded = f"<details markdown>\n<summary>The numbers of this figure</summary>\n\n{numbers}\n"
    return f"{plot.svg()}\n\n{folded}\n</details>"


def running_mean(_: Sources) -> str:
    """running_mean on a stream whose mean shifts."""
    ticks = (-1, 0, 1, 2, 3, 4, 5, 6, 7)
    return _averages(0, "mean", "running_mean", ticks, "the mean of the values goes from 0 to 5")


def running_var(_: Sources) -> str:
    """running_var on a stream whose variance shifts."""
    truth = "the variance of the values goes from 1 to 4"
    return _averages(1, "var", "running_var", tuple(range(0, 16, 2)), truth)


def one_pass(x: F32) -> F32:
    """mean(x**2) - mean(x)**2, by column."""
    mean = x.sum(0) / np.float32(len(x))
    var: F32 = (x * x).sum(0) / np.float32(len(x)) - mean * mean
    return var


def two_pass(x: F32) -> F32:
    """The mean of the squared deviations from the mean, by column."""
    centred = x - x.sum(0) / np.float32(len(x))
    var: F32 = (centred * centred).sum(0) / np.float32(len(x))
    return var


def welford(x: F32) -> F32:
    """Mean and squared deviations brought up to date with each value, by column."""
    mean, squares = x[0], np.zeros_like(x[0])
    for count, row in enumerate(x[1:], 2):
        before = row - mean
        mean = mean + before / np.float32(count)
        squares = squares + before * (row - mean)
    var: F32 = squares / np.float32(len(x))
    return var


ALGORITHMS: dict[str, Callable[[F32], F32]] = {
    "one pass: mean of squares − square of mean": one_pass,
    "two passes": two_pass,
    "Welford": welford,
}


def variance_errors(distance: float) -> tuple[list[float], float]:
    """The worst relative error of each algorithm, and the bound, where mean = distance * sigma."""
    random = np.random.default_rng(0)
    x = (random.standard_normal((VALUES, CHANNELS)) + distance).astype(np.float32)
    batches = [Batch([float(v) for v in column]) for column in x.T]
    exact = np.array([float(batch.var) for batch in batches])
    worst = [
        float(np.max(np.abs(of(x).astype(float) - exact) / exact)) for of in ALGORITHMS.values()
    ]
    moments = [moments_of(arithmetic(FP32, FP32), batch) for batch in batches]
    return worst, min(m.dvar / m.var for m in moments if m)


def variance_error(_: Sources) -> str:
    """The error of a variance in fp32 against the distance of the mean from zero."""
    rows = [variance_errors(distance) for distance in DISTANCES]
    columns = [[worst[k] for worst, _ in rows] for k in range(len(ALGORITHMS))]
    lines = dict(zip(ALGORITHMS, columns, strict=True)) | {
        "the bound, any sound algorithm": [b for _, b in rows]
    }
    plot = Plot(
        ident="variance-error",
        title="Relative error of a variance in single precision, by algorithm",
        description="Both axes are logarithmic. The error of one pass grows a hundredfold with "
        "every factor of ten, crosses the bound at about 20 and is larger than the variance "
        "itself from about 2000 on. Two passes and Welford stay far below the bound throughout.",
        x=Axis("|mean| / σ", (1.0, 10.0, 1e2, 1e3, 1e4, 1e5), log=True),
        y=Axis("error / variance", (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4), log=True),
        series=[
            Series(name, list(zip(DISTANCES, line, strict=True))) for name, line in lines.items()
        ],
    )
    head = ["mean / σ", *lines]
    numbers = (
        [number(round(distance)), *(f"{line[k]:.1e}" for line in lines.values())]
        for k, distance in enumerate(DISTANCES)
        if k % 4 == 0
    )
    return _with_numbers(plot, table(head, numbers, "rrrrr"))


def judged_outputs(results: Mapping[str, Result]) -> dict[str, list[float]]:
    """The worst ulp of the fp32 output at each of `LEVELS`, of what passes NUM-1 in training."""
    found = {}
    for name, result in published.judged(results).items():
        outputs = (result.get("accuracy") or {}).get("outputs") or {}
        at = outputs.get("y fp32", {}).get("conditions", {})
        passes = result["requirements"].get("NUM-1", {}).get("verdict") == "pass"
        if (
            passes
            and "train" in result["subject"]["capabilities"]
            and all(k in at for k in LEVELS)
        ):
            found[name] = [at[k]["worst"] for k in LEVELS]
    return found


def judged_accuracy(sources: Sources) -> str:
    """How far the outputs of what was judged are off, against |mean|/sigma."""
    found = judged_outputs(sources.published)
    columns = list(zip(*found.values(), strict=True))
    lines = {
        "the worst that passes": list(map(max, columns)),
        "the middle one": list(map(median, columns)),
        "the best": list(map(min, columns)),
    }
    plot = Plot(
        ident="judged-accuracy",
        title=f"Error of the training output of {len(found)} published subjects that pass NUM-1",
        description="Both axes are logarithmic. All lines rise side by side, in proportion to the "
        "distance of the mean from zero: by a factor of about ten with every factor of ten.",
        x=Axis("|mean| / σ", tuple(float(k) for k in LEVELS), log=True),
        y=Axis("error in ulp", (1.0, 10.0, 1e2, 1e3, 1e4, 1e5, 1e6), log=True),
        series=[
            Series(name, list(zip(map(float, LEVELS), line, strict=True)))
            for name, line in lines.items()
        ],
    )
    rows = ([literal(name), *map(number, map(float, line))] for name, line in found.items())
    return _with_numbers(plot, table(["subject", *LEVELS], rows, "lrrrrrr"))


def _checks(sources: Sources) -> str:
    """How much other checks let through."""
    return other_checks.summary(sources.others, sources.kills)


def others_missed(sources: Sources) -> str:
    """What all of them let through."""
    return other_checks.missed(sources.others, sources.kills)


def widely_used(sources: Sources) -> str:
    """The verdicts on the widely used ones, by area."""
    return glance.widely_used(sources.published, sources.backends)


def on_a_gpu(sources: Sources) -> str:
    """What needs a GPU, with its verdict."""
    return glance.on_a_gpu(sources.published, sources.backends)


def costs(sources: Sources) -> str:
    """What a run costs."""
    return speed.costs(sources.costs)


def growth(sources: Sources) -> str:
    """How the time of a case grows."""
    return speed.growth(sources.costs)


def shares(sources: Sources) -> str:
    """Whose code the processor is in while the checks run."""
    return speed.shares(sources.costs)


FIGURES: dict[str, Callable[[Sources], str]] = {
    "running-mean": running_mean,
    "running-var": running_var,
    "variance-error": variance_error,
    "judged-accuracy": judged_accuracy,
    "other-checks": _checks,
    "others-missed": others_missed,
    "widely-used": widely_used,
    "on-a-gpu": on_a_gpu,
    "costs": costs,
    "growth": growth,
    "shares": shares,
}
