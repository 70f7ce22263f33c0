"""The figures of the pages that explain, drawn when the site is built, with their numbers.

A page says `<!-- drawn: NAME -->` where figure NAME of `FIGURES` is to stand.  What is right comes
from the oracle, what is wrong from the few lines of NumPy below.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

from bn1d_conformance.markup import table
from bn1d_conformance.site_plot import Axis, Plot, Series
from bn1d_reference.formats import FP32
from bn1d_reference.oracle import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Callable

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


def draw(markdown: str) -> str:
    """Return a page with its figures in the places of their marks.

    Raises:
        KeyError: a mark names no figure.
    """
    return MARK.sub(lambda mark: FIGURES[mark[1]](), markdown)


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


def running_mean() -> str:
    """running_mean on a stream whose mean shifts."""
    ticks = (-1, 0, 1, 2, 3, 4, 5, 6, 7)
    return _averages(0, "mean", "running_mean", ticks, "the mean of the values goes from 0 to 5")


def running_var() -> str:
    """running_var on a stream whose variance shifts."""
    truth = "the variance of the values goes from 1 to 4"
    return _averages(1, "var", "running_var", tuple(range(0, 16, 2)), truth)


FIGURES: dict[str, Callable[[], str]] = {
    "running-mean": running_mean,
    "running-var": running_var,
}
