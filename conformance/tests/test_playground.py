"""The playground shows the oracle's numbers, and exact ones that round to them."""

import io
import json
import re
import subprocess
import sys
from fractions import Fraction
from math import sqrt
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bn1d_conformance.playground import Playground, textbook, wording
from bn1d_conformance.playground.examples import EXAMPLES
from bn1d_conformance.site import playground_page
from bn1d_reference.formats import FP32
from bn1d_reference.oracle import BatchNorm1d
from bn1d_reference.surd import Surd

EVEN = EXAMPLES[0]
SINGLE = st.floats(-(2.0**49), 2.0**49, width=32)  # within what the form takes


def rows(step):
    return {name: (exact, got) for table in step["tables"] for name, exact, got in table["rows"]}


def run(example, *steps):
    playground = Playground()
    for step in steps:
        last = playground.step({**example, "step": step})
    return rows(last)


def once(value):
    """A number of the textbook's, as fp32."""
    if isinstance(value, Surd):
        return value.round(FP32)
    return FP32.round(*value.as_integer_ratio())


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.lists(st.tuples(SINGLE, SINGLE), min_size=n, max_size=n)
    ),
    st.floats(1e-12, 1e3),
    st.sampled_from([None, 0.0, 0.1, 1.0]),
    st.booleans(),
    SINGLE,
    SINGLE,
)
def test_the_textbook_rounds_to_the_oracle(pairs, eps, momentum, train, w, b):
    x, dy = zip(*pairs, strict=True)
    layer = BatchNorm1d(1, eps, momentum)
    layer.weight, layer.bias, layer.running_mean, layer.running_var = [w], [b], [1.5], [0.75]
    y = layer.train(train).forward([[v] for v in x])
    got = layer.backward([[g] for g in dy])

    values, add = list(map(Fraction, x)), Fraction(eps)
    seen = (
        textbook.by_batch(values, add)
        if train
        else textbook.Pass(values, Fraction(1.5), Fraction(0.75), add, of_batch=False)
    )
    dx, dw, db = textbook.gradients(seen, list(map(Fraction, dy)), Fraction(w))
    assert [[once(v)] for v in textbook.output(seen, Fraction(w), Fraction(b))] == y
    assert [[once(v)] for v in dx] == got.x
    assert ([once(dw)], [once(db)]) == (got.weight, got.bias)
    if train:
        m = Fraction(1 if momentum is None else momentum)
        moved = textbook.tracked(seen, Fraction(1.5), Fraction(0.75), m)
        assert list(map(once, moved)) == [layer.running_mean[0], layer.running_var[0]]


def test_an_even_example_is_shown_in_fractions():
    shown = run(EVEN, "new", "train")
    assert shown["var[1]"] == ("2", "2")
    assert shown["s[1]"] == ("2/3", "0.6666667")
    assert shown["y[0, 1]"] == ("4/3", "1.3333334")
    assert shown["running_var[1]"] == ("11/6", "1.8333334")  # 0.5*1 + 0.5*8/3
    assert run(EVEN, "new", "train", "backward")["dx[0, 0]"] == ("11/16", "0.6875")


def test_a_root_that_does_not_come_out_is_shown_by_its_name():
    shown = run(EXAMPLES[1], "new", "train")
    assert shown["s[0]"] == ("1/√(2/3 + 1e-05)", "1.2247357")
    assert shown["y[0, 0]"] == ("-s[0]", "-1.2247357")


def test_evaluation_takes_what_training_tracked():
    tracked = run(EVEN, "new", "train")["running_mean[0]"]
    assert run(EVEN, "new", "train", "eval")["mean[0]"] == tracked
    assert run(EVEN, "new", "train", "eval", "backward")["dx[0, 0]"][0] == "s[0]"


def test_momentum_none_divides_by_the_count():
    average = {**EXAMPLES[2], "batch": "0\n4"}
    playground = Playground()
    for form in ({"step": "new"}, {"step": "train"}, {"step": "train", "batch": "2\n6"}):
        shown = rows(playground.step({**average, **form}))
    assert shown["running_mean[0]"] == ("3", "3")
    assert shown["num_batches_tracked"] == ("2", "2")


def test_without_affine_there_is_nothing_to_learn():
    plain = {**EVEN, "affine": "no"}
    assert set(run(plain, "new")) == {
        *(f"running_{name}[{c}]" for name in ("mean", "var") for c in (0, 1)),
        "num_batches_tracked",
    }
    assert not [name for name in run(plain, "new", "train", "backward") if name[:2] != "dx"]


def test_typed_weights_and_biases_are_the_layers():
    shown = run({**EVEN, "weight": "2, 0.1", "bias": "1 -1"}, "new")
    assert shown["weight[1]"] == ("13421773/134217728", "0.1")
    assert shown["bias[1]"] == ("-1", "-1")


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"features": "0"}, "C is a whole number from 1 to 8, not '0'."),
        ({"features": "two"}, "C is a whole number from 1 to 8, not 'two'."),
        ({"momentum": "none"}, "momentum is a number from 0 to 1, not 'none'."),
        ({"eps": "-1"}, "eps is a number from 0 to 1e+15, not '-1'."),
        ({"weight": "1"}, "weight has 1 numbers, and the layer 2 channels."),
        ({"bias": "1 nan"}, "bias is a number from -1e+15 to 1e+15, not 'nan'."),
        ({"step": "train"}, "there is no layer yet: make one."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(form, says):
    answer = json.loads(Playground().answer(json.dumps({**EVEN, "step": "new", **form})))
    assert answer == {"error": says}


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"step": "train", "batch": ""}, "the batch has 1 to 64 lines, a sample each, not 0"),
        ({"step": "train", "batch": "1 2\n3"}, "line 2 of the batch has 1 numbers"),
        ({"step": "train", "batch": "1 2"}, "Expected more than 1 value per channel"),
        ({"step": "backward"}, "there was no forward pass yet"),
    ],
)
def test_a_step_that_fails_leaves_the_layer_as_it_was(form, says):
    playground = Playground()
    before = rows(playground.step({**EVEN, "step": "new"}))
    assert says in json.loads(playground.answer(json.dumps({**EVEN, **form})))["error"]
    assert playground.layer.num_batches_tracked == 0
    assert rows(playground.step({**EVEN, "step": "new"})) == before


def test_a_gradient_of_another_shape_is_refused():
    playground = Playground()
    for step in ("new", "train"):
        playground.step({**EVEN, "step": step})
    with pytest.raises(ValueError, match=r"expected shape \(4, 2\), got \(1, 2\)"):
        playground.step({**EVEN, "step": "backward", "gradient": "1 1"})


@given(SINGLE)
def test_a_rounded_number_is_told_from_its_neighbours(value):
    text = wording.rounded(value)
    assert FP32.cast([float(text)]) == [value]
    assert len(text.lstrip("-").partition("e")[0].replace(".", "").lstrip("0")) <= 9


@given(st.fractions(), st.fractions(), st.fractions(Fraction(1, 10**6), 10**6))
def test_an_exact_number_is_shown_whole_or_with_an_ellipsis(p, q, W):
    number = Surd(p, q, W)
    shown = wording.exact(number)
    if shown.endswith("…"):
        digits = Fraction(shown.rstrip("…"))
        low, _ = number.floor(400)
        error = abs(Fraction(low, 2**400) - digits)
        assert error <= abs(digits) * Fraction(1, 10**19) + Fraction(1, 2**390)
    elif "s" not in shown:
        assert Fraction(shown) == number.rational()
    else:
        value = eval(shown.replace("·", "*"), {"s": 1 / sqrt(W)})
        assert value == pytest.approx(float(p) + float(q) / sqrt(W), rel=1e-6, abs=1e-6)


# The page


def test_the_page_has_recorded_runs_without_pyodide(tmp_path):
    [page] = playground_page.pages(tmp_path / "none").values()
    assert 'data-pyodide=""' in page
    for example in EXAMPLES:
        assert f"### {example['name']}\n" in page
    assert '<tr><th scope="row">y[0, 1]</th><td>4/3</td><td>1.3333334</td></tr>' in page
    assert set(playground_page.files(tmp_path / "none")) == {"playground/bn1d.zip"}


def test_the_page_takes_pyodide_where_it_is(tmp_path):
    for name in playground_page.PYODIDE:
        (tmp_path / name).write_bytes(name.encode())
    [page] = playground_page.pages(tmp_path).values()
    assert 'data-pyodide="pyodide/"' in page
    found = playground_page.files(tmp_path)
    assert found["playground/pyodide/pyodide.mjs"] == b"pyodide.mjs"


def test_the_form_has_the_fields_of_the_examples(tmp_path):
    [page] = playground_page.pages(tmp_path).values()
    for example in EXAMPLES:
        assert {*re.findall(r'name="(\w+)"', page), "name"} == set(example)


def test_what_is_packed_runs_alone_and_answers_the_same(tmp_path):
    packed = playground_page.packed()
    assert packed == playground_page.packed()
    ZipFile(io.BytesIO(packed)).extractall(tmp_path)
    form = json.dumps({**EVEN, "step": "new"})
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from bn1d_conformance.playground import Playground\n"
        "print(Playground().answer(sys.argv[2]))\n"
        "assert not {'numpy', 'pytest'} & set(sys.modules)\n"
    )
    alone = [sys.executable, "-S", "-I", "-c", script, str(tmp_path), form]
    answered = subprocess.run(alone, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(answered.stdout) == json.loads(Playground().answer(form))
