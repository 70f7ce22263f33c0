"""`BatchNorm1d`, exactly: every result is computed in exact arithmetic and rounded once.

The layer reads like the spec; the requirement ids beside the lines are those of `spec/*.toml`.
Source of the behaviour: torch.nn.BatchNorm1d and torch.nn.functional.batch_norm, PyTorch 2.13.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from bn1d_reference import channel
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FP32, Format
from bn1d_reference.nested import columns, nest, shape

if TYPE_CHECKING:
    from bn1d_reference.nested import Columns, Nested


class Gradients(NamedTuple):
    """What a backward pass returns: gradients of the loss."""

    x: Nested
    weight: list[float] | None
    bias: list[float] | None


class ChannelGradients(NamedTuple):
    """`Gradients` by channel."""

    x: Columns
    weight: list[float] | None
    bias: list[float] | None


class DoubleGradients(NamedTuple):
    """What a double backward pass returns: gradients of sum(gx*dx) + gw*dweight + gb*dbias."""

    x: Nested
    dy: Nested
    weight: list[float] | None


class ChannelDoubleGradients(NamedTuple):
    """`DoubleGradients` by channel."""

    x: Columns
    dy: Columns
    weight: list[float] | None


@dataclass(frozen=True)
class _Saved:
    """What the last forward pass saw, kept for the backward passes (GRAD-12)."""

    shape: tuple[int, ...]
    x: Columns
    batches: list[Batch] | None
    weight: list[float] | None
    bias: list[float] | None
    rm: list[float]
    rv: list[float]
    eps: float

    @property
    def scale(self) -> list[float]:
        """The weight, and ones where it is absent."""  # TRAIN-6, GRAD-6
        return self.weight or [1.0] * len(self.x)

    @property
    def shift(self) -> list[float]:
        """The bias, and zeros where it is absent."""
        return self.bias or [0.0] * len(self.x)


class BatchNorm1d:
    """Batch normalization of (N, C) or (N, C, L) inputs, as torch.nn.BatchNorm1d defines it.

    Values are Python floats and taken exactly.  The attributes are the layer's state and may be
    assigned.  Results are rounded once: weight, bias, running statistics and their gradients
    to the layer's `format`; outputs and input gradients to the format asked for.

    Args:
        num_features: C, the number of channels.
        eps: added to the variance under the root, taken exactly.
        momentum: weight of the new observation, or None for the cumulative average.
        affine: whether the layer learns a weight and a bias of C numbers each.
        track_running_stats: whether it keeps running statistics and a counter of batches.
        bias: whether an affine layer learns a bias.
        correction: the variance that is tracked is divided by n - correction: 1 as in PyTorch,
            0 in dialects that track the biased variance.
        format: format of the layer's own numbers, and of results unless another is asked for.
    """

    def __init__(  # noqa: PLR0913 - PyTorch's signature (CTOR-5)
        self,
        num_features: int,  # CTOR-1
        eps: float = 1e-5,  # CTOR-2
        momentum: float | None = 0.1,  # CTOR-3
        affine: bool = True,  # noqa: FBT001, FBT002 - CTOR-4
        track_running_stats: bool = True,  # noqa: FBT001, FBT002 - CTOR-4
        *,
        bias: bool = True,  # CTOR-9
        correction: int = 1,  # STATS-2
        format: Format = FP32,  # noqa: A002 - PARAM-10
    ) -> None:
        """Start with weight 1, bias 0, running_mean 0, running_var 1 and no batch counted."""
        self.num_features = num_features  # CTOR-6
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.correction = correction
        self.format = format
        self.training = True  # CTOR-7
        # PARAM-1, PARAM-2, PARAM-7
        self.weight: list[float] | None = [1.0] * num_features if affine else None  # PARAM-6
        self.bias: list[float] | None = [0.0] * num_features if affine and bias else None
        # BUF-1
        tracked = track_running_stats  # BUF-8
        self.running_mean: list[float] | None = [0.0] * num_features if tracked else None
        self.running_var: list[float] | None = [1.0] * num_features if tracked else None
        self.num_batches_tracked: int | None = 0 if tracked else None

        self._saved: _Saved | None = None
        self._dy: Columns | None = None

    @property
    def batches(self) -> list[Batch] | None:
        """The channels of the last forward pass, or None where it used the buffers."""
        return self._saved.batches if self._saved else None

    def parameters(self) -> dict[str, list[float]]:
        """What is learned, by name: weight and bias, where present."""  # PARAM-8
        named = {"weight": self.weight, "bias": self.bias}
        return {name: value for name, value in named.items() if value is not None}

    def buffers(self) -> dict[str, list[float] | int]:
        """What is tracked, by name, where present."""  # BUF-2
        named = {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "num_batches_tracked": self.num_batches_tracked,
        }
        return {name: value for name, value in named.items() if value is not None}

    def train(self, mode: bool = True) -> BatchNorm1d:  # noqa: FBT001, FBT002 - PyTorch's
        """Set training mode, or evaluation for `mode=False`; return the layer."""  # EVAL-7
        self.training = mode
        return self

    def eval(self) -> BatchNorm1d:
        """Set evaluation mode; return the layer."""
        return self.train(False)  # noqa: FBT003

    def reset_running_stats(self) -> None:
        """Set the running statistics and the counter to their start."""  # BUF-12
        if self.track_running_stats:
            self.running_mean = [0.0] * self.num_features  # BUF-3
            self.running_var = [1.0] * self.num_features  # BUF-4
            self.num_batches_tracked = 0  # BUF-5

    def reset_parameters(self) -> None:
        """Set weight to ones, bias to zeros, and reset the running statistics."""  # PARAM-9
        self.reset_running_stats()
        if self.weight is not None:
            self.weight = [1.0] * self.num_features  # PARAM-3
        if self.bias is not None:
            self.bias = [0.0] * self.num_features  # PARAM-4

    def forward(self, x: Nested, format: Format | None = None) -> Nested:  # noqa: A002
        """The output for `x`, nested like it; in training the running statistics move on.

        Args:
            x: (N, C) or (N, C, L), as nested lists; [] is an empty batch.
            format: format of the output; the layer's own unless given.

        Raises:
            ValueError: x is ragged, has another rank or not num_features channels, or is what
                `forward_channels` refuses.
        """
        dims = shape(x)
        if x and len(dims) not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {len(dims)}D input)")  # INPUT-1
        if x and dims[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got size {dims}")  # INPUT-2
        y = self.forward_channels(columns(x, self.num_features), format)
        self._saved = replace(self._last(), shape=dims)
        return nest(y, dims)

    def forward_channels(self, x: Columns, format: Format | None = None) -> Columns:  # noqa: A002
        """`forward` by channel: C columns of N*L values in, and out.

        Raises:
            ValueError: x is not num_features columns of one length; eps < 0; where the batch
                normalises, eps is 0 or a channel has one value only; or a parameter or running
                statistic has not num_features elements.
        """
        self._validate(x)
        fmt = format or self.format  # DTYPE-1, DTYPE-6
        self._dy = None
        self._saved = saved = self._save(x)
        if saved.batches is None:
            state = zip(x, saved.rm, saved.rv, saved.scale, saved.shift, strict=True)
            return [  # EVAL-1
                channel.forward_eval(values, rm, rv, w, b, self.eps, fmt)
                for values, rm, rv, w, b in state
            ]
        if self.training:  # EVAL-2, TRAIN-11
            self.track(saved.batches)
        return [  # TRAIN-1, TRAIN-7, TRAIN-8
            channel.forward_train(batch, w, b, self.eps, fmt)
            for batch, w, b in zip(saved.batches, saved.scale, saved.shift, strict=True)
        ]

    def _uses_batch(self) -> bool:
        """Whether the batch's statistics normalise: in training, and without buffers."""
        return self.training or self.running_mean is None or self.running_var is None  # EVAL-6

    def _validate(self, x: Columns) -> None:
        """Refuse before anything changes (INPUT-5)."""
        if len(x) != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got {len(x)}")  # INPUT-2
        lengths = set(map(len, x))
        if len(lengths) > 1:
            raise ValueError(f"channels of unequal lengths {sorted(lengths)}")
        if self._uses_batch() and lengths == {1}:  # INPUT-3, INPUT-14
            raise ValueError("Expected more than 1 value per channel when training, got 1")
        if self._uses_batch() and self.eps <= 0:  # INPUT-8
            raise ValueError(f"eps must be positive during training, but got {self.eps}")
        if self.eps < 0:  # EVAL-10
            raise ValueError(f"eps must be non-negative, but got {self.eps}")
        self._validate_state()

    def _validate_state(self) -> None:
        """Refuse parameters and statistics that were replaced by others of the wrong length."""
        statistics = {"running_mean": self.running_mean, "running_var": self.running_var}
        for name, values in {**self.parameters(), **statistics}.items():  # INPUT-15
            if values is not None and len(values) != self.num_features:
                raise ValueError(f"{name} has {len(values)} elements, not {self.num_features}")

    def _save(self, x: Columns) -> _Saved:
        return _Saved(
            shape=(len(x[0]) if x else 0, self.num_features),
            x=x,
            batches=[Batch(values) for values in x] if self._uses_batch() else None,
            weight=self.weight and list(self.weight),  # PARAM-12
            bias=self.bias and list(self.bias),
            rm=self.running_mean or [],  # EVAL-9, EVAL-12
            rv=self.running_var or [],
            eps=self.eps,
        )

    def _last(self) -> _Saved:
        if self._saved is None:
            raise ValueError("a backward pass needs a forward pass before it")
        return self._saved

    def track(self, batches: list[Batch]) -> None:
        """Count the batch and move the running statistics, where they are tracked.

        `forward` does so in training; another layer may track what this one has seen.
        """
        # BUF-14: as they stand, whoever wrote them
        rm, rv, count = self.running_mean, self.running_var, self.num_batches_tracked
        if not self.track_running_stats or rm is None or rv is None or count is None:
            return
        self.num_batches_tracked = count = count + 1  # STATS-6, STATS-8
        if not any(batch.n for batch in batches):
            return  # STATS-12
        moved = [  # STATS-14: in the layer's own format
            channel.running(batch, mean, var, self.momentum, count, self.format, self.correction)
            for batch, mean, var in zip(batches, rm, rv, strict=True)
        ]
        self.running_mean = [mean for mean, _ in moved]
        self.running_var = [var for _, var in moved]

    def backward(self, dy: Nested, format: Format | None = None) -> Gradients:  # noqa: A002
        """Gradients of the loss with respect to the last forward pass's x, weight and bias.

        Args:
            dy: gradient of the loss with respect to y, nested like it.
            format: format of the gradient for x; weight's and bias's have the layer's.

        Raises:
            ValueError: there was no forward pass, or dy has not the shape of its input.
        """
        g = self.backward_channels(self._columns(dy), format)
        return Gradients(nest(g.x, self._last().shape), g.weight, g.bias)

    def _columns(self, gradient: Nested) -> Columns:
        """A gradient nested like the last input, by channel."""
        if shape(gradient) != self._last().shape:
            raise ValueError(f"expected shape {self._last().shape}, got {shape(gradient)}")
        return columns(gradient, self.num_features)

    def backward_channels(
        self,
        dy: Columns,
        format: Format | None = None,  # noqa: A002
    ) -> ChannelGradients:
        """`backward` by channel: C columns in, and out.

        Raises:
            ValueError: there was no forward pass.
        """
        saved, formats = self._last(), (format or self.format, self.format)  # GRAD-10
        self._dy = dy
        if saved.batches is None:
            found = [
                channel.backward_eval(x, g, rm, rv, w, saved.eps, *formats)
                for x, g, rm, rv, w in zip(
                    saved.x, dy, saved.rm, saved.rv, saved.scale, strict=True
                )
            ]
        else:  # GRAD-7
            found = [
                channel.backward_train(batch, g, w, saved.eps, *formats)
                for batch, g, w in zip(saved.batches, dy, saved.scale, strict=True)
            ]
        return ChannelGradients(
            [dx for dx, _, _ in found],
            None if saved.weight is None else [dw for _, dw, _ in found],
            None if saved.bias is None else [db for _, _, db in found],
        )

    def double_backward(
        self,
        gx: Nested,
        gweight: list[float] | None = None,
        gbias: list[float] | None = None,
        format: Format | None = None,  # noqa: A002
    ) -> DoubleGradients:
        """Gradients of sum(gx*dx) + sum(gweight*dweight) + sum(gbias*dbias).

        They are taken with respect to x and weight of the last forward pass and dy of the last
        backward pass.

        Args:
            gx: factors of dx, nested like x.
            gweight: factors of dweight; zeros where absent.
            gbias: factors of dbias; zeros where absent.
            format: format of the gradients for x and dy; weight's has the layer's.

        Raises:
            ValueError: there was no backward pass, or gx has not the shape of its input.
        """
        g = self.double_backward_channels(self._columns(gx), gweight, gbias, format)
        dims = self._last().shape
        return DoubleGradients(nest(g.x, dims), nest(g.dy, dims), g.weight)

    def double_backward_channels(
        self,
        gx: Columns,
        gweight: list[float] | None = None,
        gbias: list[float] | None = None,
        format: Format | None = None,  # noqa: A002
    ) -> ChannelDoubleGradients:
        """`double_backward` by channel: C columns in, and out.

        Raises:
            ValueError: there was no backward pass.
        """
        saved, formats = self._last(), (format or self.format, self.format)
        if self._dy is None:
            raise ValueError("a double backward pass needs a backward pass before it")
        zeros = [0.0] * self.num_features
        loss = list(zip(gx, gweight or zeros, gbias or zeros, strict=True))
        if saved.batches is None:
            found = [
                channel.double_backward_eval(x, dy, rm, rv, w, saved.eps, g, gw, gb, *formats)
                for x, dy, rm, rv, w, (g, gw, gb) in zip(
                    saved.x, self._dy, saved.rm, saved.rv, saved.scale, loss, strict=True
                )
            ]
        else:
            found = [
                channel.double_backward_train(batch, dy, w, saved.eps, g, gw, gb, *formats)
                for batch, dy, w, (g, gw, gb) in zip(
                    saved.batches, self._dy, saved.scale, loss, strict=True
                )
            ]
        return ChannelDoubleGradients(
            [x for x, _, _ in found],
            [dy for _, dy, _ in found],
            None if saved.weight is None else [w for _, _, w in found],
        )
