"""A bound changes on purpose or not at all: each is what it was for a few inputs.

Whether a bound is right, the other tests of bounds say; they can't see a coefficient that is a
little larger than it need be, or a little smaller where nothing came near. After a change on
purpose, `python reference/tests/test_bounds_kept.py` writes `bounds_kept.json` anew.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from bn1d_reference import bounds
from bn1d_reference.bounds import arithmetic
from bn1d_reference.channel import Batch
from bn1d_reference.formats import BF16, FP16, FP32, FP64

KEPT = Path(__file__).with_name("bounds_kept.json")
#: Data, parameters and profile: in narrow storage the smallest normal number counts too.
KINDS = {
    "fp32": (FP32, FP32, "strict"),
    "fp64": (FP64, FP64, "strict"),
    "fp16": (FP16, FP16, "storage"),
    "bf16": (BF16, FP32, "storage"),
}
GRADES = ("conforming", "blocked", "accurate")
#: x, dy and gx of one channel; then weight, bias, eps, running mean and variance, momentum.
DATA = {
    "plain": ([1.5, -0.25, 3.0], [0.5, -1.0, 2.0], [-1.0, 0.75, 0.5], 1.25, -0.5, 1e-5),
    "far": (
        [100.0, 100.5, 99.0, 101.0],
        [3.0, 1.0, 1.0, 2.0],
        [1.0, 1.0, -2.0, 4.0],
        -2.0,
        3.0,
        0.1,
    ),
    "small": ([0.0, 0.001], [0.0, 0.002], [0.003, 0.0], 0.001, 0.0, 1.0),
}


def of(kind, grade, data):
    """Every bound of one input: of an array the first, the last and the sum."""
    ar = arithmetic(*KINDS[kind], grade)
    x, dy, gx, w, b, eps = DATA[data]
    batch, rm, rv = Batch(x), 0.75, 2.5
    found = [
        bounds.vacuity(ar, batch, eps),
        bounds.forward_train(ar, batch, w, b, eps),
        bounds.forward_eval(ar, x, rm, rv, w, b, eps),
        *bounds.running(ar, batch, eps, rm, rv, 0.3),
        *bounds.running(ar, batch, eps, rm, rv, 0.3, 0),
        *bounds.backward_train(ar, batch, dy, w, eps),
        *bounds.backward_eval(ar, x, dy, rm, rv, w, eps),
        *bounds.double_backward_train(ar, batch, dy, w, eps, gx, -0.5, 0.25),
    ]
    rows = [[v[0], v[-1], sum(v)] if isinstance(v, list) else [v] for v in found]
    return [number for row in rows for number in row]


def every():
    """By its input: the bounds; and from where on they say nothing."""
    inputs = {" ".join(key): of(*key) for key in product(KINDS, GRADES, DATA)}
    return {"vacuous": [bounds.VACUOUS], **inputs}


@pytest.mark.parametrize("key", list(product(KINDS, GRADES, DATA)), ids=" ".join)
def test_a_bound_is_what_it_was(key):
    kept = json.loads(KEPT.read_text("utf-8"))[" ".join(key)]
    assert of(*key) == pytest.approx(kept, rel=1e-12)


def test_a_bound_says_nothing_from_where_on_it_did():
    assert json.loads(KEPT.read_text("utf-8"))["vacuous"] == [bounds.VACUOUS]


if __name__ == "__main__":
    rows = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in every().items())
    KEPT.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
