"""STATE: what is saved, loaded, refused and copied goes wrong; nothing is computed wrongly."""

from __future__ import annotations

import copy

import torch
from bases import Composite
from register import mutant
from torch import nn

COUNTER = "num_batches_tracked"
ROLES = ("weight", "bias", "running_mean", "running_var")


@mutant("STATE-1", says="The keys are ['running_mean'", seen="open-mmlab/mmsegmentation #2076")
class SavesBuffersFirst(nn.BatchNorm1d):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        found = {}
        super()._save_to_state_dict(found, prefix, keep_vars)
        learned = [f"{prefix}{name}" for name in self._parameters]
        destination.update({k: v for k, v in found.items() if k not in learned})
        destination.update({k: v for k, v in found.items() if k in learned})


@mutant("STATE-2", says="says version 1")
class ForgetsItsVersion(nn.BatchNorm1d):
    _version = 1


@mutant("STATE-2", says="Missing key(s)", seen="pytorch #8430")
class KnowsNoOldDicts(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        super()._load_from_state_dict(state_dict, prefix, {**metadata, "version": 2}, *rest)


@mutant("STATE-2", says="Missing key(s)")
class KnowsNoPrefix(nn.BatchNorm1d):
    """Looks for the counter of an old dict where a layer that was saved alone has it."""

    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        if (metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None:
            state_dict.setdefault(COUNTER, self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, {**metadata, "version": 2}, *rest)


@mutant("STATE-3", says="The counter", seen="pytorch #110361, PR 110850")
class OldDictsResetTheCount(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        if (metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None:
            state_dict.setdefault(f"{prefix}{COUNTER}", torch.tensor(0))
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)


@mutant("STATE-3", says="is accepted, and should be refused")
class IgnoresWhatItDoesNotKnow(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        known = {f"{prefix}{name}" for name in (*self._parameters, *self._buffers)}
        for key in set(state_dict) - known:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-4", says="is accepted, and should be refused")
class BroadcastsWhatItLoads(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ROLES:
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if value is not None and own is not None and value.shape == (1,):
                state_dict[f"{prefix}{name}"] = value.expand(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-5", says="The copy differs in", seen="torch/cunn #367")
class CopyStartsAnew(nn.BatchNorm1d):
    def __deepcopy__(self, memo):
        options = {"affine": self.affine, "track_running_stats": self.track_running_stats}
        if self.affine:
            options["bias"] = self.bias is not None
        return type(self)(self.num_features, self.eps, self.momentum, **options)


@mutant("STATE-5", says="changes running_mean and running_var of the original")
class CopySharesStatistics(nn.BatchNorm1d):
    def __deepcopy__(self, memo):
        made = copy.copy(self)
        made._parameters = copy.deepcopy(self._parameters, memo)
        made._buffers = dict(self._buffers)
        return made


@mutant("STATE-6", says="The copy differs in running_mean and running_var", seen="pytorch #43774")
class PicklesNoStatistics(nn.BatchNorm1d):
    def __setstate__(self, state):
        super().__setstate__(state)
        self.reset_running_stats()


@mutant("STATE-7", says="The keys are ['weight'")
class SavesWithoutPrefix(nn.BatchNorm1d):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, "", keep_vars)


@mutant("STATE-8", says="running_mean is replaced")
class LoadingRebinds(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ("running_mean", "running_var"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-9", says="missing_keys is None")
class ReportsNothing(nn.BatchNorm1d):
    def load_state_dict(self, *args, **kwargs):
        super().load_state_dict(*args, **kwargs)


@mutant("STATE-9", says="The error does not name running_var and surplus and weight")
class RefusesWithoutAWord(nn.BatchNorm1d):
    def load_state_dict(self, *args, **kwargs):
        try:
            return super().load_state_dict(*args, **kwargs)
        except RuntimeError:
            raise RuntimeError("the state dict does not fit") from None


@mutant("STATE-10", says="is refused, and is changed")
class LoadsWhatFitsOfATensor(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ROLES:
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if value is not None and own is not None and value.ndim == 1:
                n = min(len(value), len(own))
                own.data[:n] = value[:n]
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-11", says="is accepted, and should be refused")
class AlwaysForgivesTheCounter(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        super()._load_from_state_dict(state_dict, prefix, {**metadata, "version": 1}, *rest)


@mutant("STATE-12", says="After loading, the dict has keys")
class CompletesTheDict(nn.BatchNorm1d):
    def load_state_dict(self, state_dict, *args, **kwargs):
        if not getattr(state_dict, "_metadata", None) and self.num_batches_tracked is not None:
            state_dict.setdefault(COUNTER, self.num_batches_tracked.clone())
        return super().load_state_dict(state_dict, *args, **kwargs)


@mutant("STATE-12", says="Training changes running_mean and running_var of the dict")
class LivesInTheDict(nn.BatchNorm1d):
    """Takes the memory of what it loads, in the tensors that it has, where nothing is wrong."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if any(rest[2:]):  # missing, unexpected, of another shape
            return
        for name in ("running_mean", "running_var"):
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if own is not None and value is not None and value.dtype == own.dtype:
                own.data = value


@mutant("STATE-13", says="of the state dict is a copy")
class SavesCopies(nn.BatchNorm1d):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not keep_vars:
            destination.update({k: v.clone() for k, v in destination.items()})


@mutant("STATE-13", says="weight and bias requires a gradient")
class SavesTheGraph(nn.BatchNorm1d):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, True)  # noqa: FBT003 - torch's signature


class Labelled(torch.Tensor):
    """A tensor that only this program knows."""


@mutant("STATE-14", says="torch.load", seen="pytorch #43774")
class SavesItsOwnTensors(nn.BatchNorm1d):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.running_mean is not None:
            key = f"{prefix}running_mean"
            destination[key] = destination[key].as_subclass(Labelled)


@mutant("STATE-14", says="running_mean and running_var is not what it should be")
class LoadsFiniteNumbers(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        super()._load_from_state_dict(state_dict, prefix, *rest)
        for own in (self.running_mean, self.running_var):
            if own is not None:
                own.nan_to_num_()


@mutant("STATE-14", says="The counter 9007199254740993 becomes 9007199254740992")
class CountsComeBackThroughFloat(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        key = f"{prefix}{COUNTER}"
        if key in state_dict:
            state_dict[key] = state_dict[key].double()
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-15", says="running_mean[")
class CountsBesideTheBuffer(Composite):
    """The factor of the cumulative average comes from a count that no file has."""

    seen = 0

    def by_batch(self, x):
        self.seen += 1
        return super().by_batch(x)

    def factor(self):
        return 1 / self.seen if self.momentum is None else self.momentum


@mutant("STATE-16", says="running_mean is fp32, where fp16 is right")
class TakesTheFormatOfTheDict(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ("running_mean", "running_var"):
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if value is not None and own is not None and not own.is_meta:
                own.data = own.data.to(value.dtype)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class KeepsItsCounter(nn.BatchNorm1d):
    """On the meta device it counts nothing, and will not be told."""

    given = True  # where the dict has one

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        own, there = self.num_batches_tracked, f"{prefix}{COUNTER}" in state_dict
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if own is not None and own.is_meta and there is self.given:
            self.num_batches_tracked = own


@mutant("STATE-17", says="num_batches_tracked is still on the meta device")
class CounterStaysOnMeta(KeepsItsCounter):
    pass


@mutant("STATE-18", says="still on the meta device", seen="pytorch PR 115285")
class OldDictsLeaveTheCounterOnMeta(KeepsItsCounter):
    given = False


@mutant("STATE-19", says="size mismatch", seen="tinygrad PR 147")
class WantsItsCountBare(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, extra, errors):
        value = state_dict.get(f"{prefix}{COUNTER}")
        if value is not None and value.ndim:
            errors.append(f"size mismatch for {COUNTER}: {tuple(value.shape)}")
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, extra, errors)


@mutant("STATE-20", says="Loading brings running_mean")
class GrowsStatistics(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ("running_mean", "running_var", COUNTER):
            value = state_dict.get(f"{prefix}{name}")
            if value is not None and getattr(self, name) is None:
                self.register_buffer(name, torch.zeros_like(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)


@mutant("STATE-20", says="Unexpected key(s)", seen="pytorch PR 6445")
class OldDictsBringACounter(nn.BatchNorm1d):
    def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
        if (metadata.get("version") or 1) < 2:
            own = self.num_batches_tracked
            state_dict.setdefault(f"{prefix}{COUNTER}", torch.tensor(0) if own is None else own)
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)
