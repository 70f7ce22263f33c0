"""A run that is killed goes on where it was, and says what an uninterrupted one would."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from bn1d_conformance import records, results
from bn1d_conformance.running import partial
from bn1d_conformance.running.run import Options
from bn1d_conformance.subject import TargetError

CONFORMS, DIVERGES, WRONG_USE, INCOMPLETE = 0, 1, 2, 3
QUICK = ("--profile", "quick", "-k", "test_stats or test_grad")
ITEMS = 168  # at least so many are selected
LIMIT = 120  # seconds, on a busy machine
ITEM = '{"e": "item", "nodeid": "a", "requirements": ["STATS-1"], "place": 1}\n'
JUDGED = '{"e": "judged", "requirement": "STATS-1"}\n'
END = '{"e": "end", "requirements": ["STATS-1"], "seconds": 0}\n'
OTHER = ITEM.replace('"a"', '"b"').replace('"place": 1', '"place": 0')


def content(result):
    """What a run found, without its times."""
    rows = result["requirements"].items()
    timeless = {i: {k: v for k, v in row.items() if k != "seconds"} for i, row in rows}
    return {**result, "requirements": timeless, "timings": None, "seconds": None, "options": None}


def read(path):
    return json.loads(path.read_text("utf-8"))


def ended(home):
    """How many items have ended so far, by the records."""
    lines = [p.read_text("utf-8", errors="replace") for p in home.glob("*/*.jsonl")]
    return sum(text.count('{"e": "end"') for text in lines)


class Killed:
    """A run in a process group of its own."""

    def __init__(self, folder, out, *words):
        command = [sys.executable, "-m", "bn1d_conformance", "run", *words, "--json", str(out)]
        self.home = partial.folder_of(out)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def after(self, items, how=signal.SIGKILL):
        """Kill the group once so many items have ended; say how many had."""
        until = time.monotonic() + LIMIT
        while ended(self.home) < items:
            assert self.process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.002)
        os.killpg(self.process.pid, how)
        self.process.wait()
        return ended(self.home)


@pytest.fixture(scope="module")
def whole(bn1d, tmp_path_factory):
    """The results of an uninterrupted run."""

    def call(target):
        out = tmp_path_factory.mktemp("whole") / "result.json"
        bn1d("run", target, *QUICK, "--json", out)
        return read(out)

    return call


@pytest.mark.parametrize(
    ("target", "jobs", "points"),
    [
        ("layers.py:Biased", 1, (0, 1, 40, 80)),
        ("layers.py:Right", 2, (25, 60)),
        ("kills.py:Dies", 1, (5, 45)),
    ],
)
def test_a_run_goes_on_after_any_kill(bn1d, folder, tmp_path, whole, target, jobs, points):
    (folder / "kills.py").write_text(DIES)
    out = tmp_path / "result.json"
    words = (target, *QUICK, "--jobs", str(jobs), "--resume")
    for point in points:
        assert Killed(folder, out, *words).after(point) >= point
        assert not out.exists()
    before = ended(partial.folder_of(out))
    ran = bn1d("run", *words, "--json", out)
    found, right = read(out), whole(target)
    assert content(found) == content(right), ran.stderr
    assert not partial.folder_of(out).exists()
    assert int(re.findall(r"\d+ of (\d+) checks", ran.stderr)[-1]) <= ITEMS - before


#: A layer that ends its process now and then, as a fault in C would.
DIES = """
import os
import layers

class Dies(layers.Biased):
    def backward(self, dy):
        if self.training and len(dy) == 5:
            os._exit(3)
        return super().backward(dy)
"""


def test_an_interrupted_run_is_incomplete_blames_nobody_and_goes_on(bn1d, folder, tmp_path, whole):
    out = tmp_path / "result.json"
    Killed(folder, out, "layers.py:Right", *QUICK).after(20, signal.SIGINT)
    cut = read(out)
    assert cut["verdict"] == "incomplete"
    assert cut["counts"]["fail"] == 0
    bn1d("run", "layers.py:Right", *QUICK, "--json", out, "--resume")
    assert content(read(out)) == content(whole("layers.py:Right"))
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


# What may go on


def stopped(options, out, how, *, complete=False):
    """Begin a run that writes down one item, and end it by an exception."""
    with partial.place(options, out, resume=False) as place:
        (place.folder / "gw0.jsonl").write_text(ITEM + END)
        place.complete = complete
        raise how


@pytest.fixture
def cut_short(tmp_path):
    """A run that was killed after one item; return the results file that it would write."""

    def call(options):
        out = tmp_path / "result.json"
        with pytest.raises(KeyboardInterrupt):
            stopped(options, out, KeyboardInterrupt())
        return out

    return call


OPTIONS = Options("layers.py:Right", profile="quick")


def begin(options, out, *, resume=True):
    with partial.place(options, out, resume=resume) as place:
        return json.loads((place.folder / "done").read_text()), place


def test_what_has_ended_is_not_judged_again(cut_short):
    done, place = begin(OPTIONS, cut_short(OPTIONS))
    assert done == ["a"]
    assert len(place.earlier) == 1


def test_the_number_of_processes_may_change(cut_short):
    done, _ = begin(replace(OPTIONS, jobs=2), cut_short(OPTIONS))
    assert done == ["a"]


def test_without_resume_it_begins_anew(cut_short):
    done, place = begin(OPTIONS, cut_short(OPTIONS), resume=False)
    assert done == []
    assert place.earlier == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "layers.py:Biased"}, 'options.target was "layers.py:Right", and is'),
        ({"profile": "full"}, 'options.profile was "quick", and is "full"'),
        ({"seed": 3}, "options.seed was 0, and is 3"),
        ({"shard": "1/2"}, 'options.shard was "", and is "1/2"'),
        ({"names": ("weight=w",)}, "options.names was"),
    ],
)
def test_another_run_does_not_go_on(cut_short, changes, words):
    out = cut_short(OPTIONS)
    with pytest.raises(TargetError, match="of another run") as caught:
        begin(replace(OPTIONS, **changes), out)
    assert words in str(caught.value)
    assert begin(OPTIONS, out)[0] == ["a"]


def test_another_suite_does_not_go_on(cut_short, monkeypatch):
    out = cut_short(OPTIONS)
    monkeypatch.setattr(results, "suite_hash", lambda: "0" * 16)
    with pytest.raises(TargetError, match=r"kit\.suite_hash was"):
        begin(OPTIONS, out)


def test_a_target_that_was_edited_does_not_go_on(cut_short, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("one = 1\n")
    options = Options(f"{file}:Layer")
    out = cut_short(options)
    file.write_text("one = 2\n")
    with pytest.raises(TargetError, match="content of the target"):
        begin(options, out)


def test_a_search_goes_on_with_its_seed(cut_short):
    out = cut_short(replace(OPTIONS, profile="deep", seed=1234))
    assert partial.seed_of(out) == 1234
    assert partial.seed_of(out.with_name("other.json")) is None


def test_two_runs_do_not_write_one_file(tmp_path):
    pytest.importorskip("fcntl")
    out = tmp_path / "result.json"
    with (
        partial.place(OPTIONS, out, resume=False),
        pytest.raises(TargetError, match="Another run is writing"),
        partial.place(OPTIONS, out, resume=True),
    ):
        pass


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    out = tmp_path / "result.json"
    theirs = partial.folder_of(out) / "thesis.tex"
    theirs.parent.mkdir()
    theirs.write_text("years of work")
    with (
        pytest.raises(TargetError, match="is in the way"),
        partial.place(OPTIONS, out, resume=False),
    ):
        pass
    assert theirs.read_text() == "years of work"


def test_a_refused_target_leaves_nothing(bn1d, tmp_path):
    out = tmp_path / "result.json"
    ran = bn1d("run", "layers.py:NUMBER", "--json", out)
    assert ran.returncode == WRONG_USE
    assert list(tmp_path.iterdir()) == []


def test_records_stay_until_the_results_are_written(tmp_path):
    out = tmp_path / "result.json"
    with pytest.raises(OSError, match="No space"):
        stopped(OPTIONS, out, OSError(28, "No space left on device"), complete=True)
    assert partial.folder_of(out).is_dir()


def test_a_kill_while_the_records_are_removed_is_no_obstacle(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    monkeypatch.setattr(partial.shutil, "rmtree", lambda _: (_ for _ in ()).throw(SystemExit(9)))
    with pytest.raises(SystemExit), partial.place(OPTIONS, out, resume=False) as place:
        place.complete = True
    monkeypatch.undo()
    with partial.place(OPTIONS, out, resume=True) as place:
        place.complete = True
    assert not partial.folder_of(out).exists()


def test_resume_without_a_file_is_wrong_use(bn1d):
    ran = bn1d("run", "layers.py:Right", "--resume")
    assert ran.returncode == WRONG_USE
    assert "--resume needs --json OUT." in ran.stderr


# What is believed of the records


def journal(tmp_path, *texts):
    for k, text in enumerate(texts):
        (tmp_path / f"gw{k}.jsonl").write_text(text)
    return records.Journal(tmp_path)


@pytest.mark.parametrize(
    "text", [ITEM, ITEM + JUDGED, ITEM + JUDGED + END[:-9], ITEM + "{\n" + END]
)
def test_an_item_that_was_cut_short_counts_for_nothing(tmp_path, text):
    found = journal(tmp_path, text)
    assert found.ended == {}
    assert list(found.events()) == []


def test_an_item_counts_once(tmp_path):
    found = journal(tmp_path, ITEM + JUDGED + END, ITEM + JUDGED + JUDGED + END)
    assert [e["e"] for e in found.events()] == ["item", "judged", "end"]


def test_items_come_in_their_order_whoever_judged_them(tmp_path):
    found = journal(tmp_path, ITEM + END, OTHER + END)
    assert [e["nodeid"] for e in found.events() if e["e"] == "item"] == ["b", "a"]


def test_an_item_that_cost_its_process_has_ended(tmp_path):
    found = journal(tmp_path, ITEM + JUDGED)
    assert not found.ended
    (tmp_path / "parent.jsonl").write_text('{"e": "died", "nodeid": "a"}\n')
    kinds = [e["e"] for e in records.Journal(tmp_path).events()]
    assert kinds == ["item", "judged", "died"]


def test_what_belongs_to_no_item_is_kept(tmp_path):
    offer = '{"e": "offer"}\n'
    error = '{"e": "error", "nodeid": "a"}\n'
    found = journal(tmp_path, '{"e": "loaded"}\n' + error + ITEM + offer + "3\n")
    assert [e["e"] for e in found.events()] == ["loaded", "error", "offer"]
