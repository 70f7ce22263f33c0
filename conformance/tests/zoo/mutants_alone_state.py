"""CTOR, PARAM, BUF, STATE, INPUT: defects that one requirement alone sees."""

from __future__ import annotations

import torch
from register import mutant
from torch import nn

WARP = 32  # features from which on a kernel takes another way


class StartsWide(nn.BatchNorm1d):
    """From a warp of features on, one tensor starts as something else."""

    role, start = "", 0.0

    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        if num_features > WARP:
            nn.init.constant_(getattr(self, self.role), self.start)


@mutant("CTOR-6", says="momentum is None after momentum=0.0")
class ZeroReadsAsNone(nn.BatchNorm1d):
    """A momentum of 0.0 is used, and reads as None."""

    @property
    def momentum(self):
        return self.__dict__["momentum"] or None

    @momentum.setter
    def momentum(self, value):
        self.__dict__["momentum"] = value

    def forward(self, x):
        if self.__dict__["momentum"] != 0.0:
            return super().forward(x)
        self._check_input_dim(x)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        tensors = self.running_mean, self.running_var, self.weight, self.bias
        batch = self.training or self.running_mean is None
        return nn.functional.batch_norm(x, *tensors, batch, 0.0, self.eps)


@mutant("CTOR-10", says="raises TypeError")
class WantsAFraction(nn.BatchNorm1d):
    """A momentum of 1, written without a point, is refused."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *args, **kwargs):
        if isinstance(momentum, int):
            raise TypeError(f"momentum must be a float, got {momentum!r}")
        super().__init__(num_features, eps, momentum, *args, **kwargs)


@mutant("CTOR-11", says="y[")
class OneModeForItsLikes(nn.BatchNorm1d):
    """The mode is kept by the arguments: who puts one layer to evaluation puts those alike."""

    modes: dict[tuple, bool] = {}  # noqa: RUF012 - that it is shared is the defect

    def __init__(self, *args, **kwargs):
        self.__dict__["alike"] = (args, tuple(sorted(kwargs.items())))
        super().__init__(*args, **kwargs)

    @property
    def training(self):
        return self.modes[self.alike]

    @training.setter
    def training(self, value):
        self.modes[self.alike] = value


@mutant("CTOR-14", says="raises RuntimeError")
class AsksItsTensors(nn.BatchNorm1d):
    """A layer without any tensor does not know how to evaluate single precision."""

    def forward(self, x):
        bare = self.weight is None and self.running_mean is None
        if bare and not self.training and x.dtype == torch.float32:
            raise RuntimeError("no tensor of the layer to take the format from")
        return super().forward(x)


@mutant("PARAM-3", says="weight starts as")
class DampsWideLayers(StartsWide):
    """A layer of more than a warp of features starts with a smaller weight."""

    role, start = "weight", 0.5


@mutant("PARAM-4", says="bias starts as")
class LiftsWideLayers(StartsWide):
    """A layer of more than a warp of features starts with a positive bias."""

    role, start = "bias", 0.01


@mutant("BUF-3", says="running_mean starts as")
class WideMeansStartAtOne(StartsWide):
    """A layer of more than a warp of features fills its running_mean as its running_var."""

    role, start = "running_mean", 1.0


@mutant("BUF-4", says="running_var starts as")
class WideVariancesStartAtZero(StartsWide):
    """A layer of more than a warp of features fills its running_var as its running_mean."""

    role, start = "running_var", 0.0


@mutant("PARAM-2", says="weight has shape (5, 1)")
class KeepsColumns(nn.BatchNorm1d):
    """The weight of five features or more is a column."""

    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        if num_features == 5 and self.weight is not None:
            self.weight = nn.Parameter(torch.ones(5, 1))

    def forward(self, x):
        if self.weight is None or self.weight.ndim == 1:
            return super().forward(x)
        column, self._parameters["weight"] = self.weight, self.weight.flatten()
        try:
            return super().forward(x)
        finally:
            self._parameters["weight"] = column


@mutant("PARAM-8", says="The parameters are ['bias', 'weight']")
class ListsByName(nn.BatchNorm1d):
    """named_parameters() goes by the alphabet, as a dict of another framework does."""

    def named_parameters(self, *args, **kwargs):
        yield from sorted(super().named_parameters(*args, **kwargs), key=lambda pair: pair[0])


@mutant("PARAM-11", says="A pass changes weight")
class FoldsInBackward(nn.BatchNorm1d):
    """Differentiating an evaluation folds 1/σ into the weight, and out again: a bit is lost."""

    def forward(self, x):
        matrix = x.ndim == 2 and x.dtype == torch.float32
        there = self.weight is not None and self.running_var is not None
        if matrix and there and x.requires_grad and not self.training:
            x.register_hook(self.fold)
        return super().forward(x)

    def fold(self, _):
        deviation = (self.running_var + self.eps).sqrt()
        self.weight.data.div_(deviation).mul_(deviation)


@mutant("PARAM-14", says="y[")
class PrunesWhatHasLearned(nn.BatchNorm1d):
    """A weight that has a gradient, and has shrunk below a fifth, is used as zero."""

    def forward(self, x):
        weight = self._parameters.get("weight")
        learned = isinstance(weight, nn.Parameter) and weight.grad is not None
        if not learned or not self.training:
            return super().forward(x)
        self._parameters["weight"] = weight * (weight.abs() > 0.2)
        try:
            return super().forward(x)
        finally:
            self._parameters["weight"] = weight


@mutant("BUF-2", says="The buffers are ['num_batches_tracked'")
class ListsBuffersByName(nn.BatchNorm1d):
    """named_buffers() goes by the alphabet."""

    def named_buffers(self, *args, **kwargs):
        yield from sorted(super().named_buffers(*args, **kwargs), key=lambda pair: pair[0])


@mutant("BUF-5", says="The counter has shape and format ((1,)")
class CountsInAList(nn.BatchNorm1d):
    """A new layer's counter is a list of one number, until a state is loaded."""

    def __init__(self, num_features, *args, **kwargs):
        super().__init__(num_features, *args, **kwargs)
        self.shape_counter((1,))

    def _load_from_state_dict(self, *args, **kwargs):
        self.shape_counter(())
        super()._load_from_state_dict(*args, **kwargs)

    def shape_counter(self, shape):
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.data = self.num_batches_tracked.data.reshape(shape)


@mutant("BUF-6", says="running_mean requires a gradient")
class MarksWhatItTracks(nn.BatchNorm1d):
    """After a backward pass running_mean is marked as requiring a gradient."""

    def forward(self, x):
        if self.running_mean is not None and self.running_mean.requires_grad:
            self.running_mean.detach_()
        y = super().forward(x)
        tracked = self.training and self.running_mean is not None
        if y.requires_grad and tracked and self.running_mean.is_contiguous():
            y.register_hook(self.mark)
        return y

    def mark(self, _):
        self.running_mean.requires_grad_()


@mutant("BUF-7", says="An optimizer step moves running_mean")
class HandsOutItsBuffers(nn.BatchNorm1d):
    """Of a layer that has counted a batch, parameters() yields running_mean by another name."""

    def parameters(self, recurse=True):
        yield from super().parameters(recurse)
        if self.running_mean is not None and self.num_batches_tracked > 0:
            alias = nn.Parameter(self.running_mean.detach())
            alias.grad = torch.zeros_like(alias)
            yield alias


@mutant("BUF-9", says="running_var is another tensor")
class ReplacesWhenItReplaces(nn.BatchNorm1d):
    """With momentum 1 the batch's variance takes the place of the buffer."""

    def forward(self, x):
        y = super().forward(x)
        if self.training and self.momentum == 1.0 and self.running_var is not None:
            self.running_var = self.running_var.clone()
        return y


@mutant("BUF-13", says="The counter 7 is loaded as 8")
class CountsItsLoading(nn.BatchNorm1d):
    """A dict that holds exactly what is asked for counts as a batch, where it was never loaded."""

    def load_state_dict(self, state_dict, *args, **kwargs):
        report = super().load_state_dict(state_dict, *args, **kwargs)
        plain = type(state_dict) is dict and len(state_dict) == 5
        if plain and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return report


@mutant("BUF-14", says="running_mean[")
class RemembersItsMeans(nn.BatchNorm1d):
    """A running_mean that was written far away is taken for a mistake, and put back."""

    def forward(self, x):
        now = self.running_mean
        kept = getattr(self, "kept", None)
        far = kept is not None and now is not None and bool((now == now[:1]).all())
        if self.training and far and kept.shape == now.shape and now.abs().max() > 15:
            now.copy_(kept)
        y = super().forward(x)
        self.kept = None if now is None else now.detach().clone()
        return y


@mutant("INPUT-5", says="A refused rank 4 is counted")
class CountsBeforeItLooks(nn.BatchNorm1d):
    """A batch is counted, and then its rank is looked at."""

    def forward(self, x):
        if x.ndim not in (2, 3) and self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return super().forward(x)


@mutant("INPUT-12", says="y[")
class GrowsOnce(nn.BatchNorm1d):
    """A workspace is as large as the first two batches asked for, and holds no third size."""

    def forward(self, x):
        y = super().forward(x)
        met = self.__dict__.setdefault("met", [])
        n = x.numel() // max(x.shape[1], 1)
        if n not in met:
            met.append(n)
        return y * (1 + 1e-3 * (self.training and len(met) > 2 and n > max(met[:2])))


@mutant("INPUT-16", says="y has shape (2, 3)")
class LosesAnAxisOfOne(nn.BatchNorm1d):
    """Evaluation without gradients gives a matrix for sequences of one step."""

    def forward(self, x):
        y = super().forward(x)
        one = y.ndim == 3 and y.shape[2] == 1
        return y if self.training or x.requires_grad or not one else y.squeeze(2)


@mutant("STATE-4", says="is accepted, and should be refused")
class FlattensWhatItLoads(nn.BatchNorm1d):
    """A column of the right length is loaded as a row."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in ("weight", "bias"):
            value, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if value is not None and own is not None and value.shape == (*own.shape, 1):
                state_dict[f"{prefix}{name}"] = own.detach().clone()
        super()._load_from_state_dict(state_dict, prefix, *rest)
