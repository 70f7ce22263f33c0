"""What crosses the wire: arrays bit for bit, answers field by field; and the page about it."""

import base64
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import ml_dtypes
import numpy as np
import pytest

from bn1d_conformance.subject import Config
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.protocol import MalformedError

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ROOT / "conformance" / "workers"
PAGE = (ROOT / "docs" / "wire.md").read_text("utf-8")
SCHEMAS = {
    name: json.loads(
        (resources.files("bn1d_conformance") / "schema" / f"wire-{name}.schema.json").read_text(
            "utf-8"
        )
    )
    for name in ("request", "answer")
}
REQUEST, ANSWER = (jsonschema.Draft202012Validator(SCHEMAS[name]) for name in SCHEMAS)


# Arrays


@pytest.mark.parametrize("name", protocol.DTYPES)
def test_every_bit_crosses(name):
    bits = np.random.default_rng(5).integers(0, 256, 480, "uint8")
    array = (bits % 2 if name == "bool" else bits).view(protocol.DTYPES[name])
    for shape in ((-1,), (2, -1), (2, 3, -1)):
        want = array.reshape(shape)
        got = protocol.array("x", json.loads(json.dumps(protocol.encode(want))))
        assert (got.dtype, got.shape, got.tobytes()) == (want.dtype, want.shape, want.tobytes())


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 0, 4), (1,)])
def test_any_shape_crosses(shape):
    array = np.zeros(shape, ml_dtypes.bfloat16)
    assert protocol.array("x", protocol.encode(array)).shape == shape


def test_bytes_are_little_endian_and_in_row_major_order():
    for array in (np.array([[1, 2]], ">i4"), np.array([[1], [2]], "int32").T):
        sent = protocol.encode(array)
        assert sent["dtype"] == "int32"
        assert base64.b64decode(sent["data"]) == bytes([1, 0, 0, 0, 2, 0, 0, 0])


def right():
    return protocol.encode(np.zeros((2, 3), "float32"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "float31"}, 'of dtype "float31": there are bfloat16'),
        ({"dtype": 32}, "dtype in y that is no text"),
        ({"shape": [3, 3]}, "24 bytes, where float32 of shape [3, 3] has 36"),
        ({"shape": [2, -3]}, "shape in y that is no list of up to 8 sizes"),
        ({"shape": [2.0, 3]}, "shape in y that is no list"),
        ({"shape": [True, 6]}, "shape in y that is no list"),
        ({"shape": [1] * 9}, "shape in y that is no list"),
        ({"shape": [0, 2**40]}, "shape in y that is no list"),
        ({"shape": 6}, "shape in y that is no list"),
        ({"data": "AAA"}, "data in y that is no base64"),
        ({"data": "AA\nAA"}, "data in y that is no base64"),
        ({"data": 7}, "data in y that is no base64"),
        ({"data": None}, "left out data in y"),
        ({"order": "F"}, 'y that has a field "order": there are dtype, shape, data'),
    ],
)
def test_a_malformed_array_is_said(changes, words):
    with pytest.raises(MalformedError, match=re.escape(words)):
        protocol.array("y", {**right(), **changes})


# Lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": 1, "result": {}, "error": {}}', "wrong fields: error, id, result"),
        (b'{"id": 1}', "wrong fields: id, where id and result or error is right"),
        (b'{"id": 1, "result": {}, "note": 1}', "wrong fields: id, note, result"),
        (b'{"id": true, "result": {}}', "a wrong id: true, where 1 is right"),
        (b'{"id": "1", "result": {}}', 'a wrong id: "1", where 1 is right'),
        (b'{"result": {}}', "a wrong id: null"),
        (b'{"id": 1, "result": NaN}', "no JSON"),
        (b"\x1b[31mred\x1b[0m", 'no JSON: "·[31mred·[0m"'),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": ' + b"9" * 5000 + b"}", "no JSON"),
        (b"x" * 1000, f'"{"x" * 60}…"'),
    ],
)
def test_a_malformed_line_is_said(line, words):
    with pytest.raises(MalformedError, match=re.escape(words)):
        protocol.parse(line, 1)


@pytest.mark.parametrize(
    ("do", "result", "words"),
    [
        ("forward", [], "forward's result that is no object"),
        ("forward", {}, "left out y in forward's result"),
        ("forward", {"y": None}, "left out y in forward's result"),
        ("build", {"layer": 1}, 'build\'s result that has a field "layer": there are nothing'),
        ("state", {"num_batches_tracked": 1.5}, "that is no whole number"),
        ("state", {"num_batches_tracked": -1}, "that is no whole number"),
        ("state", {"num_batches_tracked": 2**63}, "that is no whole number"),
        ("state", {"running_variance": None}, 'a field "running_variance": there are weight'),
        ("hello", {"protocol": "1"}, "protocol in hello's result that is no whole number"),
        ("hello", {"protocol": 1, "name": "x" * 2001}, "no text of up to 2000"),
    ],
)
def test_a_malformed_result_is_said(do, result, words):
    with pytest.raises(MalformedError, match=re.escape(words)):
        protocol.result(do, {"result": result})


def test_what_no_terminal_should_be_given_becomes_spaces():
    given = {"type": "Bad\x1b", "message": "a\nb\ud800c\x00"}
    assert protocol.fields("an error", given, protocol.ERROR)["message"] == "a b c "


def test_a_configuration_is_in_the_terms_of_pytorch():
    assert protocol.config(5) == {"num_features": 5}
    sent = protocol.config(Config(3, momentum=None, format="bf16"))
    assert sent["dtype"] == "bfloat16"
    assert sent["momentum"] is None
    assert "format" not in sent


# The schemas say the same as the tables


@pytest.mark.parametrize("do", protocol.ANSWERS)
def test_the_schema_of_an_answer_has_the_fields_of_the_table(do):
    defs = SCHEMAS["answer"]["$defs"]
    described = defs["nothing"] if not protocol.ANSWERS[do] else defs[do]
    assert set(described.get("properties", {})) == set(protocol.ANSWERS[do])
    needed = {name for name, kind in protocol.ANSWERS[do].items() if not kind.endswith("?")}
    assert set(described.get("required", [])) == needed


def test_the_schemas_have_the_words_of_the_kit():
    answer, request = SCHEMAS["answer"]["$defs"], SCHEMAS["request"]["$defs"]
    assert set(answer["hello"]["properties"]["capabilities"]["items"]["enum"]) == set(
        protocol.WIRED
    )
    for schema in (answer, request):
        assert set(schema["array"]["properties"]["dtype"]["enum"]) == set(protocol.DTYPES)
    assert set(answer["error"]["properties"]) == set(protocol.ERROR)
    assert set(request["config"]["properties"]) == set(protocol.config(Config(3)))
    assert SCHEMAS["request"]["properties"]["do"]["enum"] == list(protocol.ANSWERS)
    assert request["hello"]["properties"]["protocol"]["const"] == protocol.PROTOCOL


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


# The page says the same as the tables, and as the workers


def rows(heading):
    """The first column of the first table under a heading, without its code marks."""
    table = re.search(r"(?:^\|.*\n)+", PAGE.partition(f"\n{heading}\n")[2], re.MULTILINE)[0]
    return [row.split("|")[1].strip(" `") for row in table.splitlines()[2:]]


def test_every_capability_is_on_the_page():
    assert rows("## Capabilities") == list(protocol.WIRED)


def test_every_request_is_on_the_page():
    assert list(dict.fromkeys(rows("## The protocol"))) == list(protocol.ANSWERS)


def test_the_template_is_on_the_page():
    assert (WORKERS / "template.py").read_text("utf-8").rstrip() in PAGE


def transcript():
    block = re.search(r"```text\n(→.*?)```", PAGE, re.DOTALL)[1]
    lines = [line.split(" ", 1) for line in block.splitlines()]
    assert [arrow for arrow, _ in lines] == ["→", "←"] * (len(lines) // 2)
    return [text for _, text in lines[::2]], [text for _, text in lines[1::2]]


def test_the_transcript_is_what_happens():
    asked, answered = transcript()
    command = [sys.executable, "-S", "bn1d_worker.py", "subjects/plain_python.py"]
    ran = subprocess.run(
        command, input="\n".join(asked), cwd=WORKERS, capture_output=True, text=True, check=True
    )
    version = re.compile(r"3\.\d+\.\d+[^\"]*")
    assert version.sub("3", ran.stdout).splitlines() == [version.sub("3", a) for a in answered]


def test_the_transcript_is_as_the_schemas_say():
    asked, answered = transcript()
    for question, answer in zip(asked, answered, strict=True):
        REQUEST.validate(json.loads(question))
        ANSWER.validate(json.loads(answer))
        do = json.loads(question)["do"]
        if "result" in json.loads(answer):
            protocol.result(do, protocol.parse(answer.encode(), json.loads(question)["id"]))
            part = {**SCHEMAS["answer"]["$defs"][do], "$defs": SCHEMAS["answer"]["$defs"]}
            jsonschema.validate(json.loads(answer)["result"], part)
    assert {json.loads(question)["do"] for question in asked} == set(protocol.ANSWERS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 1},
        {"id": 1, "do": "dance"},
        {"id": 1, "do": "state"},
        {"id": 1, "do": "state", "layer": 1, "more": 2},
        {"id": 0, "do": "close"},
    ],
)
def test_the_schema_refuses_what_is_no_request(wrong):
    assert not REQUEST.is_valid(wrong)


def test_the_page_names_only_files_that_there_are():
    for name in ("bn1d_worker.py", "worker.mjs", "worker.cpp", "template.py"):
        assert (WORKERS / name).is_file()
    for name in re.findall(r"`(subjects/[\w.]+)`", PAGE):
        assert (WORKERS / name).is_file(), name
