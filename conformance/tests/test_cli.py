"""The command line: its exit codes are a promise, and wrong use is one sentence."""

import json
import os
import re
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, plugin
from bn1d_reference import spec

CONFORMS, DIVERGES, WRONG_USE, KIT_ERROR = 0, 1, 2, 3
QUICK = ("--profile", "quick")


def here(*words):
    """What judges nothing needs no process of its own."""
    ran = CliRunner().invoke(cli.app, [*map(str, words)])
    return SimpleNamespace(returncode=ran.exit_code, stdout=ran.stdout, stderr=ran.stderr)


def refused(ran, *words):
    """Exit code 2, one sentence and perhaps a hint, and no traceback."""
    assert ran.returncode == WRONG_USE, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    said = ran.stderr[ran.stderr.index("bn1d: ") :]
    assert said.count("\n") <= 2
    for word in words:
        assert word in said


# Exit codes


def test_what_was_judged_in_part_is_incomplete_and_exits_with_3(bn1d):
    ran = bn1d("run", "layers.py:Right", *QUICK, "-k", "test_momentum")
    assert ran.returncode == KIT_ERROR, ran.stdout + ran.stderr
    assert "incomplete" in ran.stdout


def test_what_diverges_exits_with_1_and_says_why(bn1d):
    ran = bn1d("run", "modules.py:Biased", *QUICK, "-k", "test_momentum or test_length_counts")
    assert ran.returncode == DIVERGES, ran.stdout + ran.stderr
    first = ran.stdout[ran.stdout.index("1. ") :].splitlines()[0]
    assert first.startswith("1. STATS-2 (MUST) The biased variance is tracked")
    assert "bn1d explain STATS-2" in ran.stdout


def test_an_error_of_the_kits_own_exits_with_3(bn1d, tmp_path):
    (tmp_path / "broken.py").write_text(KIT_FAULT)
    ran = bn1d("run", "broken.py:subject", *QUICK, "-k", "test_constructs", cwd=tmp_path)
    assert ran.returncode == KIT_ERROR, ran.stdout + ran.stderr
    assert "The kit itself failed" in ran.stdout
    assert "Traceback" not in ran.stderr


#: A subject of the kit's own protocol that breaks the protocol: not a matter of BatchNorm.
KIT_FAULT = """
class Broken:
    target, name, version, adapter, dialect = "broken.py:subject", "Broken", "", "own", {}
    capabilities = frozenset({"defaults"})
    names = {}

    def build(self, config):
        return self

    def build_default(self, num_features):
        from bn1d_conformance import trial
        trial.Trial.expect = None  # what a defect of the kit looks like from here
        return self


subject = Broken()
"""


def test_the_counts_are_printed_over_the_fixed_total(bn1d):
    ran = bn1d("run", "layers.py:Right", *QUICK, "-k", "test_default_momentum")
    assert re.search(r"0 diverge, \d+ not covered, 1 pass, of \d+ requirements", ran.stdout)


# Wrong use


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module:BatchNorm", ["There is no module 'no_such_module'"]),
        ("layers.py:NUMBER", ["is int, and nothing callable"]),
    ],
)
def test_a_target_that_is_none(bn1d, target, words):
    refused(bn1d("run", target), *words)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(7)", ["raises SystemExit: 7"]),
        ("import os; os._exit(9)", ["ended the process"]),
        ("import os; os.abort()", ["aborted the process"]),
    ],
)
def test_a_file_that_ends_the_process_while_it_is_imported(bn1d, tmp_path, code, words):
    (tmp_path / "broken.py").write_text(code)
    start = time.monotonic()
    refused(bn1d("run", "broken.py:Layer", cwd=tmp_path), *words)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--profile", "fast"], ["no profile 'fast'", "quick, full, deep"]),
        (["--map", "weight"], ["--map 'weight' names nothing", "weight=gamma"]),
        (["--map", "colour=red"], ["--map 'colour=red' names nothing"]),
        (["--map", "weight=2 + 2"], ["names nothing"]),
        (["--json", "no/such/folder/out.json"], ["can't be written"]),
        (["--json", "."], ["can't be written"]),
    ],
)
def test_options_that_are_none(options, words):
    refused(here("run", "layers.py:Right", *options), *words)


@pytest.mark.parametrize(
    ("target", "device", "words"),
    [
        ("torch.nn:BatchNorm1d", "nonsense", ["There is no device 'nonsense' here: "]),
        ("torch.nn:BatchNorm1d", "cuda:4096", ["There is no device 'cuda:4096' here: "]),
        ("layers.py:Right", "cuda", ["layers.py:Right computes on the CPU"]),
    ],
)
def test_a_device_that_is_not_there_is_nobodys_failure(bn1d, target, device, words):
    refused(bn1d("run", target, "--device", device), *words)


@pytest.mark.parametrize("select", ["no_such_check", "and or"])
def test_a_selection_of_nothing(bn1d, select):
    refused(bn1d("run", "layers.py:Right", "-k", select), f"-k {select!r}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o555)
    refused(here("run", "layers.py:Right", "--json", tmp_path / "out.json"), "can't be written")


@pytest.mark.parametrize("words", [["run"], ["run", "a:b", "--no-such-option"], ["judge"]])
def test_what_typer_refuses_exits_with_2(words):
    ran = here(*words)
    assert ran.returncode == WRONG_USE
    assert "Traceback" not in ran.stderr


# The other commands


def test_explain_prints_the_requirement():
    ran = here("explain", "stats-2")
    assert ran.returncode == 0
    assert ran.stdout.startswith("STATS-2  MUST, stable\n")
    for word in ("Why", "What breaks", "Source", "Page", "#stats-2", "n/(n − 1)"):
        assert word in ran.stdout


@pytest.mark.parametrize(
    ("ident", "hint"), [("STATS-99", "STATS-1 to STATS-"), ("STAT-2", "STATS-2"), ("x", "STATS-2")]
)
def test_explain_of_an_unknown_id(ident, hint):
    refused(here("explain", ident), f"There is no requirement {ident!r}", hint)


def test_list_names_every_requirement_once():
    ran = here("list")
    assert ran.returncode == 0
    assert re.findall(r"^  ([A-Z]+-\d+) ", ran.stdout, re.MULTILINE) == list(spec.requirements())


def test_version():
    ran = here("--version")
    assert ran.returncode == 0
    assert re.fullmatch(r"bn1d \S+, spec \S+\n", ran.stdout)


def test_a_shell_completes_commands():
    asked = {"_BN1D_COMPLETE": "complete_bash", "COMP_WORDS": "bn1d re", "COMP_CWORD": "1"}
    ran = CliRunner(env=asked).invoke(cli.app, prog_name="bn1d")
    assert sorted(ran.stdout.split()) == ["repro", "results"]


def test_no_arguments_help():
    assert "Usage" in here().stdout + here().stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["list"], ["explain", "STATS-2"]]
)
def test_what_judges_nothing_imports_no_numbers(python, words):
    ran = python(f"""
        import sys
        from bn1d_conformance import cli
        sys.argv = ["bn1d", *{words}]
        try:
            cli.main()
        except SystemExit:
            pass
        slow = {{"torch", "numpy", "ml_dtypes", "pytest"}}
        print(sorted(slow & set(sys.modules)), file=sys.stderr)
    """)
    assert ran.stderr == "[]\n"


def test_the_process_that_waits_for_a_run_imports_no_numbers(python, folder):
    ran = python(
        """
        import sys
        from bn1d_conformance import cli
        sys.argv = "bn1d run modules.py:Shifted --profile quick -k test_constructs".split()
        try:
            cli.main()
        finally:
            print(sorted({"asyncio", "ml_dtypes", "numpy", "torch"} & set(sys.modules)))
        """,
        folder,
    )
    assert ran.stdout.endswith("[]\n"), ran.stderr


# Options that change what is asked


def test_map_names_what_is_unusual(bn1d, folder, tmp_path):
    code = (folder / "layers.py").read_text().replace("self.gamma", "self.stretch")
    (tmp_path / "odd.py").write_text(code)
    words = [
        "run",
        "odd.py:Right",
        "--profile",
        "quick",
        "-k",
        "test_affine",
        "--json",
        "out.json",
    ]
    found = []
    for names in ([], ["--map", "weight=stretch"]):
        bn1d(*words, *names, cwd=tmp_path)
        result = json.loads((tmp_path / "out.json").read_text("utf-8"))
        verdict = result["requirements"]["TRAIN-5"]["verdict"]
        found.append((verdict, result["subject"]["names"]["weight"]))
    assert found == [("not-applicable", None), ("pass", "stretch")]


def test_fail_fast_stops_and_still_diverges(bn1d, tmp_path):
    words = [
        "--profile",
        "quick",
        "--fail-fast",
        "-k",
        "test_stats",
        "--json",
        tmp_path / "out.json",
    ]
    ran = bn1d("run", "modules.py:Biased", *words)
    assert ran.returncode == DIVERGES
    result = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert result["verdict"] == "diverges"
    assert result["counts"]["not_run"] > 100


def test_what_binds_nobody_stops_no_run(bn1d, tmp_path):
    words = ("--profile", "quick", "--fail-fast", "--json", tmp_path / "out.json")
    ran = bn1d("run", "modules.py:Lenient", *words)
    assert ran.returncode == CONFORMS, ran.stdout
    rows = json.loads((tmp_path / "out.json").read_text("utf-8"))["requirements"]
    assert [i for i, row in rows.items() if row["verdict"] == "fail"] == ["INPUT-17"]


def test_timings_say_where_the_time_went(bn1d):
    ran = bn1d("run", "layers.py:Right", *QUICK, "-k", "test_momentum", "--timings")
    said = next(line for line in ran.stdout.splitlines() if line.startswith("Seconds: "))
    for part in ("import", "subject", "oracle", "judging", "in all"):
        assert part in said


def test_repro_of_what_is_no_results_file(tmp_path):
    refused(here("repro", tmp_path / "missing.json"), "can't be read")
    for text in ("{", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}'):
        (tmp_path / "file.json").write_text(text)
        refused(here("repro", tmp_path / "file.json"), "file.json")


# The seed


@pytest.fixture(scope="module")
def searched(bn1d, tmp_path_factory):
    """A deep run of a wrong module: what was printed, and the results document."""

    def call(*words):
        out = tmp_path_factory.mktemp("deep") / "result.json"
        options = ("--profile", "deep", "-k", "test_momentum", "--json", out, *words)
        ran = bn1d("run", "modules.py:Biased", *options)
        return ran, json.loads(out.read_text("utf-8"))

    return call


def judged(result):
    """What a run found, without its times."""
    rows = result["requirements"].values()
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_search_says_the_seed_that_finds_the_same_again(searched):
    ran, first = searched()
    seed = first["options"]["seed"]
    assert f"(deep, seed {seed})" in ran.stderr
    assert f"--profile deep --seed {seed} draws the same cases again." in ran.stdout
    _, again = searched("--seed", seed)
    assert judged(again) == judged(first)
    _, other = searched("--seed", seed + 1)
    assert judged(other) != judged(first)


def test_a_search_is_a_new_one_every_time():
    assert len({plugin.fresh_seed("deep") for _ in range(8)}) == 8
    assert {plugin.fresh_seed(profile) for profile in ("quick", "full")} == {0}


def test_a_seed_is_no_negative_number():
    assert here("run", "layers.py:Right", "--seed", "-1").returncode == WRONG_USE


SAYS_ITS_THREADS = """
import os
raise SystemExit(f"{os.environ.get('OMP_NUM_THREADS')} {os.environ.get('OMP_WAIT_POLICY')}")
"""


@pytest.mark.parametrize(
    ("profile", "said"), [("quick", "1 None"), ("full", "1 None"), ("deep", "None PASSIVE")]
)
def test_threads_do_not_wait_for_each_other_at_the_processors_cost(
    bn1d, tmp_path, monkeypatch, profile, said
):
    for variable in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "says.py").write_text(SAYS_ITS_THREADS)
    ran = bn1d("run", "says.py:BatchNorm", "--profile", profile, "-j", "2", cwd=tmp_path)
    assert said in ran.stderr
