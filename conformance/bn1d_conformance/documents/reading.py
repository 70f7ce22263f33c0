"""Results files that nobody vouches for: read under limits, held to the schema and to themselves.

Whatever a file holds, the answer is a document that is as the schema says, or one sentence that
names the file, the field and the value.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from bn1d_conformance import asked, bounded, dialect, results
from bn1d_conformance.bounded import printable, short
from bn1d_conformance.results import FAILING, HELD, VERDICTS
from bn1d_conformance.suite import suite_hash
from bn1d_reference import SPEC_VERSION, spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bn1d_conformance.results import Result

MOST_BYTES = 2**26  # of a file
MOST_VALUES = 2**20  # of a file; the largest published one has not a fiftieth of them
DEEPEST = 32  # values within values; a results file has about a dozen
WIDEST = 2**63  # whole numbers are smaller


class ResultsError(ValueError):
    """A file that is no results file, or not the one that is needed: a sentence that names it."""


def load(path: Path) -> Result:
    """Read a results file.

    Raises:
        ResultsError: if it is not as the schema says, contradicts itself, or has no result.
    """
    document = load_any(path)
    if document["verdict"] == "no-result":
        raise ResultsError(f"{path} has no result: {printable(document['reason'])}")
    return document


def load_any(path: Path) -> Result:
    """Read a results file, or one that says why there is no result.

    Raises:
        ResultsError: if it is not as the schema says, or contradicts itself.
    """
    document = _parse(path)
    if document.get("schema_version") != results.SCHEMA_VERSION:
        said = short(document.get("schema_version"))
        raise ResultsError(
            f"{path}: schema_version is {said}, where {results.SCHEMA_VERSION} is read."
        )
    absent = document.get("verdict") == "no-result"
    if absent:
        _validate(path, document, "no-result")
    result = document["last_good"] if absent else document
    if result is not None:
        _validate(path, result, "results")
        for wrong in contradictions(result):
            raise ResultsError(f"{path}: {wrong}")
    return document


def _parse(path: Path) -> dict[str, Any]:
    """Read one JSON object, with nothing in it that JSON or another reader might not take."""
    try:
        document = _decoded(bounded.read(path, MOST_BYTES))
    except RecursionError:
        raise ResultsError(f"{path} is nested more than {DEEPEST} deep.") from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} can't be read as JSON: {printable(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise ResultsError(f"{path} holds {short(document)}, where a JSON object is right.")
    return document


def _decoded(text: bytes) -> Any:
    bounded.check_values(text, MOST_VALUES)
    document = json.loads(
        text.decode(), object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float
    )
    _limited(document)
    return document


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"an object has the key {short(name)} twice")
    return found


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON's")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _limited(document: Any) -> None:
    """Refuse depth, whole numbers beyond any machine's, and text that can't be written again."""
    level = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                value.encode()  # a lone surrogate is a ValueError
            elif isinstance(value, int) and abs(value) >= WIDEST:
                raise ValueError(f"the number {short(value)} is too large")
        level = below
        if not level:
            return
    raise RecursionError


def _validate(path: Path, document: Result, name: str) -> None:
    """Hold the document to a schema."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import

    for error in Draft202012Validator(results.schema(name)).iter_errors(document):
        field = printable(error.json_path)[:200].removeprefix("$").lstrip(".") or "the document"
        raise ResultsError(f"{path}: {field} {_breaks(error)}.")


def _breaks(error: Any) -> str:
    """What a value breaks, in the schema's words."""
    if error.validator == "required":
        lacking = [name for name in error.validator_value if name not in error.instance]
        return f"lacks {lacking[0]}"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return f"has {short(next(n for n in error.instance if n not in known))}, which is unknown"
    rule = f"{error.validator} {short(error.validator_value)}"
    return f"is {short(error.instance)}, which breaks {rule}"


def contradictions(result: Result) -> Iterator[str]:
    """Yield what the parts of a results file, each as the schema says, say against each other."""
    yield from _ids(result)
    yield from _counts(result)
    for ident, row in result["requirements"].items():
        yield from _row(ident, row)
    yield from _dialect(result)
    yield from _diagnoses(result)
    yield from _verdict(result)
    yield from _part(result)


def _rules(result: Result) -> Mapping[str, spec.Requirement]:
    """The requirements that a file was asked for, as far as they are known here."""
    try:
        options = result["options"]
        return asked.requirements(options.get("spec", spec.CURRENT), options["profile"])
    except spec.SpecError:  # of a later version
        return spec.requirements()


def _ids(result: Result) -> Iterator[str]:
    """Requirements are the spec's; all of them, with their levels, where the suite is this one."""
    known = _rules(result)
    ever = {*spec.requirements(), *spec.retired()}
    unknown = [i for i in result["requirements"] if i not in ever]
    if unknown and result["kit"]["spec_version"] == SPEC_VERSION:
        yield f"requirements has {unknown[0]}, which its version of the spec has not."
    if result["kit"]["suite_hash"] != suite_hash():
        return
    if lacking := [i for i in known if i not in result["requirements"]]:
        yield f"requirements lacks {lacking[0]}, which its suite has."
    for ident, row in result["requirements"].items():
        if ident in known and row["level"] != known[ident].level:
            right = known[ident].level
            yield f"requirements.{ident}.level is {row['level']}, where {right} is right."


def _counts(result: Result) -> Iterator[str]:
    counts, seen = result["counts"], Counter(r["verdict"] for r in result["requirements"].values())
    right = {v.replace("-", "_"): seen[v] for v in VERDICTS}
    right["total"] = seen.total()
    for name, number in right.items():
        if counts[name] != number:
            yield f"counts.{name} is {counts[name]}, where the requirements make {number}."


def _row(ident: str, row: Mapping[str, Any]) -> Iterator[str]:
    """A verdict is that of the cases; failures are shown where there are any."""
    place, verdict, failed = f"requirements.{ident}", row["verdict"], row["failed"]
    if failed > row["cases"]:
        yield f"{place}.failed is {failed}, more than its {row['cases']} cases."
    if bool(failed) != bool(row["failures"]):
        yield f"{place} has {len(row['failures'])} failures, and says that {failed} cases failed."
    if verdict in (*FAILING, "expected-fail") and not failed:
        yield f"{place}.verdict is {verdict}, and no case failed."
    if verdict in HELD and (failed or not row["cases"]):
        yield f"{place}.verdict is {verdict}, where {failed} of {row['cases']} cases failed."
    if verdict in HELD and bool(row.get("deviates")) != (verdict == "deviates"):
        yield f"{place}.verdict is {verdict}, and its deviates says otherwise."


def _dialect(result: Result) -> Iterator[str]:
    """Conventions are those of the table, and what deviates does so by one that is declared."""
    declared = result["subject"]["dialect"]
    if fault := dialect.misfit(declared):
        yield f"subject.dialect: {printable(' '.join(fault))}"
    known = {dialect.named(declared, key) for key in declared}
    for ident, row in result["requirements"].items():
        for convention, number in row.get("deviates", {}).items():
            place = f"requirements.{ident}.deviates"
            if convention not in known:
                yield f"{place} has {short(convention)}, which its subject does not declare."
            if number > row["cases"]:
                yield f"{place} has {number} cases, more than its {row['cases']}."


def _diagnoses(result: Result) -> Iterator[str]:
    """A diagnosis is of requirements that fail."""
    rows = result["requirements"]
    for k, row in enumerate(result["diagnoses"]):
        for ident in (row["requirement"], *row["folded"]):
            if ident not in rows or not rows[ident]["failed"]:
                yield f"diagnoses[{k}] names {ident}, which does not fail."


def _verdict(result: Result) -> Iterator[str]:
    """The verdict is the one that the requirements give, as far as their levels say it."""
    known, verdict = _rules(result), result["verdict"]
    binding = {
        row["verdict"]
        for ident, row in result["requirements"].items()
        if row["level"] == "MUST" and (ident not in known or known[ident].binding)
    }
    gave_up = results.gave_up(result["halted"], result["subject"])
    deciding = {"fail"} if gave_up else set(FAILING)
    if verdict == "diverges" and not binding & deciding:
        yield "verdict is diverges, and no binding requirement fails."
    if verdict != "diverges" and binding & deciding:
        yield f"verdict is {verdict}, and a binding requirement fails."
    if verdict == "conforms" and ("not-run" in binding or result["errors"]):
        yield "verdict is conforms, and not everything was judged."


def _part(result: Result) -> Iterator[str]:
    """A part says which it is in both places, and has seen only what the file has."""
    part, told = result.get("part"), result["options"]["shard"]
    if (part["shard"] if part else "") != told:
        yield f"options.shard is {short(told)}, and part says otherwise."
    if part is None:
        return
    k, _, n = part["shard"].partition("/")
    if int(k) > int(n):
        yield f"part.shard is {part['shard']}, which is no part."
    for ident in part["requirements"]:
        if ident not in result["requirements"]:
            yield f"part.requirements has {ident}, which requirements lacks."
