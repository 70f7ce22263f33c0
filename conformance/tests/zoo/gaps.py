"""Wrong layers that conform: what the kit does not see, and why.

A gap that something catches fails the tests until it is moved to the mutants.
"""

from __future__ import annotations

import os
import time

import torch
from register import gap
from torch import nn

COARSE = 0.99


class Sometimes(nn.BatchNorm1d):
    """Right, but for what `wrong` says: then the output loses a hundredth."""

    def forward(self, x):
        y = super().forward(x)
        return y * COARSE if self.wrong(x) else y


@gap(
    why="The oracle answers each channel in exact arithmetic, and LAYOUT-6 goes up to 70001.",
    would="A few channels, repeated to a million and judged by comparison with each other.",
)
class ChannelsBeyondAMillion(Sometimes):
    """Above 1048576 channels the output is wrong."""

    def wrong(self, x):
        return x.shape[1] > 2**20


@gap(
    why="A tensor of 2^31 elements takes 8 GiB, and its output as much; no profile asks for it.",
    would="`--huge`, on a machine that has the memory.",
    seen="ROCm/rocm-libraries PR 10259",
)
class IndicesOf32Bits(Sometimes):
    """At 2147483648 elements and above an index overflows."""

    def wrong(self, x):
        return x.numel() >= 2**31


@gap(
    why="The longest run of calls of one layer is 400, in the profile `deep` (CONC-3).",
    would="A run of a million calls, of which those at powers of two and ten are judged.",
)
class ThousandthCall(Sometimes):
    """Every thousandth call of a layer is answered wrongly."""

    calls = 0

    def wrong(self, x):
        self.calls += 1
        return self.calls % 1000 == 0


@gap(
    why="Small cases run faster on one thread: the profiles `quick` and `full` judge on one.",
    would="LAYOUT-3 on all processors, and not in `deep` alone.",
)
class LosesABlockOnManyThreads(Sometimes):
    """With more than one thread, long batches lose what one of them summed."""

    def wrong(self, x):
        return torch.get_num_threads() > 1 and x.numel() > 2**15


@gap(
    why="The kit does not fork while a layer lives: a framework's threads would not survive.",
    would="A layer that is constructed, and called in a child of its process.",
)
class AfterFork(Sometimes):
    """In a child of the process that constructed it the layer is wrong."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.home = os.getpid()

    def wrong(self, x):
        return os.getpid() != self.home


@gap(
    why="A run takes seconds, and meets one hour, one day and one year.",
    would="A second run under another clock.",
)
class WrongIn2030(Sometimes):
    """From the year 2030 on the layer is wrong."""

    def wrong(self, x):
        return time.gmtime().tm_year >= 2030
