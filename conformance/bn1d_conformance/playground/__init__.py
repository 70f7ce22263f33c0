"""The oracle asked by a form and answered in rows: what the page "Try it" does.

It runs where the site is built, for the recorded runs, and in the reader's browser, where there
is nothing but the standard library and `bn1d_reference`.  The rounded numbers are the oracle's;
the exact ones beside them are the textbook's.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING

from bn1d_conformance.playground import tables, textbook
from bn1d_conformance.playground.wording import matrix, number, vector
from bn1d_reference.oracle import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bn1d_conformance.playground.tables import Table
    from bn1d_conformance.playground.textbook import Pass

MOST_CHANNELS = 8


class Playground:
    """A layer, and the steps that a form asks of it."""

    def __init__(self) -> None:
        """Start without a layer."""
        self.layer: BatchNorm1d | None = None
        self.seen: list[Pass] = []  # by the last forward pass, a channel each

    def answer(self, form: str) -> str:
        """Return the answer to a form, both as JSON: what is shown, or an `error`."""
        try:
            return json.dumps(self.step(json.loads(form)))
        except ValueError as refused:
            return json.dumps({"error": f"{refused}."})

    def step(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Do what the form's `step` says: `new`, `train`, `eval` or `backward`.

        Returns the step's title, a sentence, and tables.

        Raises:
            ValueError: why that can't be done, in a sentence.
        """
        if form["step"] == "new":
            self.layer, self.seen = new_layer(form), []
            return _shown("New layer", "It starts with these numbers.", tables.state(self.layer))
        if self.layer is None:
            raise ValueError("there is no layer yet: make one")
        steps = {"train": self._train, "eval": self._eval, "backward": self._backward}
        return steps[form["step"]](self.layer, form)

    def _train(self, layer: BatchNorm1d, form: Mapping[str, str]) -> dict[str, Any]:
        x = matrix(form["batch"], "the batch", layer.num_features)
        before = tables.running(layer)
        y = layer.train().forward(x)
        self.seen = [textbook.by_batch(column, Fraction(layer.eps)) for column in _columns(x)]
        return _shown(
            "Training forward",
            "The batch's own mean and variance normalize it, and the buffers move.",
            tables.normalizing(self.seen),
            tables.output(layer, self.seen, y),
            tables.tracked(layer, self.seen, before),
        )

    def _eval(self, layer: BatchNorm1d, form: Mapping[str, str]) -> dict[str, Any]:
        x = matrix(form["batch"], "the batch", layer.num_features)
        y = layer.eval().forward(x)
        each, eps = zip(_columns(x), tables.running(layer), strict=True), Fraction(layer.eps)
        self.seen = [textbook.Pass(c, rm, rv, eps, of_batch=False) for c, (rm, rv) in each]
        return _shown(
            "Evaluation forward",
            "The buffers normalize the batch, and nothing moves.",
            tables.normalizing(self.seen),
            tables.output(layer, self.seen, y),
        )

    def _backward(self, layer: BatchNorm1d, form: Mapping[str, str]) -> dict[str, Any]:
        if not self.seen:
            raise ValueError("there was no forward pass yet: do one")
        dy = matrix(form["gradient"], "the gradient", layer.num_features)
        got = layer.backward(dy)
        said = {
            True: "It went through the batch's mean and variance too.",
            False: "The buffers were constants to it.",
        }[self.seen[0].of_batch]
        return _shown("Backward", said, *tables.gradients(layer, self.seen, _columns(dy), got))


def new_layer(form: Mapping[str, str]) -> BatchNorm1d:
    """Return the layer that a form describes.

    Raises:
        ValueError: what is wrong with the form, in a sentence.
    """
    C, momentum = form["features"].strip(), form["momentum"].strip()
    if not (C.isdecimal() and 1 <= int(C) <= MOST_CHANNELS):
        raise ValueError(f"C is a whole number from 1 to {MOST_CHANNELS}, not {C!r}")
    layer = BatchNorm1d(
        int(C),
        eps=number(form["eps"], "eps", 0.0),
        momentum=None if momentum == "None" else number(momentum, "momentum", 0.0, 1.0),
        affine=form["affine"] == "yes",
    )
    if layer.affine and form["weight"].strip():
        layer.weight = vector(form["weight"], "weight", int(C))
    if layer.affine and form["bias"].strip():
        layer.bias = vector(form["bias"], "bias", int(C))
    return layer


def _columns(x: list[list[float]]) -> list[list[Fraction]]:
    return [[Fraction(v) for v in column] for column in zip(*x, strict=True)]


def _shown(title: str, said: str, *found: Table) -> dict[str, Any]:
    return {"title": title, "said": said, "tables": found}
