"""BatchNorm1d in Triton kernels: an example of what the author of a kernel has judged.

bn1d run --worker 'env TRITON_INTERPRET=1 python bn1d_worker.py subjects/triton_kernels.py'
"""

import torch
import triton
import triton.language as tl
from torch_module import Layer as Module

BLOCK = 4096


@triton.jit
def places(start, c, n, channels, length, block: tl.constexpr):
    """Where the elements from `start` on of a channel of (N, C, L) are, and which there are."""
    k = start + tl.arange(0, block)
    return (k // length) * channels * length + c * length + k % length, k < n


@triton.jit
def moments(x, mean, var, n, channels, length, block: tl.constexpr):
    """Mean and biased variance of a channel, in two passes."""
    c, wide = tl.program_id(0), mean.dtype.element_ty
    total = tl.zeros((block,), wide)
    for start in range(0, n, block):
        at, there = places(start, c, n, channels, length, block)
        total += tl.load(x + at, there, 0).to(wide)
    m = tl.sum(total) / n
    total = tl.zeros((block,), wide)
    for start in range(0, n, block):
        at, there = places(start, c, n, channels, length, block)
        d = tl.where(there, tl.load(x + at, there, 0).to(wide) - m, 0)
        total += d * d
    tl.store(mean + c, m)
    tl.store(var + c, tl.sum(total) / n)


@triton.jit
def apply(x, y, mean, scale, bias, n, channels, length, block: tl.constexpr):
    """Write y = (x - mean) * scale + bias of a channel."""
    c, wide = tl.program_id(0), mean.dtype.element_ty
    m, s, b = tl.load(mean + c), tl.load(scale + c), tl.load(bias + c)
    for start in range(0, n, block):
        at, there = places(start, c, n, channels, length, block)
        tl.store(y + at, (tl.load(x + at, there, 0).to(wide) - m) * s + b, there)


@triton.jit
def sums(x, dy, mean, rstd, dweight, dbias, n, channels, length, block: tl.constexpr):
    """The sums over a channel of dy and of dy * (x - mean) * rstd."""
    c, wide = tl.program_id(0), mean.dtype.element_ty
    m, r = tl.load(mean + c), tl.load(rstd + c)
    plain, scaled = tl.zeros((block,), wide), tl.zeros((block,), wide)
    for start in range(0, n, block):
        at, there = places(start, c, n, channels, length, block)
        g = tl.load(dy + at, there, 0).to(wide)
        plain += g
        scaled += g * tl.where(there, (tl.load(x + at, there, 0).to(wide) - m) * r, 0)
    tl.store(dweight + c, tl.sum(scaled))
    tl.store(dbias + c, tl.sum(plain))


@triton.jit
def pull(x, dy, dx, mean, rstd, scale, p, q, n, channels, length, block: tl.constexpr):
    """Write dx = (dy - p - q * (x - mean) * rstd) * scale of a channel."""
    c, wide = tl.program_id(0), mean.dtype.element_ty
    m, r, s = tl.load(mean + c), tl.load(rstd + c), tl.load(scale + c)
    p, q = tl.load(p + c), tl.load(q + c)
    for start in range(0, n, block):
        at, there = places(start, c, n, channels, length, block)
        hat = (tl.load(x + at, there, 0).to(wide) - m) * r
        tl.store(dx + at, (tl.load(dy + at, there, 0).to(wide) - p - q * hat) * s, there)


def launch(kernel, x, *tensors):
    """Run a kernel, one program for each channel."""
    channels, length = x.shape[1], x[0, 0].numel() if x.dim() > 2 else 1
    kernel[(channels,)](x, *tensors, x.shape[0] * length, channels, length, block=BLOCK)


class Normalize(torch.autograd.Function):
    """y from x, mean and rstd; in training the gradient goes through both of these as well."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, rstd, training):
        """Return y."""
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.training = training
        y = torch.empty_like(x)
        launch(apply, x, y, mean, rstd * weight.to(mean.dtype), bias.to(mean.dtype))
        return y

    @staticmethod
    def backward(ctx, dy):
        """Return dx, dweight and dbias."""
        x, weight, mean, rstd = ctx.saved_tensors
        dy, dx = dy.contiguous(), torch.empty_like(x)
        dweight, dbias = torch.empty_like(mean), torch.empty_like(mean)
        launch(sums, x, dy, mean, rstd, dweight, dbias)
        n = x.numel() // x.shape[1] if ctx.training else float("inf")
        scale = rstd * weight.to(mean.dtype)
        launch(pull, x, dy, dx, mean, rstd, scale, dbias / n, dweight / n)
        return dx, dweight.to(weight.dtype), dbias.to(weight.dtype), None, None, None


class BatchNorm1d(torch.nn.BatchNorm1d):
    """The module around the kernels; what it is asked before them it has from PyTorch."""

    def forward(self, x):
        """Return y, and in training move the statistics."""
        self._check_input_dim(x)
        if x.shape[1] != self.num_features:
            raise ValueError("expected %d channels, got %d" % (self.num_features, x.shape[1]))
        if not x.is_floating_point():
            raise TypeError("expected floating point, got %s" % x.dtype)
        x, batch = x.contiguous(), self.training or self.running_mean is None
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        mean, var = self.statistics(x, wide) if batch else self.tracked(wide)
        weight, bias = self.learned(mean)
        return Normalize.apply(x, weight, bias, mean, (var + self.eps).rsqrt(), batch)

    def statistics(self, x, wide):
        """Mean and variance of the batch; they move the running ones."""
        n = x.numel() // x.shape[1]
        if n == 1:
            raise ValueError("expected more than 1 value per channel, got %s" % (tuple(x.shape),))
        mean, var = (torch.empty(x.shape[1], dtype=wide, device=x.device) for _ in range(2))
        launch(moments, x.detach(), mean, var)
        if self.training and self.running_mean is not None:
            self.num_batches_tracked += 1
            m = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            for old, new in ((self.running_mean, mean), (self.running_var, var * n / (n - 1))):
                old.copy_((1 - m) * old + m * new)
        return mean, var

    def tracked(self, wide):
        """The running statistics."""
        return self.running_mean.to(wide), self.running_var.to(wide)

    def learned(self, like):
        """Weight and bias, or what changes nothing."""
        weight = torch.ones_like(like) if self.weight is None else self.weight
        return weight, torch.zeros_like(like) if self.bias is None else self.bias


class Layer(Module):
    """It is judged as PyTorch's own layer is."""

    about = dict(
        Module.about,
        name="BatchNorm1d in Triton" + " (interpreted)" * triton.knobs.runtime.interpret,
        version="triton %s, torch %s" % (triton.__version__, torch.__version__),
        homepage="https://triton-lang.org/",
    )

    def construct(self, **options):
        """Return the module that is called."""
        return BatchNorm1d(**options)
