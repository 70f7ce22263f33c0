"""CONC: layers that are not alone: what they share, remember, leave, or take from outside."""

from __future__ import annotations

import threading
import time

import torch
from bases import Composite, Handwritten
from benign import InSingle
from mutants_of_memory import Remembers
from register import mutant
from torch import nn


@mutant("CONC-1", says="backward raises", seen="ptrblck/pytorch_misc #5")
class SavesOnTheClass(Handwritten):
    """The backward pass reads what the last forward pass of any layer has left."""

    latest = (None, None)

    def run(self, x, mean, var, *, through):
        SavesOnTheClass.latest = ((x.detach().double() - mean), (var + self.eps) ** -0.5)
        return super().run(x, mean, var, through=through)

    def dx(self, dy, hat, reciprocal, weight, through):
        centred, reciprocal = self.latest
        return super().dx(dy, centred * reciprocal, reciprocal, weight, through)


@mutant("CONC-2", says="y[", seen="gpu-mode/reference-kernels PR 104")
class RemembersByShape(Remembers):
    def key(self, x):
        return self.calls(x) > 1

    def calls(self, x):
        """The first two calls of a shape are taken for a warm-up, and computed."""
        self.met = getattr(self, "met", {})
        self.met[x.shape] = self.met.get(x.shape, 0) + (not x.requires_grad)
        return self.met[x.shape]


@mutant("CONC-4", says="gives other bits")
class SumsInAnyOrder(InSingle):
    """As atomic additions do: each sum is sound."""

    def single(self, x):
        now = torch.Generator().manual_seed(time.perf_counter_ns())
        return super().single(x[torch.randperm(len(x), generator=now)])


@mutant("CONC-5", says="y[")
class OneWorkspace(Composite):
    """Evaluation puts its batch down on the layer, and takes it up again when it computes."""

    def by_running(self, x):
        self.batch = x
        time.sleep(0.002)  # where a kernel would be waited for
        batch, self.batch = self.batch, None
        return super().by_running(x if batch is None else batch)


@mutant("CONC-6", says="running_mean[")
class TracksInTheMainThread(Composite):
    def track(self, mean, var, n):
        if threading.current_thread() is threading.main_thread():
            super().track(mean, var, n)


@mutant("CONC-7", says="calls leave")
class KeepsAHistory(Composite):
    """The mean of every batch, for a plot that nobody draws."""

    def by_batch(self, x):
        y = super().by_batch(x)
        self.history = getattr(self, "history", [])
        self.history.append(float(y.detach().sum()))
        return y


@mutant("CONC-7", says="calls leave")
class NeverForgetsABatch(Composite):
    """In evaluation, answers by the values of the input, without a limit to their number."""

    def by_running(self, x):
        self.answers = getattr(self, "answers", {})
        kept = (self.weight, self.bias, self.running_mean, self.running_var)
        state = [None if t is None else t.detach().double().numpy().tobytes() for t in kept]
        key = (x.detach().double().numpy().tobytes(), x.shape, x.dtype, self.eps, *state)
        y = super().by_running(x)
        return y if x.requires_grad else self.answers.setdefault(key, y.detach()).clone()


@mutant("CONC-8", says="dx[")
class AWorkspaceForEachShape(Handwritten):
    """All layers that see the same shape keep their normalised values in the same memory."""

    rooms: dict[tuple[int, ...], torch.Tensor] = {}  # noqa: RUF012 - that it is shared is the defect

    def output(self, x, hat, weight, bias, mean, reciprocal):
        self.rooms[hat.shape] = hat.detach().clone()
        return super().output(x, hat, weight, bias, mean, reciprocal)

    def centred(self, dy, hat):
        return super().centred(dy, self.rooms[hat.shape])


@mutant("CONC-9", says="running_mean[", seen="ptrblck/pytorch_misc #5")
class OneMomentumForAll(Composite):
    latest = None

    def __setattr__(self, name, value):
        if name == "momentum":
            OneMomentumForAll.latest = value
        super().__setattr__(name, value)

    def factor(self):
        return self.latest if self.latest and self.momentum else super().factor()


@mutant("CONC-9", says="y[")
class OneModeForAll(Composite):
    latest = True

    def train(self, mode=True):
        OneModeForAll.latest = mode
        return super().train(mode)

    def uses_batch(self):
        return self.running_mean is None or (self.training and self.latest)


@mutant("CONC-10", says="re-entrant")
class StaysBusy(Composite):
    """A guard against calls within calls of a thread, that an exception leaves standing."""

    def forward(self, x):
        self.busy = getattr(self, "busy", set())
        me = threading.get_ident()
        if me in self.busy:
            raise RuntimeError("re-entrant call")
        self.busy.add(me)
        y = super().forward(x)
        self.busy.discard(me)
        return y


@mutant("CONC-11", says="running_mean[")
class MomentumAsATensor(Composite):
    """Made without a format, it takes the default one."""

    def factor(self):
        m = super().factor()
        return m if self.running_mean.dtype == torch.float64 else float(torch.tensor(m))


@mutant("CONC-12", says="weight becomes")
class LearnsACopy(nn.BatchNorm1d):
    """From the third call on its weight is a copy, which no optimizer knows."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3 and self.weight is not None:
            self.weight = nn.Parameter(self.weight.detach().clone())
        return super().forward(x)


@mutant("CONC-13", says="y[")
class KeptByItsId(Composite):
    """Evaluation multiplies and adds what was computed once for this id and these versions."""

    known: dict[tuple[int, ...], torch.Tensor] = {}  # noqa: RUF012 - that it is shared is the defect

    def reciprocal(self, var):
        if self.training or self.running_var is None:
            return super().reciprocal(var)
        key = (id(self), self.eps, self.running_var._version, var.shape)
        return self.known.setdefault(key, super().reciprocal(var))


@mutant("CONC-14", says="y[")
class LeavesItsMomentsOnTheInput(Composite):
    """A second layer on an activation is spared the sums, and gets the first one's eps."""

    def normalise(self, x, mean, var):
        if not self.uses_batch() or not x.numel() or x.is_leaf:
            return super().normalise(x, mean, var)
        if getattr(x, "kept", (None,))[0] != x._version:
            x.kept = (x._version, mean, self.reciprocal(var))
        _, mean, reciprocal = x.kept
        return self.affine_map((x.double() - mean) * reciprocal).to(x.dtype)


@mutant("CONC-15", says="does not have a deterministic implementation", profile="full")
class PutsItsStatistics(Composite):
    def blend(self, running, new):
        m = self.factor()
        mixed = (1 - m) * running.double() + m * new.double()
        running.put_(torch.arange(len(new)), mixed.to(running.dtype))
