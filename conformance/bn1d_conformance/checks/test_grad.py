"""GRAD: the backward pass, in training and in evaluation."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance import exact_cases
from bn1d_conformance.cases import columns, from_columns
from bn1d_conformance.checks.common import (
    SINGLE,
    cases_of,
    drawn,
    equal,
    families,
    needs,
    require_exact_root,
    require_repeats,
    requirement,
    unless_refused,
)
from bn1d_conformance.checks.test_eval import evaluated
from bn1d_conformance.numbers import DTYPES, FORMATS, format_of
from bn1d_conformance.subject import Gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.trial import Trial

NO_SECOND = "the backward pass can't be differentiated"


def _judge(trial: Trial, got: Gradients, case: Case, dx: str, dw: str, db: str) -> None:
    """Compare each gradient for its own requirement; "" leaves one out."""
    want = trial.expected(case)
    if dx:
        trial.compare(dx, got.x, want.dx, case)
    if dw and case.config.affine:
        trial.compare(dw, got.weight, want.dweight, case)
    if db and case.config.affine and case.config.bias:
        trial.compare(db, got.bias, want.dbias, case)


def _step(trial: Trial, case: Case, dx: str, dw: str = "", db: str = "") -> None:
    with trial.case(case, *{dx, dw, db} - {""}):
        _judge(trial, trial.step(case).gradients, case, dx, dw, db)


TRAINING = ("GRAD-1", "GRAD-2", "GRAD-3")


@families("A1 A2 A7 A8 A9", SINGLE, d2=TRAINING, d3=TRAINING)
def test_training(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """dx, dweight and dbias are the oracle's within the bounds."""
    for case in cases_of(trial, family, fmt, rank):
        _step(trial, case, *TRAINING)


@families("A1 A9", SINGLE, d2=("GRAD-4", "GRAD-5", "GRAD-3"), d3=("GRAD-4", "GRAD-5", "GRAD-3"))
def test_evaluation(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """The statistics are constants."""
    trial.require("eval", "statistics")
    for case in cases_of(trial, family, fmt, rank):
        _step(trial, evaluated(case), "GRAD-4", "GRAD-5", "GRAD-3")


@requirement("GRAD-6")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [(6, 3), (3, 2, 4)], ids=["2d", "3d"])
def test_without_parameters(trial: Trial, training: bool, size: tuple[int, ...]) -> None:
    """affine=False: dx is that of a weight of one."""
    trial.require(*(["3d"] if len(size) == 3 else []), *(["eval", "statistics"] * (not training)))
    base = drawn(trial, "bare", *size, affine=False, training=training)
    case = replace(base, state=replace(base.state, weight=None, bias=None))
    _step(trial, case, "GRAD-6")


@requirement("GRAD-7")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_without_statistics(trial: Trial, training: bool) -> None:
    """The gradient goes through what normalised."""
    base = drawn(trial, "untracked", 6, 3, track_running_stats=False, training=training)
    state = replace(base.state, running_mean=None, running_var=None, num_batches_tracked=None)
    _step(trial, replace(base, state=state), "GRAD-7", "GRAD-7", "GRAD-7")


@requirement("GRAD-8")
@pytest.mark.parametrize("wanted", ["x", "weight", "bias", "x weight", "x bias", "weight bias"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_some_require_none(trial: Trial, wanted: str, training: bool) -> None:
    """Each tensor receives its gradient, whatever the others require."""
    case = drawn(trial, "some", 6, 3, training=training)
    with trial.case(f"{case.id}/{wanted}"):
        layer = trial.build(case.config, case.state, training=training)
        inner: Any = layer.layer
        for role in ("weight", "bias"):
            inner.tensor(role).requires_grad_(role in wanted.split())
        layer.forward(case.x, grad="x" in wanted.split())
        got = layer.backward(case.dy)
        want = trial.expected(case)
        answers = {"x": want.dx, "weight": want.dweight, "bias": want.dbias}
        for role in wanted.split():
            trial.compare("GRAD-8", getattr(got, role), answers[role], case)


@requirement("GRAD-9")
@pytest.mark.parametrize("how", ["expanded", "transposed", "sum"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_strides_of_dy(trial: Trial, how: str, training: bool) -> None:
    """An expanded one, a transposed one, and y.sum().backward()."""
    base = drawn(trial, "strides", 4, 3, 5, training=training)
    torch = trial.torch
    dy = np.ones_like(base.dy) if how != "transposed" else base.dy
    case = replace(base, id=f"{base.id}/{how}", dy=dy)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        layer.forward(case.x, grad=True)
        inner: Any = layer.layer
        tensors: dict[str, Callable[[], Any]] = {
            "expanded": lambda: torch.ones((), dtype=inner.y.dtype, device=inner.y.device).expand(
                4, 3, 5
            ),
            "transposed": lambda: _transposed(torch, case, inner),
            "sum": lambda: None,
        }
        handed = tensors[how]()
        kept = None if handed is None else handed.clone()
        loss, seed = (inner.y.sum(), None) if handed is None else (inner.y, handed)
        layer.call("backward", loss.backward, seed)
        got = left(inner)
        _judge(trial, got, case, "GRAD-9", "GRAD-9", "GRAD-9")
        intact = handed is None or bool((handed == kept).all())
        trial.expect("GRAD-9", intact, "The gradient that was handed in is changed.")


def _transposed(torch: Any, case: Case, inner: Any) -> Any:
    swapped = np.ascontiguousarray(case.dy.transpose(2, 1, 0))
    return torch.from_numpy(swapped).to(inner.y.device).transpose(0, 2)


def left(inner: Any) -> Gradients:
    """The gradients that autograd left in the last input and the parameters."""
    arrays = (
        t.grad if t is not None else None
        for t in (inner.x, inner.tensor("weight"), inner.tensor("bias"))
    )
    return Gradients(*(None if g is None else g.detach().cpu().numpy().copy() for g in arrays))


@requirement("GRAD-10")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_shape_and_format(trial: Trial, fmt: str, training: bool) -> None:
    """Each gradient is of the shape and format of its tensor."""
    trial.require(fmt, *(["eval", "statistics"] * (not training)))
    for size in ((6, 3), (2, 3, 4)):
        if len(size) == 2 or trial.has("3d"):
            case = drawn(trial, "formats", *size, fmt=fmt, training=training)
            with trial.case(case):
                got = trial.step(case).gradients
                _of(trial, "dx", got.x, case.x.shape, fmt)
                if trial.has("param-grad"):
                    _of(trial, "dweight", got.weight, (3,), case.config.format)
                    _of(trial, "dbias", got.bias, (3,), case.config.format)


def _of(trial: Trial, name: str, got: Any, shape: tuple[int, ...], fmt: str) -> None:
    seen = None if got is None else (got.shape, format_of(got) or str(got.dtype))
    trial.expect(
        "GRAD-10", seen == (shape, fmt), f"{name} is {seen}, where {(shape, fmt)} is right."
    )


@requirement("GRAD-11")
@pytest.mark.parametrize("k", [-20, 3, 20])
def test_linear(trial: Trial, k: int) -> None:
    """dy·(±2^k) gives gradients·(±2^k), bit for bit."""
    require_repeats(trial)
    base = drawn(trial, "linear", 11, 4)
    two = DTYPES[trial.format].type(-(2.0**k))
    with trial.case(f"{base.id}/2^{k}"):
        first = trial.step(base).gradients
        second = trial.step(replace(base, dy=base.dy * two)).gradients
        for name in ("x", "weight", "bias"):
            a, b = getattr(first, name), getattr(second, name)
            if a is not None and b is not None:
                message = f"d{name} is not multiplied by −2^{k} when dy is."
                trial.expect("GRAD-11", equal(a * two, b), message)


@requirement("GRAD-12")
def test_two_forwards(trial: Trial) -> None:
    """Two forward passes, then their backward passes in either order."""
    a, b = drawn(trial, "first", 6, 3), drawn(trial, "second", 5, 3)
    for order in ((0, 1), (1, 0)):
        with trial.case(f"two forwards/{order}"):
            layer = trial.build(a.config, a.state)
            inner: Any = layer.layer
            saved = []
            for case in (a, b):
                layer.forward(case.x, grad=True)
                saved.append((inner.x, inner.y))
            for which in order:
                case = replace((a, b)[which], state=a.state, config=a.config)
                inner.x, inner.y = saved[which]
                layer.module.zero_grad(set_to_none=True)
                _judge(trial, layer.backward(case.dy), case, "GRAD-12", "GRAD-12", "GRAD-12")


@requirement("GRAD-14")
@pytest.mark.parametrize("size", [(0, 3), (0, 3, 4), (2, 3, 0)], ids=str)
def test_empty(trial: Trial, size: tuple[int, ...]) -> None:
    """Sums of nothing are zero."""
    case = drawn(trial, "empty", 4, 3)
    nothing = np.zeros(size, case.x.dtype)
    with trial.case(f"empty/{size}"):
        layer = trial.build(case.config, case.state)
        layer.forward(nothing, grad=True)
        got = layer.backward(nothing)
        shape = None if got.x is None else got.x.shape
        trial.expect("GRAD-14", shape == size, f"dx has shape {shape} for an input of {size}.")
        for name, gradient in (("dweight", got.weight), ("dbias", got.bias)):
            ok = gradient is not None and bool((gradient == 0).all())
            trial.expect("GRAD-14", ok, f"{name} of an empty batch is {gradient}.")


@requirement("GRAD-15")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rank", [2, 3])
def test_exact(trial: Trial, fmt: str, rank: int) -> None:
    """Dbias for everybody; dx and dweight where 1/sqrt is exact."""
    trial.require(fmt, *(["3d"] if rank == 3 else []))
    for case in exact_cases.exact(fmt, rank):
        _step(trial, case, "", "", "GRAD-15")


@requirement("GRAD-15")
@needs("grad")
@pytest.mark.parametrize("fmt", SINGLE)
@pytest.mark.parametrize("rank", [2, 3])
def test_exact_with_root(trial: Trial, fmt: str, rank: int) -> None:
    """Dx and dweight, bit for bit, where nothing rounds."""
    trial.require(fmt, *(["3d"] if rank == 3 else []))
    require_exact_root(trial)
    for case in exact_cases.exact(fmt, rank):
        n = case.x.size // case.config.num_features
        halves = n & (n - 1) == 0  # else a kernel may multiply by a rounded 1/n
        _step(trial, case, "GRAD-15" if halves else "", "GRAD-15")


@requirement("GRAD-15")
def test_whole_numbers(trial: Trial) -> None:
    """Dbias of ones is n; of whole numbers, their sum."""
    for n in (3, 33, 1025):
        base = drawn(trial, "whole", n, 3)
        rows = np.stack([np.ones(n), np.arange(n) % 7 - 3, np.arange(n) % 2]).astype(float)
        dy = from_columns(rows, base.x.shape).astype(base.x.dtype)
        case = replace(base, id=f"{base.id}/whole", dy=dy)
        with trial.case(case):
            got, want = trial.step(case).gradients.bias, columns(dy).sum(axis=1)
            ok = got is not None and equal(got, want)
            trial.expect("GRAD-15", ok, f"dbias is {got}, where {want} is exact.")


@requirement("GRAD-19")
@pytest.mark.parametrize("times", [1, 2])
def test_memory_is_freed(trial: Trial, times: int) -> None:
    """Three batches, differentiated once or twice: of the first two nothing is left."""
    trial.require(*(["double-backward"] * (times - 1)))
    case = drawn(trial, "freed", 6, 3)
    with trial.case(f"{case.id}/{times}"):
        layer = trial.build(case.config, case.state)
        with unless_refused(trial, NO_SECOND) if times > 1 else nullcontext():
            seen = [_differentiated(trial, layer, case, times) for _ in range(3)]
        gc.collect()
        for k, name in enumerate(("input", "output")):
            kept = sum(references[k]() is not None for references in seen[:-1])
            message = f"After three batches the {name} of {kept} of the first two is still held."
            trial.expect("GRAD-19", not kept, message)


def _differentiated(trial: Trial, layer: Guard, case: Case, times: int) -> list[Any]:
    """Weak references to the input and the output of a call and its backward passes."""
    inner: Any = layer.layer
    torch = trial.torch
    x = torch.from_numpy(case.x.copy()).to(inner.device).requires_grad_()
    y = layer.call("forward in training", layer.module, x)
    gradient = y
    for more in reversed(range(times)):
        loss = gradient.pow(2).sum()
        (gradient,) = layer.call(
            "backward", partial(torch.autograd.grad, loss, x, create_graph=more > 0)
        )
    return [weakref.ref(x), weakref.ref(y)]


@families("A6", ("fp32",), d2=("GRAD-18",), d3=("GRAD-18",))
def test_every_value_counts(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Marked values at the edges of blocks.

    Not in fp64: a sound forward pass in fp64 whose gradient autograd takes through a shift by
    the first value leaves the rounding of all n terms in that value's gradient. For fp32 data
    that is below the last bit.
    """
    _every_value(trial, family, fmt, rank)


@families("A10", SINGLE, d2=("GRAD-18",), d3=("GRAD-18",))
def test_every_channel_counts(trial: Trial, family: str, fmt: str, rank: int) -> None:
    """Numbers of channels around lanes, lengths of sequences."""
    _every_value(trial, family, fmt, rank)


def _every_value(trial: Trial, family: str, fmt: str, rank: int) -> None:
    param = "GRAD-18" if trial.has("param-grad") else ""
    for case in cases_of(trial, family, fmt, rank):
        _step(trial, case, "GRAD-18", param, param)


@requirement("GRAD-13")
@pytest.mark.parametrize("size", [(7, 3), (3, 2, 4)], ids=["2d", "3d"])
@pytest.mark.parametrize("fmt", SINGLE)
def test_double_backward(trial: Trial, size: tuple[int, ...], fmt: str) -> None:
    """The gradients of <gx,dx> + <gw,dweight> + <gb,dbias>."""
    trial.require(fmt)
    case = drawn(trial, "double", *size, fmt=fmt)
    r = np.random.default_rng(7)
    C, dtype = case.config.num_features, case.x.dtype
    gx = r.normal(0, 1, size).astype(dtype)
    gw, gb = (r.normal(0, 1, C).astype(dtype) for _ in range(2))
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x, grad=True)
        with unless_refused(trial, NO_SECOND):
            got = layer.double_backward(case.dy, gx, gw, gb)
        for answer, value in zip(trial.expected(case).double(gx, gw, gb), got, strict=True):
            trial.compare("GRAD-13", value, answer, case)
