"""What the oracle and the bounds say of a case: computed once, in the kit, for the kit.

Nothing in here is ever handed to a subject. Answers are the exact values rounded to fp64;
`bounds.accepts` says which numbers of the output's format they allow.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING

import numpy as np

from bn1d_conformance import clock, dialect
from bn1d_conformance.answer import Answer, packed, unpacked
from bn1d_conformance.cases import columns, from_columns
from bn1d_reference import bounds
from bn1d_reference.formats import FORMATS, FP64
from bn1d_reference.oracle import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bn1d_conformance.cases import Case
    from bn1d_conformance.keep import Store
    from bn1d_conformance.numbers import F64, I64
    from bn1d_conformance.subject import Array

GRADES = ("accurate", "blocked", "conforming")
UNBIASED = 1  # STATS-2: what PyTorch takes from n


def kept(compute: Callable[[Expected], Answer]) -> cached_property[Answer]:
    """Compute an answer once, and not at all where the store has it from another run."""

    @wraps(compute)
    def answer(self: Expected) -> Answer:
        return self.ask(compute.__name__, lambda: [compute(self)])[0]

    return cached_property(answer)


class VacuousError(AssertionError):
    """A case of the kit's own whose bound would accept anything: an error of the kit."""


class Expected:
    """The oracle's answers to one case, at one grade of accuracy."""

    def __init__(
        self,
        case: Case,
        grade: str = "conforming",
        base: Expected | None = None,
        store: Store | None = None,
        dialect: Mapping[str, str] | None = None,
    ) -> None:
        """Set the oracle up as the case says; nothing is computed before it is asked for.

        `base`, at another grade, has the same exact values: what it knows is not asked again.
        `store` has the answers of earlier runs, and is given those of this one.
        `dialect` is the subject's, which some answers have another one under.
        """
        self.case = case
        self.grade = grade
        self.base = base
        self.store = store
        self.dialect = dialect or {}
        self.data, self.params = FORMATS[case.format], FORMATS[case.config.format]

    def ask(
        self, name: str, compute: Callable[[], Sequence[Answer]], *given: Array
    ) -> Sequence[Answer]:
        """Answer a question about the case and what is `given` with it, by the store if it can."""
        if self.store is None:
            return compute()
        with clock.of("oracle"):
            words = hashlib.blake2b(f"{name} {self.grade} ".encode() + self.case.content)
            for array in given:
                words.update(array.tobytes())
            known = self.store.get(words.digest())
            if known is not None:
                return unpacked(known)
            answers = compute()
            self.store.put(words.digest(), packed(answers))
        return answers

    def arithmetic(self, profile: str) -> bounds.Arithmetic:
        """The arithmetic that a sound implementation of this case may use."""
        return bounds.arithmetic(self.data, self.params, profile, self.grade)

    @cached_property
    def profile(self) -> str:
        """Half modules are judged by what they store, all others strictly."""
        return "storage" if self.params.precision < 24 else "strict"

    @cached_property
    def backward_profile(self) -> str:
        """The backward pass of half data rounds its intermediates to half in PyTorch itself."""
        return "storage" if self.data.precision < 24 else self.profile

    @cached_property
    def oracle(self) -> BatchNorm1d:
        """The oracle, in the case's state, after its forward pass."""
        return self._run()[0]

    @cached_property
    def output(self) -> list[list[float]]:
        """Y by channel."""
        return self._run()[1]

    def _run(self) -> tuple[BatchNorm1d, list[list[float]]]:
        """Run the forward pass, once, and keep both results."""
        if self.base:
            return self.base.oracle, self.base.output
        with clock.of("oracle"):
            bn = oracle_for(self.case)
            out = bn.forward_channels([list(c) for c in columns(self.case.x).tolist()])
            self._check(bn)
        self.__dict__.update(oracle=bn, output=out)
        return bn, out

    def _check(self, bn: BatchNorm1d) -> None:
        """Refuse a case whose bound says nothing (NUM: t <= 1/4)."""
        for batch in bn.batches or ():
            if batch.finite and batch.n and not self.case.exact:
                t = bounds.vacuity(self.arithmetic(self.profile), batch, self.case.config.eps)
                if t > bounds.VACUOUS and self.grade == "conforming":
                    raise VacuousError(f"{self.case.id}: t = {t:.3g}")

    def _check_gradients(self, limits: list[tuple[list[float], float, float]]) -> None:
        """Refuse a case whose gradients have no bound, where x itself is finite."""
        batches = self.oracle.batches or ()
        sound = [row for row, q in zip(limits, batches, strict=False) if q.finite and q.n]
        finite = all(np.isfinite([*dx, dw, db]).all() for dx, dw, db in sound)
        if not (finite or self.case.exact):
            raise VacuousError(f"{self.case.id}: the gradients have no bound")

    @cached_property
    def conditions(self) -> I64:
        """By channel: the power of ten next to |mean|/σ, 0 up to 3 and for constant channels."""
        x = columns(self.case.x)
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = np.abs(x.mean(axis=1)) / x.std(axis=1)
        kappa[~np.isfinite(kappa)] = 1
        return np.asarray(np.rint(np.log10(np.maximum(kappa, 1))), np.int64)

    @cached_property
    def _weights(self) -> tuple[list[float], list[float]]:
        C, state = self.case.config.num_features, self.case.state
        return _list(state.weight, [1.0] * C), _list(state.bias, [0.0] * C)

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        return _list(self.case.state.running_mean, []), _list(self.case.state.running_var, [])

    @kept
    def y(self) -> Answer:
        """The output."""
        exact = np.array(self.output).reshape(self.case.x.shape[1], -1)
        with clock.of("oracle"):
            bound = np.array(self._bound_y()).reshape(exact.shape)
        return self._elementwise("y", exact, bound, self._scale_y())

    def _bound_y(self) -> list[list[float]]:
        ar, eps = self.arithmetic(self.profile), self.case.config.eps
        w, b = self._weights
        if batches := self.oracle.batches:
            return [bounds.forward_train(ar, *row, eps) for row in zip(batches, w, b, strict=True)]
        rows = zip(columns(self.case.x).tolist(), *self._statistics, w, b, strict=True)
        return [bounds.forward_eval(ar, *row, eps) for row in rows]

    def _scale_y(self) -> F64:
        w, b = (np.abs(v) for v in self._weights)
        return np.maximum(b, w * self._std() * self._rstd())

    def _std(self) -> F64:
        if self.oracle.batches:
            return np.array(
                [float(q.var) ** 0.5 if q.finite else 1.0 for q in self.oracle.batches]
            )
        return np.asarray(np.sqrt(np.abs(np.array(self._statistics[1], float))))

    def _rstd(self) -> F64:
        with np.errstate(divide="ignore"):
            return 1 / np.sqrt(self._std() ** 2 + self.case.config.eps)

    def _elementwise(self, quantity: str, exact: F64, bound: F64, scale: F64) -> Answer:
        whole = np.broadcast_to(scale[:, None], exact.shape)
        exact, bound, whole = (from_columns(v, self.case.x.shape) for v in (exact, bound, whole))
        return self._answer(quantity, self.case.format, exact, bound, whole)

    def _answer(  # noqa: PLR0913 - an answer has as many parts
        self,
        quantity: str,
        fmt: str,
        exact: F64,
        bound: F64,
        scale: F64,
        *,
        sharp: bool | None = None,
    ) -> Answer:
        """An answer; a `sharp` one, by default that of an exact case, is right bit for bit."""
        sharp = self.case.exact if sharp is None else sharp
        bound = np.zeros_like(bound) if sharp else bound + np.spacing(np.abs(exact))
        return Answer(quantity, fmt, exact, bound, np.maximum(np.abs(exact), scale))

    @kept
    def running_mean(self) -> Answer:
        """running_mean after the forward pass."""
        return self._running("running_mean", self.oracle)

    @cached_property
    def running_var(self) -> Answer:
        """running_var after the forward pass; and as the subject declares, where that differs."""
        correction = dialect.correction(self.dialect, self.case.x.shape)
        if correction == UNBIASED:
            return self._var(UNBIASED)
        convention = dialect.named(self.dialect, "running_var")
        declared = replace(self._var(correction), convention=convention)
        return replace(self._var(UNBIASED), declared=declared)

    def _var(self, correction: int) -> Answer:
        """running_var, where the variance is divided by n − correction."""
        return self.ask(f"running_var {correction}", lambda: [self._tracked_var(correction)])[0]

    def _tracked_var(self, correction: int) -> Answer:
        if correction == UNBIASED:
            return self._running("running_var", self.oracle)
        with clock.of("oracle"):
            bn = oracle_for(self.case, correction)
            bn.track(self.oracle.batches or [])
        return self._running("running_var", bn)

    def _running(self, quantity: str, bn: BatchNorm1d) -> Answer:
        """One of the statistics that `bn` has tracked.

        No case is made to be exact for any but PyTorch's.
        """
        config, which = self.case.config, int(quantity == "running_var")
        count = (self.case.state.num_batches_tracked or 0) + 1
        m = 1 / count if config.momentum is None else config.momentum  # STATS-5
        ar, old = self.arithmetic(self.profile), self._statistics
        exact = np.array(getattr(bn, quantity), float)
        rows = zip(self.oracle.batches or (), *old, strict=True)
        bound = [
            bounds.running(ar, q, config.eps, rm, rv, m, bn.correction)[which]
            for q, rm, rv in rows
        ]
        scale, sharp = np.abs(np.array(old[which], float)), bn is self.oracle and self.case.exact
        return self._answer(quantity, config.format, exact, np.array(bound), scale, sharp=sharp)

    @cached_property
    def _limits(self) -> list[tuple[list[float], float, float]]:
        """By channel: the bounds of dx, dweight and dbias."""
        _ = self.output
        with clock.of("oracle"):
            limits = self._bound_gradients(columns(self.case.dy).tolist())
            self._check_gradients(limits)
        return limits

    @cached_property
    def _gradients(self) -> tuple[F64, F64, F64]:
        """Exact gradients: of x as (C, n), of weight and of bias."""
        if self.base:
            return self.base._gradients  # noqa: SLF001 - another of this class
        _ = self.output
        with clock.of("oracle"):
            got = self.oracle.backward_channels(columns(self.case.dy).tolist())
        C = self.case.x.shape[1]
        zeros = [0.0] * C
        dx = np.array(got.x).reshape(C, -1)
        return dx, np.array(got.weight or zeros), np.array(got.bias or zeros)

    def _bound_gradients(self, dy: list[list[float]]) -> list[tuple[list[float], float, float]]:
        ar, eps = self.arithmetic(self.backward_profile), self.case.config.eps
        w, _ = self._weights
        if batches := self.oracle.batches:
            rows = zip(batches, dy, w, strict=True)
            return [bounds.backward_train(ar, *row, eps) for row in rows]
        fixed = zip(columns(self.case.x).tolist(), dy, *self._statistics, w, strict=True)
        return [bounds.backward_eval(ar, *row, eps) for row in fixed]

    @kept
    def dx(self) -> Answer:
        """The gradient of the input."""
        exact, _, _ = self._gradients
        bound = np.array([row[0] for row in self._limits]).reshape(exact.shape)
        rms = np.sqrt(np.mean(columns(self.case.dy) ** 2, axis=1))
        return self._elementwise("dx", exact, bound, np.abs(self._weights[0]) * self._rstd() * rms)

    @kept
    def dweight(self) -> Answer:
        """The gradient of the weight."""
        _, exact, _ = self._gradients
        x, dy = columns(self.case.x), columns(self.case.dy)
        centre = x.mean(axis=1) if self.oracle.batches else np.array(self._statistics[0], float)
        hat = (x - centre[:, None]) * self._rstd()[:, None]
        scale = np.sqrt(np.sum((dy * hat) ** 2, axis=1))
        bound = np.array([row[1] for row in self._limits])
        return self._answer("dweight", self.case.config.format, exact, bound, scale)

    @kept
    def dbias(self) -> Answer:
        """The gradient of the bias."""
        _, _, exact = self._gradients
        scale = np.sqrt(np.sum(columns(self.case.dy) ** 2, axis=1))
        bound = np.array([row[2] for row in self._limits])
        return self._answer("dbias", self.case.config.format, exact, bound, scale)

    def double(self, gx: Array, gw: Array, gb: Array) -> Sequence[Answer]:
        """The gradients of <gx,dx> + <gw,dweight> + <gb,dbias> for x, dy and weight."""
        return self.ask("double", lambda: self._double(gx, gw, gb), gx, gw, gb)

    def _double(self, gx: Array, gw: Array, gb: Array) -> Sequence[Answer]:
        _ = self._gradients  # the oracle's backward pass
        ar, eps = self.arithmetic(self.backward_profile), self.case.config.eps
        dy, g = columns(self.case.dy).tolist(), columns(gx).tolist()
        gws, gbs = _list(gw, []), _list(gb, [])
        with clock.of("oracle"):
            got = self.oracle.double_backward_channels(g, gws, gbs)
            rows = zip(self.oracle.batches or (), dy, self._weights[0], g, gws, gbs, strict=True)
            limits = [
                bounds.double_backward_train(ar, q, d, w, eps, gc, a, b)
                for q, d, w, gc, a, b in rows
            ]
        elementwise = [
            self._elementwise(name, np.array(exact), np.array([row[k] for row in limits]), zero)
            for k, (name, exact) in enumerate((("ddx", got.x), ("ddy", got.dy)))
            for zero in [np.zeros(len(dy))]
        ]
        exact, bound = np.array(got.weight), np.array([row[2] for row in limits])
        weight = self._answer("ddweight", self.case.config.format, exact, bound, np.abs(exact))
        return elementwise[0], elementwise[1], weight


def oracle_for(case: Case, correction: int = 1) -> BatchNorm1d:
    """Return the oracle, constructed and loaded as the case says, in fp64."""
    config, state = case.config, case.state
    bn = BatchNorm1d(
        config.num_features,
        config.eps,
        config.momentum,
        config.affine,
        config.track_running_stats,
        bias=config.bias,
        correction=correction,
        format=FP64,
    )
    if config.affine:
        bn.weight = _list(state.weight, [])
        bn.bias = _list(state.bias, []) if config.bias else None
    if config.track_running_stats:
        bn.running_mean, bn.running_var = (
            _list(state.running_mean, []),
            _list(state.running_var, []),
        )
        bn.num_batches_tracked = state.num_batches_tracked
    bn.train(case.training)
    return bn


def _list(array: Array | None, absent: Sequence[float]) -> list[float]:
    return list(absent) if array is None else array.astype(np.float64).tolist()
