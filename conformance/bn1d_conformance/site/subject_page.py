"""From a results file to its page: what was judged, what is wrong, how it can be seen again.

A string of a results file is data, whoever wrote it: `markup` shows it as it stands.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from bn1d_conformance import dialect
from bn1d_conformance.documents.unavailable import is_absent, sentence
from bn1d_conformance.running import command
from bn1d_conformance.site import accuracy, since
from bn1d_conformance.site.markup import (
    MOST,
    code,
    facts,
    flat,
    front,
    level_badge,
    link,
    literal,
    number,
    prose,
    table,
    verdict_badge,
    web,
    wide,
)
from bn1d_conformance.site.results_page import absence, sums
from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bn1d_conformance.site.published import Result
    from bn1d_reference.spec import Area, Requirement

SPEC = "../spec/"  # from a page of the results


def page(result: Result, session: str = "", former: Result | None = None) -> str:
    """Return the page of one results file, as `results.build` or `no_result` makes it.

    Args:
        result: its content.
        session: of nox, that makes the environment and judges again; "" for none.
        former: results of the version that the subject had before.

    Raises:
        KeyError: if a key of the results file's schema is missing.
    """
    return _head(result) + _body(result, session, former)


def _head(result: Result) -> str:
    """The search leaves these pages out: each says again what every requirement says."""
    if is_absent(result):
        return front(title=result["target"], about=sentence(result), searched=False)
    subject = result["subject"]
    about = f"{subject['name']} {subject['version']} {result['verdict']}: {_count(result)}"
    return front(title=_title(result), about=about, searched=False)


def _title(result: Result) -> str:
    """What was judged, and where; a worker's command says less than its subject's name."""
    subject, options = result["subject"], result["options"]
    name = subject["name"] if options.get("worker") else subject["target"]
    return f"{name} on {options['device']}" if options["device"] != "cpu" else str(name)


def _body(result: Result, session: str, former: Result | None = None) -> str:
    if is_absent(result):
        return _absent_page(result, session)
    parts = (
        _headline(result),
        _diagnoses(result),
        _deviations(result),
        _expectations(result),
        since.section(former, result) if former else "",
        _by_area(result),
        accuracy.section(result),
        _circumstances(result),
        _again(result, session),
        _every_requirement(result),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def _absent_page(result: Result, session: str) -> str:
    """What could not be judged, and below it the last results that there were."""
    head = f"# {literal(result['target'])} {{ #no-result }}\n\n{absence(result)}\n"
    last = result["last_good"]
    if last is None:
        return head
    then = f"What follows is of {literal(last['date'])}, and may be so no longer."
    return f"{head}\n{then}\n\n{_body(last, session).replace('# ', '## ', 1)}"


def _headline(result: Result) -> str:
    subject, kit = result["subject"], result["kit"]
    return f"""# {literal(_title(result))} {{ #result }}

{verdict_badge(result["verdict"])}
{_count(result)}
{{ .headline }}

{code(subject["name"])}, version {literal(subject["version"])},
judged by {literal(kit["name"])} {literal(kit["version"])}
under version {literal(kit["spec_version"])} of the spec."""


def _count(result: Result) -> str:
    diverging, _, expected, uncovered = sums(result)
    passed, total = (number(result["counts"][k]) for k in ("pass", "total"))
    count = result["counts"]["deviates"]
    deviating = f"{number(count)} deviate, " if count else ""
    declared = f"{expected} diverge as declared, " if expected else ""
    return (
        f"{diverging} diverge, {deviating}{declared}{uncovered} not covered, {passed} pass, "
        f"of {total} requirements."
    )


def _diagnoses(result: Result) -> str:
    if not result["diagnoses"]:
        return ""
    rows = [_diagnosis(k, row) for k, row in enumerate(result["diagnoses"], 1)]
    return "## Diagnoses\n\nThe likeliest cause first.\n\n" + "\n".join(rows)


def _diagnosis(place: int, row: Mapping[str, Any]) -> str:
    home, *folded = (link(str(i), SPEC) for i in (row["requirement"], *row["folded"]))
    lines = [
        f"{place}.  {home}: **{literal(row['cause'])}**",
        literal(row["evidence"]),
        f"The same explains {', '.join(folded)}." if folded else "",
    ]
    return "  \n    ".join(filter(None, lines))


def _deviations(result: Result) -> str:
    rows = [
        (code(convention), ", ".join(link(i, SPEC) for i in ids))
        for convention, ids in dialect.deviations(result).items()
    ]
    if not rows:
        return ""
    return f"""## Deviations

What fails as PyTorch, and holds under [a convention](../dialects.md) that the subject declares.

{table(["Declared", "Deviates"], rows)}"""


def _expectations(result: Result) -> str:
    if not result["expectations"]:
        return ""
    rows = [_expectation(row) for row in result["expectations"]]
    return f"""## Known to fail

Declared in {code(result["options"]["expect"])}, with reasons.

{table(["About", "Reason", "Outcome"], rows)}"""


def _expectation(row: Mapping[str, Any]) -> list[str]:
    about = [link(row["requirement"], SPEC)] if row["requirement"] else []
    about += [code(row["case"])] if row["case"] else []
    reason = literal(row["reason"]) + (f"<br>{web(row['url'])}" if row["url"] else "")
    return [" ".join(about), reason, literal(row["outcome"])]


def _by_area(result: Result) -> str:
    seen = list(dict.fromkeys(str(row["verdict"]) for row in result["requirements"].values()))
    rows = [_counts(area, result, seen) for area in spec.areas()]
    head = ["Area", "Requirements", *map(verdict_badge, seen)]
    return "## By area\n\n" + table(head, rows, " r" + "r" * len(seen))


def _counts(area: Area, result: Result, seen: Iterable[str]) -> list[str]:
    rows = result["requirements"]
    counts = Counter(str(rows[r.id]["verdict"]) for r in area.requirements if r.id in rows)
    name = f"[{area.title}](#{area.name.lower()})"
    return [name, str(len(area.requirements)), *(str(counts[v] or "") for v in seen)]


def _circumstances(result: Result) -> str:
    named = {k: v for k, v in result["subject"].items() if k not in ("target", "name", "version")}
    kit = {"suite_hash": result["kit"]["suite_hash"]}
    tables = {
        "Subject": named,
        "Environment": result["environment"],
        "Options": {**result["options"], **kit},
    }
    parts = [f"## {title}\n\n{facts(_named(rows))}" for title, rows in tables.items()]
    return "\n\n".join(parts) + f"\n\nThe run took {number(result['seconds'])} s."


def _named(rows: Mapping[str, Any]) -> dict[str, str]:
    return {literal(str(k).replace("_", " ")): flat(v) for k, v in rows.items()}


def _again(result: Result, session: str) -> str:
    made = f"""
In a clone of the repository, with an environment that is made for it:

```console
$ python3 noxfile.py -s {session}
```
"""
    return f"""## The same run again

```console
$ {_command(result["options"])}
```
{made if session else ""}"""


def _command(options: Mapping[str, Any]) -> str:
    """The command with the options that decide a verdict, on one line, quoted for a shell."""
    subject = [*["--worker"] * bool(options.get("worker")), options["target"]]
    words = ["bn1d", "run", *subject, *command.words(options)]
    line = " ".join(shlex.quote(str(word)[:MOST]) for word in words)
    return "".join(c if c.isprintable() else " " for c in line)


def _every_requirement(result: Result) -> str:
    parts = [_area_of(area, result) for area in spec.areas()]
    return "\n\n".join(["## Every requirement", *parts])


def _area_of(area: Area, result: Result) -> str:
    found = result["requirements"]
    rows = [(r, found[r.id]) for r in area.requirements if r.id in found]
    head = ["Id", "Verdict", "Cases", "Requirement"]
    judged = table(head, [_judged(r, row) for r, row in rows], "  r")
    failures = [_failures(r, row) for r, row in rows if row["failures"]]
    parts = [
        f"### {area.title} {{ #{area.name.lower()} }}",
        wide(judged),
        *failures,
    ]
    return "\n\n".join(parts)


def _judged(r: Requirement, row: Mapping[str, Any]) -> list[str]:
    """A row, whose id is an anchor of this page and a link to the spec's."""
    return [
        f"{link(r.id, SPEC)}{{ #{r.id.lower()} }}",
        verdict_badge(row["verdict"]),
        number(row["cases"]),
        f"{level_badge(r)} {prose(r.sentence, SPEC)}",
    ]


def _failures(r: Requirement, row: Mapping[str, Any]) -> str:
    lines = [f"- {code(f['case'])} {literal(f['message'])}" for f in row["failures"]]
    share = f"{number(row['failed'])} of {number(row['cases'])} cases fail"
    return f"{r.id}: {share}, for example:\n\n" + "\n".join(lines)
