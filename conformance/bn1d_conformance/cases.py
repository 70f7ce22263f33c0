"""The inputs: every number of them representable in its format, every family with a purpose.

A family is a function of a format and a profile that returns cases. The identifiers A1 to A12
and E are those of the docs page on cases. Every random number comes from the run's seed: 0 for
`quick` and `full`, a new one at every run for `deep`, unless the user gives one.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import astuple, dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import Config, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bn1d_conformance.numbers import F64
    from bn1d_conformance.subject import Array

BLOCKS = (
    2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511,
    513, 1023, 1024, 1025, 4095, 4096, 4097, 65537,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """One input, with the layer and the state that it meets.

    Attributes:
        id: unique within a suite, readable.
        x: shape (N, C) or (N, C, L), in the format of the data.
        config: what the layer is constructed from.
        state: weight, bias and statistics in config.format, shape (C,); the counter.
        dy: the gradient handed to the backward pass, of x's shape and format.
        exact: no sound algorithm rounds anywhere: the answer is judged bit for bit.
        graded: the accuracy on this case counts for the grade.
    """

    id: str
    x: Array
    config: Config
    state: State
    dy: Array
    training: bool = True
    exact: bool = False
    graded: bool = False
    facts: dict[str, float] = field(default_factory=dict)

    @cached_property
    def content(self) -> bytes:
        """A hash of all that the oracle's answers depend on: not of the id."""
        state = self.state
        kept = (state.weight, state.bias, state.running_mean, state.running_var)
        arrays = [a for a in (self.x, self.dy, *kept) if a is not None]
        shapes = [a is not None and (a.dtype.name, a.shape) for a in (self.x, self.dy, *kept)]
        facts = (
            shapes,
            astuple(self.config),
            state.num_batches_tracked,
            self.training,
            self.exact,
        )
        digest = hashlib.blake2b(repr(facts).encode())
        for array in arrays:
            digest.update(array.tobytes())
        return digest.digest()

    @property
    def format(self) -> str:
        """The format of x."""
        return str(format_of(self.x))

    @property
    def uses_batch(self) -> bool:
        """Whether the batch normalises: in training, and without statistics (EVAL-6)."""
        return self.training or not self.config.track_running_stats

    @property
    def n(self) -> int:
        """Values a channel: N or N·L."""
        return int(self.x.size // max(self.x.shape[1], 1))


def columns(array: Array) -> F64:
    """(N, C) or (N, C, L) as fp64 of shape (C, n), n counting N slowest."""
    return np.moveaxis(array.astype(np.float64), 1, 0).reshape(array.shape[1], -1)


def from_columns(values: F64, shape: Sequence[int]) -> F64:
    """Undo `columns`: (C, n) back to (N, C) or (N, C, L)."""
    moved = [shape[1], shape[0], *shape[2:]]
    return np.moveaxis(values.reshape(moved), 0, 1)


def rng(seed: int, *names: object) -> np.random.Generator:
    """A generator of its own for every name: cases do not depend on what was drawn before."""
    key = zlib.crc32("/".join(map(str, names)).encode())
    return np.random.default_rng([seed, key])


def shape(n: int, C: int, rank: int) -> tuple[int, ...]:
    """A shape with n values a channel; for rank 3 the least L > 1 that divides n."""
    if rank == 2:
        return (n, C)
    L = next((d for d in (2, 3, 5, 7) if n % d == 0), n)
    return (n // L, C, L)


def make(
    ident: str, x: F64, fmt: str, seed: int, *, dy: F64 | None = None, **options: Any
) -> Case:
    """Make a case of x, rounded to the format, with random parameters, statistics and dy."""
    r = rng(seed, ident, "state")
    C = x.shape[1]
    params = str(options.pop("params", "fp64" if fmt == "fp64" else "fp32"))
    settings: dict[str, Any] = {"eps": 1e-5, "momentum": 0.3, **options.pop("config", {})}
    config = Config(C, format=params, **settings)
    state = State(
        weight=(r.choice([-1.0, 1.0], C) * r.uniform(0.25, 2, C)).astype(DTYPES[params]),
        bias=np.asarray(r.normal(0, 1, C)).astype(DTYPES[params]),
        running_mean=np.asarray(r.normal(0, 1, C)).astype(DTYPES[params]),
        running_var=np.asarray(r.uniform(0.5, 3, C)).astype(DTYPES[params]),
        num_batches_tracked=7,
    )
    gradient: Array = r.normal(0.3, 1, x.shape) if dy is None else dy
    dtype = DTYPES[fmt]
    return Case(ident, x.astype(dtype), config, state, gradient.astype(dtype), **options)


def _pick(profile: str, quick: Sequence[int], full: Sequence[int]) -> Sequence[int]:
    return quick if profile == "quick" else full


def a1(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Plain normal data, channels of different scale and offset: the formulas."""
    for n in _pick(profile, (2, 3, 8), (2, 3, 8, 33)):
        C = 5 if profile == "quick" else 16
        r = rng(seed, "A1", fmt, rank, n)
        size = shape(n, C, rank)
        scale = r.uniform(0.5, 2, (C, *[1] * (rank - 2)))
        x = _spread(r, size, fmt) * scale + r.normal(0, 1, scale.shape)
        yield make(f"A1/{fmt}/n{n}/{rank}d", x, fmt, seed, graded=n >= 8)


def _spread(r: np.random.Generator, size: tuple[int, ...], fmt: str) -> F64:
    """Normal values; in half precision, such that no channel's variance is below 1/100.

    Of a few values some channel's will lie close together. In the storage profile (docs: bounds)
    a small variance may be flushed, or drown in the rounding of the mean: below about 1/1000 the
    gradients would have no bound. The rest is for the factor 1/2 of the scale.
    """
    while True:
        values = r.normal(0, 1, size)
        if fmt not in ("fp16", "bf16") or columns(values).var(axis=1).min() >= 0.01:
            return values


def a2(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """The mean is kappa standard deviations away: what a one-pass variance cannot do."""
    kappas = {"fp32": (1, 10, 100, 1000, 10**4, 10**5), "fp64": (1, 10, 1000, 10**5, 10**6)}.get(
        fmt, (3, 10)
    )
    for n in _pick(profile, (8, 33), (8, 33, 128)):
        kept = [k for k in kappas if n * k < 2**20]  # the bound must not be vacuous
        if fmt in ("fp16", "bf16"):
            kept = list(kappas)
        r = rng(seed, "A2", fmt, rank, n)
        offsets = np.array([k * s for k in kept for s in (1, -1)], float)
        size = shape(n, len(offsets), rank)
        raw = columns(r.normal(0, 1, size))  # made to be of deviation 1: kappa is the sample's own
        values = raw / raw.std(axis=1, keepdims=True) + offsets[:, None]
        x = from_columns(values, size)
        yield make(f"A2/{fmt}/n{n}/{rank}d", x, fmt, seed, graded=True)


def a3(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """The variance is about eps: where eps stands matters most here."""
    epsilons = _pick(profile, (1e-5, 1e-3, 1e-12), (1e-3, 1e-5, 1e-12, 1e-30, 1e3))  # type: ignore[arg-type]
    for eps in epsilons:
        for n in _pick(profile, (8,), (8, 33)):
            r = rng(seed, "A3", fmt, rank, n, eps)
            x = r.normal(0, eps**0.5, shape(n, 4, rank))
            ident = f"A3/{fmt}/n{n}/eps{eps:g}/{rank}d"
            yield make(ident, x, fmt, seed, config={"eps": eps})


def a4(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Long half-precision batches: accumulation must be wider than the data."""
    if fmt not in ("fp16", "bf16"):
        return
    for n in _pick(profile, (129, 4097), (8, 129, 1025, 4097)):
        r = rng(seed, "A4", fmt, rank, n)
        means = np.array([0.5, 10.0, 100.0 if fmt == "fp16" else 10.0])
        x = r.uniform(-1, 1, shape(n, 3, rank)) + means.reshape(-1, *[1] * (rank - 2))
        yield make(f"A4/{fmt}/n{n}/{rank}d", x, fmt, seed)


def a5(fmt: str, rank: int, _profile: str, seed: int) -> Iterator[Case]:
    """Evaluation with running variances over two octaves: the reciprocal square root."""
    steps = 64
    variances = 2.0 ** (np.arange(steps) / (steps // 2))
    r = rng(seed, "A5", fmt, rank)
    case = make(f"A5/{fmt}/{rank}d", r.normal(0, 1, shape(8, steps, rank)), fmt, seed)
    case.state.running_var = variances.astype(DTYPES[case.config.format])
    yield case


def a6(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """One value of each channel is marked: losing it shows, however many there are.

    The first value is marked together with three others: alone it would be an outlier by which
    one-pass sums shifted by the first value, sound otherwise, lose what the bound allows.
    """
    sizes = (7, 33, 257, 1025, 4097) if profile == "quick" else BLOCKS
    longest = {("fp32", 2): 65537, ("fp32", 3): 4097}.get((fmt, rank), 1025)
    for n in (s for s in sizes if s <= longest):
        places = {1, n // 2, 31, 32, 255, 256, 1023, 1024, n - 2, n - 1}
        single = [[p] for p in sorted(places) if 0 < p < n]
        marks = [[0, n // 4, n // 2, 3 * n // 4], *(single[-3:] if n > 5000 else single)]
        x = np.zeros((len(marks), n))
        for row, marked in zip(x, marks, strict=True):
            row[marked] = 1.0
        size = shape(n, len(marks), rank)
        dy = np.roll(x, 1, axis=1) + np.where(np.arange(n) == n - 1, 1.0, 0.0)
        ident = f"A6/{fmt}/n{n}/{rank}d"
        yield make(ident, from_columns(x, size), fmt, seed, dy=from_columns(dy, size))


def a7(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Structured data, where rounding errors do not average out."""
    for n in _pick(profile, (33,), (33, 1025)):
        r = rng(seed, "A7", fmt, rank, n)
        sparse = np.where(r.uniform(0, 1, n) < 0.05, 1.0, 0.0)
        outlier = np.where(np.arange(n) == n - 1, 50.0, 0.25)
        rows = [sparse, np.sort(r.normal(0, 1, n)), np.exp(r.normal(0, 1, n)), outlier]
        x = from_columns(np.array(rows), shape(n, len(rows), rank))
        yield make(f"A7/{fmt}/n{n}/{rank}d", x, fmt, seed, graded=True)


def a7_constant(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Channels of equal values."""
    for n in _pick(profile, (2, 33), (2, 33, 1025)):
        largest = {2: 1000.1, 33: 500.1, 1025: 15.1}[n]  # further out the bound says nothing
        values = np.array([0.0, 0.1, -3.0, 10.1 if fmt in ("fp16", "bf16") else largest])
        x = np.ones(shape(n, 4, rank)) * values.reshape(-1, *[1] * (rank - 2))
        yield make(f"A7/constant/{fmt}/n{n}/{rank}d", x, fmt, seed)


def a8(fmt: str, rank: int, _profile: str, seed: int) -> Iterator[Case]:
    """The range of the format: tiny, huge and subnormal values."""
    if fmt not in ("fp32", "fp64"):
        return
    scales = (1e-12, 1e12, 1e-40) if fmt == "fp32" else (1e-100, 1e100, 5e-310)
    for scale in scales:
        r = rng(seed, "A8", fmt, rank, scale)
        x = r.normal(0, 1, shape(8, 3, rank)) * scale
        yield make(f"A8/{fmt}/{scale:g}/{rank}d", x, fmt, seed)


def a9(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Gradients that cancel: nearly constant, one-signed, alternating, of zero sum."""
    for n in _pick(profile, (8,), (8, 128)):
        r = rng(seed, "A9", fmt, rank, n)
        size = shape(n, 4, rank)
        z = r.normal(0, 1, (4, n))
        rows = [1 + 1e-3 * z[0], np.abs(z[1]) + 1, (-1.0) ** np.arange(n), z[3] - np.roll(z[3], 1)]
        x = r.normal(0.5, 1, size)
        yield make(f"A9/{fmt}/n{n}/{rank}d", x, fmt, seed, dy=from_columns(np.array(rows), size))


def a10(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Numbers of channels around lanes and blocks, and lengths of sequences."""
    if rank == 2:
        sizes = [(4, C) for C in _pick(profile, (1, 3, 65), (1, 2, 3, 63, 64, 65, 127, 129, 1000))]
    else:
        lengths = _pick(profile, (1, 3), (1, 2, 3, 5, 8))
        sizes = [(4, C, L) for L in lengths for C in (1, 4, 65)]  # type: ignore[misc]
        sizes += [(4, 4, 4), (1, 3, 7)]  # type: ignore[list-item]
    for size in sizes:
        r = rng(seed, "A10", fmt, *size)
        ident = f"A10/{fmt}/{'x'.join(map(str, size))}"
        yield make(ident, r.normal(0.5, 1, size), fmt, seed)


RANGES = {
    "fp32": (1e-18, 1e-11, 1e-6, 1e11, 1e15),
    "fp64": (1e-140, 1e-95, 1e-20, 1e15, 1e95, 1e140),
    "bf16": (1e-15, 1e-11, 1e11, 1e15),
}


def a11(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """The unit of measurement: x, eps and the statistics in it, so that eps never dominates.

    Nothing underflows or overflows that a sound algorithm computes: the squares stay in fp32.
    """
    for scale in RANGES.get(fmt, ()):
        for n in _pick(profile, (8,), (8, 33)):
            r = rng(seed, "A11", fmt, rank, n, scale)
            x = (r.normal(0, 1, shape(n, 3, rank)) + 2) * scale
            case = make(
                f"A11/{fmt}/{scale:g}/n{n}/{rank}d", x, fmt, seed, config={"eps": scale**2 / 4}
            )
            kept = case.state.running_mean, case.state.running_var
            dtype = DTYPES[case.config.format]
            mean, var = (np.asarray(v, float) for v in kept)
            case.state.running_mean = (mean * scale).astype(dtype)
            case.state.running_var = (var * scale**2).astype(dtype)
            yield case


def a12(fmt: str, rank: int, profile: str, seed: int) -> Iterator[Case]:
    """Long channels: what sums lose one value after another, and nothing more."""
    if fmt not in ("fp32", "fp64"):
        return
    longer = {"full": [20000], "deep": [20000, 300000]}.get(profile, [])
    for n in [4099, *(longer if (fmt, rank) == ("fp32", 2) else [])]:
        r = rng(seed, "A12", fmt, rank, n)
        equal = np.full(n, 0.1 if n < 100000 else 0.05)  # the bound says nothing of larger ones
        rows = np.array([r.uniform(0, 1, n), r.normal(3, 1, n), equal])
        yield make(f"A12/{fmt}/n{n}/{rank}d", from_columns(rows, shape(n, 3, rank)), fmt, seed)


FAMILIES: dict[str, Callable[[str, int, str, int], Iterator[Case]]] = {
    "A1": a1, "A2": a2, "A3": a3, "A4": a4, "A5": a5, "A6": a6, "A7": a7,
    "A7-constant": a7_constant, "A8": a8, "A9": a9, "A10": a10,
    "A11": a11, "A12": a12,
}  # fmt: skip


@lru_cache(maxsize=64)
def family(name: str, fmt: str, rank: int, profile: str, seed: int) -> tuple[Case, ...]:
    """Return the cases of a family, the same objects at every call."""
    return tuple(FAMILIES[name](fmt, rank, profile, seed))


@lru_cache(maxsize=512)
def drawn(name: str, fmt: str, size: tuple[int, ...], seed: int = 0, **config: Any) -> Case:
    """One case of normal data for a check that needs no family; the same object at every call."""
    settings = {k: v for k, v in config.items() if k not in {"offset", "training"}}
    x = rng(seed, name, fmt, *size).normal(float(config.get("offset", 0.5)), 1.5, size)
    ident = "/".join(
        (name, fmt, "x".join(map(str, size)), *(f"{k}={v}" for k, v in config.items()))
    )
    return make(ident, x, fmt, seed, config=settings, training=config.get("training", True))
