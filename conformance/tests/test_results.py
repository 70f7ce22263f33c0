"""The results document: true to its schema, whole on disk, and data wherever it comes from."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import bn1d_conformance
from bn1d_conformance import asked, program, results
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.running.run import Options
from bn1d_conformance.subject import CAPABILITIES
from bn1d_reference import SPEC_VERSION, spec


@pytest.fixture(scope="module")
def schema():
    document = results.schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


@pytest.fixture(scope="module")
def whole(bn1d, tmp_path_factory):
    """The whole quick run of PyTorch's own layer: the process, and the file that it wrote."""
    out = tmp_path_factory.mktemp("whole") / "result.json"
    ran = bn1d("run", "torch.nn:BatchNorm1d", "--profile", "quick", "--json", out)
    return ran, json.loads(out.read_text("utf-8"))


@pytest.fixture(scope="module")
def right(whole):
    return whole[1]


@pytest.fixture(scope="module")
def wrong(judge):
    return judge(
        "modules.py:Shifted",
        "-k",
        "test_biased_variance or test_affine or test_momentum or test_input",
    )


# A real result


def test_pytorch_conforms(whole):
    ran, right = whole
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "BatchNorm1d 2." in ran.stdout
    assert " conforms\n" in ran.stdout
    assert right["verdict"] == "conforms"
    assert right["diagnoses"] == []
    assert right["errors"] == []
    assert right["counts"]["pass"] >= 70
    assert right["accuracy"]["grade"] in {"blocked", "accurate", "conforming"}


@pytest.mark.parametrize("which", ["right", "wrong"])
def test_a_result_is_true_to_the_schema(which, request, schema):
    schema.validate(request.getfixturevalue(which))


@pytest.mark.parametrize("which", ["right", "wrong"])
def test_counts_add_up_to_the_total(which, request):
    result = request.getfixturevalue(which)
    counts = dict(result["counts"])
    assert counts.pop("total") == sum(counts.values()) == len(result["requirements"])
    verdicts = [row["verdict"].replace("-", "_") for row in result["requirements"].values()]
    assert {name: verdicts.count(name) for name in counts} == counts


@pytest.mark.parametrize("which", ["right", "wrong"])
def test_requirements_are_those_that_quick_asks_about_in_the_order_of_the_spec(which, request):
    rows = request.getfixturevalue(which)["requirements"]
    assert list(rows) == [i for i in spec.requirements() if i not in asked.COMPILER]
    for ident, row in rows.items():
        assert row["level"] == spec.requirements()[ident].level
        assert row["failed"] <= row["cases"]
        assert bool(row["failures"]) == (row["verdict"] in results.FAILING), ident
        assert bool(row["cases"]) == (row["verdict"] in {"pass", *results.FAILING}), ident


def test_the_kit_is_named_with_its_versions(right):
    kit = right["kit"]
    assert kit["version"] == bn1d_conformance.__version__
    assert kit["spec_version"] == SPEC_VERSION
    assert kit["suite_hash"] == results.suite_hash()


def test_the_subject_is_named_with_what_it_offers(right):
    subject = right["subject"]
    assert subject["target"] == "torch.nn:BatchNorm1d"
    assert subject["name"] == "torch.nn.modules.batchnorm.BatchNorm1d"
    assert subject["adapter"] == "torch-module"
    assert set(subject["capabilities"]) <= set(CAPABILITIES)
    assert all(ours == theirs for ours, theirs in subject["names"].items())


def test_what_was_not_asked_for_is_not_run(wrong):
    assert wrong["requirements"]["CTOR-1"]["verdict"] == "not-run"
    assert wrong["counts"]["not_run"] > 0


def test_a_failure_tells_where_and_how_far(wrong):
    first = wrong["diagnoses"][0]
    (failure, *_) = wrong["requirements"][first["requirement"]]["failures"]
    assert failure["evidence"]["quantity"] == "y"
    assert failure["evidence"]["got"] - failure["evidence"]["expected"] == pytest.approx(
        0.125, 0.1
    )
    assert failure["evidence"]["program"][0]["do"] == "build"


def test_the_environment_names_no_folder(right, wrong):
    for result in (right, wrong):
        text = json.dumps({**result, "subject": None, "options": None})
        assert not re.search(r"/(home|root|tmp|usr|work|opt|var)\b", text)
        assert str(Path.home()) not in text


def test_a_result_is_json_without_nan(right, wrong):
    for result in (right, wrong):
        assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_timings_are_within_the_whole(right):
    assert set(right["timings"]) >= {"import", "judging", "oracle", "subject"}
    assert sum(right["timings"].values()) <= right["seconds"]


# The schema is strict, and says what each field is


def nodes(value):
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    if isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_every_property_is_described():
    document = results.schema()
    for node in nodes(document):
        for name, field in node.get("properties", {}).items():
            if isinstance(field, dict) and name not in {"do", "mode", "x", "dy", "weight", "bias"}:
                target = field.get("$ref", "").rpartition("/")[2]
                described = field if "description" in field else document["$defs"].get(target, {})
                assert "description" in described or name.startswith("running"), name


def test_every_object_says_which_properties_it_has():
    for node in nodes(results.schema()):
        if node.get("type") == "object":
            strict = {"additionalProperties", "unevaluatedProperties"} & set(node)
            assert strict, sorted(node)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema_version"], 2),
        (["verdict"], "pass"),
        (["extra"], 1),
        (["kit", "name"], "another"),
        (["kit", "suite_hash"], "xyz"),
        (["options", "profile"], "slow"),
        (["subject", "capabilities"], ["flying"]),
        (["counts", "pass"], -1),
        (["requirements", "stats-1"], {}),
        (["requirements", "STATS-1", "verdict"], "passed"),
        (["requirements", "STATS-1", "level"], "must"),
        (["accuracy", "grade"], "best"),
        (["accuracy", "outputs", "z fp32"], {"ulp": 0, "worst": 0, "bound_fraction": 0}),
        (["diagnoses"], [{"requirement": "STATS-1"}]),
        (["seconds"], "3"),
    ],
)
def test_the_schema_refuses(right, schema, path, value):
    changed = copy.deepcopy(right)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not schema.is_valid(changed)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("capability", lambda d: d["$defs"]["capability"]["enum"]),
        ("format", lambda d: d["$defs"]["format"]["enum"]),
        ("verdict", lambda d: d["$defs"]["requirement"]["properties"]["verdict"]["enum"]),
        ("level", lambda d: d["$defs"]["requirement"]["properties"]["level"]["enum"]),
        ("option", lambda d: d["properties"]["options"]["properties"]),
    ],
)
def test_words_of_the_schema_are_those_of_the_kit(name, place):
    words = {
        "capability": set(CAPABILITIES),
        "format": set(DTYPES),
        "verdict": set(results.VERDICTS),
        "level": set(spec.LEVELS),
        "option": set(vars(Options("x"))),
    }
    assert set(place(results.schema())) == words[name]


def test_the_schema_has_every_quantity_that_a_check_names(schema):
    known = schema.schema["$defs"]["evidence"]["properties"]["quantity"]["enum"]
    folder = Path(bn1d_conformance.__file__).parent
    for file in (folder / "expected.py", *(folder / "checks").glob("*.py")):
        named = r'(?:quantity=|_answer\(|_elementwise\()"(\w+)"'
        assert set(re.findall(named, file.read_text("utf-8"))) <= set(known)


def test_the_schema_takes_every_array_of_a_program(schema):
    sub = {"$ref": "#/$defs/array", "$defs": results.schema()["$defs"]}
    check = jsonschema.Draft202012Validator(sub)
    arrays = [np.zeros((2, 3), d) for d in DTYPES.values()]
    arrays += [np.zeros((0, 3), "float32"), np.array([[True]]), np.array([[1j]]), np.zeros(5000)]
    arrays += [np.array([np.nan, np.inf, -0.0])]
    for array in arrays:
        check.validate(json.loads(json.dumps(program.array(array), allow_nan=False)))
    assert schema
