"""The command `bn1d`: run, explain, repro, site, list; the others are in modules of their own.

Exit codes are a promise: 0 conforms, 1 diverges, 2 wrong use, 3 the kit's own error or an
incomplete run. What is slow to import is imported by the command that needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bn1d_conformance import cli_results, cli_vectors, cli_wire, console
from bn1d_conformance.console import wrong_use

PROFILES = ("quick", "full", "deep")

app = typer.Typer(
    help="Is this BatchNorm1d right, and if not, exactly what is wrong with it?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_vectors.app, name="vectors")
app.add_typer(cli_results.app, name="results")
app.add_typer(cli_wire.adapter_app, name="adapter")
app.command("smoke")(cli_wire.smoke)


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        from bn1d_conformance import __version__  # noqa: PLC0415
        from bn1d_reference import SPEC_VERSION  # noqa: PLC0415

        typer.echo(f"bn1d {__version__}, spec {SPEC_VERSION}")
        raise typer.Exit


@app.command("run")
def run_command(  # noqa: PLR0913 - one parameter an option of the command line
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET...",
            help="module:attr, path/file.py:attr, a folder of such files, or a name.",
        ),
    ] = None,
    *,
    worker: Annotated[
        str, typer.Option(metavar="COMMAND", help="Start it, and judge what it serves.")
    ] = "",
    device: Annotated[str, typer.Option(help="Where the subject computes.")] = "cpu",
    profile: Annotated[str, typer.Option(help="quick, full or deep: how much to try.")] = "full",
    json: Annotated[
        Path | None, typer.Option(help="The results file; of several subjects, their folder.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure that binds.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Processes, or subjects, at a time.")
    ] = 1,
    select: Annotated[
        str, typer.Option("-k", help="Only checks that match: ids or names, as in pytest.")
    ] = "",
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="weight=gamma", help="What the subject calls it; repeatable."
        ),
    ] = None,
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="running_var=biased", help="A documented convention of it; repeatable."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the random cases; a new one in deep, else 0."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one check may take.")
    ] = 30.0,
    limit: Annotated[
        float, typer.Option(min=0, help="Seconds for each of several subjects; 0: no limit.")
    ] = 1800.0,
    shard: Annotated[
        str, typer.Option(metavar="K/N", help="Judge only part K of N; see bn1d results merge.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run into --json that was cut short.")
    ] = False,
    expect: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="What is known to fail, and why.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update-expectations", help="Bring that file up to date.")
    ] = False,
    spec: Annotated[
        str, typer.Option(metavar="VERSION", help="Only what that version of the spec asks.")
    ] = "",
    timings: Annotated[bool, typer.Option("--timings", help="Say where the time went.")] = False,
) -> None:
    """Judge TARGET: a torch.nn.Module class, a plain class, a function or a name; or a worker."""
    from bn1d_conformance import plugin  # noqa: PLC0415
    from bn1d_conformance.run import Options  # noqa: PLC0415

    if bool(targets) == bool(worker):
        hint = "Write bn1d run torch.nn:BatchNorm1d, or bn1d run --worker 'node worker.mjs'."
        wrong_use("One of TARGET and --worker says what is judged.", hint)
    if worker and names:
        wrong_use("--map is for what the kit imports.", "A worker says its names itself: `names`.")
    if worker and dialect:
        hint = "Its answer to hello has a field `dialect`."
        wrong_use("--dialect is for what the kit imports: a worker declares its own.", hint)
    words = (worker, device, select, *(targets or ()), *(names or ()), *(dialect or ()))
    if not all(map(_is_text, words)):
        wrong_use("An argument is no UTF-8.", "A results file could not say what was judged.")
    if update and not expect:
        wrong_use("--update-expectations has no file.", "Name it with --expect FILE.toml.")
    if expect and shard:
        wrong_use("--expect is about a whole run, and --shard judges a part.", "Give one of them.")
    asked = _asked(targets or [])
    several = len(asked) > 1 or asked != (targets or [])
    if several:
        _of_one(shard=shard, resume=resume, expect=expect, timings=timings)
    if seed is None:
        seed = _resumed(json, resume=resume)
    options = Options(
        target=worker or ("" if several else _named(asked[0])),
        worker=bool(worker),
        device=device,
        profile=_profile(profile),
        fail_fast=fail_fast,
        jobs=jobs,
        select=_expression(select),
        names=tuple(map(_pair, names or ())),
        seed=plugin.fresh_seed(profile) if seed is None else seed,
        timeout=timeout,
        dialect=tuple(map(_convention, dialect or ())),
        shard=_shard(shard),
        expect=str(expect or ""),
        spec=_version(spec),
    )
    if several:
        raise typer.Exit(console.judge_several(asked, options, limit, json))
    result = console.judge(options, json, timings=timings, resume=resume, update=update)
    raise typer.Exit(console.exit_code(result))


def _asked(words: list[str]) -> list[str]:
    """The targets that the words of the command line stand for, each once."""
    from bn1d_conformance import several  # noqa: PLC0415

    with console.refusals():
        return [*dict.fromkeys(target for word in words for target in several.expand(word))]


def _of_one(**options: object) -> None:
    """Refuse what is about one subject alone."""
    for name, value in options.items():
        if value:
            wrong_use(f"--{name} is about one subject.", "Judge that one in a command of its own.")


def _named(target: str) -> str:
    """The target with its attribute, where it is a file alone."""
    from bn1d_conformance import targets  # noqa: PLC0415

    with console.refusals():
        return targets.named(target)


def _is_text(word: str) -> bool:
    """Whether a file can have it: bytes of the command line need not be characters."""
    return word.encode("utf-8", "replace").decode() == word


def _profile(name: str) -> str:
    if name not in PROFILES:
        wrong_use(f"There is no profile {name!r}.", f"Choose {', '.join(PROFILES)}.")
    return name


def _resumed(json: Path | None, *, resume: bool) -> int | None:
    """The seed of the run that goes on; None where none does."""
    from bn1d_conformance import partial  # noqa: PLC0415

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


def _convention(text: str) -> str:
    """Check one --dialect: key=value, both of the table of conventions."""
    from bn1d_conformance import dialect  # noqa: PLC0415

    key, _, value = text.partition("=")
    if fault := dialect.misfit({key: value}):
        wrong_use(*fault)
    return text


@app.command()
def explain(
    ident: Annotated[str, typer.Argument(metavar="ID", help="For example STATS-2.")],
) -> None:
    """Print a requirement: what it says, why, what breaks, where it comes from."""
    from bn1d_reference import spec  # noqa: PLC0415

    rows = spec.requirements()
    found = rows.get(ident.upper())
    if found is None:
        wrong_use(f"There is no requirement {ident!r}.", _near(ident, rows))
    typer.echo(f"{found.id}  {found.level}, {found.status}\n\n{found.sentence}\n")
    rest = {
        "Why": found.intent,
        "What breaks": found.breaks,
        "Source": "; ".join(found.source),
        "Needs": ", ".join(found.needs),
        "Rests on": ", ".join(found.rests_on),
        "Since": found.since and f"PyTorch {found.since}",
        "Added": f"spec {found.added}" if found.added != spec.FIRST else "",
        "Not tested": found.untested,
        "Page": f"spec/{found.area.lower()}/#{found.id.lower()} of the site (nox -s docs)",
    }
    width = max(map(len, rest))
    typer.echo("\n".join(f"{k:{width}}  {v}" for k, v in rest.items() if v))


def _near(ident: str, rows: Any) -> str:
    import difflib  # noqa: PLC0415

    area = [i for i in rows if i.startswith(ident.upper().rstrip("-0123456789") + "-")]
    near = difflib.get_close_matches(ident.upper(), rows, n=5, cutoff=0.5)
    return (
        f"There are {area[0]} to {area[-1]}."
        if area
        else f"Did you mean {', '.join(near) or 'STATS-2'}?"
    )


@app.command("list")
def list_command() -> None:
    """List every requirement: id, level and sentence."""
    from bn1d_reference import spec  # noqa: PLC0415

    for area in spec.areas():
        typer.echo(f"\n{area.title}: {area.about}")
        for row in area.requirements:
            typer.echo(f"  {row.id:9} {row.level:6} {row.sentence}")


@app.command()
def porting(
    old: Annotated[str, typer.Argument(metavar="FROM", help="A framework, or a results file.")],
    new: Annotated[str, typer.Argument(metavar="TO", help="The same.")],
) -> None:
    """Print what differs between two subjects by convention, and code that converts."""
    from bn1d_conformance import porting as guide  # noqa: PLC0415
    from bn1d_conformance import reading  # noqa: PLC0415

    known = guide.documented()
    try:
        sides = [known.get(name) or guide.side_of(reading.load(Path(name))) for name in (old, new)]
    except reading.ResultsError as error:
        wrong_use(str(error), f"Frameworks are {', '.join(known)}.")
    typer.echo(guide.script(*sides))


@app.command("site")
def site_command(
    clone: Annotated[Path, typer.Argument(help="A clone of the project's repository.")] = Path(),
    *,
    results: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Results files; the published ones.")
    ] = None,
) -> None:
    """Draw the site's pages of spec, bugs, mutants and results into CLONE/docs, for MkDocs."""
    from bn1d_conformance import site  # noqa: PLC0415

    if not (clone / "docs").is_dir() or not (clone / "conformance" / "results").is_dir():
        wrong_use(
            f"{clone.resolve()} is no clone of the project.", "Run it in the clone's folder."
        )
    try:
        drawn = site.pages(clone, results or clone / "conformance" / "results")
    except ImportError as error:
        wrong_use(f"The site needs {error.name}.", "pip install --group docs, in the clone.")
    except site.UNREADABLE as error:
        wrong_use(str(error), "bn1d results check FILE says whether a results file is right.")
    site.write({**drawn, **site.assets(clone)}, clone / "docs")
    typer.echo(f"{len(drawn)} pages are in {clone / 'docs'}; mkdocs build makes the site of them.")


@app.command()
def repro(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="Of bn1d run --json.")],
    case: Annotated[
        str, typer.Argument(help="A case, or a requirement; the first that failed.")
    ] = "",
) -> None:
    """Print a script that shows a failure without the kit."""
    from bn1d_conformance import reading  # noqa: PLC0415
    from bn1d_conformance import repro as writer  # noqa: PLC0415

    try:
        typer.echo(writer.script(reading.load(result), case))
    except (reading.ResultsError, writer.NothingToShowError) as error:
        wrong_use(str(error))
    except (LookupError, TypeError, ValueError, AttributeError):
        wrong_use(f"{result} is not as the schema of results files says.")


def main() -> None:
    """Run the command line; what is the kit's own fault ends with exit code 3."""
    try:
        app()
    except OSError as error:
        typer.echo(f"bn1d: {console.refusal(error)}", err=True)
        sys.exit(console.KIT_ERROR)
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, and the code for it
        typer.echo(f"bn1d: the kit itself failed: {type(error).__name__}: {error}", err=True)
        sys.exit(console.KIT_ERROR)
