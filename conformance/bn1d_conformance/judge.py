"""Compare an answer with the oracle's under its bound, and word the failure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance import simulation
from bn1d_conformance.numbers import DTYPES, format_of, to_format, ulp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.cases import Case
    from bn1d_conformance.dialect import Notes
    from bn1d_conformance.numbers import F64, I64
    from bn1d_conformance.subject import Array


@dataclass(frozen=True)
class Failure:
    """What went wrong with one requirement in one case.

    Attributes:
        requirement: its id.
        case: the case's id, "" where there is none.
        message: one sentence with numbers.
        cause: a name for what is behind it, "" where the numbers do not tell.
        says: the cause in words.
        evidence: numbers for machines: quantity, mode, index, expected, got, ulp, bound_fraction,
            and the format of the input.
    """

    requirement: str
    case: str
    message: str
    cause: str = ""
    says: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Accuracy:
    """How far a passing answer is from the exact one.

    Attributes:
        quantity, format: of the output.
        condition: the power of ten next to |mean|/σ of the channels that it is about; 0 up to 3.
        ulp: the 99th percentile of the errors in ulp at the output's scale.
        worst: the largest of them.
        fraction: the largest error as a fraction of the bound.
    """

    quantity: str
    format: str
    condition: int
    ulp: float
    worst: float
    fraction: float


def examine(
    requirement: str, case: Case, got: Array | None, answer: Answer, notes: Notes
) -> tuple[Answer, Failure | None]:
    """Compare as PyTorch and, where that fails, as the subject declares.

    Returns:
        The answer that decides, and what is wrong under it.
    """
    failure, declared = compare(requirement, case, got, answer), answer.declared
    if declared:
        under = compare(requirement, case, got, declared)
        if failure:
            answer, failure = declared, under
            if not under:
                notes.deviates[requirement].add(declared.convention)
        elif under:
            says = f"PyTorch's convention is followed here, and {declared.convention} elsewhere"
            notes.strays[requirement].append(replace(under, cause="two conventions", says=says))
    return answer, failure


def accepted(got: F64, answer: Answer) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Elementwise RN(t − B) <= got <= RN(t + B); where t is NaN or infinite, got must be it."""
    with np.errstate(invalid="ignore", over="ignore"):
        low = to_format(answer.exact - answer.bound, answer.format)
        high = to_format(answer.exact + answer.bound, answer.format)
        inside = (got >= low) & (got <= high)
    special = (got == answer.exact) | (np.isnan(answer.exact) & np.isnan(got))
    return np.where(np.isfinite(answer.exact), inside, special)


def measure(got: F64, answer: Answer, condition: int = 0) -> Accuracy:
    """Score an answer that was accepted."""
    finite = np.isfinite(answer.exact) & np.isfinite(got)
    if not finite.any():
        return Accuracy(answer.quantity, answer.format, condition, 0.0, 0.0, 0.0)
    error, spacing = _errors(got, answer)
    with np.errstate(over="ignore"):  # where the scale is zero
        scores = (error / ulp(answer.scale, answer.format))[finite]
    scores = np.minimum(scores, np.finfo(scores.dtype).max)
    fraction = _fractions(error, spacing, answer)[finite]
    return Accuracy(
        answer.quantity,
        answer.format,
        condition,
        float(np.percentile(scores, 99)),
        float(scores.max()),
        float(fraction.max()),
    )


def by_condition(got: Array, better: dict[str, Answer], levels: I64) -> Iterator[dict[str, Any]]:
    """Score an accepted answer for channels of like condition apart, each with its grade.

    Errors grow with |mean|/σ for everybody who rounds the mean: one number for all channels
    would say how large |mean|/σ was, and nothing of the subject.

    Args:
        got: the subject's answer.
        better: the oracle's by grade, from "conforming" to the best.
        levels: of each channel, as Accuracy.condition has it.
    """
    values = _values(got, better["conforming"].format)
    for level in np.unique(levels):
        part = (slice(None),) * (values.ndim > 1) + (levels == level,)
        grade, answer = "conforming", better["conforming"].part(part)
        for name, other in better.items():
            if not accepted(values[part], other.part(part)).all():
                break
            grade = name
        yield {"grade": grade, **asdict(measure(values[part], answer, int(level)))}


def _errors(got: F64, answer: Answer) -> tuple[F64, F64]:
    with np.errstate(invalid="ignore"):
        return np.abs(got - answer.exact), ulp(answer.exact, answer.format)


def _fractions(error: F64, spacing: F64, answer: Answer) -> F64:
    """How much of the bound is used, the last rounding not counted."""
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.maximum(error - spacing / 2, 0) / answer.bound
    return np.where(np.isnan(used), 0.0, used)


def unusable(got: Array | None, shape: tuple[int, ...], what: str) -> str:
    """Say why an answer can't be compared at all; "" where it can."""
    if got is None:
        return f"{what} is None"
    if got.shape != shape:
        return f"{what} has shape {got.shape}, where {shape} is right"
    if got.dtype.kind not in "fV":
        return f"{what} is of dtype {got.dtype}, which is no floating format"
    return ""


def compare(requirement: str, case: Case, got: Array | None, answer: Answer) -> Failure | None:
    """Judge one output of one case; None where it is accepted."""
    shape = answer.exact.shape
    if why := unusable(got, shape, answer.quantity):
        return Failure(requirement, case.id, f"{why}.", f"unusable {answer.quantity}", why)
    assert got is not None  # noqa: S101 - unusable() has said so; this tells mypy
    values = _values(got, answer.format)
    if (good := accepted(values, answer)).all():
        return None
    return _failure(requirement, case, values, answer, ~good)


def _values(got: Array, fmt: str) -> F64:
    """As fp64; a wider format than asked for (judged elsewhere) is rounded to it first."""
    values = got.astype(np.float64)
    own = format_of(got)
    wider = own is not None and DTYPES[own].itemsize > DTYPES[fmt].itemsize
    return to_format(values, fmt) if wider else values


def _failure(requirement: str, case: Case, got: F64, answer: Answer, bad: Any) -> Failure:
    """The worst element, in words and numbers, and the misreading that fits all of them."""
    error, spacing = _errors(got, answer)
    fraction = np.where(bad & np.isnan(error), np.inf, _fractions(error, spacing, answer))
    index = np.unravel_index(int(np.argmax(np.where(bad, fraction, -1.0))), bad.shape)
    evidence = {
        "quantity": answer.quantity,
        "mode": "training" if case.uses_batch else "evaluation",
        "format": answer.format,
        "index": [int(i) for i in index],
        "expected": _number(answer.exact[index]),
        "got": _number(got[index]),
        "ulp": _number(error[index] / ulp(answer.scale, answer.format)[index]),
        "bound_fraction": _number(fraction[index]),
        "wrong": int(bad.sum()),
        "of": int(bad.size),
    }
    found = simulation.identify(case, got, answer) if not case.exact else None
    cause, says = (found.name, found.says) if found else ("", "")
    sentence = _sentence(evidence, case, answer.convention)
    return Failure(requirement, case.id, sentence, cause, says, evidence)


def _number(value: Any) -> float | str:
    """A float that JSON can hold: NaN and infinities become words."""
    value = float(value)
    return value if np.isfinite(value) else str(value)


def _sentence(e: dict[str, Any], case: Case, convention: str) -> str:
    """One sentence: what, where, how far, how many, under which convention if it is declared."""
    place = f"{e['quantity']}[{', '.join(map(str, e['index']))}]"
    if case.exact and not convention:
        size = "no sound algorithm rounds here"
    else:
        size = f"off by {_short(e['ulp'])} ulp, {_short(e['bound_fraction'])} times the bound"
    some = f"; {e['wrong']} of {e['of']} values are wrong" if e["of"] > 1 else ""
    got, right = _short(e["got"], 9), _short(e["expected"], 9)
    under = f" under {convention}" if convention else ""
    return f"{place} is {got}, where {right} is right{under}: {size}{some}."


def _short(value: float | str, digits: int = 3) -> str:
    return value if isinstance(value, str) else f"{value:.{digits}g}"
