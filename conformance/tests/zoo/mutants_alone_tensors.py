"""PARAM, BUF, STATE: how tensors are made, registered and saved; one requirement sees each."""

from __future__ import annotations

import copy

import torch
from bases import Composite
from register import mutant
from torch import nn

COUNTER = "num_batches_tracked"


@mutant("PARAM-5", says="requires_grad False")
class LearnsFromItsFirstCall(nn.BatchNorm1d):
    """What it learns requires a gradient from the first call on, and not before."""

    told = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        super().requires_grad_(requires_grad=False)

    def requires_grad_(self, requires_grad=True):
        self.told = True
        return super().requires_grad_(requires_grad)

    def forward(self, x):
        if not self.told:
            self.requires_grad_()
        return super().forward(x)


class Forgets(nn.BatchNorm1d):
    """A tensor that was declined is an attribute, and in no register."""

    registry, roles = "_parameters", ("weight", "bias")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kept = self.__dict__[self.registry]
        for role in self.roles:
            if kept[role] is None and self.forgets():
                del kept[role]
                self.__dict__[role] = None

    def forgets(self):
        return True


@mutant("PARAM-6", says="is not registered in _parameters")
class ForgetsItsParameters(Forgets):
    """affine=False registers no weight and no bias."""

    def forgets(self):
        return not self.affine


@mutant("PARAM-7", says="bias is not registered in _parameters")
class ForgetsItsBias(Forgets):
    """bias=False registers no bias."""

    def forgets(self):
        return self.affine


@mutant("PARAM-10", says="weight is fp32 where the default is float64")
class SingleUnlessAsked(nn.BatchNorm1d):
    """Single precision where no format is given, whatever the default is."""

    def __init__(self, *args, dtype=None, **kwargs):
        super().__init__(*args, dtype=dtype or torch.float32, **kwargs)


@mutant("PARAM-12", says="y[")
class KeepsItsFirstParameters(Composite):
    """Evaluation goes on with the Parameters that it found at its first call."""

    def by_running(self, x):
        self.__dict__.setdefault("found", (self.weight, self.bias))
        return super().by_running(x)

    def affine_map(self, hat):
        now = self.weight, self.bias
        found = now if self.uses_batch() else self.found
        if not all(isinstance(p, nn.Parameter) for p in (*now, *found)):
            return super().affine_map(hat)
        weight, bias = (p.double().reshape(1, -1, *[1] * (hat.ndim - 2)) for p in found)
        return hat * weight + bias


@mutant("BUF-8", says="is not registered in _buffers")
class ForgetsItsBuffers(Forgets):
    """track_running_stats=False registers no buffer."""

    registry, roles = "_buffers", ("running_mean", "running_var", COUNTER)


@mutant("BUF-11", says="The state dict holds")
class SavesItsCountIfTold(nn.BatchNorm1d):
    """Only a layer that is told to track saves its count: the default was forgotten."""

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=None, **kwargs
    ):
        tracks = track_running_stats is not False
        super().__init__(num_features, eps, momentum, affine, tracks, **kwargs)
        if track_running_stats is None:
            self.register_buffer(COUNTER, self.num_batches_tracked, persistent=False)


@mutant("BUF-12", says="is another tensor after the reset")
class ResetsToNewStatistics(nn.BatchNorm1d):
    """reset_running_stats() puts new tensors in place of the old ones."""

    def reset_running_stats(self):
        if self.running_mean is not None:
            self.running_mean = torch.zeros_like(self.running_mean)
            self.running_var = torch.ones_like(self.running_var)
            self.num_batches_tracked = torch.zeros_like(self.num_batches_tracked)

    @torch.no_grad()
    def reset_parameters(self):
        nn.BatchNorm1d.reset_running_stats(self)
        for tensor, start in ((self.weight, 1), (self.bias, 0)):
            if tensor is not None:
                tensor.fill_(start)


@mutant("STATE-1", says="The keys are ['num_batches_tracked'")
class BareLayersSaveTheirCountFirst(Composite):
    """Without weight and bias, the count comes first in the state dict."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self.affine:
            for name in ("running_mean", "running_var"):
                if f"{prefix}{name}" in destination:
                    destination.move_to_end(f"{prefix}{name}")


@mutant("STATE-3", says="is accepted, and should be refused")
class CanDoWithoutBias(nn.BatchNorm1d):
    """A dict without a bias is taken for one of the bias that is there."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        if self.bias is not None:
            state_dict.setdefault(f"{prefix}bias", self.bias)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def made_again(cls, options, state, training):
    """A layer of these arguments and this state."""
    layer = cls(**options).train(training)
    layer.load_state_dict(state)
    return layer


@mutant("STATE-6", says="momentum is 0.25, and in the copy 0.1")
class PicklesWithoutMomentum(nn.BatchNorm1d):
    """Is pickled as its arguments and its state, and one argument is forgotten."""

    def __reduce_ex__(self, protocol):
        names = ("num_features", "eps", "affine", "track_running_stats")
        options = {name: getattr(self, name) for name in names}
        if self.affine and self.bias is None:
            options["bias"] = False
        return made_again, (type(self), options, self.state_dict(), self.training)

    def __deepcopy__(self, memo):
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made


@mutant("STATE-7", says="The keys are")
class OneCountForTheNetwork(nn.BatchNorm1d):
    """The first layer of a network saves its count, and the others none: they count alike."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        saved = any(key.endswith(COUNTER) for key in destination)
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if saved:
            destination.pop(f"{prefix}{COUNTER}", None)


@mutant("STATE-15", says="running_mean[")
class LoadingBeginsAnAverage(Composite):
    """The cumulative average is that of the batches since a state dict was loaded."""

    before = 0

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        if self.num_batches_tracked is not None and not self.num_batches_tracked.is_meta:
            self.before = int(self.num_batches_tracked)

    def factor(self):
        if self.momentum is not None:
            return self.momentum
        return 1.0 / max(1, int(self.num_batches_tracked) - self.before)
