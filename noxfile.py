"""The project's tasks: `nox -l` lists them, `python3 noxfile.py -s NAME` runs one.

As a script this file needs nothing but Python 3.10 and its standard library: it installs the
pinned nox in a private virtual environment under `.nox` and hands its arguments over. So it works
where nox is not installed and where the system's Python is externally managed (PEP 668).
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from contextlib import suppress
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
from nox.command import CommandFailed

if sys.version_info >= (3, 11):
    import tomllib
else:  # nox brings it where Python has none
    import tomli as tomllib

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.error_on_missing_interpreters = True

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
DIST = ROOT / "dist"


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
    measured = ("--cov=bn1d_reference", "--cov-report=term-missing", "--cov-fail-under=100")
    session.run("pytest", "reference/tests", "-n", "auto", *measured)
    session.run("pytest", "conformance/tests", "-n", "auto", "--dist", "worksteal")


@nox.session
def ray(session: nox.Session) -> None:
    """Test what runs on Ray, on a cluster that is started here; arguments go to pytest."""
    session.install("-c", "constraints.txt", "--group", "test", "-e", ".[ray]")
    session.run("pytest", "conformance/tests/test_on_ray.py", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Test both packages, and count their branches, in the processes too that judge."""
    install(session, "test", "docs", torch=True)
    folders = ("reference/tests", "conformance/tests")
    parts = ("-n", "auto", "--dist", "worksteal", "--cov", "--cov-report=")
    no_room = ("-k", "not on_a_full_disk")  # what is counted would have no room either
    session.run("pytest", *folders, *parts, *no_room)
    for package, least in (("reference", 100), ("conformance", 95)):
        words = (f"--include={package}/*", f"--fail-under={least}")
        session.run("coverage", "report", *words)


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
    """Build the site into site/, strictly, and check it; after `--`: a command of mkdocs."""
    install(session, "docs")
    if not from_npm(session):
        session.warn(
            "The site is built without Pyodide, which npm installs: no Python runs in it."
        )
    site(session, *session.posargs)


@nox.session(name="docs-zensical")
def docs_zensical(session: nox.Session) -> None:
    """Build the site with Zensical too, into build/zensical/, and compare; it lacks no page."""
    install(session, "docs")
    session.install("-c", "constraints.txt", "zensical==0.0.73")
    from_npm(session)
    site(session)
    env = {"BN1D_SITE_DIR": "build/zensical"}
    session.run("zensical", "build", "--clean", "--strict", env=env)
    session.run("python", "docs/compare.py", "site", "build/zensical")


@nox.session(name="site-tests")
def site_tests(session: nox.Session) -> None:
    """Build the site and try it in Chromium; arguments go to pytest."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    chromium = next(filter(None, found), None)
    if chromium is None:
        session.skip("no Chromium is here (on Debian: apt install chromium)")
    install(session, "docs", "browser")
    if not from_npm(session):
        session.skip("npm is not here, or installs nothing: it has Pyodide and axe-core")
    site(session, url="https://bn1d.example/")  # RFC 2606: nobody's; it is named and never asked
    words = session.posargs or ["docs/tests", "-n", "2", "--dist", "worksteal"]
    session.run("pytest", "--import-mode=prepend", *words, env={"BN1D_CHROMIUM": chromium})


def site(session: nox.Session, *command: str, url: str = "") -> None:
    """Draw the pages, and build the site of them and check it, or run another mkdocs command.

    The site knows its address from BN1D_SITE_URL, if not from `url`.
    """
    session.run("bn1d", "site")
    words = command or ("build", "--strict")
    env = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", *words, env={**env, "BN1D_SITE_URL": url} if url else env)
    if not command:
        session.run("python", "docs/check_site.py", "site")


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/: twice, from two folders, to the same bytes."""
    session.install("-c", "constraints.txt", "--group", "release")
    copy = Path(session.create_tmp()) / "copy"
    for folder in (copy, DIST):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=built_here, copy_function=shutil.copy)  # not its times
    env = {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    for folder in (ROOT, copy):
        session.run(
            "python", "-m", "build", "--outdir", str(folder / "dist"), str(folder), env=env
        )
    built = sorted(DIST.iterdir())
    if changed := [
        f.name for f in built if f.read_bytes() != (copy / "dist" / f.name).read_bytes()
    ]:
        session.error(f"Built twice, {', '.join(changed)} has two contents.")


def built_here(folder: str, names: list[str]) -> set[str]:
    """What of a folder is no source."""
    built = {".git", ".nox", "build", "dist", "site"} if Path(folder) == ROOT else set()
    return {n for n in names if n in {"__pycache__", *built} or n.endswith("_cache")}


#: What type checkers look for, and that nothing comes from a checkout.
SHIPPED = """
from importlib import resources
for name in ("bn1d_reference", "bn1d_conformance"):
    marker = resources.files(name) / "py.typed"
    assert marker.is_file() and "site-packages" in str(marker), marker
"""


@nox.session(python=PYTHONS, reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Judge by what is in dist/, in a new environment and far from the checkout."""
    [sdist], [built] = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    session.install("-c", "constraints.txt", f"{built}[torch]")
    words = session.posargs or ["torch.nn:BatchNorm1d", "--profile", "quick"]
    with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
        session.run("bn1d", "run", *words)
        session.run("python", "-c", SHIPPED)
        session.install("--no-deps", "--force-reinstall", str(sdist))
        session.run("bn1d", "explain", "STATS-2")


@nox.session(venv_backend="none")
def notes(session: nox.Session) -> None:
    """Print the release notes of this version from the changelog; after `--`, its tag."""
    session.run(sys.executable, "docs/notes.py", *session.posargs, external=True)


def from_npm(session: nox.Session) -> bool:
    """Whether .nox/npm has what docs/npm locks by its hashes; it is installed if need be."""
    asked, home = ROOT / "docs" / "npm", ROOT / ".nox" / "npm"
    lock, kept = asked / "package-lock.json", home / "package-lock.json"
    done = home / "node_modules" / ".package-lock.json"  # written when all is installed
    if done.exists() and kept.read_bytes() == lock.read_bytes():
        return True
    if shutil.which("npm") is None:
        return False
    done.unlink(missing_ok=True)
    shutil.copytree(asked, home, dirs_exist_ok=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    with suppress(CommandFailed):
        session.run("npm", "ci", "--prefix", str(home), *quiet, external=True)
    return done.exists()


@dataclass(frozen=True)
class Backend:
    """A layer whose verdict is published: a row of conformance/backends.toml, explained there."""

    name: str
    about: str
    framework: str
    tags: list[str]
    target: str = ""
    serves: str = ""
    environment: str = ""
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ("--profile", "quick", "--timeout", "120")


TABLE = tomllib.loads((ROOT / "conformance" / "backends.toml").read_text("utf-8"))
BACKENDS = [Backend(**row) for row in TABLE["backend"]]
WORKERS = Path("conformance", "workers")
BIN = "Scripts" if os.name == "nt" else "bin"
#: What g++ needs to know of the torch of an environment.
LIBTORCH = "import torch; print(torch.__path__[0], +torch._C._GLIBCXX_USE_CXX11_ABI)"


def kit(session: nox.Session, *, torch: bool) -> Path:
    """Make the environment that judges, with or without PyTorch; return the folder of programs.

    With BN1D_HERE=1 nothing is made: the programs are those of the Python that runs nox.
    """
    if os.environ.get("BN1D_HERE"):
        return Path(sys.executable).parent
    home = Path(".nox", "torch" if torch else "kit")
    wanted = ("-c", "constraints.txt", "-e", ".[torch]" if torch else ".")
    make(session, home, sys.executable, *wanted)
    return ROOT / home / BIN


def make(session: nox.Session, home: Path, python: str, *wanted: str) -> None:
    """Install what is wanted into the virtual environment `home`, which is made if need be."""
    if not (ROOT / home / BIN).exists():
        session.run(python, "-m", "venv", str(home), external=True)
    pip = (str(home / BIN / "python"), "-m", "pip", "install", "--quiet")
    session.run(*pip, *wanted, external=True)


def worker(session: nox.Session, row: Backend) -> list[str]:
    """Make the environment of a worker, from the root, and return its command."""
    asked, home = TABLE["environment"][row.environment], Path(".nox", row.environment)
    if row.serves.endswith(".mjs"):
        session.run("npm", "install", "--prefix", str(home), *asked["packages"], external=True)
        words = [f"NODE_PATH={home / 'node_modules'}", "node", str(WORKERS / "worker.mjs")]
        return ["env", *words, str(WORKERS / row.serves)]
    maker = f"python{asked['python']}" if "python" in asked else sys.executable
    make(session, home, maker, *asked["packages"])
    python = str(home / BIN / "python")
    if row.serves.endswith(".cpp"):
        return [compiled(session, python, WORKERS / row.serves, home / row.name)]
    variables = ("env", *(f"{k}={v}" for k, v in row.env.items())) if row.env else ()
    return [*variables, python, str(WORKERS / "bn1d_worker.py"), str(WORKERS / row.serves)]


def compiled(session: nox.Session, python: str, source: Path, out: Path) -> str:
    """Compile a worker against the torch of an environment, as the head of the source says."""
    found = str(session.run(python, "-c", LIBTORCH, silent=True, external=True))
    torch, abi = found.split()
    headers = (f"-I{torch}/include", f"-I{torch}/include/torch/csrc/api/include")
    libraries = (f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib", "-ltorch", "-ltorch_cpu", "-lc10")
    flags = ("-std=c++20", "-O1", f"-D_GLIBCXX_USE_CXX11_ABI={abi}")
    words = (str(source), "-o", str(out), *headers, *libraries, *flags)
    session.run("g++", *words, external=True)
    return str(out)


def judge_backend(session: nox.Session, row: Backend) -> None:
    """Judge a backend, with what is known to fail of it; arguments are options of `bn1d run`.

    Where it can't be made, or no verdict comes of it, its file says that there is no result.
    """
    if "gpu" in row.tags and not shutil.which("nvidia-smi"):
        session.skip("there is no NVIDIA GPU here")
    bn1d = str(kit(session, torch=bool(row.target)) / "bn1d")
    out = Path("conformance", "results", f"{row.name}.json")
    before, copy = written(out), copied(session, out)
    try:
        subject = [row.target] if row.target else ["--worker", shlex.join(worker(session, row))]
        judged(session, row, bn1d, *subject, "--json", str(out))
    except CommandFailed:
        if row.target or written(out) != before:  # what fails is the kit, or an expectation
            raise
        why = ("--reason", "It could not be installed or started.", "--target", row.serves)
        session.run(bn1d, "results", "none", str(out), *why, external=True)
        session.skip("no result")
    finally:
        if copy:
            session.run(bn1d, "results", "keep", str(copy), str(out), external=True)


def written(file: Path) -> float:
    """When a file was written last; 0 for never."""
    return (ROOT / file).stat().st_mtime if (ROOT / file).exists() else 0


def copied(session: nox.Session, file: Path) -> Path | None:
    """Copy a results file that is about to be replaced: its version may be another one then."""
    copy = Path(session.create_tmp()) / file.name
    return Path(shutil.copy(ROOT / file, copy)) if (ROOT / file).exists() else None


def judged(session: nox.Session, row: Backend, bn1d: str, *words: str) -> None:
    """Run the kit with a row's options and expectations."""
    known = f"conformance/results/expectations/{row.name}.toml"
    expect = ("--expect", known) if (ROOT / known).exists() else ()
    kept = {"TORCHINDUCTOR_CACHE_DIR": str(ROOT / ".nox" / "inductor")}  # minutes of compiling
    codes = [0] if expect else [0, 1]  # that it diverges is a result, unless it says how it does
    command = (bn1d, "run", *words, *row.options, *expect, *session.posargs)
    session.run(*command, env=kept, external=True, success_codes=codes)


def register(row: Backend) -> None:
    """Give a backend its session."""

    def session_of(session: nox.Session) -> None:
        judge_backend(session, row)

    session_of.__doc__ = f"Judge {row.about}."
    nox.session(name=row.name, tags=row.tags, venv_backend="none")(session_of)


for each in BACKENDS:
    register(each)


@nox.session(venv_backend="none")
def publish(session: nox.Session) -> None:
    """Judge PyTorch's layers for the site, and run anew what the pages show of a terminal."""
    for row in BACKENDS:
        if "torch" in row.tags:
            judge_backend(session, row)
    folder = kit(session, torch=True)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    session.run(str(folder / "python"), "docs/captures.py", env={"PATH": path}, external=True)


@nox.session(venv_backend="none")
def finds(session: nox.Session) -> None:
    """Run the script of every find, with what it is about: it fails when the defect is mended."""
    rows, folder = {row.name: row for row in BACKENDS}, Path("conformance", "finds")
    table = tomllib.loads((ROOT / folder / "finds.toml").read_text("utf-8"))
    for find in table["find"]:
        if row := rows.get(find["session"]):  # the other sessions' run among their tests
            words = worker(session, row)[:-2]
            session.run(*words, str(folder / find["script"]), external=True)


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


@nox.session(name="mutate-own")
def mutate_own(session: nox.Session) -> None:
    """Change the kit's own code, a place at a time; after `--`, modules and --sample N."""
    install(session, "test", torch=True)
    session.install("cosmic-ray==8.7.0")
    session.run("python", "conformance/mutants/own.py", *session.posargs)


FUZZED = ("fuzz", "fuzz_vectors", "fuzz_wire", "reading")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Draw for each reader what nobody would write; after `--`, how many examples (20000).

    Or `--atheris`, and for how many seconds a reader (60): bytes that its branches lead to.
    """
    install(session, "test")
    if session.posargs[:1] == ["--atheris"]:
        session.install("atheris==3.0.0")
        session.run("python", "conformance/tests/fuzz_bytes.py", *session.posargs[1:])
        return
    tests = [f"conformance/tests/test_{name}.py" for name in FUZZED]
    examples = {"BN1D_FUZZ": (session.posargs or ["20000"])[0]}
    words = ("-k", "any", "--hypothesis-show-statistics", "-o", "faulthandler_timeout=0")
    session.run("pytest", *tests, *words, env=examples)  # a test has no time limit here


@nox.session
def bench(session: nox.Session) -> None:
    """Time the oracle beside mpmath and Fraction; then the kit, with what follows `--`."""
    install(session, "test", torch=True)
    session.run("python", "reference/benchmarks/speed.py")
    session.run("python", "conformance/benchmarks/kit.py", *session.posargs)
