"""The plain pytest door, and a plugin that is no burden to sessions that are not ours."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from execnet.script import socketserver

PYTEST = [sys.executable, "-m", "pytest", "--pyargs", "bn1d_conformance.checks"]


@pytest.fixture(scope="module")
def door(folder):
    """Run the checks as a user of pytest does."""

    def call(*words, subject="layers.py:Right"):
        chosen = ["--bn1d-subject", subject] if subject else []
        return subprocess.run(
            [*PYTEST, *chosen, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


def summary(ran):
    """The numbers of pytest's last line, by word."""
    words = ran.stdout.strip().splitlines()[-1].replace(",", "").split()
    return {word: int(n) for n, word in pairwise(words) if n.isdigit()}


def test_a_right_layer_passes(door):
    ran = door("-k", "test_momentum or test_biased_variance", "-q")
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout + ran.stderr
    assert summary(ran)["passed"] >= 3


def test_a_wrong_layer_fails_and_the_report_says_why(door):
    ran = door("-k", "test_momentum", "-q", subject="layers.py:Biased")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "STATS-2: A training forward pass sets running_var" in ran.stdout
    assert "Likely cause: the biased variance is tracked" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_what_does_not_apply_is_skipped_with_the_reason(door):
    ran = door("-k", "test_dtype", "-q", "-rs")
    assert ran.returncode == pytest.ExitCode.OK
    assert summary(ran)["skipped"] >= 1
    assert "the subject does not offer: dtype-option" in ran.stdout


def test_what_binds_nobody_is_reported_and_fails_nothing(door):
    ran = door("-k", "INPUT-17 or INPUT-2", "-x", "-q", "-rx", subject="modules.py:Lenient")
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout
    assert summary(ran)["xfailed"] >= 1
    assert "INPUT-17: A layer with one of its two running statistics" in ran.stdout


def test_x_stops_at_the_first_failure(door):
    ran = door(
        "-k", "test_momentum or test_of_the_input_alone", "-x", "-q", subject="layers.py:Biased"
    )
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert summary(ran)["failed"] == 1


def test_last_failed_runs_what_failed(door):
    words = ("-k", "test_momentum or test_constructs", "-q")
    first = door(*words, subject="layers.py:Biased")
    again = door(*words, "--lf", subject="layers.py:Biased")
    assert summary(first)["passed"] >= 3
    assert summary(again)["failed"] == summary(first)["failed"]
    assert "passed" not in summary(again)


def test_n_shares_the_work(door):
    words = ("-k", "test_biased_variance", "-q")
    alone, shared = door(*words), door(*words, "-n", "2")
    assert shared.returncode == pytest.ExitCode.OK, shared.stdout + shared.stderr
    assert summary(shared)["passed"] == summary(alone)["passed"]


@pytest.fixture
def served(folder):
    """The port of loopback where execnet's server of gateways listens."""
    words = [sys.executable, "-u", socketserver.__file__, "127.0.0.1:0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        yield re.search(r"'127.0.0.1', (\d+)", server.stdout.readline())[1]
        server.kill()


def test_another_python_judges_as_this_one(door):
    words = ("-k", "test_momentum", "-q", "--dist", "load")
    ran = door(*words, "--tx", f"popen//python={sys.executable}", subject="layers.py:Biased")
    assert "the biased variance is tracked" in ran.stdout, ran.stdout + ran.stderr
    assert summary(ran)["failed"] >= 1


def test_another_machine_judges_as_this_one(door, folder, served):
    words = ("-k", "test_momentum", "-q", "--dist", "load")
    place = f"socket=127.0.0.1:{served}//chdir={folder}"
    ran = door(*words, "--tx", place, subject="layers.py:Biased")
    assert "the biased variance is tracked" in ran.stdout, ran.stdout + ran.stderr
    assert summary(ran)["failed"] >= 1


@pytest.mark.parametrize("words", [("-n", "2"), ("--dist", "load", "--tx", "popen//chdir=/")])
def test_a_worker_that_finds_no_subject_says_so_in_a_sentence(door, words):
    ran = door("-k", "test_momentum", "-q", *words, subject="missing.py:Layer")
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "There is no file missing.py." in ran.stdout
    assert "INTERNALERROR" not in ran.stdout


def test_options_reach_the_subject(door, folder):
    code = (folder / "layers.py").read_text().replace("self.gamma", "self.stretch")
    (folder / "odd.py").write_text(code)
    words = ("-k", "test_affine", "-q", "--bn1d-map", "weight=stretch", "--bn1d-profile", "quick")
    ran = door(*words, subject="odd.py:Right")
    assert summary(ran)["passed"] >= 6


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("", "There is no subject to judge. Give --bn1d-subject module:attr"),
        ("nonsense", "'nonsense' is no target."),
        ("missing.py:Layer", "There is no file missing.py."),
    ],
)
def test_without_a_subject_there_is_one_sentence(door, subject, said):
    ran = door("-q", subject=subject)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_the_plugin_imports_no_numbers_at_the_start(python):
    ran = python("""
        import sys
        import pytest

        class Look:
            def pytest_sessionfinish(self):
                print(sorted({"numpy", "torch", "ml_dtypes"} & set(sys.modules)))

        pytest.main(["--collect-only", "--pyargs", "json"], plugins=[Look()])
    """)
    assert "[]" in ran.stdout.splitlines(), ran.stdout + ran.stderr


def test_sessions_of_others_are_left_alone(tmp_path):
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'numpy' not in sys.modules\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-W", "error"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout
    assert "1 passed" in ran.stdout


def test_the_options_are_in_the_help_of_pytest(tmp_path):
    words = [sys.executable, "-m", "pytest", "--help"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    for option in ("--bn1d-subject", "--bn1d-profile", "--bn1d-map", "--bn1d-seed"):
        assert option in ran.stdout
    assert "requirement(*ids)" not in ran.stdout  # that is a marker's, in --markers


def test_the_report_begins_with_the_seed(door):
    words = ("-k", "test_momentum", "--bn1d-profile", "deep")
    assert "--bn1d-profile deep --bn1d-seed 7" in door(*words, "--bn1d-seed", "7").stdout
    assert "--bn1d-seed " in door(*words).stdout
