"""CONC, COMP, LAYOUT: right answers, of another call, from other memory, or not written at all."""

from __future__ import annotations

import torch
from bases import Composite, Handwritten
from register import mutant


@mutant("CONC-3", says="y[", seen="karpathy/llm.c PR 851")
class EveryTwentyFifthIsAnother(Composite):
    calls = 0

    def affine_map(self, hat):
        self.calls += 1
        return super().affine_map(hat) * (1 + 1e-3 * (self.calls % 25 == 0))


@mutant("COMP-2", says="Later calls change the output", seen="pytorch PR 57321")
class RingOfOutputs(Composite):
    """In training, eight buffers, used in turn."""

    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            return y
        key = (y.shape, y.dtype)
        self.ring = getattr(self, "ring", {})
        buffers = self.ring.setdefault(key, [])
        if len(buffers) < 8:
            buffers.append(y.detach().clone())
        self.turn = (getattr(self, "turn", -1) + 1) % 8
        if self.turn < len(buffers):
            buffers[self.turn].copy_(y.detach())
            y.data = buffers[self.turn]
        return y


@mutant("CONC-30", says="y[", seen="ScalingIntelligence/KernelBench PR 82")
class NeverWritten(Composite):
    """The second call of a shape trusts that its memory still holds the first one's answer."""

    def forward(self, x):
        y = super().forward(x)
        self.met = getattr(self, "met", set())
        if x.shape in self.met:
            y.data = torch.empty_like(y)
        self.met.add(x.shape)
        return y


@mutant("CONC-30", says="running_mean[")
class SumsOntoWhatWasThere(Composite):
    """A workspace of partial sums that is not set to zero first."""

    def by_batch(self, x):
        self.left = torch.empty_like(x).flatten()[: x.numel()].double().sum()
        return super().by_batch(x)

    def track(self, mean, var, n):
        super().track(mean + (0 if self.left.abs() < 1e20 else self.left), var, n)


@mutant("CONC-31", says="y[")
class TrustsNormalisedData(Composite):
    """In training, what has mean 0 and variance 1 is handed through."""

    def normalise(self, x, mean, var):
        if self.training and x.numel():
            done = mean.abs().max() < 1e-6 and (var - 1).abs().max() < 1e-6
            var = var - self.eps * bool(done)
        return super().normalise(x, mean, var)


@mutant("CONC-31", says="y[")
class HandsThroughWhenNew(Composite):
    """Ones and zeros all over: evaluation returns a copy of the input."""

    def by_running(self, x):
        kept = (self.weight, self.bias, self.running_mean, self.running_var)
        wanted = zip(kept, (1, 0, 0, 1), strict=True)
        if all(t is None or bool((t == v).all()) for t, v in wanted):
            return x + 0
        return super().by_running(x)


class Remembers(Composite):
    """Keeps answers by a key that is the same for other inputs."""

    def forward(self, x):
        self.check(x)
        self.answers = getattr(self, "answers", {})
        key = (self.training, x.shape, x.dtype, self.key(x))
        if key not in self.answers or x.requires_grad:
            self.answers[key] = super().forward(x)
        return self.answers[key].clone()


@mutant("CONC-32", says="y[", seen="gpu-mode/reference-kernels PR 104")
class RemembersByAddress(Remembers):
    def key(self, x):
        state = tuple(t._version for t in (*self.parameters(), *self.buffers()))
        return x.data_ptr(), x._version, state


@mutant("CONC-32", says="dx[")
class SumsAreEnough(Handwritten):
    """The backward pass keeps what it made of a batch with these sums."""

    def centred(self, dy, hat):
        self.kept = getattr(self, "kept", {})
        key = (dy.shape, float(dy.sum()), round(float(hat.abs().sum()), 6))
        return self.kept.setdefault(key, super().centred(dy, hat))


@mutant("LAYOUT-30", says="y[")
class ReadsAWholeVector(Composite):
    """The last vector is loaded whole, and what lies behind the data is weighed by zero."""

    def forward(self, x):
        y = super().forward(x)
        first, n = x.storage_offset(), x.numel()
        room = x.untyped_storage().nbytes() // x.element_size() - first - n
        if n and room and x.is_contiguous():
            y = y + 0 * x.detach().as_strided((1,), (1,), first + n)
        return y


@mutant("LAYOUT-30", says="What lies beside running_mean is overwritten")
class WritesAWholeVector(Composite):
    def track(self, mean, var, n):
        super().track(mean, var, n)
        t = self.running_mean
        if t.untyped_storage().nbytes() // t.element_size() > t.storage_offset() + t.numel():
            t.as_strided((1,), (1,), t.storage_offset() + t.numel()).fill_(0)


@mutant("DTYPE-30", says="dweight[", seen="pytorch #156513")
class LearnsInHalf(Handwritten):
    """dweight goes through the format of the input, and comes back as the parameter's."""

    def run(self, x, mean, var, *, through):
        self.narrow = x.dtype
        return super().run(x, mean, var, through=through)

    def dweight(self, dy, hat):
        return super().dweight(dy, hat).to(self.narrow).double()


@mutant("GRAD-17", says="bias.grad is")
class AddsUpInHalf(Composite):
    """Where the input is half, what has been added up is rounded to half."""

    def forward(self, x):
        y = super().forward(x)
        if self.bias is not None and x.dtype == torch.float16 and not hasattr(self, "hooked"):
            self.hooked = self.bias.register_post_accumulate_grad_hook(rounded)
        return y


def rounded(p):
    p.grad = p.grad.half().to(p.dtype)
