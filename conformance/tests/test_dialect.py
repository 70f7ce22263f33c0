"""The table of conventions, and the verdict of a whole run under a dialect, and of its parts."""

import json

import pytest

from bn1d_conformance import dialect
from bn1d_reference import spec

CONFORMS = 0
LAYERS = '''
import layers


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
    assert not result["diagnoses"]


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


def test_the_table_is_of_the_spec_and_of_what_is_judged():
    for row in dialect.CONVENTIONS:
        assert set(row.requirements) <= set(spec.requirements())
        assert row.allows(row.pytorch)
        assert not row.differs(row.pytorch)
        assert row.quantity in {"", "running_mean", "running_var", "y"}


def test_values_are_compared_and_turned_as_numbers():
    assert not dialect.differing({"default_eps": "0.00001"})
    assert dialect.weight_of_new({"momentum": "weight-of-old"}, 0.9) == pytest.approx(0.1)
