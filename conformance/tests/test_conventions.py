"""What a declared convention excuses, and what it does not."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bn1d_conformance import cases, cli, dialect, results
from bn1d_conformance.documents import reading
from bn1d_conformance.expected import Expected
from bn1d_conformance.judge import examine
from bn1d_conformance.keep import Store
from bn1d_conformance.subject import TargetError
from bn1d_conformance.wire import session

CONFORMS, DIVERGES, WRONG_USE, INCOMPLETE = 0, 1, 2, 3
BIASED = "running_var=biased"
LAYERS = """
import numpy as np
from layers import Biased, Right


class WithEps(Biased):
    def track(self, mean, var, n):
        super().track(mean, var + 10 * self.eps, n)


class OfSmallBatches(Biased):
    def track(self, mean, var, n):
        (Biased if n < 5 else Right).track(self, mean, var, n)


class Defaults(Right):
    def __init__(self, num_features, eps=1e-3, momentum=0.01):
        super().__init__(num_features, eps, momentum)
"""
SINGLE = """
import torch


class Bias(torch.nn.BatchNorm1d):
    def forward(self, x):
        if self.training and x.numel() == x.shape[1]:
            return self.single(x)
        return super().forward(x)

    def single(self, x):
        bias = torch.zeros(x.shape[1]) if self.bias is None else self.bias
        return 0 * x + bias.reshape(x.shape)


class AlmostBias(Bias):
    def single(self, x):
        return super().single(x) + 0.01 * x


class Input(Bias):
    def single(self, x):
        return x.clone()


class Nan(Bias):
    def single(self, x):
        return x * float("nan")
"""
RENAMED = """
import torch


class Renamed(torch.nn.Module):
    order = ("gain", "shift")

    def __init__(self, num_features):
        super().__init__()
        starts = {"gain": torch.ones, "shift": torch.zeros}
        for name in self.order:
            self.register_parameter(name, torch.nn.Parameter(starts[name](num_features)))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        statistics = self.running_mean, self.running_var
        return torch.nn.functional.batch_norm(x, *statistics, self.gain, self.shift, self.training)


class Swapped(Renamed):
    order = ("shift", "gain")
"""


@pytest.fixture(scope="module")
def spoken(bn1d, folder, tmp_path_factory):
    """The exit code, the output and the document of a quick run under a dialect."""
    (folder / "spoken.py").write_text(LAYERS)
    (folder / "single.py").write_text(SINGLE)
    (folder / "renamed.py").write_text(RENAMED)

    def call(target, select, *declared, options=()):
        out = tmp_path_factory.mktemp("results") / "result.json"
        words = [word for convention in declared for word in ("--dialect", convention)]
        words += ["-k", select] if select else []
        ran = bn1d("run", target, "--profile", "quick", "--json", out, *words, *options)
        assert "Traceback" not in ran.stderr
        return ran.returncode, ran.stdout, reading.load(out)

    return call


def verdicts(document):
    return {
        ident: row["verdict"]
        for ident, row in document["requirements"].items()
        if row["verdict"] not in ("not-run", "not-applicable")
    }


# The tracked variance


def test_what_is_declared_and_done_deviates(spoken):
    code, said, document = spoken("layers.py:Biased", "test_stats or test_train", BIASED)
    found = verdicts(document)
    assert found["STATS-2"] == "deviates"
    assert found["TRAIN-1"] == found["STATS-1"] == "pass"
    assert not set(found.values()) & set(results.FAILING)
    assert code == INCOMPLETE
    row = document["requirements"]["STATS-2"]
    assert row["failed"] == 0
    assert 1 < row["deviates"][BIASED] < row["cases"]  # both variances of a constant are 0
    assert document["counts"]["deviates"] == list(found.values()).count("deviates")
    assert document["subject"]["dialect"] == {"running_var": "biased"}
    assert document["options"]["dialect"] == [BIASED]
    assert "STATS-2, STATS-4" in said
    assert f"deviate, by the declared {BIASED}." in said


def test_what_is_not_declared_fails(spoken):
    code, _, document = spoken("layers.py:Biased", "test_stats", "momentum=weight-of-old")
    assert verdicts(document)["STATS-2"] == "fail"
    assert code == DIVERGES


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("WithEps", f"is right under {BIASED}"),
        ("OfSmallBatches", f"is right under {BIASED}"),
    ],
)
def test_a_dialect_hides_no_other_defect(spoken, name, says):
    code, _, document = spoken(f"spoken.py:{name}", "test_stats", BIASED)
    assert code == DIVERGES
    assert verdicts(document)["STATS-2"] == "fail"
    assert says in document["requirements"]["STATS-2"]["failures"][0]["message"]


def test_two_conventions_in_one_layer_are_named_and_reproduced(spoken, bn1d, tmp_path):
    _, _, document = spoken("spoken.py:OfSmallBatches", "test_stats", BIASED)
    head = document["diagnoses"][0]
    assert head["requirement"] == "STATS-2"
    assert head["cause"].startswith("PyTorch's convention is followed here")
    assert "deviates" in verdicts(document).values()
    results.write(document, tmp_path / "r.json")
    ran = bn1d("repro", tmp_path / "r.json", "STATS-2")
    assert ran.returncode == 0, ran.stderr
    assert "running_var" in ran.stdout


def test_who_declares_and_is_as_pytorch_everywhere_passes(spoken):
    _, _, document = spoken("layers.py:Right", "test_stats", BIASED)
    assert set(verdicts(document).values()) == {"pass"}
    assert all("deviates" not in row for row in document["requirements"].values())


@pytest.mark.parametrize(
    ("value", "of_two", "of_three"),
    [("unbiased", 1, 1), ("biased", 0, 0), ("biased-2d", 0, 1), ("biased-3d", 1, 0)],
)
def test_the_variance_may_be_declared_by_rank(value, of_two, of_three):
    declared = {"running_var": value}
    shapes = {(4, 3): of_two, (4, 3, 2): of_three}
    for shape, correction in shapes.items():
        assert dialect.correction(declared, shape) == correction
        case = cases.drawn("ranked", "fp32", shape, 0)
        answer = Expected(case, dialect=declared).running_var
        assert (answer.declared is None) == bool(correction)


def test_the_declared_answer_is_of_the_biased_variance_and_is_kept_apart(tmp_path):
    case = cases.drawn("kept", "fp64", (5, 3), 0)
    store = Store(tmp_path)
    plain = Expected(case, store=store).running_var
    for _ in range(2):
        answer = Expected(case, store=store, dialect={"running_var": "biased"}).running_var
        declared = answer.declared
        np.testing.assert_array_equal(answer.exact, plain.exact)
        m, old = case.config.momentum, case.state.running_var.astype(float)
        np.testing.assert_allclose(
            declared.exact, (1 - m) * old + m * case.x.var(axis=0), rtol=1e-12
        )
        assert declared.convention == BIASED
    assert Expected(case, store=store).running_var.declared is None


def test_a_part_of_an_answer_has_that_part_of_the_declared_one():
    case = cases.drawn("part", "fp64", (5, 3), 0)
    answer = Expected(case, dialect={"running_var": "biased"}).running_var
    part = answer.part(slice(1, 2))
    np.testing.assert_array_equal(part.declared.exact, answer.declared.exact[1:2])


def test_an_answer_is_judged_as_pytorch_first():
    case = cases.drawn("judged", "fp64", (5, 3), 0)
    answer = Expected(case, dialect={"running_var": "biased"}).running_var
    notes = dialect.Notes()
    decides, failure = examine("STATS-2", case, answer.exact, answer, notes)
    assert decides is answer
    assert failure is None
    assert notes.of("STATS-2").keys() == {"strays"}
    decides, failure = examine("STATS-4", case, answer.declared.exact, answer, notes)
    assert decides is answer.declared
    assert failure is None
    assert notes.of("STATS-4") == {"deviates": [BIASED]}
    _, failure = examine("STATS-9", case, answer.exact + 1, answer, notes)
    assert f"is right under {BIASED}" in failure.message
    assert notes.of("STATS-9") == {}


# Defaults, single values, names


@pytest.mark.parametrize(
    ("name", "ident", "convention", "verdict"),
    [
        ("Defaults", "CTOR-2", "default_eps=1e-3", "deviates"),
        ("Defaults", "CTOR-2", "default_eps=1e-4", "fail"),
        ("Right", "CTOR-2", "default_eps=1e-3", "pass"),
        ("Defaults", "CTOR-3", "default_momentum=0.01", "deviates"),
        ("Defaults", "CTOR-3", "default_momentum=0.02", "fail"),
        ("Bias", "INPUT-3", "single_value=bias", "deviates"),
        ("Bias", "INPUT-3", "single_value=input", "fail"),
        ("Bias", "INPUT-3", BIASED, "fail"),
        ("Input", "INPUT-3", "single_value=input", "deviates"),
        ("Input", "INPUT-3", "single_value=nan", "fail"),
        ("Nan", "INPUT-3", "single_value=nan", "deviates"),
        ("Nan", "INPUT-3", "single_value=bias", "fail"),
        ("AlmostBias", "INPUT-3", "single_value=bias", "fail"),
        ("Right", "PARAM-8", "names=own", "deviates"),
        ("Right", "PARAM-8", "names=pytorch", "fail"),
        ("Right", "BUF-2", "names=own", "deviates"),
    ],
)
def test_what_one_convention_excuses(spoken, name, ident, convention, verdict):
    file = "single.py" if ident == "INPUT-3" else "spoken.py"
    _, _, document = spoken(f"{file}:{name}", ident, convention)
    row = document["requirements"][ident]
    assert row["verdict"] == verdict, row["failures"]
    assert list(row.get("deviates", {})) == [convention] * (verdict == "deviates")


def test_a_default_momentum_is_in_its_own_sense(spoken):
    declared = ("momentum=weight-of-old", "default_momentum=0.99")
    _, _, document = spoken("spoken.py:Defaults", "CTOR-3", *declared)
    assert document["requirements"]["CTOR-3"]["verdict"] == "deviates"


def test_names_of_its_own_keep_their_order(spoken):
    for name, verdict in (("Renamed", "deviates"), ("Swapped", "fail")):
        options = ("--map", "weight=gain", "--map", "bias=shift")
        target = f"renamed.py:{name}"
        _, _, document = spoken(target, "PARAM-8", "names=own", options=options)
        assert document["requirements"]["PARAM-8"]["verdict"] == verdict


# What can be declared


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weather=fine", "A dialect has no convention 'weather'."),
        ("weather", "A dialect has no convention 'weather'."),
        ("running_var=maybe", "A dialect's running_var can't be 'maybe'."),
        ("running_var", "A dialect's running_var can't be ''."),
        ("default_eps=small", "A dialect's default_eps can't be 'small'."),
        ("default_eps=nan", "A dialect's default_eps can't be 'nan'."),
        ("default_eps=inf", "A dialect's default_eps can't be 'inf'."),
        ("default_eps=-1", "It may be a decimal from 0."),
        ("default_momentum=1.5", "It may be a decimal from 0 to 1."),
        ("layout=last", "It may be channels-first, channels-last."),
    ],
)
def test_what_no_subject_can_declare(text, words):
    ran = CliRunner().invoke(cli.app, ["run", "layers.py:Right", "--dialect", text])
    assert ran.exit_code == WRONG_USE
    assert words in ran.stderr
    key, _, value = text.partition("=")
    with pytest.raises(TargetError):
        dialect.check({key: value})


def test_a_subject_that_declares_what_there_is_not_is_refused(bn1d, folder):
    (folder / "declares.py").write_text(DECLARES)
    ran = bn1d("run", "declares.py:Declares")
    assert ran.returncode == WRONG_USE
    said = ran.stderr.strip().splitlines()[-2:]
    assert said[0] == "bn1d: A dialect has no convention 'weather'."
    assert said[1].strip().startswith("There are momentum, default_momentum,")


DECLARES = """
class Declares:
    target = name = "declares.py:Declares"
    version, adapter, dialect = "", "own", {"weather": "fine"}
    capabilities, names = frozenset(), {}

    def __init__(self, request):
        pass

    def build(self, config):
        raise NotImplementedError

    def build_default(self, num_features):
        raise NotImplementedError
"""


def test_a_worker_declares_its_own():
    words = ["run", "--worker", "python mine.py", "--dialect", BIASED]
    ran = CliRunner().invoke(cli.app, words)
    assert ran.exit_code == WRONG_USE
    assert "a worker declares its own" in ran.stderr


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"weather": "fine"}, "A dialect has no convention 'weather'."),
        ({"counter": "maybe"}, "A dialect's counter can't be 'maybe'."),
    ],
)
def test_a_worker_that_declares_what_there_is_not(declared, words):
    hello = session.Hello(**{**HELLO, "dialect": declared})
    sentence, hint = session.misfit(hello, "cpu")
    assert sentence == words
    assert hint
    assert (
        session.misfit(session.Hello(**{**HELLO, "dialect": {"counter": "none"}}), "cpu") is None
    )


HELLO = {
    "protocol": 1,
    "name": "n",
    "version": "1",
    "language": "Lua",
    "capabilities": ["train", "fp32"],
}


# What a results file says


def test_a_results_file_that_contradicts_its_dialect(spoken):
    _, _, document = spoken("layers.py:Biased", "test_stats", BIASED)
    assert list(reading.contradictions(document)) == []
    row = ("requirements", "STATS-2")
    for change, words in (
        (lambda d: d["subject"].update(dialect={}), "which its subject does not declare"),
        (lambda d: d["subject"]["dialect"].update(weather="fine"), "no convention 'weather'"),
        (lambda d: d[row[0]][row[1]].pop("deviates"), "is deviates, and its deviates says other"),
        (lambda d: d[row[0]][row[1]]["deviates"].update({BIASED: 999}), "has 999 cases, more"),
        (lambda d: d[row[0]]["STATS-1"].update(deviates={BIASED: 1}), "is pass, and its deviates"),
    ):
        other = json.loads(json.dumps(document))
        change(other)
        assert words in " ".join(reading.contradictions(other))
