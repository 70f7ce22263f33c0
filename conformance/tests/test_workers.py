"""The workers that come with the kit, and the commands for those who write one."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, program
from bn1d_conformance.adapters.wire import session_of
from bn1d_conformance.reports.repro_wire import decode
from bn1d_conformance.subject import Request
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.smoke import MANNERS, smoke

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ROOT / "conformance" / "workers"
BAD = Path(__file__).parent / "workers"
PAGE = (ROOT / "docs" / "wire.md").read_text("utf-8")
PLAIN = ("-S", WORKERS / "bn1d_worker.py", WORKERS / "subjects" / "plain_python.py")
GOOD, MALFORMED, WRONG_USE = 0, 1, 2
SOME = ("--profile", "quick", "-k", "CTOR-10 or TRAIN-1 or STATS-1 or GRAD-1 or STATS-5")


def needs(program):
    """A test of another language runs where that language does."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


def here(*words):
    return CliRunner().invoke(cli.app, [*map(str, words)])


def faults(*command, seconds=20.0):
    """What bn1d smoke finds malformed."""
    request = Request(shlex.join(map(str, command)), worker=True)
    return [fault for _, fault in smoke(session_of(request), seconds) if fault]


def verdicts(result, *ids):
    return [result["requirements"][i]["verdict"] for i in ids]


# In Python


def test_the_worker_runs_on_the_oldest_python():
    for file in (WORKERS / "bn1d_worker.py", *(WORKERS / "subjects").glob("plain*.py")):
        ast.parse(file.read_text("utf-8"), feature_version=(3, 6))


def old_pythons():
    found = {shutil.which(f"python3.{minor}") for minor in range(6, 10)} - {None}
    tried = {p: subprocess.run([p, "-V"], capture_output=True, check=False) for p in found}
    return sorted(python for python, ran in tried.items() if ran.returncode == 0)


@pytest.mark.parametrize("python", [sys.executable, *old_pythons()])
def test_plain_python_has_manners(python):
    assert faults(python, *PLAIN) == []


def test_what_is_printed_is_no_answer(tmp_path):
    source = (WORKERS / "template.py").read_text("utf-8")
    source += "\n    print('from Python', flush=True)\n"
    source += "    import os\n    os.system('echo from a child')\n"
    (tmp_path / "layer.py").write_text(source)
    assert faults(sys.executable, WORKERS / "bn1d_worker.py", tmp_path / "layer.py") == []


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("none.py", None, "raises FileNotFoundError"),
        ("layer.py", "import no_such_framework", "raises ModuleNotFoundError: No module named"),
        ("layer.py", "raise SystemExit('no licence')", "raises SystemExit: no licence"),
        ("layer.py", "x = 1", "has no attribute 'Layer'"),
        ("layer.py:Other", "x = 1", "has no attribute 'Other'"),
    ],
)
def test_a_subject_that_can_not_be_loaded_says_why(tmp_path, file, text, words):
    if text is not None:
        (tmp_path / "layer.py").write_text(text)
    [fault] = faults(sys.executable, WORKERS / "bn1d_worker.py", tmp_path / file)
    assert words in fault


def test_a_device_that_it_has_not_is_refused():
    ran = here(
        "smoke", "--device", "cuda", "--worker", shlex.join(map(str, (sys.executable, *PLAIN)))
    )
    assert ran.exit_code == MALFORMED
    assert "It raises ValueError: it computes on cpu, not on cuda." in ran.stdout


# bn1d repro

BARE = [sys.executable, "-I", "-S"]
WRONG = {
    "tracks the biased variance": (
        (" * n / (n - 1)", ""),
        "STATS-2",
        r"running_var\[\d\] is [\d.]+ where [\d.]+ is right",
    ),
    "leaves out the bias": (
        (" + self.rows(self.beta, x)", ""),
        "TRAIN-1",
        r"y\[\d, \d\] is -?[\d.]+ where -?[\d.]+ is right",
    ),
    "halves a gradient": (
        ("wide.sum(self.axes)", "wide.sum(self.axes) / 2"),
        "GRAD-3",
        r"dbias\[\d\] is -?[\d.]+ where -?[\d.]+ is right",
    ),
    "raises": (
        ("self.training, self.axes", "None[0], self.axes"),
        "TRAIN-1",
        r"\{'id': 4, 'error': \{'type': 'TypeError', 'message': ",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_failure_is_shown_without_the_kit(bn1d, tmp_path, name):
    change, ident, words = WRONG[name]
    source = (WORKERS / "template.py").read_text("utf-8")
    assert change[0] in source
    (tmp_path / "wrong.py").write_text(source.replace(*change))
    out, script = tmp_path / "result.json", tmp_path / "script.py"
    command = shlex.join(map(str, (sys.executable, WORKERS / "bn1d_worker.py", "wrong.py")))
    options = ("--profile", "quick", "-k", ident, "--json", out)
    bn1d("run", "--worker", command, *options, cwd=tmp_path)
    script.write_text(bn1d("repro", out, ident, cwd=tmp_path).stdout, "utf-8")
    ran = subprocess.run(
        [*BARE, script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert re.match(words, ran.stdout), ran.stdout + ran.stderr


def test_every_array_of_a_program_comes_back():
    arrays = [
        np.linspace(-2, 3, 12).reshape(3, 4).astype(protocol.DTYPES[name])
        for name in ("float16", "bfloat16", "float32", "float64")
    ]
    arrays += [np.arange(6).reshape(2, 3), np.array([[True, False]]), np.zeros((0, 3), "float32")]
    sparse = np.full((100, 100), 0.5, "float32")
    sparse[3, 7] = np.inf
    for array in (*arrays, sparse):
        got = decode(json.loads(json.dumps(program.array(array))))
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())


# In other languages


@pytest.fixture
def mine(tmp_path):
    """The worker of the page, as its readers have it."""
    text = re.search(r"```javascript\n(.*?)```", PAGE, re.DOTALL)[1]
    assert text.count("\n") < 60
    (tmp_path / "mine.mjs").write_text(text)
    return tmp_path / "mine.mjs"


@needs("node")
def test_the_worker_of_the_page_has_manners_and_conforms(bn1d, tmp_path, mine):
    assert faults("node", mine) == []
    out = tmp_path / "result.json"
    bn1d("run", "--worker", f"node {mine}", *SOME, "--json", out)
    result = json.loads(out.read_text("utf-8"))
    ids = ("TRAIN-1", "STATS-1", "GRAD-1", "STATS-5")
    assert verdicts(result, *ids) == ["pass", "pass", "not-applicable", "not-applicable"]
    assert result["subject"]["language"] == "JavaScript"
    assert result["subject"]["adapter"] == "wire"
    assert not result["errors"]


@needs("node")
def test_the_worker_for_node_has_manners_and_conforms(bn1d, tmp_path):
    assert faults("node", WORKERS / "worker.mjs") == []
    out, subject = tmp_path / "result.json", WORKERS / "subjects" / "plain_javascript.mjs"
    bn1d("run", "--worker", f"node {WORKERS / 'worker.mjs'} {subject}", *SOME, "--json", out)
    result = json.loads(out.read_text("utf-8"))
    ids = ("CTOR-10", "TRAIN-1", "STATS-1", "GRAD-1", "STATS-5")
    assert set(verdicts(result, *ids)) == {"pass"}


NARROW = """
import sys
sys.path.append({folder!r})
from torch_module import Layer as Module

class Layer(Module):
    about = dict(
        Module.about, capabilities=[c for c in Module.about["capabilities"] if c != "fp64"]
    )

    def __init__(self, config):
        assert config.get("dtype") != "float64"
        super().__init__(config)
"""


def test_no_format_is_asked_for_that_is_not_offered(bn1d, tmp_path):
    file, out = tmp_path / "narrow.py", tmp_path / "result.json"
    file.write_text(NARROW.format(folder=str(WORKERS / "subjects")), "utf-8")
    worker = shlex.join(map(str, (sys.executable, WORKERS / "bn1d_worker.py", file)))
    words = ("--worker", worker, "--profile", "quick", "-k", "DTYPE-6")
    bn1d("run", *words, "--json", out)
    result = json.loads(out.read_text("utf-8"))
    assert "fp64" not in result["subject"]["capabilities"]
    assert verdicts(result, "DTYPE-6") == ["pass"]


# bn1d smoke

SAID = {
    "wrong_shape": "It answers with y of shape (3, 4) and dtype float32, where (4, 3) and float32",
    "wrong_dtype": "It answers with y of shape (4, 3) and dtype int32, where (4, 3) and float32",
    "all_nan": "It answers with y that holds NaN or infinity.",
    "exits": 'It ended with exit status 3; its last words: "out of ideas".',
    "wrong_id": "It answered with a wrong id",
    "writes_rubbish": 'It wrote a line that is no JSON: "epoch 1: loss 0.693".',
    "too_short": "It wrote y in forward's result of a wrong length: 6 bytes",
    "ignores_close": "It does not end with exit status 0 when it is told to close.",
    "prints_at_start": 'It wrote a line that is no JSON: "Welcome to version 2!".',
    "exits_at_start": 'It ended with exit status 1; its last words: "no licence found".',
}


@pytest.mark.parametrize("name", SAID)
def test_smoke_says_what_is_malformed(name):
    [fault] = faults(sys.executable, "-S", BAD / f"{name}.py")
    assert fault.startswith(SAID[name])


@pytest.mark.parametrize("name", ["polite", "logs_megabytes"])
def test_smoke_says_nothing_of_what_has_manners(name):
    ran = here("smoke", "--worker", f"{sys.executable} -S {BAD / name}.py")
    assert ran.exit_code == GOOD
    assert ran.stdout.count("ok  It") == len(MANNERS)
    assert ran.stdout.endswith("\nNothing is malformed.\n")


RUDE = {
    "answers what nobody asked": """
    def answer(self, request):
        if request["do"] == "dance":
            return {"id": request["id"], "result": {}}
        return super().answer(request)
    """,
    "has one layer for all": """
    def build(self, request):
        self.one = getattr(self, "one", None) or Layer(request["config"])
        self.layers[request["layer"]] = self.one
        return {}
    """,
    "forgets to count": """
    def load(self, request):
        request["state"].pop("num_batches_tracked", None)
        return super().load(request)
    """,
    "has no gradient of the bias": """
    def backward(self, request):
        return dict(super().backward(request), dbias=None)
    """,
    "speaks unasked": """
    def close(self, request):
        threading.Timer(0.05, print, ["{}"], {"flush": True}).start()
        return super().close(request)
    """,
}
SEEN = {
    "answers what nobody asked": "It does not refuse dance.",
    "has one layer for all": "where float32 [",
    "forgets to count": "It answers with num_batches_tracked 0, where 41 was loaded.",
    "has no gradient of the bias": "It leaves out dbias.",
    "speaks unasked": 'It wrote more than an answer: "{}',
}


@pytest.mark.parametrize("name", RUDE)
def test_smoke_sees_what_no_single_answer_shows(tmp_path, name):
    (tmp_path / "rude.py").write_text(
        f"import sys, threading\nsys.path.insert(0, {str(BAD)!r})\n"
        "from polite import Layer, Polite, bn1d_worker\n\n"
        f"class Rude(bn1d_worker.Server):\n{RUDE[name]}\n"
        "worker = Polite()\nworker.server = Rude(Layer)\nworker.main()\n"
    )
    found = faults(sys.executable, "-S", tmp_path / "rude.py")
    assert any(SEEN[name] in fault for fault in found), found


def test_smoke_of_no_command_is_wrong_use():
    ran = here("smoke", "--worker", "python 'layer.py")
    assert ran.exit_code == WRONG_USE
    assert "is no command: No closing quotation" in ran.stderr


def test_smoke_of_a_command_that_there_is_not_says_so():
    ran = here("smoke", "--worker", "no-such-command")
    assert ran.exit_code == MALFORMED
    assert "It can't be started: [Errno 2] No such file or directory" in ran.stdout


# bn1d adapter new


def test_a_new_adapter_has_manners_and_conforms(bn1d, tmp_path):
    ran = bn1d("adapter", "new", "mylib", cwd=tmp_path)
    assert ran.returncode == GOOD, ran.stderr
    commands = re.findall(r"bn1d (smoke|run) --worker '(.*?)'", ran.stdout)
    assert [name for name, _ in commands] == ["smoke", "run"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bn1d_worker.py", "mylib.py"]
    assert bn1d("smoke", "--worker", commands[0][1], cwd=tmp_path).returncode == GOOD
    out = tmp_path / "result.json"
    bn1d("run", "--worker", commands[1][1], *SOME, "--json", out, cwd=tmp_path)
    result = json.loads(out.read_text("utf-8"))
    assert set(verdicts(result, "TRAIN-1", "STATS-1", "GRAD-1")) == {"pass"}
    assert result["subject"]["name"] == "mylib"
    assert result["subject"]["names"]["weight"] == "gamma"


@pytest.mark.parametrize("name", ["my-lib", "a/b", "", "1st"])
def test_a_name_that_will_not_do_is_said(name):
    ran = here("adapter", "new", name)
    assert ran.exit_code == WRONG_USE
    assert "is no name of a Python file" in ran.stderr


def test_nothing_is_overwritten(bn1d, tmp_path):
    (tmp_path / "mylib.py").write_text("mine\n")
    ran = bn1d("adapter", "new", "mylib", cwd=tmp_path)
    assert ran.returncode == WRONG_USE
    assert "mylib.py is there already" in ran.stderr
    assert (tmp_path / "mylib.py").read_text() == "mine\n"
