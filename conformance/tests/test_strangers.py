"""Files as strangers write them, two of which need --map: a useful verdict for each."""

import json
from pathlib import Path

import pytest

STRANGERS = Path(__file__).parent / "zoo" / "strangers"
DIVERGES = 1


@pytest.fixture
def run(bn1d, tmp_path):
    """The results document of a quick run; every one of these files diverges somewhere."""

    def call(target, *words):
        out = tmp_path / "result.json"
        options = ("--profile", "quick", "--json", out)
        ran = bn1d("run", target, *options, *words, cwd=STRANGERS)
        assert "Traceback" not in ran.stdout + ran.stderr
        assert ran.returncode == DIVERGES, ran.stdout + ran.stderr
        return json.loads(out.read_text("utf-8"))

    return call


def verdicts(result, *idents):
    return [result["requirements"][ident]["verdict"] for ident in idents]


def in_areas(result, *areas):
    """Every verdict of the areas that was judged at all."""
    rows = result["requirements"].items()
    found = {i: r["verdict"] for i, r in rows if i.partition("-")[0] in areas}
    return {i: v for i, v in found.items() if v != "not-applicable"}


def test_gamma_and_beta_with_rebound_buffers(run):
    result = run("porting_notes.py:MyBatchNorm")
    assert verdicts(result, "PARAM-8", "BUF-9", "BUF-1") == ["fail"] * 3
    formulas = (
        "STATS-1",
        "STATS-2",
        "STATS-3",
        "TRAIN-1",
        "TRAIN-2",
        "TRAIN-3",
        "EVAL-1",
        "GRAD-1",
    )
    assert verdicts(result, *formulas) == ["pass"] * len(formulas)


def test_numpy_with_a_right_backward(run):
    result = run("assignment2.py:BatchNorm")
    judged = in_areas(result, "TRAIN", "EVAL", "STATS", "GRAD")
    assert len(judged) > 40
    assert set(judged.values()) == {"pass"}, judged
    assert verdicts(result, "PARAM-8") == ["fail"]


def test_numpy_with_a_wrong_backward(run):
    result = run("assignment2_wrong.py:BatchNorm")
    (named,) = [d for d in result["diagnoses"] if d["identified"]]
    assert named["requirement"] == "GRAD-1"
    assert named["cause"] == "The gradient takes mean and variance for constants."


def test_a_bare_function(run):
    result = run("one_function.py:batchnorm")
    first = result["diagnoses"][0]
    assert first["requirement"] == "STATS-2"
    assert "biased variance is tracked" in first["cause"]
    assert set(in_areas(result, "TRAIN").values()) == {"pass"}


def test_one_that_hangs_in_c_for_large_batches(run):
    result = run("waits_for_gpu.py:FusedBatchNorm", "--timeout", "5", "-k", "TRAIN-1 or EVAL-2")
    assert verdicts(result, "TRAIN-15") == ["timeout"]
    assert verdicts(result, "TRAIN-3", "TRAIN-12", "TRAIN-13", "EVAL-2")[1:] == ["pass"] * 3


def test_one_that_segfaults_on_strides(run):
    result = run("raw_pointer.py:FastBatchNorm", "-k", "LAYOUT-1 or TRAIN-3 or STATS-2")
    assert verdicts(result, "LAYOUT-1") == ["crash"]
    assert verdicts(result, "TRAIN-3", "STATS-2") == ["pass"] * 2


def test_own_words_with_a_map(run):
    words = {
        "weight": "stretch", "bias": "lift", "running_mean": "centre_so_far",
        "running_var": "spread_so_far", "eps": "tiny", "momentum": "pace",
    }  # fmt: skip
    options = [word for pair in words.items() for word in ("--map", "=".join(pair))]
    result = run("own_words.py:Normalizer", *options)
    judged = in_areas(result, "TRAIN", "EVAL", "STATS")
    assert len(judged) > 30
    assert set(judged.values()) == {"pass"}, judged
    assert verdicts(result, "PARAM-8", "BUF-2") == ["fail", "fail"]


def test_statistics_that_no_name_is_known_for_are_missing_and_the_kit_goes_on(run):
    checks = ("three_buffers", "momentum", "deep_copy", "other_format", "ensemble")
    chosen = " or ".join(f"test_{name}" for name in checks)
    result = run("hidden_words.py:Normalizer", "-k", chosen)
    assert result["errors"] == []
    assert verdicts(result, "BUF-1", "STATS-1", "STATE-5", "STATE-16") == ["fail"] * 4
