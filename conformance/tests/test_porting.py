"""The porting guide: what it says differs, and its code, run and held against the oracle."""

import json
import re
from itertools import permutations

import numpy as np
import pytest
from typer.testing import CliRunner

from bn1d_conformance import cli, dialect, results
from bn1d_conformance.running.run import Options
from bn1d_conformance.site import conversions, porting
from bn1d_conformance.site.porting import PYTORCH, Side
from bn1d_reference.formats import FP64
from bn1d_reference.oracle import BatchNorm1d
from bn1d_reference.spec import requirements

WRONG_USE = 2
C = 3
DOCUMENTED = porting.documented()
RANKED = Side(
    "ranked",
    dialect.PYTORCH | {"running_var": "biased-3d", "momentum": "weight-of-old"},
    {"weight": "w", "bias": "b", "running_mean": "m", "running_var": "v"},
)
FLAT = Side("flat", {**RANKED.dialect, "running_var": "biased-2d"}, RANKED.names)
SIDES = [*DOCUMENTED.values(), RANKED, FLAT]
PAIRS = [pytest.param(a, b, id=f"{a.name}-{b.name}") for a, b in permutations(SIDES, 2)]
SIZES = pytest.mark.parametrize("size", [(5, C), (2, C, 4)], ids=["2d", "3d"])


def code_of(old, new):
    """The code that the guide shows, run."""
    [text] = re.findall(r"^```python\n(.*)^```", porting.guide(old, new), re.DOTALL | re.MULTILINE)
    found = {}
    exec(text, found)
    return found


class Layer:
    """The oracle as a framework has it: its options, its names, its layout."""

    def __init__(self, side, eps, momentum):
        weight = dialect.weight_of_new(side.dialect, momentum)
        self.side, self.bn = side, BatchNorm1d(C, eps, weight, format=FP64)
        self.bn.weight, self.bn.bias = [1.5, -2.0, 0.5], [0.25, 3.0, -1.0]

    def state(self):
        tensors = {**self.bn.parameters(), **self.bn.buffers()}
        return {own: np.array(tensors[name]) for name, own in self.side.names.items()}

    def load(self, state):
        for name, own in self.side.names.items():
            if own in state:
                setattr(self.bn, name, state[own].tolist())

    def forward(self, x, *, training):
        self.bn.correction = self.side.correction(x.ndim)
        self.bn.train(training)
        return self.laid(np.array(self.bn.forward(self.laid(x).tolist())))

    def backward(self, dy):
        return self.laid(np.array(self.bn.backward(self.laid(dy).tolist()).x))

    def laid(self, x):
        last = self.side.dialect["layout"] == "channels-last" and x.ndim == 3
        return np.moveaxis(x, 1, 2) if last else x


def default(side):
    return Layer(side, *(float(side.dialect[f"default_{key}"]) for key in ("eps", "momentum")))


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def batches(size, side, count=3):
    """Some batches, in the layout of a side."""
    rng = np.random.default_rng(0)
    layer = default(side)
    return [layer.laid(rng.normal(k, k + 2, size)) for k in range(count)]


@SIZES
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_converted_layer_goes_on_as_the_old_one_would(old, new, size):
    found = code_of(old, new)
    swap = found.get("swap_layout", lambda x: x)
    one, other = default(old), Layer(new, **found["OPTIONS"])
    for x in batches(size, old):
        one.forward(x, training=True)
    other.load(found["convert_state"](one.state(), found["NAMES"]))
    seen = batches(size, old)
    close(swap(one.forward(seen[0], training=False)), other.forward(swap(seen[0]), training=False))
    start = one.bn.running_var
    for x in seen:
        close(swap(one.forward(x, training=True)), other.forward(swap(x), training=True))
        close(swap(one.backward(x - 1)), other.backward(swap(x - 1)))
    close(one.bn.running_mean, other.bn.running_mean)
    left = np.array(start) * (1 - one.bn.momentum) ** len(seen)
    n, step = int(np.prod(size)) // C, found.get("STEP", {}).get(len(size), 0)
    moved = conversions.convert_var(np.array(one.bn.running_var), n, left, step)
    close(moved, other.bn.running_var)
    assert (step == 0) == np.allclose(one.bn.running_var, other.bn.running_var, rtol=1e-6)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_guide_has_the_code_that_applies_and_no_other(old, new):
    found = code_of(old, new)
    for name, key in (
        ("convert_momentum", "momentum"),
        ("convert_var", "running_var"),
        ("STEP", "running_var"),
        ("swap_layout", "layout"),
    ):
        assert (name in found) == (old.dialect[key] != new.dialect[key])


def test_the_layout_of_two_dimensions_is_one():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert conversions.swap_layout(x).shape == (2, 4, 3)
    assert conversions.swap_layout(x[0]).shape == (3, 4)


@pytest.mark.parametrize("key", list(DOCUMENTED))
def test_what_is_documented_is_in_the_table_of_conventions(key):
    side = DOCUMENTED[key]
    assert dialect.misfit(side.dialect) is None
    assert set(side.names) <= set(porting.TENSORS)
    assert side.source.startswith("https://")


def test_what_differs_is_in_the_table():
    keras = DOCUMENTED["keras"]
    rows = {what: (a, b) for what, a, b, _ in porting.rows(PYTORCH, keras)}
    assert rows["momentum"] == ("weight-of-new", "weight-of-old")
    assert rows["default_eps"] == ("1e-5", "1e-3")
    assert rows["running_var"] == ("unbiased", "biased")
    assert rows["name of weight"] == ("weight", "gamma")
    assert "running_average" not in rows
    assert "default_eps" not in {what for what, *_ in porting.rows(PYTORCH, DOCUMENTED["onnx"])}
    assert porting.rows(keras, keras) == []


def test_there_is_advice_for_every_convention():
    assert list(porting.ADVICE) == list(dialect.BY_KEY)


# What a results file says


def result(side, **subject):
    """A results file of a subject like this; nothing of it was judged."""
    options = vars(Options("mine.py:Layer"))
    document = results.build(results.Tally([]), options, complete=False)
    document["subject"] |= {
        "name": side.name,
        "dialect": dialect.differing(side.dialect),
        "names": dict(side.names),
        "capabilities": ["cumulative"] * (side.dialect["cumulative"] == "offered"),
        **subject,
    }
    return json.loads(json.dumps(document))


def test_a_results_file_says_all_that_the_guide_needs():
    for side in DOCUMENTED.values():
        seen = porting.side_of(result(side))
        assert seen.names == side.names
        assert seen.dialect == {**side.dialect, "counter": "none"}
    assert porting.side_of(result(PYTORCH, capabilities=["counter"])).dialect == {
        **dialect.PYTORCH,
        "cumulative": "none",
    }


def test_there_is_a_page_for_whoever_declares_a_dialect():
    pages = porting.pages({"torch": result(PYTORCH), "mine": result(RANKED)})
    keys = [*DOCUMENTED, "mine"][1:]
    assert list(pages) == [
        "dialects.md",
        "porting/index.md",
        *(f"porting/{key}.md" for key in keys),
        *(f"porting/{key}.json" for key in ("pytorch", *keys)),
    ]
    assert "[Keras](keras.md)" in pages["porting/index.md"]
    assert "## From Keras to PyTorch" in pages["porting/keras.md"]
    assert DOCUMENTED["keras"].source in pages["porting/keras.md"]
    assert "the dialect that it declares" in pages["porting/mine.md"]


def test_the_form_has_every_pair_and_its_data_are_the_guide_s():
    pages = porting.pages({"mine": result(RANKED)})
    keys = [*DOCUMENTED, "mine"]
    index = pages["porting/index.md"]
    for name in ("from", "to"):
        [options] = re.findall(rf'<select name="{name}">(.*?)</select>', index)
        assert re.findall(r'<option value="([^"]+)">', options) == keys
    for key in keys:
        found = json.loads(pages[f"porting/{key}.json"])
        assert list(found) == keys
    seen, keras = porting.side_of(result(RANKED)), DOCUMENTED["keras"]
    assert json.loads(pages["porting/keras.json"])["mine"] == {
        "names": ["Keras", "ranked"],
        "rows": [list(row) for row in porting.rows(keras, seen)],
        "program": porting.program(keras, seen),
    }


def test_a_name_in_the_form_is_data():
    hostile = result(RANKED, name='</option><script src="//x">')
    page = porting.pages({"mine": hostile})["porting/index.md"]
    assert page.count("<script") == 1
    assert '"//x"' not in page


def test_names_from_a_file_are_data():
    names = {"weight": 'x"]\n```\n<script>', "running_var": "v'\\"}
    hostile = Side('"""\nimport os', {**dialect.PYTORCH, "running_var": "biased"}, names)
    page = porting.guide(PYTORCH, hostile)
    assert "<script" not in page.partition("```python")[0]
    assert page.count("\n```") == 2
    found = code_of(PYTORCH, hostile)
    state = found["convert_state"]({"weight": 1.0, "running_var": 4.0}, found["NAMES"])
    assert state == {names["weight"]: 1.0, names["running_var"]: 4.0}
    exec(porting.script(PYTORCH, hostile), {})


# The command


def call(*words):
    return CliRunner().invoke(cli.app, ["porting", *map(str, words)])


def test_the_command_prints_a_program(tmp_path):
    file = tmp_path / "mine.json"
    results.write(result(RANKED), file)
    ran = call("keras", file)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("# From Keras to ranked\n# default_momentum: 0.99 -> 0.1; say it")
    exec(ran.stdout, {})


def test_the_command_refuses_what_is_neither_a_framework_nor_a_file(tmp_path):
    ran = call("pytorch", tmp_path / "x.json")
    assert ran.exit_code == WRONG_USE
    assert "can't be read" in ran.stderr
    assert "Frameworks are pytorch, keras, flax, paddle, mlx, onnx." in ran.stderr


def test_the_command_refuses_a_dialect_that_is_none(tmp_path):
    document = result(PYTORCH, dialect={"weather": "fine"})
    assert set(document["requirements"]) == set(requirements())
    results.write(document, tmp_path / "x.json")
    ran = call("pytorch", tmp_path / "x.json")
    assert ran.exit_code == WRONG_USE
    assert "subject.dialect: A dialect has no convention 'weather'." in ran.stderr
