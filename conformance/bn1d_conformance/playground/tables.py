"""The tables of the playground: a number a row, exact and as fp32 has it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, TypedDict

from bn1d_conformance.playground import textbook
from bn1d_conformance.playground.wording import exact, rounded
from bn1d_reference.formats import FP32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bn1d_conformance.playground.textbook import Pass
    from bn1d_reference.oracle import BatchNorm1d, Gradients
    from bn1d_reference.surd import Surd

HEAD = ("Number", "Exact", "float32")  # of every table


class Table(TypedDict):
    """A caption, and rows under `HEAD`."""

    caption: str
    rows: list[list[str]]


def state(layer: BatchNorm1d) -> Table:
    """What the layer learns and tracks, which is exact as it stands."""
    named = {**layer.parameters(), **layer.buffers()}
    vectors = {name: values for name, values in named.items() if isinstance(values, list)}
    rows = [
        [f"{name}[{c}]", exact(Fraction(value)), rounded(value)]
        for name, values in vectors.items()
        for c, value in enumerate(values)
    ]
    return {"caption": "Parameters and buffers", "rows": [*rows, _count(layer)]}


def _count(layer: BatchNorm1d) -> list[str]:
    return ["num_batches_tracked", *2 * [str(layer.num_batches_tracked)]]


def running(layer: BatchNorm1d) -> list[tuple[Fraction, Fraction]]:
    """Running mean and variance, a channel each."""
    each = zip(layer.running_mean or (), layer.running_var or (), strict=True)
    return [(Fraction(rm), Fraction(rv)) for rm, rv in each]


def normalizing(seen: list[Pass]) -> Table:
    """Mean, variance and 1/√(var + eps) of each channel."""
    rows = []
    for c, one in enumerate(seen):
        root = f"1/√({exact(one.var)} + {float(one.eps)!r})"
        rows += [
            [f"mean[{c}]", exact(one.mean), _once(one.mean)],
            [f"var[{c}]", exact(one.var), _once(one.var)],
            [f"s[{c}]", exact(one.s, root), rounded(one.s.round(FP32))],
        ]
    whose = "of this batch" if seen[0].of_batch else "tracked so far"
    return {"caption": f"Mean and variance {whose}, and s = 1/√(var + eps)", "rows": rows}


def _once(value: Fraction) -> str:
    return rounded(FP32.round(*value.as_integer_ratio()))


def output(layer: BatchNorm1d, seen: list[Pass], y: list[list[float]]) -> Table:
    """The output, a sample after the other."""
    each = zip(seen, _weights(layer), _biases(layer), strict=True)
    found = [textbook.output(one, w, b) for one, w, b in each]
    caption = "Output: y = weight·s·(x - mean) + bias"
    return {"caption": caption, "rows": _elements("y", found, y)}


def _elements(
    name: str, by_channel: Sequence[Sequence[Surd]], got: list[list[float]]
) -> list[list[str]]:
    """Rows of a matrix of which the exact numbers are there by channel."""
    return [
        [f"{name}[{i}, {c}]", exact(by_channel[c][i], f"s[{c}]"), rounded(value)]
        for i, sample in enumerate(got)
        for c, value in enumerate(sample)
    ]


def _weights(layer: BatchNorm1d) -> list[Fraction]:
    return [Fraction(w) for w in layer.weight or [1.0] * layer.num_features]


def _biases(layer: BatchNorm1d) -> list[Fraction]:
    return [Fraction(b) for b in layer.bias or [0.0] * layer.num_features]


def tracked(
    layer: BatchNorm1d, seen: list[Pass], before: list[tuple[Fraction, Fraction]]
) -> Table:
    """The buffers after a batch, and what they were rounded from."""
    momentum, count = layer.momentum, layer.num_batches_tracked or 1
    m = Fraction(1, count) if momentum is None else Fraction(momentum)
    found = [textbook.tracked(one, *old, m) for one, old in zip(seen, before, strict=True)]
    rows = _vector("running_mean", [exact(mean) for mean, _ in found], layer.running_mean)
    rows += _vector("running_var", [exact(var) for _, var in found], layer.running_var)
    weighs = str(m) if momentum is None else repr(momentum)
    caption = f"Buffers: this batch weighs {weighs}, with its unbiased variance"
    return {"caption": caption, "rows": [*rows, _count(layer)]}


def _vector(name: str, found: list[str], got: list[float] | None) -> list[list[str]]:
    each = enumerate(zip(found, got or (), strict=True))
    return [[f"{name}[{c}]", text, rounded(value)] for c, (text, value) in each]


def gradients(
    layer: BatchNorm1d, seen: list[Pass], dy: list[list[Fraction]], got: Gradients
) -> list[Table]:
    """The gradients for the batch and, where there are parameters, for these."""
    each = zip(seen, dy, _weights(layer), strict=True)
    dx, dw, db = zip(*(textbook.gradients(*channel) for channel in each), strict=True)
    found: list[Table] = [
        {"caption": "Gradient for the batch", "rows": _elements("dx", dx, got.x)}
    ]
    if got.weight is not None:
        texts = [exact(value, f"s[{c}]") for c, value in enumerate(dw)]
        rows = _vector("dweight", texts, got.weight)
        rows += _vector("dbias", [exact(value) for value in db], got.bias)
        found.append({"caption": "Gradient for weight and bias", "rows": rows})
    return found
