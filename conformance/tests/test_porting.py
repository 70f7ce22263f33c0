"""The porting guide: what it says differs, and its code, run and held against the oracle."""

import json
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, dialect, porting, results
from bn1d_conformance.porting import PYTORCH, Side
from bn1d_conformance.run import Options
from bn1d_reference.formats import FP64
from bn1d_reference.oracle import BatchNorm1d

RESULTS = Path(__file__).resolve().parents[1] / "results"
OLD_WEIGHT = {"momentum": "weight-of-old", "running_var": "biased", "counter": "none"}
#: What the frameworks document of their layers, and their names of the tensors.
DOCUMENTED = {
    "Keras": (
        {**OLD_WEIGHT, "default_momentum": "0.99", "default_eps": "1e-3", "single_value": "bias"},
        "gamma beta moving_mean moving_variance",
    ),
    "Flax": (
        {**OLD_WEIGHT, "default_momentum": "0.99", "layout": "channels-last"},
        "scale bias mean var",
    ),
    "Paddle": (
        {**OLD_WEIGHT, "default_momentum": "0.9", "single_value": "input"},
        "weight bias _mean _variance",
    ),
    "MLX": (
        {"counter": "none", "layout": "channels-last"},
        "weight bias running_mean running_var",
    ),
    "ONNX": (
        {**OLD_WEIGHT, "default_momentum": "0.9", "single_value": "bias"},
        "scale B input_mean input_var",
    ),
    "mixed": ({"running_var": "biased-3d", "momentum": "weight-of-old"}, "w b running_mean v"),
}


def documented(name):
    own, names = DOCUMENTED[name]
    assert dialect.misfit(own) is None
    tensors = dict(zip(porting.TENSORS, names.split(), strict=False))
    return Side(name, {**dialect.PYTORCH, **own}, tensors)


def published():
    return [porting.side_of(json.loads(f.read_text("utf-8"))) for f in RESULTS.glob("*.json")]


SIDES = [PYTORCH, *map(documented, DOCUMENTED)]
FROM_PYTORCH = [(PYTORCH, side) for side in published()]
PAIRS = [
    pytest.param(old, new, id=f"{old.name}-{new.name}")
    for old, new in (*permutations(SIDES, 2), *FROM_PYTORCH)
]


def code_of(old, new):
    """The code of the guide, run."""
    [text] = re.findall(r"```python\n(.*)\n```", porting.guide(old, new), re.DOTALL) or [
        porting.program(old, new)
    ]
    found = {}
    exec(text, found)
    return found


def trained(side, x, steps, weight):
    """The tensors that a layer of this side has after some batches, under its names."""
    correction = side.correction(x.ndim)
    bn = BatchNorm1d(3, momentum=weight, correction=correction, format=FP64)
    for k in range(steps):
        bn.forward((x * (k + 1) + k).tolist())
    tensors = {**bn.parameters(), **bn.buffers()}
    return {own: np.array(tensors[name]) for name, own in side.names.items()}


@pytest.mark.parametrize("size", [(5, 3), (2, 3, 4)], ids=["2d", "3d"])
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_ported_state_is_what_the_other_would_have_tracked(old, new, size):
    x, weight, steps = np.random.default_rng(0).normal(2, 3, size), 0.25, 3
    found, n = code_of(old, new), size[0] * (size[2] if len(size) == 3 else 1)
    state, want = (trained(side, x, steps, weight) for side in (old, new))
    got = found["port"](state, n, (1 - weight) ** steps, rank=len(size))
    both = [new.names[name] for name in new.names if name in old.names]
    assert list(got) == both
    for name in both:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-14)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_options_make_a_default_layer_of_the_other(old, new):
    options = code_of(old, new)["OPTIONS"]
    assert options["eps"] == old.eps
    weights = (
        dialect.weight_of_new(side.dialect, momentum)
        for side, momentum in ((old, old.momentum), (new, options["momentum"]))
    )
    assert next(weights) == pytest.approx(next(weights), rel=1e-14)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_layout_is_swapped_where_it_differs(old, new):
    found, x = code_of(old, new), np.arange(24.0).reshape(2, 3, 4)
    differs = old.dialect["layout"] != new.dialect["layout"]
    assert ("swap_layout" in found) is differs
    if differs:
        swapped = found["swap_layout"](x)
        assert swapped.shape == (2, 4, 3)
        np.testing.assert_array_equal(found["swap_layout"](swapped), x)
        assert found["swap_layout"](x[0]) is not None
        assert found["swap_layout"](x[:, :, 0]).shape == (2, 3)


def test_what_differs_is_in_the_table():
    keras = documented("Keras")
    rows = {what: (a, b) for what, a, b, _ in porting.rows(PYTORCH, keras)}
    assert rows["momentum"] == ("weight-of-new", "weight-of-old")
    assert rows["default_eps"] == ("1e-5", "1e-3")
    assert rows["running_var"] == ("running_var", "moving_variance")
    assert rows["weight"] == ("weight", "gamma")
    assert "layout" not in rows
    assert porting.rows(keras, keras) == []


def result(side, **subject):
    """The results document of a subject of which nothing was judged."""
    asked = vars(Options("mine.py:Layer"))
    found = json.loads(json.dumps(results.build(results.Tally([]), asked, complete=False)))
    found["subject"] |= {
        "name": side.name,
        "dialect": {k: v for k, v in side.dialect.items() if dialect.BY_KEY[k].differs(v)},
        "names": dict(side.names),
        "capabilities": ["cumulative"],
        **subject,
    }
    return found


def test_a_results_file_says_all_that_the_guide_needs():
    for name in DOCUMENTED:
        side = documented(name)
        seen = porting.side_of(result(side))
        assert seen.names == side.names
        assert seen.dialect == {**side.dialect, "counter": "none"}
    lacking = porting.side_of(result(documented("MLX"), capabilities=[]))
    assert lacking.dialect["cumulative"] == "none"


def test_there_is_a_page_for_whoever_differs():
    files = {name.lower(): result(documented(name)) for name in DOCUMENTED}
    pages = porting.pages({"torch": result(PYTORCH), **files})
    guides = [f"porting/{name.lower()}.md" for name in DOCUMENTED]
    assert list(pages) == ["dialects.md", "porting/index.md", *guides]
    assert "(keras.md)" in pages["porting/index.md"]
    assert "## From Keras to PyTorch" in pages["porting/keras.md"]


def test_names_from_a_file_are_data():
    names = {"weight": 'x"]\n```\n<script>', "running_var": "v'\\"}
    hostile = Side('"""\nimport os', {**dialect.PYTORCH, "running_var": "biased"}, names)
    page = porting.guide(PYTORCH, hostile)
    assert "<script" not in page.partition("```python")[0]
    assert page.count("\n```") == 2
    got = code_of(PYTORCH, hostile)["port"]({"weight": 1.0, "running_var": 4.0}, 2)
    assert got == {names["weight"]: 1.0, names["running_var"]: 2.0}


def test_the_command_prints_a_program(tmp_path):
    for name in ("Keras", "Flax"):
        (tmp_path / name).write_text(json.dumps(result(documented(name))), "utf-8")
    files = [str(tmp_path / name) for name in ("Keras", "Flax")]
    ran = CliRunner().invoke(cli.app, ["porting", *files])
    assert ran.exit_code == 0
    assert ran.stdout.startswith("# From Keras to Flax\n# default_eps: 1e-3 -> 1e-5; say it:")
    exec(ran.stdout, {})


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ({"dialect": {"weather": "fine"}}, "A dialect has no convention 'weather'."),
        ({"names": 3}, "subject.names is 3"),
    ],
)
def test_another_file_is_refused_in_a_sentence(tmp_path, subject, said):
    (tmp_path / "x").write_text(json.dumps(result(PYTORCH, **subject)), "utf-8")
    ran = CliRunner().invoke(cli.app, ["porting", str(tmp_path / "x"), str(tmp_path / "x")])
    assert ran.exit_code == 2
    assert said in ran.output
