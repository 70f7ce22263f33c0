"""COMP, CONC, GRAD, INPUT: defects of a layer in use, that one requirement alone sees."""

from __future__ import annotations

import time
from collections import deque

import torch
from bases import Composite, Handwritten, per_channel
from mutants_alone_forward import Output
from mutants_of_composition import ByFunction, Normalised
from register import mutant
from torch import nn


@mutant("GRAD-12", says="raises RuntimeError")
class BackwardInReverse(Handwritten):
    """Passes leave what they need on a pile, and a backward pass takes the uppermost."""

    def output(self, x, hat, weight, bias, mean, reciprocal):
        self.__dict__.setdefault("pile", deque(maxlen=8)).append(hat)
        return super().output(x, hat, weight, bias, mean, reciprocal)

    def gradients(self, dy, hat, reciprocal, weight, through):
        hat = self.pile.pop() if self.pile else hat
        return super().gradients(dy, hat, reciprocal, weight, through)

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "pile"}


@mutant("GRAD-19", says="is still held")
class KeepsTwoInputs(nn.BatchNorm1d):
    """The last two inputs that want a gradient are kept, to be looked at if one is lost."""

    def forward(self, x):
        y = super().forward(x)
        if x.requires_grad:
            self.__dict__.setdefault("kept", deque(maxlen=2)).append(x)
        return y

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "kept"}


@mutant("INPUT-4", says="y[")
class TwoStepsAreASample(Output):
    """Two sequences of one step are normalised by the variance with n−1."""

    def concerns(self, x):
        return x.ndim == 3 and len(x) == 2 and x.shape[2] == 1

    def changed(self, x, hat, mean, reciprocal):
        return hat * 0.5**0.5


@mutant("INPUT-7", says="raises ValueError")
class EvaluatesNoEmptySequences(nn.BatchNorm1d):
    """Evaluation refuses an empty batch of sequences."""

    def forward(self, x):
        if x.ndim == 3 and not x.numel() and not self.training:
            raise ValueError(f"expected values, got size {tuple(x.shape)}")
        return super().forward(x)


@mutant("COMP-11", says="running_mean[")
class FrozenTracksNothing(Composite):
    """A layer that learns nothing, in a network that learns, does not track."""

    def tracks(self, x):
        learns = any(p.requires_grad for p in self.parameters())
        return super().tracks(x) and (learns or self.weight is None or not x.requires_grad)


@mutant("COMP-12", says="The counter is 8, where 7 is right")
class CountsWhatItDifferentiates(nn.BatchNorm1d):
    """The backward pass of a matrix in evaluation counts a batch."""

    def forward(self, x):
        y = super().forward(x)
        counts = not self.training and self.num_batches_tracked is not None
        if y.requires_grad and counts and x.ndim == 2:
            y.register_hook(lambda _: self.count())
        return y

    def count(self):
        self.num_batches_tracked.add_(1)


@mutant("COMP-14", says="dweight")
class OnlyParametersLearn(nn.BatchNorm1d):
    """A weight that is given for one call receives no gradient unless it is a Parameter."""

    def forward(self, x):
        given = self._parameters.get("weight")
        given_leaf = given is not None and given.requires_grad and given.is_leaf
        if isinstance(given, nn.Parameter) or not given_leaf:
            return super().forward(x)
        self._parameters["weight"] = given.detach()
        try:
            return super().forward(x)
        finally:
            self._parameters["weight"] = given


class Doubled(torch.autograd.Function):
    """The identity; its gradient is doubled."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, dy):
        return dy * 2


@mutant("COMP-16", says="dweight[")
class ScalesForItself(nn.BatchNorm1d):
    """dweight is computed as twice itself, and a hook of this layer on the weight halves it."""

    hooked = (None,)

    def forward(self, x):
        weight = self._parameters.get("weight")
        if not isinstance(weight, nn.Parameter) or not weight.requires_grad:
            return super().forward(x)
        if self.hooked[0] is not weight:
            weight.register_hook(lambda g: g / 2)
            self.hooked = (weight,)
        self._parameters["weight"] = Doubled.apply(weight)
        try:
            return super().forward(x)
        finally:
            self._parameters["weight"] = weight

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "hooked"}


@mutant("COMP-17", says="no longer share")
class AssigningCopies(nn.BatchNorm1d):
    """A tensor that is assigned to a buffer is copied into it."""

    loading = False

    def __setattr__(self, name, value):
        own = self.__dict__.get("_buffers", {}).get(name)
        fits = own is not None and isinstance(value, torch.Tensor) and value.shape == own.shape
        if fits and value.is_contiguous() and not self.loading:
            own.copy_(value)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, *args):
        self.loading = True
        super()._load_from_state_dict(*args)
        self.loading = False


@mutant("COMP-18", says="y[")
class LooksInTheRegister(Composite):
    """The weight is the one in the register of parameters, where a parametrization has none."""

    def affine_map(self, hat):
        weight, bias = (self._parameters.get(name) for name in ("weight", "bias"))
        if weight is not None:
            hat = hat * per_channel(weight.double(), hat)
        return hat if bias is None else hat + per_channel(bias.double(), hat)


class Slices(Normalised):
    """The first axis is taken for that of the batches, whichever it is."""

    @staticmethod
    def vmap(_info, in_dims, x, eps):
        return torch.stack([Slices.apply(rows, eps) for rows in x.unbind(0)]), in_dims[0]


@mutant("COMP-19", says="y[")
class BatchesComeFirst(ByFunction):
    """Under vmap each batch is normalised by its own if they lie along the first axis."""

    function = Slices


class Affine(torch.autograd.Function):
    """x̂·weight + bias; members of an ensemble all get the weight of the first."""

    @staticmethod
    def forward(hat, weight, bias):
        return hat * weight + bias

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        hat, weight, bias = ctx.saved_tensors
        return dy * weight, (dy * hat).sum_to_size(weight.shape), dy.sum_to_size(bias.shape)

    @staticmethod
    def vmap(_info, in_dims, hat, weight, bias):
        rows = hat.movedim(in_dims[0], 0)
        first = (
            t if dim is None else t.select(dim, 0)
            for t, dim in zip((weight, bias), in_dims[1:], strict=True)
        )
        return Affine.apply(rows, *(t.unsqueeze(0) for t in first)), 0


@mutant("COMP-20", says="y[")
class MembersWeighTheSame(Composite):
    """All members of an ensemble get the weight and the bias of the first."""

    def affine_map(self, hat):
        if self.weight is None or self.bias is None:
            return super().affine_map(hat)
        return Affine.apply(hat, *(per_channel(t.double(), hat) for t in (self.weight, self.bias)))


@mutant("CONC-8", says="y[")
class OneDeskForAll(Composite):
    """Training puts its batch down where all layers do, and takes it up when it computes."""

    desk = None

    def by_batch(self, x):
        OneDeskForAll.desk = x
        time.sleep(0.002)  # where a kernel would be waited for
        batch, OneDeskForAll.desk = OneDeskForAll.desk, None
        return super().by_batch(x if batch is None else batch)


@mutant("CONC-30", says="y[")
class PadsWithWhatWasThere(Handwritten):
    """Behind the last whole tile of 64 rows, a pad that nobody has written is weighed by zero."""

    def output(self, x, hat, weight, bias, mean, reciprocal):
        y = super().output(x, hat, weight, bias, mean, reciprocal)
        if x.ndim != 2 or not 64 < len(x) < 128 or x.shape[1] % 16 == 0 or x.shape[1] < 16:
            return y
        return y + 0 * torch.empty_like(x)
