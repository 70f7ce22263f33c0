"""Documented conventions in which a subject may differ from PyTorch, and what each excuses.

A requirement is judged as PyTorch. Where that fails, and the subject has declared a convention
that concerns what failed, it is judged again under that convention: `deviates` if it holds there.
Nothing outside this table can be excused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bn1d_conformance.subject import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


@dataclass(frozen=True)
class Convention:
    """One key of a dialect.

    Attributes:
        key: its name.
        about: what it says, in one sentence.
        pytorch: PyTorch's value.
        values: the values that it may have, each in words; empty for a decimal.
        range: of a decimal.
        requirements: those that it can excuse.
        quantity: the output that it can excuse in every requirement that compares it.
    """

    key: str
    about: str
    pytorch: str
    values: Mapping[str, str] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, math.inf)
    requirements: tuple[str, ...] = ()
    quantity: str = ""

    @property
    def excuses(self) -> bool:
        """Whether anything can deviate by it; the others are for whoever ports a model."""
        return bool(self.requirements or self.quantity)

    @property
    def offers(self) -> str:
        """What a value may be."""
        low, high = self.range
        most = "" if math.isinf(high) else f" to {high:g}"
        return ", ".join(self.values) or f"a decimal from {low:g}{most}"

    def allows(self, value: str) -> bool:
        """Whether it can have this value."""
        if self.values:
            return value in self.values
        return self.range[0] <= decimal(value) <= self.range[1] and decimal(value) < math.inf

    def differs(self, value: str) -> bool:
        """Whether this value is another than PyTorch's."""
        if self.values:
            return value != self.pytorch
        return decimal(value) != float(self.pytorch)


CONVENTIONS = (
    Convention(
        "momentum",
        "What the option multiplies in the running statistics.",
        "weight-of-new",
        {"weight-of-new": "the batch's", "weight-of-old": "what was there before"},
    ),
    Convention(
        "default_momentum",
        "The default of the option, in the framework's own sense.",
        "0.1",
        range=(0.0, 1.0),
        requirements=("CTOR-3",),
    ),
    Convention("default_eps", "The default of eps.", "1e-5", requirements=("CTOR-2",)),
    Convention(
        "running_var",
        "Which variance of the batch moves running_var.",
        "unbiased",
        {
            "unbiased": "divided by n − 1",
            "biased": "divided by n",
            "biased-2d": "divided by n for inputs (N, C), by n − 1 for (N, C, L)",
            "biased-3d": "divided by n for inputs (N, C, L), by n − 1 for (N, C)",
        },
        quantity="running_var",
    ),
    Convention(
        "running_average",
        "How the running statistics forget.",
        "exponential",
        {
            "exponential": "from 0 and 1 on, as momentum says",
            "zero-debiased": "divided by the weight that all batches have together",
        },
    ),
    Convention(
        "cumulative",
        "Whether the average over all batches can be asked for.",
        "offered",
        {"offered": "as momentum=None", "none": "no"},
    ),
    Convention(
        "single_value",
        "What one value per channel gives in training.",
        "refused",
        {
            "refused": "a ValueError",
            "bias": "the bias",
            "input": "the input, as it is",
            "nan": "NaN",
        },
        requirements=("INPUT-3",),
    ),
    Convention(
        "counter",
        "Whether batches are counted.",
        "counted",
        {"counted": "yes", "none": "no"},
    ),
    Convention(
        "names",
        "What parameters and running statistics are called.",
        "pytorch",
        {"pytorch": "weight, bias, running_mean, running_var", "own": "as the subject names them"},
        requirements=("PARAM-8", "BUF-2"),
    ),
    Convention(
        "layout",
        "Where the channels are in an input of three dimensions.",
        "channels-first",
        {"channels-first": "(N, C, L)", "channels-last": "(N, L, C)"},
    ),
)
BY_KEY = {row.key: row for row in CONVENTIONS}
PYTORCH = {row.key: row.pytorch for row in CONVENTIONS}


def decimal(text: str) -> float:
    """The number that a text is; NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def misfit(dialect: Mapping[str, str]) -> tuple[str, str] | None:
    """What no subject can declare: a sentence and a hint; None where all is in the table."""
    for key, value in dialect.items():
        if key not in BY_KEY:
            hint = f"There are {', '.join(BY_KEY)}."
            return f"A dialect has no convention {key[:60]!r}.", hint
        if not BY_KEY[key].allows(value):
            hint = f"It may be {BY_KEY[key].offers}."
            return f"A dialect's {key} can't be {value[:60]!r}.", hint
    return None


def check(dialect: Mapping[str, str]) -> None:
    """Refuse what no subject can declare.

    Raises:
        TargetError: if a key or a value is not in the table.
    """
    if fault := misfit(dialect):
        raise TargetError(*fault)


def differing(dialect: Mapping[str, str]) -> dict[str, str]:
    """The part of a dialect that is not PyTorch's."""
    return {key: value for key, value in dialect.items() if BY_KEY[key].differs(value)}


def named(dialect: Mapping[str, str], key: str) -> str:
    """A convention as a subject declares it: running_var=biased."""
    return f"{key}={dialect[key]}"


def correction(dialect: Mapping[str, str], shape: Sequence[int]) -> int:
    """What is taken from n where the tracked variance of an input of this shape is divided."""
    biased = dialect.get("running_var") in ("biased", f"biased-{len(shape)}d")
    return 0 if biased else 1


def weight_of_new(dialect: Mapping[str, str], momentum: float) -> float:
    """The batch's weight in the running statistics, from the option as the dialect has it."""
    return 1 - momentum if dialect.get("momentum") == "weight-of-old" else momentum


def deviations(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """The requirements of a results document that deviate, by the convention that excuses them."""
    found: dict[str, list[str]] = {}
    for ident, row in result["requirements"].items():
        if row["verdict"] == "deviates":
            for convention in row["deviates"]:
                found.setdefault(convention, []).append(ident)
    return found
