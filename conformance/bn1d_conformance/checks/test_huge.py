"""LAYOUT-6 where 31 bits no longer count the values of a batch: asked for by `--huge` alone.

Seven channels are repeated until there are enough. The oracle answers each of the seven once, and
an output is compared block by block, so that beside the batch itself little memory is needed.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bn1d_conformance.arranged import Arranged, repeated
from bn1d_conformance.checks.common import MODES, drawn, requirement
from bn1d_conformance.judge import unusable
from bn1d_conformance.subject import SubjectError

if TYPE_CHECKING:
    from bn1d_conformance.cases import Case
    from bn1d_conformance.subject import Array
    from bn1d_conformance.trial import Trial

SHAPES = {"2d": (2049,), "3d": (33, 65)}  # N, and L where there is one
BLOCK = 2**18  # values that are compared at a time
HELD = 5  # arrays of the batch's size that a run holds: x, its copy, y, dy, dx
SHORT = ("MemoryError", "OutOfMemoryError")  # what Python, PyTorch and CUDA's callers raise


@pytest.mark.huge
@requirement("LAYOUT-6")
@MODES
@pytest.mark.parametrize("rank", SHAPES)
def test_huge_batches(
    trial: Trial, training: bool, rank: str, pytestconfig: pytest.Config
) -> None:
    """More values than a signed 32-bit index reaches: output, statistics and gradients."""
    N, *length = SHAPES[rank]
    trial.require(*(["statistics"] * (not training)), *(["3d"] * len(length)))
    small = drawn(trial, "huge", N, 7, *length, training=training)
    per_channel = small.x.size // 7
    C = pytestconfig.getoption("--bn1d-huge") // per_channel + 7
    with trial.case(f"{small.id}/{C} channels", "LAYOUT-6"):
        _ask_for_memory(trial, C * per_channel * small.x.itemsize)
        try:
            _judge(trial, small, C)
        except SubjectError as error:
            if type(error.error).__name__ not in SHORT:
                raise
            trial.decline(f"there is not enough memory: {error}", "not-run")


def _ask_for_memory(trial: Trial, size: int) -> None:
    """Decline what the machine could answer by ending the process alone."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if there < HELD * size:
        gib = (f"{n / 2**30:.0f} GiB" for n in (HELD * size, there))
        trial.decline("it takes {} of memory, and this machine has {}".format(*gib), "not-run")


def _judge(trial: Trial, small: Case, C: int) -> None:
    """Ask for all of it; what was asked is not kept for a script, which could not hold it."""
    order = np.arange(C) % 7
    layer = trial.build(*repeated(small, order), training=small.training)
    layer.steps.clear()
    y = layer.forward(np.take(small.x, order, axis=1), grad=trial.has("grad"))
    layer.steps.clear()
    found: dict[str, Array | None] = {"y": y}
    if small.training and trial.has("statistics"):
        after = layer.state()
        found |= {"running_mean": after.running_mean, "running_var": after.running_var}
    _judge_blocks(trial, small, C, found)
    del y, found
    if trial.has("grad") and not trial.failures:
        got = layer.backward(np.take(small.dy, order, axis=1))
        layer.steps.clear()
        own = {"dweight": got.weight, "dbias": got.bias} if trial.has("param-grad") else {}
        _judge_blocks(trial, small, C, {"dx": got.x, **own})


def _judge_blocks(trial: Trial, small: Case, C: int, found: dict[str, Array | None]) -> None:
    """Compare block by block: what is to the bit as the first, which passed, passes; one fails."""
    N, _, *length = small.x.shape
    width = max(1, BLOCK // (7 * N * prod(length))) * 7
    for quantity, got in found.items():
        size = (N, C, *length) if quantity in ("y", "dx") else (C,)
        if why := unusable(got, size, quantity):
            trial.fail("LAYOUT-6", f"{why}.")
            return
        assert got is not None  # noqa: S101 - unusable() has said so; this tells mypy
        channels = np.moveaxis(got, 1, 0) if len(size) > 1 else got
        for start in range(0, C, width):
            part = channels[start : start + width]
            if start and np.array_equal(part, channels[: len(part)]):
                continue
            want = Arranged(small, trial.expected(small), (N, len(part), *length))
            part = np.moveaxis(part, 0, 1) if len(size) > 1 else part
            trial.compare("LAYOUT-6", part, getattr(want, quantity), want.case)
            if trial.failures:
                return
