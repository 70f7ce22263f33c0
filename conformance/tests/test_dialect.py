"""A convention that is declared excuses what keeps to it, and nothing else."""

import json

import pytest

from bn1d_conformance import dialect
from bn1d_conformance.subject import TargetError
from bn1d_reference import spec

CONFORMS, DIVERGES, WRONG_USE, INCOMPLETE = 0, 1, 2, 3

TWO = ("running_var=biased", "default_eps=1e-3")
LAYERS = '''
import layers
import torch


class BiasedAnyRank(layers.Biased):
    """Takes (N, C, L) too, as N·L rows."""

    def rows(self, x):
        return x.transpose(0, 2, 1).reshape(-1, x.shape[1]) if x.ndim == 3 else x

    def back(self, y, x):
        N, C, L = x.shape if x.ndim == 3 else (*x.shape, 1)
        return y.reshape(N, L, C).transpose(0, 2, 1).copy() if x.ndim == 3 else y

    def forward(self, x):
        return self.back(super().forward(self.rows(x)), x)

    def backward(self, dy):
        dx, *others = super().backward(self.rows(dy))
        return self.back(dx, dy), *others


class BiasedAndWrong(layers.Biased):
    """Divides by n, and forgets the old value too quickly."""

    def track(self, mean, var, n):
        super().track(mean, 0.9 * var, n)


class LargeEps(torch.nn.BatchNorm1d):
    """Has another default."""

    def __init__(self, num_features, eps=1e-3, *args, **options):
        super().__init__(num_features, eps, *args, **options)


class AnswersOne(torch.nn.BatchNorm1d):
    """Answers one value per channel by the bias."""

    def forward(self, x):
        if self.training and x.dim() in (2, 3) and x.numel() == self.num_features == x.shape[1]:
            bias = torch.zeros(self.num_features) if self.bias is None else self.bias
            return bias.reshape(x.shape).to(x.dtype)
        return super().forward(x)
'''


@pytest.fixture(scope="module")
def judged(bn1d, folder, tmp_path_factory):
    """Judge a layer of layers.py or of LAYERS under a dialect: the run, and the results."""
    (folder / "dialects.py").write_text(LAYERS, "utf-8")

    def call(target, *conventions, select=""):
        out = tmp_path_factory.mktemp("dialect") / "result.json"
        words = [word for convention in conventions for word in ("--dialect", convention)]
        chosen = ["-k", select] if select else []
        options = (*words, *chosen, "--profile", "quick", "--json", out)
        ran = bn1d("run", target, *options)
        return ran, json.loads(out.read_text("utf-8"))

    return call


def verdicts(result):
    return {i: row["verdict"] for i, row in result["requirements"].items()}


def test_what_is_declared_deviates_and_the_layer_conforms(judged):
    ran, result = judged("dialects.py:BiasedAnyRank", "running_var=biased", "names=own")
    found = verdicts(result)
    for ident in ("STATS-2", "PARAM-8", "BUF-2"):
        assert found[ident] == "deviates"
    assert set(found.values()) == {"pass", "deviates", "not-applicable"}
    assert ran.returncode == CONFORMS
    assert result["verdict"] == "conforms"
    row = result["requirements"]["STATS-2"]
    assert set(row["deviates"]) == {"running_var=biased"}
    assert row["failed"] == 0
    assert not result["diagnoses"]
    assert result["counts"]["deviates"] == list(found.values()).count("deviates")
    assert "running_var=biased" in ran.stdout
    assert "deviate, " in ran.stdout


def test_undeclared_it_is_a_failure(judged):
    ran, result = judged("layers.py:Biased", select="STATS-2")
    assert verdicts(result)["STATS-2"] == "fail"
    assert ran.returncode == DIVERGES


def test_nothing_hides_behind_a_dialect(judged):
    ran, result = judged("dialects.py:BiasedAndWrong", "running_var=biased", select="STATS-2")
    assert verdicts(result)["STATS-2"] == "fail"
    assert ran.returncode == DIVERGES
    [message, *_] = [f["message"] for f in result["requirements"]["STATS-2"]["failures"]]
    assert "under running_var=biased" in message


def test_a_convention_that_nobody_needs_excuses_nothing(judged):
    _, result = judged(
        "layers.py:Right", "running_var=biased", "default_eps=1e-3", select="STATS-2 or CTOR-2"
    )
    assert verdicts(result)["STATS-2"] == "pass"
    assert verdicts(result)["CTOR-2"] == "pass"


@pytest.mark.parametrize(
    ("name", "convention", "ident", "verdict"),
    [
        ("LargeEps", "default_eps=1e-3", "CTOR-2", "deviates"),
        ("LargeEps", "default_eps=1e-4", "CTOR-2", "fail"),
        ("AnswersOne", "single_value=bias", "INPUT-3", "deviates"),
        ("AnswersOne", "single_value=nan", "INPUT-3", "fail"),
        ("AnswersOne", "running_var=biased", "INPUT-3", "fail"),
    ],
)
def test_the_value_decides(judged, name, convention, ident, verdict):
    _, result = judged(f"dialects.py:{name}", convention, select=ident)
    assert verdicts(result)[ident] == verdict


def test_parts_deviate_as_the_whole(judged, bn1d, tmp_path):
    options = ("--dialect", "running_var=biased", "--profile", "quick", "-k", "STATS or CTOR")
    files = [tmp_path / f"{k}.json" for k in (1, 2)]
    for k, file in enumerate(files, 1):
        shard = ("--shard", f"{k}/2", "--json", file)
        bn1d("run", "layers.py:Biased", *options, *shard)
    bn1d("results", "merge", tmp_path / "whole.json", *files)
    merged = json.loads((tmp_path / "whole.json").read_text("utf-8"))
    _, whole = judged("layers.py:Biased", "running_var=biased", select="STATS or CTOR")
    for ident, row in whole["requirements"].items():
        keys = ("verdict", "cases", "failed", "deviates")
        assert [merged["requirements"][ident].get(k) for k in keys] == [row.get(k) for k in keys]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("weather=fine", "no convention 'weather'"),
        ("running_var=halved", "running_var can't be 'halved'"),
        ("default_eps=small", "default_eps can't be 'small'"),
        ("default_momentum=1.5", "default_momentum can't be '1.5'"),
        ("running_var", "running_var"),
    ],
)
def test_what_is_no_convention_is_a_sentence(bn1d, word, said):
    ran = bn1d("run", "layers.py:Right", "--dialect", word)
    assert ran.returncode == WRONG_USE
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_worker_declares_its_own(bn1d):
    ran = bn1d("run", "--worker", "true", "--dialect", "running_var=biased")
    assert ran.returncode == WRONG_USE
    assert "a worker declares its own" in ran.stderr


def test_the_table_is_of_the_spec_and_of_what_is_judged():
    for row in dialect.CONVENTIONS:
        assert set(row.requirements) <= set(spec.requirements())
        assert row.allows(row.pytorch)
        assert not row.differs(row.pytorch)
        assert row.quantity in {"", "running_mean", "running_var", "y"}


def test_a_text_that_is_no_number_is_no_decimal():
    with pytest.raises(TargetError):
        dialect.check({"default_eps": "nan"})
    assert not dialect.differing({"default_eps": "0.00001"})
    assert dialect.weight_of_new({"momentum": "weight-of-old"}, 0.9) == pytest.approx(0.1)
    assert dialect.correction({"running_var": "biased-2d"}, (5, 3)) == 0
    assert dialect.correction({"running_var": "biased-2d"}, (5, 3, 2)) == 1
