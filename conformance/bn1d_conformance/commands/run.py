"""`bn1d run`: its options, and what may be given together.

What is slow to import is imported when it is needed, as in `cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bn1d_conformance.commands import console
from bn1d_conformance.commands.console import wrong_use

if TYPE_CHECKING:
    from collections.abc import Sequence

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET...",
        help="module:attr, path/file.py:attr, a folder of such files, or a name.",
    ),
]
Worker = Annotated[
    str, typer.Option(metavar="COMMAND", help="Start it, and judge what it serves.")
]
Device = Annotated[str, typer.Option(help="Where the subject computes.")]
Profile = Annotated[str, typer.Option(help="quick, full or deep: how much to try.")]
Json = Annotated[
    Path | None, typer.Option(help="The results file; of several subjects, their folder.")
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first failure that binds.")
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="Processes, or subjects, at a time.")
]
Select = Annotated[
    str, typer.Option("-k", help="Only checks that match: ids or names, as in pytest.")
]
Names = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="weight=gamma", help="What the subject calls it; repeatable."),
]
Dialect = Annotated[
    list[str] | None,
    typer.Option(metavar="running_var=biased", help="A documented convention of it; repeatable."),
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the random cases; a new one in deep, else 0.")
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that one check may take.")]
Limit = Annotated[
    float, typer.Option(min=0, help="Seconds for each of several subjects; 0: no limit.")
]
Engine = Annotated[
    str, typer.Option(help="local, or ray for a cluster: where several subjects are judged.")
]
Shard = Annotated[
    str, typer.Option(metavar="K/N", help="Judge only part K of N; see bn1d results merge.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run into --json that was cut short.")
]
Expect = Annotated[
    Path | None, typer.Option(metavar="FILE.toml", help="What is known to fail, and why.")
]
Update = Annotated[bool, typer.Option("--update-expectations", help="Bring that file up to date.")]
Spec = Annotated[
    str, typer.Option(metavar="VERSION", help="Only what that version of the spec asks.")
]
Huge = Annotated[
    bool, typer.Option("--huge", help="A batch of more than 2^31 values too: 40 GiB of memory.")
]
Timings = Annotated[bool, typer.Option("--timings", help="Say where the time went.")]


def run(  # noqa: PLR0913 - one parameter an option of the command line
    targets: Targets = None,
    *,
    worker: Worker = "",
    device: Device = "cpu",
    profile: Profile = "full",
    json: Json = None,
    fail_fast: FailFast = False,
    jobs: Jobs = 1,
    select: Select = "",
    names: Names = None,
    dialect: Dialect = None,
    seed: Seed = None,
    timeout: Timeout = 30.0,
    limit: Limit = 1800.0,
    engine: Engine = console.LOCAL,
    shard: Shard = "",
    resume: Resume = False,
    expect: Expect = None,
    update: Update = False,
    spec: Spec = "",
    huge: Huge = False,
    timings: Timings = False,
) -> None:
    """Judge TARGET: a torch.nn.Module class, a plain class, a function or a name; or a worker."""
    from bn1d_conformance.running.run import Options  # noqa: PLC0415

    words, pairs, conventions = targets or [], names or [], dialect or []
    _one_of(words, worker, pairs, conventions)
    _are_text(worker, device, select, *words, *pairs, *conventions)
    _expects(expect, shard, update=update)
    asked = _asked(words)
    several = len(asked) > 1 or asked != words
    _placed(engine, several=several)
    if several:
        _of_one(shard=shard, resume=resume, expect=expect, timings=timings)
    options = Options(
        target=worker or ("" if several else _named(asked[0])),
        worker=bool(worker),
        device=device,
        profile=_profile(profile),
        fail_fast=fail_fast,
        jobs=jobs,
        select=_expression(select),
        names=tuple(map(_pair, pairs)),
        seed=_seed(seed, profile, json, resume=resume),
        timeout=timeout,
        dialect=tuple(map(convention, conventions)),
        shard=_shard(shard),
        expect=str(expect or ""),
        spec=_version(spec),
        huge=huge,
    )
    if several:
        raise typer.Exit(console.judge_several(asked, options, limit, json, engine))
    result = console.judge(options, json, timings=timings, resume=resume, update=update)
    raise typer.Exit(console.exit_code(result))


def _one_of(
    targets: Sequence[str], worker: str, names: Sequence[str], dialect: Sequence[str]
) -> None:
    """Refuse what says twice, or not at all, what is judged."""
    if bool(targets) == bool(worker):
        hint = "Write bn1d run torch.nn:BatchNorm1d, or bn1d run --worker 'node worker.mjs'."
        wrong_use("One of TARGET and --worker says what is judged.", hint)
    if worker and names:
        wrong_use("--map is for what the kit imports.", "A worker says its names itself: `names`.")
    if worker and dialect:
        hint = "Its answer to hello has a field `dialect`."
        wrong_use("--dialect is for what the kit imports: a worker declares its own.", hint)


def _are_text(*words: str) -> None:
    """Refuse what no file can have: bytes of the command line need not be characters."""
    if not all(word.encode("utf-8", "replace").decode() == word for word in words):
        wrong_use("An argument is no UTF-8.", "A results file could not say what was judged.")


def _expects(expect: Path | None, shard: str, *, update: bool) -> None:
    """Refuse expectations that are about nothing, or about a part."""
    if update and not expect:
        wrong_use("--update-expectations has no file.", "Name it with --expect FILE.toml.")
    if expect and shard:
        wrong_use("--expect is about a whole run, and --shard judges a part.", "Give one of them.")


def _asked(words: list[str]) -> list[str]:
    """The targets that the words of the command line stand for, each once."""
    from bn1d_conformance.running.given import expand  # noqa: PLC0415

    with console.refusals():
        return [*dict.fromkeys(target for word in words for target in expand(word))]


def _of_one(**options: object) -> None:
    """Refuse what is about one subject alone."""
    for name, value in options.items():
        if value:
            wrong_use(f"--{name} is about one subject.", "Judge that one in a command of its own.")


def _placed(engine: str, *, several: bool) -> None:
    """Refuse an engine that there is not, or that has nothing to share out."""
    if engine not in console.ENGINES:
        wrong_use(f"There is no engine {engine!r}.", f"Choose {', '.join(console.ENGINES)}.")
    if engine == console.RAY and not several:
        wrong_use("--engine ray is about several subjects.", "Name two, a folder or a pattern.")


def _named(target: str) -> str:
    """The target with its attribute, where it is a file alone."""
    from bn1d_conformance import targets  # noqa: PLC0415

    with console.refusals():
        return targets.named(target)


def _profile(name: str) -> str:
    from bn1d_conformance.plugin import PROFILES  # noqa: PLC0415

    if name not in PROFILES:
        wrong_use(f"There is no profile {name!r}.", f"Choose {', '.join(PROFILES)}.")
    return name


def _seed(given: int | None, profile: str, json: Path | None, *, resume: bool) -> int:
    """The seed that is given, else that of the run that goes on, else the profile's."""
    from bn1d_conformance.plugin import fresh_seed  # noqa: PLC0415

    seed = _resumed(json, resume=resume) if given is None else given
    return fresh_seed(profile) if seed is None else seed


def _resumed(json: Path | None, *, resume: bool) -> int | None:
    """The seed of the run that goes on; None where none does."""
    from bn1d_conformance.running import partial  # noqa: PLC0415

    if resume and json is None:
        wrong_use("--resume needs --json OUT.", "The records of a run lie beside its results.")
    return partial.seed_of(json) if resume and json else None


def _version(text: str) -> str:
    """Check --spec: a minor version."""
    from bn1d_reference import spec  # noqa: PLC0415

    try:
        spec.at(text or spec.CURRENT)
    except spec.SpecError as error:
        wrong_use(f"--spec: {error}.", "bn1d --version tells this one; a pin has two numbers.")
    return text or spec.CURRENT


def _shard(text: str) -> str:
    """Check --shard: K/N."""
    from bn1d_conformance import parts  # noqa: PLC0415

    try:
        return "{}/{}".format(*parts.shard(text)) if text else ""
    except ValueError:
        hint = f"Write K/N, for example 1/3: 1 <= K <= N <= {parts.MOST}."
        wrong_use(f"--shard {text!r} is no part.", hint)


def _expression(text: str) -> str:
    """Check -k, before pytest says in a traceback that it is none."""
    from _pytest.mark.expression import Expression  # noqa: PLC0415

    try:
        Expression.compile(text)
    except SyntaxError as error:
        hint = "Write it as for pytest, for example 'STATS-2 or momentum'."
        wrong_use(f"-k {text!r} is no expression: {error.msg}.", hint)
    return text


def _pair(text: str) -> str:
    """Check one --map: ours=theirs, ours being a name of the spec."""
    from bn1d_conformance.naming import SYNONYMS  # noqa: PLC0415

    ours, sign, theirs = text.partition("=")
    if not (sign and theirs.isidentifier() and ours in SYNONYMS):
        wrong_use(
            f"--map {text!r} names nothing.",
            f"Write ours=theirs, for example weight=gamma; ours is one of {', '.join(SYNONYMS)}.",
        )
    return text


def convention(text: str) -> str:
    """Check one --dialect: key=value, both of the table of conventions."""
    from bn1d_conformance import dialect  # noqa: PLC0415

    key, _, value = text.partition("=")
    if fault := dialect.misfit({key: value}):
        wrong_use(*fault)
    return text
