"""What a full disk, a kill or a lost process leaves of a file, of records and of the cache."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bn1d_conformance import files, guard, keep, records
from bn1d_conformance.running import partial, run
from bn1d_conformance.subject import SubjectError

# A full disk


def test_a_full_disk_keeps_the_old_file(python, tmp_path):
    (tmp_path / "file").write_text("old")
    ran = python(
        """
        import resource
        from pathlib import Path
        from bn1d_conformance import files
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write("new" * 1000, Path("file"))
        except OSError as error:
            print(error.strerror)
        """,
        tmp_path,
    )
    assert ran.stdout == "File too large\n", ran.stderr
    assert (tmp_path / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_no_fault_of_the_subjects():
    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        guard.guarded("forward", full)
    with pytest.raises(SubjectError):
        guard.guarded("forward", lambda: Path("/no/such/file").read_text())


@pytest.mark.parametrize("path", [os.devnull, ".", "no/such/folder/file"])
def test_what_is_no_place_for_a_file(path):
    assert not files.is_writable(Path(path))
    assert files.is_writable(Path("there-is-none-yet"))


# A kill, or a power cut, in the middle of a write


def test_a_text_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda *way: (done.append("name"), replace(*way)))
    files.write("text", tmp_path / "file")
    assert done == ["sync", "name", "sync"]


@pytest.mark.parametrize(
    ("where", "left"), [("os.fsync", "old"), ("Path.replace", "old"), ("files._settle", "new")]
)
def test_a_kill_leaves_the_old_file_or_the_new_one(python, tmp_path, where, left):
    (tmp_path / "file").write_text("old")
    ran = python(
        f"""
        import os
        from pathlib import Path
        from bn1d_conformance import files
        {where} = lambda *_: os.kill(os.getpid(), 9)
        files.write("new", Path("file"))
        """,
        tmp_path,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert (tmp_path / "file").read_text() == left
    files.write("newer", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "newer"


def an_item(name, place):
    """The records of an item, a line each."""
    events = [
        {"e": "item", "nodeid": name, "requirements": ["STATS-1"], "place": place},
        {"e": "judged", "requirement": "STATS-1", "failures": [{"message": "a }\u2028 b"}]},
        {"e": "end", "requirements": ["STATS-1"], "seconds": 0},
    ]
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.mark.parametrize("tail", [b"", b"\0" * 64, b"\xff{", b"3\n", b"{}\n"], ids=repr)
def test_records_that_are_cut_anywhere_have_whole_items_or_none(tmp_path, tail):
    text = "".join(an_item(name, k) for k, name in enumerate("abc")).encode()
    file = tmp_path / "gw0.jsonl"
    file.write_bytes(text)
    whole = records.Journal(tmp_path).ended
    assert list(whole) == ["a", "b", "c"]
    ends = [k for k, byte in enumerate(text) if byte == ord("\n")]
    for cut in {*range(0, len(text), 13), *(k + d for k in ends for d in (-1, 0, 1))}:
        file.write_bytes(text[:cut] + tail)
        ended = records.Journal(tmp_path).ended
        assert list(ended) == list(whole)[: len(ended)]
        assert all(ended[name] == whole[name] for name in ended)
        list(run._last_item(file))


def test_a_run_goes_on_after_a_power_cut(tmp_path):
    out, options = tmp_path / "result.json", run.Options("layers.py:Right")
    with partial.place(options, out, resume=False) as place:  # is left as a kill would
        (place.folder / "gw0.jsonl").write_text(an_item("a", 0) + an_item("b", 1)[:-9] + "\0\0")
        (place.folder / "lost").write_text('"forward"\n"back')
    with partial.place(options, out, resume=True) as place:
        assert json.loads((place.folder / "done").read_text()) == ["a"]
        assert list(records.lines(place.folder / "lost")) == ["forward"]


def test_records_without_their_name_are_not_believed(tmp_path):
    out, options = tmp_path / "result.json", run.Options("layers.py:Right")
    with partial.place(options, out, resume=False) as place:
        (place.folder / "gw0.jsonl").write_text(an_item("a", 0))
    (partial.folder_of(out) / partial.IDENTITY).write_bytes(b"\0" * 40)
    with partial.place(options, out, resume=True) as place:
        assert json.loads((place.folder / "done").read_text()) == []


# A process that is lost


@pytest.fixture
def parent(tmp_path):
    """The plugin of the parent, with what it asks of xdist: `lose` loses the worker in an item."""
    made = run.Parent(tmp_path, run.Silent())
    made.pending = []

    def lose(item, *, signal=None):
        child = SimpleNamespace(wait=lambda _: -(signal or 0))
        gateway = SimpleNamespace(id="gw0", _io=SimpleNamespace(popen=child))
        report = SimpleNamespace(
            node=SimpleNamespace(gateway=gateway), nodeid=item, when="???", outcome="failed"
        )
        sched = SimpleNamespace(mark_test_pending=made.pending.append)
        made.pytest_handlecrashitem(item, report, sched)
        made.pytest_runtest_logreport(report)

    made.lose = lose
    made.died = lambda: [e["nodeid"] for e in records.lines(tmp_path / "parent.jsonl")]
    return made


def test_a_process_that_is_lost_before_it_did_anything_blames_nobody(parent):
    parent.lose("a")
    assert (parent.died(), parent.pending, parent.ended) == ([], ["a"], set())
    parent.lose("a")  # and again: in the records the item stays open, so the run is incomplete
    assert (parent.died(), parent.pending) == ([], ["a"])


def test_a_process_that_is_lost_between_items_blames_the_one_before(parent, tmp_path):
    (tmp_path / "gw0.jsonl").write_text(an_item("a", 0))
    parent.lose("b")
    assert (parent.died(), parent.pending, parent.ended) == (["a"], ["b"], set())
    events = records.Journal(tmp_path).ended
    assert list(events) == ["a"]


def test_a_process_that_is_lost_in_an_item_costs_its_verdict(parent, tmp_path):
    (tmp_path / "gw0.jsonl").write_text(an_item("a", 0)[:-60])
    parent.lose("a")
    assert (parent.died(), parent.pending, parent.ended) == (["a"], [], {"a"})


def test_a_loss_that_can_not_be_written_down_ends_the_run(parent, tmp_path):
    (tmp_path / "gw0.jsonl").write_text(an_item("a", 0)[:-60])
    (tmp_path / "parent.jsonl").symlink_to("/dev/full")
    with pytest.raises(pytest.exit.Exception):
        parent.lose("a")
    assert parent.stopped == "the records of the run can't be written: No space left on device"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_item_that_is_killed_is_judged_once_more(parent, tmp_path, how):
    (tmp_path / "gw0.jsonl").write_text(an_item("a", 0)[:-60])
    parent.lose("a", signal=how)
    assert (parent.died(), parent.pending, parent.ended) == ([], ["a"], set())
    parent.lose("a", signal=how)
    assert (parent.died(), parent.pending, parent.ended) == (["a"], ["a"], {"a"})


def test_a_process_that_hangs_while_it_ends_was_not_killed():
    def hangs(seconds):
        raise subprocess.TimeoutExpired("worker", seconds)

    gateway = SimpleNamespace(_io=SimpleNamespace(popen=SimpleNamespace(wait=hangs)))
    assert not run._killed(gateway)
    assert not run._killed(SimpleNamespace())  # on another machine: nobody knows


# A cache that can't be used


def test_a_cache_that_is_damaged_anywhere_is_right_or_empty(tmp_path):
    chance, pairs = random.Random(7), {b"%d" % k: b"value %d" % k * 50 for k in range(100)}
    store = keep.Store(tmp_path)
    for key, value in pairs.items():
        store.put(key, value)
    store._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._open().close()
    whole = store.path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 200)):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        keep._remove(store.path)
        store.path.write_bytes(damaged[: chance.choice([None, chance.randrange(len(whole))])])
        again = keep.Store(tmp_path)
        assert all(again.get(key) in {None, value} for key, value in pairs.items())
        again.put(b"new", b"value")
        assert again.get(b"new") in {None, b"value"}


def test_nobody_waits_twice_for_who_holds_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "WAIT", 0.3)
    store, held = keep.Store(tmp_path), keep.Store(tmp_path)
    held.put(b"before", b"value")
    held._open().execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    for k in range(20):
        store.put(b"%d" % k, b"value")
    assert time.monotonic() - start < 10 * 0.3
    assert store.get(b"before") == b"value"
    held._open().execute("COMMIT")
    store.put(b"after", b"value")
    assert held.get(b"after") == b"value"


def test_a_cache_that_is_held_while_it_is_opened_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "WAIT", 0.1)
    store = keep.Store(tmp_path)
    with sqlite3.connect(store.path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.put(b"key", b"value")
        assert store.get(b"key") is None
        other.execute("COMMIT")
    store.put(b"key", b"value")
    assert store.get(b"key") == b"value"
