"""Answers kept on disk are those that were computed, or they are computed again."""

import gc
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bn1d_conformance import cases, keep
from bn1d_conformance.answer import packed, unpacked
from bn1d_conformance.expected import GRADES, Expected

CASES = [
    *cases.family("A1", "fp32", 2, "quick", 0)[:2],
    *cases.family("A4", "bf16", 3, "quick", 0)[:1],
    cases.drawn("kept", "fp32", (6, 3), training=False),
    cases.drawn("kept", "fp64", (5, 2), momentum=None),
]
QUANTITIES = ("y", "running_mean", "running_var", "dx", "dweight", "dbias")


@pytest.fixture
def store(tmp_path):
    return keep.Store(tmp_path)


def arrays(answer):
    return answer.exact, answer.bound, answer.scale


def same(one, two):
    assert (one.quantity, one.format) == (two.quantity, two.format)
    for a, b in zip(arrays(one), arrays(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_kept_answer_is_the_computed_one(store, case, grade, monkeypatch):
    base = None if grade == "conforming" else Expected(case)
    quantities = QUANTITIES if case.training else ("y", "dx", "dweight", "dbias")
    fresh = [getattr(Expected(case, grade, base, store), q) for q in quantities]
    monkeypatch.setattr(Expected, "_run", lambda _: pytest.fail("computed again"))
    for quantity, answer in zip(quantities, fresh, strict=True):
        same(getattr(Expected(case, grade, base, store), quantity), answer)


def test_the_second_derivatives_are_kept_with_what_they_are_asked_for(store, monkeypatch):
    case = CASES[0]
    C = case.config.num_features
    gx, gw, gb = case.dy, np.ones(C, np.float32), np.zeros(C, np.float32)
    first = Expected(case, store=store).double(gx, gw, gb)
    other = Expected(case, store=store).double(gx, gb, gw)
    assert not np.array_equal(first[1].exact, other[1].exact)
    monkeypatch.setattr(Expected, "_run", lambda _: pytest.fail("computed again"))
    for kept, answer in zip(Expected(case, store=store).double(gx, gw, gb), first, strict=True):
        same(kept, answer)


def test_a_case_is_known_by_its_numbers_and_not_by_its_name():
    base = CASES[0]
    made = cases.make
    x = base.x.astype(float)
    again = [made(base.id, x * k, "fp32", 0, config={"eps": e}) for k, e in ((1, 1e-4), (2, 1e-5))]
    assert len({c.content for c in (*CASES, *again)}) == len(CASES) + 2
    assert replace(base, id="another name").content == base.content


def test_packing_keeps_every_bit_and_shape():
    answers = [Expected(c).y for c in CASES]
    for got, answer in zip(unpacked(packed(answers)), answers, strict=True):
        same(got, answer)


def test_a_changed_value_is_not_believed(store):
    store.put(b"key", b"value")
    with sqlite3.connect(store.path) as connection:
        [value] = connection.execute("SELECT value FROM answers").fetchone()
        connection.execute("UPDATE answers SET value = ?", (value[:-1] + b"?",))
    assert store.get(b"key") is None
    store.put(b"key", b"value")
    assert store.get(b"key") == b"value"


def test_a_value_is_not_believed_under_another_key(store):
    store.put(b"key", b"value")
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE answers SET key = ?", (b"another",))
    assert store.get(b"another") is None


@pytest.mark.parametrize("content", [b"", b"no database" * 1000], ids=["empty", "rubbish"])
def test_a_file_that_is_no_database_is_begun_anew(store, content):
    store.path.write_bytes(content)
    store.put(b"key", b"lost")  # finds out, and removes it
    store.put(b"key", b"value")
    assert store.get(b"key") == b"value"


def test_a_table_of_another_shape_is_no_error(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("CREATE TABLE answers (key, value, more)")
        connection.execute("INSERT INTO answers VALUES (?, 7, 7)", (b"key",))
    store.put(b"key", b"value")
    assert store.get(b"key") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = keep.Store(tmp_path / "file" / "below")
    store.put(b"key", b"value")
    assert store.get(b"key") is None


def test_a_full_file_keeps_what_it_has(store, monkeypatch):
    monkeypatch.setattr(keep, "LARGEST", 1 << 16)
    store.put(b"first", b"value")
    for k in range(40):
        store.put(b"%d" % k, bytes(10_000))
    assert store.get(b"first") == b"value"
    assert store.get(b"39") is None
    assert store.path.stat().st_size <= 1 << 16


def test_old_versions_are_removed(tmp_path, monkeypatch):
    for k in range(6):
        monkeypatch.setattr(keep, "version", lambda k=k: f"v{k}")
        keep.Store(tmp_path).put(b"key", b"value")
        gc.collect()  # its connection writes the file once more when it is collected
        os.utime(tmp_path / f"answers-v{k}.sqlite", (k, k))  # files of one moment have no order
    left = sorted(path.name for path in tmp_path.glob("*.sqlite"))
    assert left == [f"answers-v{k}.sqlite" for k in range(2, 6)]


WRITES = """
import sys
from pathlib import Path
from bn1d_conformance import keep
store, first = keep.Store(Path(sys.argv[1])), int(sys.argv[2])
pairs = {b"%d" % k: b"value %d" % k for k in range(first, first + 200)}
for key, value in pairs.items():
    store.put(key, value)
sys.exit(any(store.get(key) != value for key, value in pairs.items()))
"""


def test_many_processes_write_at_once(tmp_path):
    keep.Store(tmp_path).put(b"before", b"value")
    command = [sys.executable, "-c", WRITES, str(tmp_path)]
    writers = [subprocess.Popen([*command, first]) for first in ("0", "100")]
    assert [writer.wait(60) for writer in writers] == [0, 0]


@pytest.mark.parametrize(
    ("value", "folder"), [("", None), ("/some/where", "/some/where")], ids=["none", "a folder"]
)
def test_the_user_says_where(monkeypatch, value, folder):
    monkeypatch.setenv("BN1D_CACHE", value)
    assert keep.folder() == (folder and keep.Path(folder))


def without_times(result):
    for row in result["requirements"].values():
        row.pop("seconds")
    return {k: v for k, v in result.items() if k not in ("seconds", "timings")}


def test_a_run_says_the_same_with_and_without(bn1d, tmp_path, monkeypatch):
    documents = []
    for home in ("", tmp_path / "cache", tmp_path / "cache"):
        monkeypatch.setenv("BN1D_CACHE", str(home))
        out = tmp_path / "result.json"
        some = ("--profile", "quick", "-k", "TRAIN or STATS")
        bn1d("run", "modules.py:Biased", *some, "--json", out)
        documents.append(without_times(json.loads(out.read_text("utf-8"))))
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["verdict"] == "diverges"
