"""How the time of a case grows with its elements and its channels, and of a run with its cases.

    python conformance/benchmarks/growth.py [--repeats 3]

A case is asked for all that a training pass gives: the output, both statistics and the three
gradients.  The subject is torch.nn.BatchNorm1d; the oracle computes with nothing kept; judging is
the comparison with an answer that is there.  Processor time, the best of the repeats.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch

from bn1d_conformance import cases, targets
from bn1d_conformance.dialect import Notes
from bn1d_conformance.expected import Expected
from bn1d_conformance.judge import examine
from bn1d_conformance.subject import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.cases import Case
    from bn1d_conformance.subject import Array, Subject

#: (cases, channels, values a channel), by the name of what grows.
SIZES = {
    "elements": [(1, 4, n) for n in (64, 1024, 16384, 65536)],
    "channels": [(1, c, 64) for c in (4, 64, 1024, 4096)],
    "cases": [(k, 4, 64) for k in (1, 16, 256)],
}
QUANTITIES = ("y", "running_mean", "running_var", "dx", "dweight", "dbias")
PARTS = ("subject", "oracle", "judging")
Row = dict[str, float]


def measured(number: int, channels: int, values: int, repeats: int) -> Row:
    """Seconds of the parts, for so many cases of so many channels and values."""
    subject = targets.load(Request("torch.nn:BatchNorm1d"))
    drawn = [cases.drawn(f"growth{k}", "fp32", (values, channels)) for k in range(number)]
    best = dict.fromkeys(PARTS, float("inf"))
    for _ in range(repeats):
        for part, seconds in once(subject, drawn).items():
            best[part] = min(best[part], seconds)
    return {"cases": number, "channels": channels, "values": values, **best}


def once(subject: Subject, drawn: list[Case]) -> Row:
    """Ask the subject and the oracle, and judge."""
    got, asking = timed(lambda: [answers(subject, case) for case in drawn])
    want, oracle = timed(lambda: [computed(case) for case in drawn])
    _, judging = timed(
        lambda: [judge(*three) for three in zip(drawn, got, want, strict=True)],
    )
    return {"subject": asking, "oracle": oracle, "judging": judging}


def timed(work: Callable[[], list[object]]) -> tuple[list[object], float]:
    """What some work returns, and the processor time that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def answers(subject: Subject, case: Case) -> dict[str, Array | None]:
    """What the subject says of a case."""
    layer = subject.build(case.config)
    layer.load(case.state)
    y = layer.forward(case.x, grad=True)
    state, gradients = layer.state(), layer.backward(case.dy)
    found = (y, state.running_mean, state.running_var, *gradients)
    return dict(zip(QUANTITIES, found, strict=True))


def computed(case: Case) -> Expected:
    """What the oracle says of it, with every answer computed."""
    want = Expected(case)
    for quantity in QUANTITIES:
        getattr(want, quantity)
    return want


def judge(case: Case, got: dict[str, Array | None], want: Expected) -> None:
    """Compare all of it; PyTorch's own layer fails nothing."""
    for quantity in QUANTITIES:
        _, failure = examine("TRAIN-1", case, got[quantity], getattr(want, quantity), Notes())
        if failure:
            raise AssertionError(failure.message)


def measure(repeats: int) -> dict[str, list[Row]]:
    """The rows by what grows in them."""
    torch.set_num_threads(1)
    return {name: [measured(*size, repeats) for size in sizes] for name, sizes in SIZES.items()}


def show(found: dict[str, list[Row]]) -> None:
    """Print microseconds for each value of each case, which stay the same where time is linear."""
    print(f"{'':12}{'cases':>8}{'channels':>10}{'values':>8}" + "".join(f"{p:>12}" for p in PARTS))
    for name, rows in found.items():
        for row in rows:
            each = row["cases"] * row["channels"] * row["values"] / 1e6
            size = f"{name:12}{row['cases']:8}{row['channels']:10}{row['values']:8}"
            print(size + "".join(f"{row[part] / each:12.3f}" for part in PARTS))
    print("\nmicroseconds for each value")


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    show(measure(parser.parse_args().repeats))


if __name__ == "__main__":
    main()
