"""The project's tasks: `nox -l` lists them, `python3 noxfile.py -s NAME` runs one.

As a script this file needs nothing but Python 3.10 and its standard library: it installs the
pinned nox in a private virtual environment under `.nox` and hands its arguments over. So it works
where nox is not installed and where the system's Python is externally managed (PEP 668).
"""

import os
import shlex
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def launch(arguments: "list[str]") -> int:
    """Run the pinned nox from its private environment and return its exit code."""
    if sys.version_info < (3, 10):  # noqa: UP036 - a script meets any Python
        sys.exit("bn1d-conformance needs Python 3.10 or newer; this is " + sys.version.split()[0])
    if find_spec("ensurepip") is None:
        sys.exit(
            "This Python cannot make virtual environments: install its venv package first "
            "(on Debian and Ubuntu: apt install python3-venv)."
        )
    home = ROOT / ".nox" / "bootstrap"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(home, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.call([*pip, "-c", str(ROOT / "constraints.txt"), "nox"]):
        sys.exit("nox could not be installed: pip says why above. To start afresh, delete .nox")
    return subprocess.call([str(python), "-m", "nox", "-f", __file__, *arguments])


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))

import nox

if sys.version_info >= (3, 11):
    import tomllib
else:  # nox brings it where Python has none
    import tomli as tomllib

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, *groups: str, torch: bool = False) -> None:
    """Install the project, editable, with dependency `groups`, all at the pinned versions."""
    wanted = [word for group in groups for word in ("--group", group)]
    session.install("-c", "constraints.txt", *wanted, "-e", ".[torch]" if torch else ".")


@nox.session
def tests(session: nox.Session) -> None:
    """Test both packages; every branch of bn1d_reference. Arguments go to pytest instead."""
    install(session, "test", "docs", torch=True)  # docs: pages are rendered as the site does
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", "reference/tests", "-n", "auto", "--cov", "--cov-report=term-missing")
    session.run("pytest", "conformance/tests", "-n", "auto")


@nox.session
def judge(session: nox.Session) -> None:
    """Judge torch.nn.BatchNorm1d, or what follows `--`: a target and options of `bn1d run`."""
    install(session, torch=True)
    with session.chdir(session.invoked_from):  # where a path on the command line starts
        session.run("bn1d", "run", *(session.posargs or ["torch.nn:BatchNorm1d"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the directions of import."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/, strictly; it may ask no third party for anything."""
    install(session, "docs")
    session.run(
        "mkdocs", *(session.posargs or ["build", "--strict"]), env={"NO_MKDOCS_2_WARNING": "1"}
    )


@dataclass(frozen=True)
class Backend:
    """A subject whose verdict is published, in conformance/results/NAME.json.

    Attributes:
        target: of `bn1d run`.
        about: one line of `nox -l`.
        options: of `bn1d run`, besides those that every backend gets.
        environment: the folder under .nox that it is judged in; several backends may share one.
        extras: of the project that go into the environment.
        packages: that do as well.
        tags: of the session.
    """

    target: str
    about: str
    options: tuple[str, ...] = ()
    environment: str = "torch"
    extras: str = "[torch]"
    packages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("tier1",)


#: By the name of the session and of the results file.
BACKENDS = {
    "torch.nn.BatchNorm1d": Backend("torch.nn:BatchNorm1d", "the layer of PyTorch itself"),
    "torch-script": Backend("torch-script", "torch.jit.script of the layer"),
    "torch-trace": Backend(  # patience: the search for COMP-30 ends by its count, and not by time
        "torch-trace", "torch.jit.trace of the layer", ("--timeout", "300")
    ),
    "torch-export": Backend("torch-export", "torch.export of the layer"),
    "torch-compile": Backend(  # hundreds of kernels go through a C++ compiler
        "torch-compile", "torch.compile of the layer", ("--profile", "quick", "--timeout", "600")
    ),
    "torch-aot": Backend("torch-aot", "torch.compile of the layer, without code generation"),
    "torch-functional": Backend("torch-functional", "torch.nn.functional.batch_norm"),
    "torch-batch-norm": Backend("torch-batch-norm", "torch.batch_norm"),
    "torch-native": Backend("torch-native", "torch.native_batch_norm"),
    "torch-decomp": Backend("torch-decomp", "torch._decomp's native_batch_norm"),
}


def programs(session: nox.Session, backend: Backend) -> Path:
    """Make the backend's environment, and return the folder of its programs.

    With BN1D_HERE=1 nothing is made: the programs are those of the Python that runs nox.
    """
    if os.environ.get("BN1D_HERE"):
        return Path(sys.executable).parent
    home = ROOT / ".nox" / backend.environment
    folder = home / ("Scripts" if os.name == "nt" else "bin")
    if not folder.exists():
        session.run(sys.executable, "-m", "venv", str(home), external=True)
    wanted = ("-c", "constraints.txt", *backend.packages, "-e", "." + backend.extras)
    pip = (str(folder / "python"), "-m", "pip", "install", "--quiet")
    session.run(*pip, *wanted, external=True)
    return folder


def judge_backend(session: nox.Session, name: str) -> None:
    """Judge a backend, with what is known to fail of it; arguments are options of `bn1d run`."""
    backend = BACKENDS[name]
    judged(session, name, programs(session, backend), (backend.target, *backend.options))


def judged(session: nox.Session, name: str, folder: Path, words: tuple[str, ...]) -> None:
    """Let the kit of a folder of programs judge what words say, into the results file of a name."""
    known = f"conformance/results/expectations/{name}.toml"
    expect = ("--expect", known) if (ROOT / known).exists() else ()
    out = ("--json", f"conformance/results/{name}.json")
    kept = {"TORCHINDUCTOR_CACHE_DIR": str(ROOT / ".nox" / "inductor")}  # minutes of compiling
    codes = [0] if expect else [0, 1]  # that it diverges is a result, unless it says how it does
    command = (str(folder / "bn1d"), "run", *words, *expect, *out, *session.posargs)
    session.run(*command, env=kept, external=True, success_codes=codes)


def register(name: str, backend: Backend) -> None:
    """Give a backend its session."""

    def session_of(session: nox.Session) -> None:
        judge_backend(session, name)

    session_of.__doc__ = f"Judge {backend.about}."
    nox.session(name=name, tags=backend.tags, venv_backend="none")(session_of)


for key, row in BACKENDS.items():
    register(key, row)


@dataclass(frozen=True)
class Served:
    """A subject in an environment of its own: a row of conformance/workers/backends.toml.

    That file says what the fields are; `environment` is the folder under .nox.
    """

    name: str
    about: str
    serves: str
    packages: list[str]
    environment: str
    python: str = ""
    env: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def served(text: str) -> dict[str, Served]:
    """The rows of a backends.toml by name; the first of those with equal packages names a folder."""
    rows = tomllib.loads(text)["backend"]
    homes: dict[tuple[str, ...], str] = {}
    places = [
        homes.setdefault((row.get("python", ""), *row["packages"]), row["name"]) for row in rows
    ]
    return {
        row["name"]: Served(environment=place, **row)
        for row, place in zip(rows, places, strict=True)
    }


SERVED = served((ROOT / "conformance/workers/backends.toml").read_text("utf-8"))
KIT = Backend("", "the kit without a framework", environment="kit", extras="")


def python_of(session: nox.Session, row: Served) -> str:
    """Make the environment of a row, and return its Python, from the root."""
    folder = Path(".nox", row.environment, "Scripts" if os.name == "nt" else "bin")
    if not (ROOT / folder).exists():
        maker = f"python{row.python}" if row.python else sys.executable
        session.run(maker, "-m", "venv", str(folder.parent), external=True)
        pip = (str(folder / "python"), "-m", "pip", "install", "--quiet")
        session.run(*pip, *row.packages, external=True)
    return str(folder / "python")


def judge_served(session: nox.Session, name: str) -> None:
    """Judge a row over the wire; arguments are options of `bn1d run`."""
    row = SERVED[name]
    variables = ("env", *(f"{k}={v}" for k, v in row.env.items())) if row.env else ()
    workers = Path("conformance", "workers")
    worker = (python_of(session, row), str(workers / "bn1d_worker.py"), str(workers / row.serves))
    words = ("--worker", shlex.join((*variables, *worker)), *row.options)
    judged(session, name, programs(session, KIT), words)


def register_served(row: Served) -> None:
    """Give a row its session."""

    def session_of(session: nox.Session) -> None:
        judge_served(session, row.name)

    session_of.__doc__ = f"Judge {row.about}."
    nox.session(name=row.name, tags=row.tags, venv_backend="none")(session_of)


for each in SERVED.values():
    register_served(each)


@nox.session(venv_backend="none")
def publish(session: nox.Session) -> None:
    """Judge every backend for the site, and run anew what the pages show of a terminal."""
    for name in BACKENDS:
        judge_backend(session, name)
    folder = programs(session, BACKENDS["torch.nn.BatchNorm1d"])
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    session.run(str(folder / "python"), "docs/captures.py", env={"PATH": path}, external=True)


@nox.session
def kills(session: nox.Session) -> None:
    """Judge every mutant by every check, for the site; names after `--`: these alone."""
    install(session, "test", torch=True)
    session.run("python", "conformance/tests/kill_matrix.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Judge every generated mutant; after `--`, -k WORD or --only ID chooses among them."""
    install(session, torch=True)
    session.run("python", "conformance/mutants/run.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time the oracle beside mpmath and Fraction, then the kit."""
    install(session, "test", torch=True)
    for script in ("reference/benchmarks/speed.py", "conformance/benchmarks/kit.py"):
        session.run("python", script, *session.posargs)
