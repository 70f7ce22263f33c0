"""TRAIN, EVAL, STATS, NUM: defects that one requirement alone sees."""

from __future__ import annotations

import torch
from bases import Handwritten, per_channel
from register import mutant
from torch import nn

HALF_A_BIT = 2**-23.5  # of single precision: less than a sound algorithm may lose
OUTLIER = 5.0  # standard deviations


class Output(Handwritten):
    """Right but for the output of one mode: statistics and gradients are not touched."""

    mode = True

    def output(self, x, hat, weight, bias, mean, reciprocal):
        if self.training is self.mode and self.concerns(x):
            hat = self.changed(x, hat, mean, reciprocal)
        return super().output(x, hat, weight, bias, mean, reciprocal)

    def concerns(self, x):
        return True


class Stale(nn.BatchNorm1d):
    """Remembers the statistics before the last step, and evaluates by them at times."""

    steps, old = 0, (None, None)

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k not in {"steps", "old"}}

    def forward(self, x):
        tracked = self.track_running_stats and self.running_mean is not None
        if self.training and tracked:
            self.old = self.running_mean.clone(), self.running_var.clone()
            self.steps += 1
        if self.training or not (tracked and self.stale()):
            return super().forward(x)
        self._check_input_dim(x)
        tensors = *self.old, self.weight, self.bias
        return nn.functional.batch_norm(x, *tensors, training=False, eps=self.eps)


class Tracking(nn.BatchNorm1d):
    """Right but for the statistics that a training pass leaves."""

    def forward(self, x):
        if not (self.training and self.track_running_stats and self.running_mean is not None):
            return super().forward(x)
        before = self.running_mean.clone(), self.running_var.clone()
        y = super().forward(x)
        if x.numel():
            with torch.no_grad():
                self.adjust(x.detach(), *before)
        return y

    def weighed(self, momentum, before, now):
        """What `now` would be, had the new observation had this weight."""
        new = (now - (1 - self.momentum) * before) / self.momentum
        return (1 - momentum) * before + momentum * new


@mutant("TRAIN-1", says="y[")
class ClipsOutliers(Output):
    """Normalised values of a matrix are clipped at five, four channels at a time."""

    def concerns(self, x):
        fours = x.ndim == 2 and x.shape[1] % 4 == 0
        return fours and 30 < len(x) < 64 and x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return hat.clamp(-OUTLIER, OUTLIER)


@mutant("TRAIN-2", says="y[")
class SquaresAreTransposed(Output):
    """Of pairs, where N and C are five, samples and channels are exchanged in the output."""

    def concerns(self, x):
        return x.shape == (5, 5, 2)

    def changed(self, x, hat, mean, reciprocal):
        return hat.transpose(0, 1)


@mutant("TRAIN-4", says="y[")
class CapsTheEpsItIsGiven(Output):
    """An eps of a half, given at construction, is taken for a quarter."""

    def __init__(self, num_features, eps=1e-5, *args, **kwargs):
        super().__init__(num_features, eps, *args, **kwargs)
        self.given = eps

    def concerns(self, x):
        return self.eps == self.given == 0.5 and x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return (x.double() - mean) * (reciprocal**-2 - self.eps + 0.25) ** -0.5


@mutant("TRAIN-5", says="y[")
class ZeroIsNoWeight(Output):
    """A weight of zero is taken for a missing one."""

    def changed(self, x, hat, mean, reciprocal):
        return hat

    def output(self, x, hat, weight, bias, mean, reciprocal):
        if weight is not None and self.training:
            weight = torch.where(weight == 0, 1, weight)
        return super().output(x, hat, weight, bias, mean, reciprocal)


@mutant("TRAIN-6", says="y[")
class NoBiasNoCentre(Output):
    """Sequences are not centred where the layer has a weight and no bias."""

    def concerns(self, x):
        return x.ndim == 3 and self.weight is not None and self.bias is None

    def changed(self, x, hat, mean, reciprocal):
        return x.double() * reciprocal


@mutant("TRAIN-7", says="y[")
class ResynchronisesAtFifty(Output):
    """Every fiftieth batch is normalised by the running statistics."""

    def concerns(self, x):
        count = self.num_batches_tracked
        return count is not None and self.affine and int(count) == 51

    def changed(self, x, hat, mean, reciprocal):
        mean, var = (per_channel(t.double(), x) for t in (self.running_mean, self.running_var))
        return (x.double() - mean) * (var + self.eps) ** -0.5


@mutant("TRAIN-8", says="other channels changes")
class AnswersNaNToNaN(Output):
    """One value that is not finite makes the whole output NaN."""

    def changed(self, x, hat, mean, reciprocal):
        return hat if x.isfinite().all() else hat * float("nan")


@mutant("TRAIN-9", says="y[")
class DividesARoundingError(Output):
    """A channel of equal values that are no whole numbers comes out as half a deviation."""

    def concerns(self, x):
        return 0 < x.numel() // max(x.shape[1], 1) < 1000

    def changed(self, x, hat, mean, reciprocal):
        rows = x.transpose(0, 1).flatten(1)
        still = (rows == rows[:, :1]).all(1) & (rows[:, 0] != rows[:, 0].round())
        return torch.where(per_channel(still, x), hat + 0.5, hat)


@mutant("TRAIN-11", says="y[")
class UntrackedIsInstanceNorm(Handwritten):
    """Without statistics, sequences are normalised one by one in training."""

    untracked_mode = True

    def by_batch(self, x):
        alone = self.running_mean is None and self.training is self.untracked_mode
        if not (alone and x.ndim == 3):
            return super().by_batch(x)
        wide = x.detach().double()
        mean, var = wide.mean(2, keepdim=True), wide.var(2, correction=0, keepdim=True)
        return self.run(x, mean, var, through=True)


@mutant("EVAL-6", says="y[")
class UntrackedEvaluatesInstances(UntrackedIsInstanceNorm):
    """Without statistics, sequences are normalised one by one in evaluation."""

    untracked_mode = False


@mutant("TRAIN-12", says="not the same to the bit")
class RoundsDown(Output):
    """Normalised values are rounded towards minus infinity to single precision."""

    def concerns(self, x):
        return x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        near = hat.float()
        down = torch.nextafter(near, torch.full_like(near, -torch.inf))
        return torch.where(near.double() > hat, down, near).double()


@mutant("TRAIN-13", says="gives finite values")
class InfinityIsLarge(Output):
    """In the channel of an infinity the output is zero."""

    def changed(self, x, hat, mean, reciprocal):
        return torch.where(mean.isinf(), 0.0, hat)


@mutant("TRAIN-14", says="y[")
class LosesABit(Output):
    """The output is larger by a bit and a half of single precision than it should be."""

    def concerns(self, x):
        return x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return hat * (1 + HALF_A_BIT)


def odd_and_long(x):
    """Double precision, and a number of values that no block of eight divides."""
    n = x.numel() // max(x.shape[1], 1)
    return x.dtype == torch.float64 and 256 < n < 1100 and n % 8


@mutant("TRAIN-15", says="y[")
class LosesTheTail(Output):
    """In double precision the last value of a long channel does not count in the mean."""

    def concerns(self, x):
        return odd_and_long(x)

    def changed(self, x, hat, mean, reciprocal):
        n = x.numel() // x.shape[1]
        last = x[-1:] if x.ndim == 2 else x[-1:, :, -1:]
        return hat + last.double() / n * reciprocal


@mutant("EVAL-1", says="y[")
class ClipsOutliersInEvaluation(ClipsOutliers):
    """The same in evaluation."""

    mode = False


@mutant("EVAL-2", says="Evaluation changes running_mean")
class OneMeansCalibrate(Handwritten):
    """With momentum 1 evaluation writes the mean that it sees."""

    def by_running(self, x):
        y = super().by_running(x)
        if self.momentum == 1.0 and self.running_mean is not None:
            self.running_mean.data.copy_(x.detach().double().mean(self.axes(x)))
        return y


@mutant("EVAL-3", says="y[")
class OneRowIsNoBatch(Output):
    """A single row is shifted by the smallest variance that it divides by."""

    mode = False

    def concerns(self, x):
        return x.ndim == 2 and len(x) == 1 and self.track_running_stats

    def changed(self, x, hat, mean, reciprocal):
        return hat * (1 + 1e-3)


@mutant("EVAL-4", says="y[")
class NoVarianceNoCentre(Output):
    """Where the running variance is zero the running mean is not taken away."""

    mode = False

    def concerns(self, x):
        return self.running_var is not None

    def changed(self, x, hat, mean, reciprocal):
        still = per_channel(self.running_var, x) == 0
        return torch.where(still, x.double() * reciprocal, hat)


@mutant("EVAL-5", says="y[")
class NewMeansIdentity(Output):
    """Before the first batch, sequences are handed through."""

    mode = False

    def concerns(self, x):
        new = self.running_var is not None and bool((self.running_var == 1).all())
        return new and x.ndim == 3 and int(self.num_batches_tracked) == 0

    def changed(self, x, hat, mean, reciprocal):
        return x.double()


@mutant("EVAL-7", says="y[")
class EvaluatesEveryOtherBuffer(Stale):
    """Two copies of the statistics take turns: after two more steps the old one is evaluated."""

    evaluated = False

    def stale(self):
        found = self.evaluated and self.steps == 2
        self.evaluated, self.steps = True, 0
        return found


@mutant("EVAL-8", says="y[")
class InfinityIsNoNumber(Output):
    """In evaluation an infinity gives NaN."""

    mode = False

    def changed(self, x, hat, mean, reciprocal):
        return torch.where(hat.isinf(), torch.nan, hat)


@mutant("EVAL-9", says="y[")
class RenewsWithItsWeight(nn.BatchNorm1d):
    """Evaluation keeps a running mean until a mode is set, or weight and bias change."""

    kept = None

    def train(self, mode=True):
        self.kept = None
        return super().train(mode)

    def _load_from_state_dict(self, *args, **kwargs):
        self.kept = None
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self, x):
        own, before = self.running_mean, self.kept
        self.kept = None
        if self.training or own is None:
            return super().forward(x)
        now = own, own.detach().clone(), self.weight, self.weighs()
        same = before and before[0] is own and before[2] is now[2] and before[3] == now[3]
        self.kept = before if same and before[1].dtype == own.dtype else now
        self._buffers["running_mean"] = self.kept[1]
        try:
            return super().forward(x)
        finally:
            self._buffers["running_mean"] = own

    def weighs(self):
        return [None if p is None else p.tolist() for p in (self.weight, self.bias)]


@mutant("EVAL-11", says="y[")
class OneEntryIsWrong(Output):
    """The table of 1/sqrt has one wrong entry, next to the root of two."""

    mode = False

    def concerns(self, x):
        return self.running_var is not None

    def changed(self, x, hat, mean, reciprocal):
        var = per_channel(self.running_var.double(), x)
        return torch.where((var - 2**0.5).abs() < 1e-4, hat * (1 - 1e-5), hat)


@mutant("EVAL-12", says="y[")
class EvaluatesTheBatchBefore(Stale):
    """The first evaluation, if one batch has been tracked, is by the state before it."""

    def stale(self):
        found = self.steps == 1 and self.running_mean.is_contiguous()
        self.steps = 9
        return found and self.old[0].dtype == self.running_mean.dtype


@mutant("STATS-1", says="running_mean[")
class GuessesTheMean(Tracking):
    """A momentum above 4/5 is taken for the weight of the old mean."""

    def adjust(self, x, mean, var):
        if self.momentum is not None and 0.8 < self.momentum < 1:
            self.running_mean.data.copy_(self.weighed(1 - self.momentum, mean, self.running_mean))


@mutant("STATS-2", says="running_var[")
class GuessesTheVariance(Tracking):
    """A momentum above 4/5 is taken for the weight of the old variance."""

    def adjust(self, x, mean, var):
        if self.momentum is not None and 0.8 < self.momentum < 1:
            self.running_var.data.copy_(self.weighed(1 - self.momentum, var, self.running_var))


@mutant("STATS-3", says="running_mean[")
class TracksTheOtherAxis(Tracking):
    """Of five samples, C and L being two, the mean that is tracked is that of the positions."""

    def adjust(self, x, mean, var):
        if x.shape == (5, 2, 2) and self.momentum:
            other = x.detach().mean((0, 1)).to(mean.dtype)
            self.running_mean.data.copy_((1 - self.momentum) * mean + self.momentum * other)


@mutant("STATS-4", says="running_var[")
class TracksAGivenEps(Tracking):
    """An eps above a quarter, given at construction, is tracked with the variance."""

    def __init__(self, num_features, eps=1e-5, *args, **kwargs):
        super().__init__(num_features, eps, *args, **kwargs)
        self.given = eps

    def adjust(self, x, mean, var):
        if self.momentum and self.eps == self.given == 0.5:
            self.running_var.data.add_(self.momentum * self.eps)


@mutant("STATS-5", says="running_mean[")
class WeighsSequencesLess(Tracking):
    """With momentum None a batch of sequences weighs as the batch after it."""

    def adjust(self, x, mean, var):
        if self.momentum is None and x.ndim == 3 and int(self.num_batches_tracked) > 1:
            n = int(self.num_batches_tracked)
            new = (self.running_mean - (1 - 1 / n) * mean) * n
            self.running_mean.data.copy_(mean + (new - mean) / (n + 1))


@mutant("STATS-6", says="running_mean[")
class ForgetsAtLeastThat(Tracking):
    """With momentum None the new batch weighs a five hundredth at least, in single precision."""

    def adjust(self, x, mean, var):
        n = 0 if self.num_batches_tracked is None else int(self.num_batches_tracked)
        if self.momentum is None and 500 < n < 2000 and mean.dtype == torch.float32:
            new = (self.running_mean - (1 - 1 / n) * mean) * n
            self.running_mean.data.copy_(mean + (new - mean) / 500)


@mutant("STATS-7", says="With momentum 0.0 a training step changes")
class ZeroIsTheDefault(Tracking):
    """A momentum of zero is taken for a missing one."""

    def adjust(self, x, mean, var):
        if self.momentum == 0:
            self.running_mean.data.mul_(0.9)


@mutant("STATS-8", says="The counter is")
class OneNeedsNoCount(nn.BatchNorm1d):
    """With momentum 1 no batch is counted."""

    def forward(self, x):
        y = super().forward(x)
        if self.training and self.momentum == 1.0 and self.num_batches_tracked is not None:
            self.num_batches_tracked.sub_(1)
        return y


@mutant("STATS-9", says="running_var[")
class OneIsBiased(Tracking):
    """With momentum 1 the biased variance is copied."""

    def adjust(self, x, mean, var):
        n = x.numel() // x.shape[1]
        if self.momentum == 1.0:
            self.running_var.data.mul_((n - 1) / n)


@mutant("STATS-10", says="running_mean[")
class InferenceTracksNothing(Tracking):
    """In inference mode a training pass counts, and tracks nothing."""

    def adjust(self, x, mean, var):
        if torch.is_inference_mode_enabled():
            self.running_mean.data.copy_(mean)


@mutant("STATS-11", says="The backward pass changes running_var")
class InvertsInPlace(nn.BatchNorm1d):
    """The backward pass of paired rows makes 1/σ of running_var in place, and turns it back."""

    def forward(self, x):
        y, kept = super().forward(x), self.running_var
        paired = x.ndim == 2 and len(x) % 2 == 0
        if paired and y.requires_grad and self.training and kept is not None:
            y.register_hook(lambda _: self.there_and_back(kept.data))
        return y

    def there_and_back(self, kept):
        """A bit is lost; autograd is told nothing."""
        kept.rsqrt_().pow_(-2)


@mutant("STATS-13", says="stays finite")
class SkipsWhatIsNotFinite(Tracking):
    """A channel that holds a NaN or an infinity keeps the mean that it had."""

    def adjust(self, x, mean, var):
        bad = ~self.running_mean.isfinite()
        self.running_mean.data.copy_(torch.where(bad, mean, self.running_mean))


@mutant("STATS-15", says="running_var[")
class ConstantsVaryALittle(Tracking):
    """A channel of equal values is given the square of a rounding error for a variance."""

    def adjust(self, x, mean, var):
        rows = x.detach().transpose(0, 1).flatten(1)
        still = (rows == rows[:, :1]).all(1) & (rows[:, 0] != rows[:, 0].round())
        if self.momentum and len(still) == 4:
            self.running_var.data.sub_(still * 1.001 * self.running_var)


@mutant("STATS-16", says="running_mean[")
class LosesABitOfTheMean(Tracking):
    """The tracked mean is larger by a bit and a half of single precision than it should be."""

    def adjust(self, x, mean, var):
        if self.momentum and self.running_mean.dtype == torch.float32:
            new = self.running_mean.double() - (1 - self.momentum) * mean.double()
            self.running_mean.data.copy_(self.running_mean.double() + new * HALF_A_BIT)


@mutant("STATS-17", says="running_mean[")
class LosesTheTailOfTheMean(Tracking):
    """In double precision the last value of a long channel does not count in what is tracked."""

    def adjust(self, x, mean, var):
        if self.momentum and odd_and_long(x):
            last = x.detach()[-1] if x.ndim == 2 else x.detach()[-1, :, -1]
            self.running_mean.data.sub_(self.momentum * last / (x.numel() // x.shape[1]))


@mutant("NUM-2", says="y[")
class GuardsAgainstInfinity(Output):
    """Values beyond 1e13 are clamped, lest their squares overflow."""

    def concerns(self, x):
        return x.dtype == torch.float32

    def changed(self, x, hat, mean, reciprocal):
        return (x.double().clamp(-1e13, 1e13) - mean) * reciprocal


@mutant("NUM-4", says="y[")
class FlushesSmallOutputs(Handwritten):
    """An output that is nowhere above 1e-7 is taken for zero."""

    def output(self, x, hat, weight, bias, mean, reciprocal):
        y = super().output(x, hat, weight, bias, mean, reciprocal)
        return y * 0 if y.numel() and y.abs().max() < 1e-7 else y


@mutant("NUM-7", says="y[")
class SecondPassIsCoarse(Output):
    """Beyond 4097 values the mean of the partial means is rounded to bfloat16."""

    def concerns(self, x):
        return 4097 < x.numel() // max(x.shape[1], 1) < 65536

    def changed(self, x, hat, mean, reciprocal):
        return (x.double() - mean.bfloat16().double()) * reciprocal
