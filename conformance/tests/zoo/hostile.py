"""Layers that misbehave: each strikes at one place, and is torch's own layer everywhere else."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Hostile(NamedTuple):
    """What one of them does.

    Attributes:
        made: the class.
        requirement: the one at hand when it strikes.
        verdict: what that requirement must get.
        words: what a message about it must contain.
        spares: it strikes there alone, and the neighbours must pass.
    """

    made: Any
    requirement: str
    verdict: str
    words: str
    spares: bool


HOSTILE: list[Hostile] = []


def hostile(requirement, verdict, words, *, spares=True):
    def register(made):
        HOSTILE.append(Hostile(made, requirement, verdict, words, spares))
        return made

    return register


class Sleeper(nn.BatchNorm1d):
    """Strikes in the first training pass of a cumulative average: at CTOR-10, among others."""

    def forward(self, x):
        if self.training and self.momentum is None:
            return self.strike(x)
        return super().forward(x)


# Hangs


@hostile("CTOR-10", "timeout", "did not return within the time limit")
class HangsInPython(Sleeper):
    def strike(self, x):
        while True:
            pass


@hostile("CTOR-10", "timeout", "did not return within the time limit")
class HangsAsleep(Sleeper):
    def strike(self, x):
        time.sleep(10_000)


@hostile("CTOR-10", "timeout", "did not return within the time limit")
class HangsInC(Sleeper):
    """The GIL is released, as in a kernel that waits."""

    def strike(self, x):
        ctypes.CDLL(None).sleep(10_000)


@hostile("CTOR-10", "timeout", "did not return within the time limit")
class HangsInCHoldingTheGIL(Sleeper):
    """No Python thread can run any more."""

    def strike(self, x):
        ctypes.PyDLL(None).sleep(10_000)


@hostile("CTOR-10", "timeout", "did not return within the time limit")
class HangsAndShieldsItself(Sleeper):
    """Whatever is raised in here is swallowed."""

    def strike(self, x):
        while True:
            try:
                time.sleep(10_000)
            except BaseException:  # noqa: BLE001 - what makes it hostile
                continue


@hostile("CTOR-3", "timeout", "did not return within the time limit", spares=False)
class HangsAlways(nn.BatchNorm1d):
    """In every forward pass, also in those that only find out what it can do."""

    def forward(self, x):
        ctypes.PyDLL(None).sleep(10_000)


# Ends of the process


@hostile("CTOR-10", "fail", "SystemExit")
class Exits(Sleeper):
    def strike(self, x):
        sys.exit(0)


@hostile("CTOR-10", "crash", "ended the process")
class ExitsAtOnce(Sleeper):
    def strike(self, x):
        os._exit(0)


@hostile("CTOR-10", "crash", "segmentation fault")
class Segfaults(Sleeper):
    def strike(self, x):
        ctypes.string_at(0)


@hostile("CTOR-10", "crash", "aborted the process")
class Aborts(Sleeper):
    def strike(self, x):
        os.abort()


@hostile("CTOR-1", "crash", "ended the process", spares=False)
class DiesAtConstruction(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        os._exit(3)


@hostile(
    "CTOR-10", "crash", "lost its device (raises RuntimeError: CUDA error: device-side assert"
)
class LosesItsDevice(Sleeper):
    """What CUDA says after a sticky error, at every later call."""

    lost = False

    def forward(self, x):
        return self.strike(x) if LosesItsDevice.lost else super().forward(x)

    def strike(self, x):
        LosesItsDevice.lost = True
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with DSA")


@hostile("INPUT-7", "crash", "segmentation fault")
class SegfaultsForNothing(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) if x.numel() else ctypes.string_at(0)


# Exceptions


@hostile("CTOR-10", "fail", "raises BaseException")
class RaisesBaseException(Sleeper):
    def strike(self, x):
        raise BaseException("not an Exception")  # noqa: TRY002 - what makes it hostile


@hostile("CTOR-10", "fail", "raises KeyboardInterrupt")
class RaisesKeyboardInterrupt(Sleeper):
    def strike(self, x):
        raise KeyboardInterrupt


@hostile("CTOR-10", "fail", "raises Unprintable")
class RaisesTheUnprintable(Sleeper):
    def strike(self, x):
        raise Unprintable


@hostile("CTOR-10", "fail", "raises ValueError: half   of it")
class RaisesHalfACharacter(Sleeper):
    """No file of UTF-8 can have what it says."""

    def strike(self, x):
        raise ValueError("half \ud800 of it")


class Unprintable(Exception):  # noqa: N818 - its name is its text
    def __str__(self):
        raise RuntimeError("no text either")


@hostile("CTOR-10", "fail", "raises RecursionError")
class Recurses(Sleeper):
    def strike(self, x):
        return self.strike(x)


@hostile("CTOR-1", "fail", "raises RuntimeError: no", spares=False)
class RaisesAtConstruction(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        raise RuntimeError("no")


class Refuses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        raise ZeroDivisionError("backward")


@hostile("GRAD-6", "fail", "raises ZeroDivisionError")
class RaisesInBackward(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        return y if self.affine else Refuses.apply(y)


# Answers that are none


@hostile("CTOR-10", "fail", "returned NoneType")
class ReturnsNone(Sleeper):
    def strike(self, x):
        return None


@hostile("CTOR-10", "fail", "returned list")
class ReturnsAList(Sleeper):
    def strike(self, x):
        return nn.BatchNorm1d.forward(self, x).tolist()


@hostile("CTOR-10", "fail", "returned tuple")
class ReturnsATuple(Sleeper):
    def strike(self, x):
        return x, x


@hostile("TRAIN-11", "fail", "has shape (3,)")
class ReturnsAnotherShape(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        return y if self.track_running_stats else y.flatten()[: x.shape[1]]


@hostile("TRAIN-11", "fail", "is of dtype int64")
class ReturnsWholeNumbers(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        return y if self.track_running_stats else y.long()


@hostile("TRAIN-11", "fail", "is of dtype complex64")
class ReturnsComplexNumbers(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        return y if self.track_running_stats else y * 1j


# What is not its own


@hostile("COMP-1", "fail", "changes its input")
class ChangesItsInput(nn.BatchNorm1d):
    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            x.data.zero_()
        return y


@hostile("CTOR-12", "fail", "moves the random state of random, numpy, torch")
class Reseeds(nn.BatchNorm1d):
    def __init__(self, *args, **kwargs):
        import random  # noqa: PLC0415

        super().__init__(*args, **kwargs)
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(time.perf_counter_ns() % 2**31)


# Noise: no requirement forbids it, and it must cost none


class PrintsMegabytes(nn.BatchNorm1d):
    def forward(self, x):
        print("x" * 500_000)  # noqa: T201 - what makes it hostile
        print("y" * 500_000, file=sys.stderr)  # noqa: T201 - the same
        for descriptor in (1, 2):
            os.write(descriptor, b"\x1b[31m\x00\xff" * 50_000)
        return super().forward(x)


class ClosesItsOutput(nn.BatchNorm1d):
    def forward(self, x):
        sys.stdout = sys.stderr = None
        for descriptor in (0, 1, 2):
            os.close(descriptor) if self.training and self.momentum is None else None
        return super().forward(x)


class LeavesThreadsBehind(nn.BatchNorm1d):
    def forward(self, x):
        import threading  # noqa: PLC0415

        threading.Thread(target=time.sleep, args=(10_000,), daemon=False).start()
        return super().forward(x)


NOISY = [PrintsMegabytes, ClosesItsOutput, LeavesThreadsBehind]
